"""Torch's own errors, raised by torch, and the line that a user gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semisup.errors import RecipeError, RunError, SemisupError
from semisup.system.torch_errors import translate, translated_errors, worker_error

IMAGE = torch.zeros(1, 3, 4, 4)


@pytest.fixture
def strict() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def line(act: Callable[[], object], kind: type[SemisupError]) -> str:
    with pytest.raises(kind) as caught, translated_errors():
        act()
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__cause__ is None
    return text


@pytest.mark.parametrize(
    "act",
    [
        lambda: torch.empty(1 << 50),
        lambda: torch.empty(10**12, 10**12),
        lambda: np.empty(1 << 55, np.uint8),
    ],
)
def test_no_memory(act: Callable[[], object]) -> None:
    text = line(act, RunError)
    assert text.startswith("out of memory. Use a smaller data.labelled_batch")


def test_no_memory_on_a_gpu() -> None:
    told = translate(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert "out of memory. Use a smaller" in str(told)


def test_a_gradient_of_a_gradient_through_synchronised_batch_norm() -> None:
    """Torch's words; they need several GPUs."""
    text = "derivative for aten::batch_norm_backward_elemt is not implemented"
    told = translate(RuntimeError(text))
    assert isinstance(told, RecipeError)
    assert "train.sync_batch_norm" in str(told)
    assert "method.game.r1" in str(told)


@pytest.mark.parametrize(
    ("text", "codes", "words"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", [], "was killed, mostly"),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", [-9, None], "killed by signal 9 ("),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", [None, 2], "itself, with code 2."),
        (
            "DataLoader worker (pid 7) exited unexpectedly with exit code 1. Details are lost",
            [],
            "itself, with code 1.",
        ),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", [1, -9], "killed by signal 9 ("),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", [None], "was killed, mostly"),
    ],
)
def test_how_a_worker_ended(text: str, codes: list[int | None], words: str) -> None:
    line = str(worker_error(text, codes, "weak"))
    assert line.startswith("a worker process of the weak stream ")
    assert words in line
    assert ("__main__" in line) is ("itself" in line)


def test_a_killed_worker() -> None:
    told = translate(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert isinstance(told, RunError)
    assert "Use fewer data.workers or smaller batches" in str(told)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.InstanceNorm2d(3)])
def test_one_value_a_channel(norm: nn.Module) -> None:
    text = line(lambda: norm(torch.zeros(1, 3, 1, 1)), RecipeError)
    assert "data.labelled_batch" in text
    assert text.endswith("or a larger data.crop.")


@pytest.mark.parametrize(
    "act",
    [
        lambda: nn.Conv2d(3, 2, 7)(IMAGE),
        lambda: nn.MaxPool2d(8)(IMAGE),
        lambda: nn.AvgPool2d(8)(IMAGE),
        lambda: nn.ConvTranspose2d(3, 2, 2, padding=9)(IMAGE),
        lambda: F.pad(IMAGE, (5, 5, 5, 5), mode="reflect"),
        lambda: F.interpolate(IMAGE, size=(0, 0), mode="bilinear"),
    ],
)
def test_images_too_small_for_a_layer(act: Callable[[], object]) -> None:
    text = line(act, RecipeError)
    assert text.startswith("the images are too small for the network (")
    assert text.endswith("). Use a larger data.crop.")


@pytest.mark.usefixtures("strict")
def test_an_operation_that_is_not_deterministic() -> None:
    values, places = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.long)
    text = line(lambda: F.max_unpool2d(values, places, 2), RecipeError)
    assert "torch has no deterministic max_unpooling2d" in text
    assert "Set train.deterministic = false" in text


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), ValueError("something else")])
def test_what_is_a_bug_of_ours_passes_unchanged(error: RuntimeError | ValueError) -> None:
    assert translate(error) is None
    with pytest.raises(type(error)) as caught, translated_errors():
        raise error
    assert caught.value is error
