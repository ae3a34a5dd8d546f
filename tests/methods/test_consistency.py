"""What single consistency methods refuse, and what they leave alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import create

from semisup.contracts.toys import CLASSES, SIDE, toy_batch
from semisup.errors import RecipeError
from semisup.methods.unimatch import with_dropped_channels
from semisup.models.segnet import SegNetBasic
from semisup.models.unet import UNet
from semisup.types import Progress


def test_two_networks_of_the_same_weights_are_refused(
    segmenters: dict[str, Callable[..., Any]],
) -> None:
    weights = segmenters["plain"]()
    with pytest.raises(RecipeError, match=r"start from the same weights.*backbone alone"):
        create("cps", lambda: copy.deepcopy(weights), CLASSES, (SIDE, SIDE))


def test_dropped_features_leave_running_statistics_alone(
    segmenters: dict[str, Callable[..., Any]],
) -> None:
    network = segmenters["batch_norm"]().train()
    before = copy.deepcopy(network.state_dict())
    image = torch.randn(2, 3, SIDE, SIDE)
    logits = with_dropped_channels(network, image, 0.5)
    assert logits.shape == (2, CLASSES, SIDE, SIDE)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    torch.testing.assert_close(with_dropped_channels(network, image, 0.0), network(image))


@pytest.mark.parametrize(
    "build", [lambda: UNet(3, width=4, padding="valid"), lambda: SegNetBasic(3)]
)
def test_features_are_dropped_in_networks_that_mirror_or_unpool(build: Callable[[], Any]) -> None:
    network = build().train()
    image = torch.randn(2, 3, 40, 56)
    logits = with_dropped_channels(network, image, 0.5)
    assert logits.shape == (2, 3, 40, 56)
    assert not torch.equal(logits, network(image))


@pytest.mark.parametrize("name", ["cutmix_seg", "fixmatch", "mean_teacher", "unimatch"])
def test_the_teacher_is_called_as_the_module_that_training_compiles(
    name: str, segmenters: dict[str, Callable[..., Any]]
) -> None:
    method = create(name, segmenters["plain"], CLASSES, (SIDE, SIDE)).train()
    calls: list[int] = []
    method.teacher.register_forward_hook(lambda *_: calls.append(1))
    method.step(toy_batch(method.reads), Progress(90, 100), lambda *_, keep_graph=False: None)
    assert calls == [1]


@pytest.mark.parametrize("name", ["cps", "fixmatch"])
def test_labels_are_made_with_the_statistics_as_they_are(
    name: str, segmenters: dict[str, Callable[..., Any]]
) -> None:
    """One training pass of each network a step: labels are made in eval mode."""
    method = create(name, segmenters["batch_norm"], CLASSES, (SIDE, SIDE)).train()
    method.step(toy_batch(method.reads), Progress(90, 100), lambda *_, keep_graph=False: None)
    assert int(method.segmenter.body[1].num_batches_tracked) == 1
    assert method.segmenter.training
