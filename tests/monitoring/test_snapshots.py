"""Samples of a generator in TensorBoard: the same noise each time, no trace in the training."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from semisup.methods.base import Method, Task
from semisup.methods.supervised import Supervised
from semisup.monitoring.snapshots import make_samples, spread, undisturbed
from semisup.pictures.panels import sample_panel
from semisup.training.loop import train
from semisup.training.state import TrainingState

CPU = torch.device("cpu")
Build = Callable[..., TrainingState]


class Making(Supervised):
    """Makes flat pictures, as bright as its noise and a weight say; draws against its contract."""

    asked: list[tuple[int, int]]

    def make_samples(self, count: int, seed: int) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        torch.rand(3)
        self.asked = [*getattr(self, "asked", []), (count, seed)]
        noise = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(seed))
        return (noise * self.segmenter.head.weight.abs().mean().sigmoid()).expand(-1, -1, 5, 6)


def pictured(run: TrainingState) -> TrainingState:
    """`run` with a method that makes images, and a panel."""
    run.method.__class__ = Making
    run.draw = lambda batch, predictor, method: torch.zeros(3, 4, 4, dtype=torch.uint8)
    return run


def shown(folder: Path) -> dict[int, Tensor]:
    found = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    assert set(found.Tags()["images"]) == {"pictures/panel", "pictures/samples"}
    pixels = {
        event.step: np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        for event in found.Images("pictures/samples")
    }
    return {step: torch.from_numpy(value.copy()).permute(2, 0, 1) for step, value in pixels.items()}


def test_samples_are_drawn_with_the_panel_and_leave_no_trace(
    training: Build, tmp_path: Path
) -> None:
    run = pictured(training(tmp_path / "run"))
    train(run)
    plain = training(tmp_path / "plain")
    train(plain)
    assert isinstance(run.method, Making)
    assert run.method.asked == [(16, 0)] * 3  # after steps 3, 6 and 7
    pictures = shown(tmp_path / "run")
    assert list(pictures) == [3, 6, 7]
    assert pictures[7].shape == (3, 4 * 5 + 3 * 4, 4 * 6 + 3 * 4)
    assert not torch.equal(pictures[3], pictures[7])  # another generator, the same noise
    with undisturbed(run.method, CPU):
        images = make_samples(run.method)
    assert images is not None
    assert torch.equal(pictures[7], sample_panel(images))
    one, other = run.method.state_dict(), plain.method.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in other)
    scalars = [(tmp_path / name / "scalars.jsonl").read_bytes() for name in ("run", "plain")]
    assert scalars[0] == scalars[1]


def test_samples_are_bytes_of_the_whole_range(tiny_segmenter: Any) -> None:
    class Ramp(Supervised):
        def make_samples(self, count: int, seed: int) -> Tensor:
            return torch.tensor([-0.1, 0.0, 7.4 / 255, 7.6 / 255, 1.0, 1.1]).expand(count, 3, 2, 6)

    images = make_samples(Ramp(Task(tiny_segmenter, 3)))
    assert images is not None
    assert images.dtype == torch.uint8
    assert images[0, 0, 0].tolist() == [0, 0, 7, 8, 255, 255]
    assert make_samples(Supervised(Task(tiny_segmenter, 3))) is None
    assert Method.make_samples(Ramp(Task(tiny_segmenter, 3)), 1, 0) is None


def test_a_look_ends_in_training_mode_whatever_happens(tiny_segmenter: Any) -> None:
    method = Supervised(Task(tiny_segmenter, 3))
    random = torch.get_rng_state()

    def look() -> None:
        with undisturbed(method, CPU):
            assert not method.segmenter.training
            torch.rand(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()
    assert method.segmenter.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random)


def test_positions_are_spread_evenly() -> None:
    assert spread(10, 5) == [1, 3, 5, 7, 9]
    assert spread(3, 5) == [0, 1, 2]
    assert spread(7, 1) == [3]
