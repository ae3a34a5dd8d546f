"""Every method with a cross entropy over the classes takes weights and another loss into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from support.methods import create

from semisup.catalog import METHODS
from semisup.contracts.methods import with_labelled
from semisup.losses.supervised import Kind, SupervisedLoss
from semisup.types import IGNORE, Batch, Progress

CLASSES, SIDE = 3, 32
WEIGHTS = torch.tensor([0.25, 1.5, 4.0])
WITHOUT = {
    "cam",
    "decouplednet",
    "decouplednet_classifier",
    "decouplednet_joint",
    "mask_rcnn",
    "wssl_tags",
}
"""What has no cross entropy over the classes."""
WEIGHTED = sorted(set(METHODS) - WITHOUT)


def test_every_method_says_whether_it_takes_weights() -> None:
    assert {name for name, cls in METHODS.items() if not cls.takes_class_weights} == WITHOUT


def step(
    name: str, build: Any, batch: Batch, weights: Any, criterion: Any = None
) -> tuple[Any, dict[str, float]]:
    torch.manual_seed(0)
    method = create(name, build, CLASSES, (SIDE, SIDE)).train()
    method.class_weights = weights
    if criterion is not None:
        method.criterion = criterion
    assert not method.read_class_weights
    assert not method.read_criterion
    torch.manual_seed(1)
    scalars = method.step(batch, Progress(90, 100), lambda *_, keep_graph=False: None)
    return method, {key: float(value) for key, value in scalars.items()}


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_supervised_loss_is_the_weighted_one_and_nothing_else_moves(
    name: str, segmenters: dict[str, Callable[..., Any]], make_batch: Callable[..., Batch]
) -> None:
    build, batch = segmenters["plain"], make_batch()
    method, plain = step(name, build, batch, None)
    assert method.read_class_weights
    _, weighted = step(name, build, batch, WEIGHTS)
    image, mask = batch.labelled.image, batch.labelled.mask
    with torch.no_grad():
        logits = method.segmenter.train()(image)[:, :CLASSES]
    losses = F.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    known = mask != IGNORE
    factors = WEIGHTS[mask.masked_fill(~known, 0)]
    assert plain["loss_segmentation"] == pytest.approx(float(losses[known].mean()), rel=1e-5)
    assert weighted["loss_segmentation"] == pytest.approx(
        float((losses * factors)[known].mean()), rel=1e-5
    )
    others = {key for key in plain if not key.startswith("loss_segmentation")}
    assert {key: plain[key] for key in others} == {key: weighted[key] for key in others}


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_1_change_no_bit_and_are_no_part_of_the_state(
    name: str, segmenters: dict[str, Callable[..., Any]], make_batch: Callable[..., Batch]
) -> None:
    build, batch = segmenters["plain"], make_batch()
    one, plain = step(name, build, batch, None)
    other, weighted = step(name, build, batch, torch.ones(CLASSES))
    assert plain == weighted
    assert one.state_dict().keys() == other.state_dict().keys()
    assert other.double().class_weights.dtype == torch.float64  # it moves with the method


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("name", WEIGHTED)
def test_the_supervised_loss_is_the_chosen_one_and_nothing_else_moves(
    name: str,
    kind: Kind,
    segmenters: dict[str, Callable[..., Any]],
    make_batch: Callable[..., Batch],
) -> None:
    build, batch = segmenters["plain"], make_batch()
    chosen = SupervisedLoss(kind, "weights", ohem_threshold=0.2, ohem_min_kept=50)
    method, plain = step(name, build, batch, WEIGHTS)
    assert method.read_criterion
    _, other = step(name, build, batch, WEIGHTS, chosen)
    with torch.no_grad():
        logits = method.segmenter.train()(batch.labelled.image)[:, :CLASSES]
        expected = chosen(logits, batch.labelled.mask, class_weights=WEIGHTS)
    assert other["loss_segmentation"] == pytest.approx(float(expected), rel=1e-5)
    assert other["loss_segmentation"] != pytest.approx(plain["loss_segmentation"], rel=1e-3)
    others = {key for key in plain if not key.startswith("loss_segmentation")}
    assert {key: plain[key] for key in others} == {key: other[key] for key in others}


@pytest.mark.parametrize("kind", ["cross_entropy", "ohem", "focal", "cross_entropy+dice"])
@pytest.mark.parametrize("name", WEIGHTED)
def test_border_weights_reach_the_supervised_loss_and_nothing_else(
    name: str,
    kind: Kind,
    segmenters: dict[str, Callable[..., Any]],
    make_batch: Callable[..., Batch],
) -> None:
    build, batch = segmenters["plain"], make_batch()
    chosen = SupervisedLoss(kind, ohem_threshold=0.2, ohem_min_kept=50)
    border = torch.rand(batch.labelled.mask.shape, generator=torch.Generator().manual_seed(0))
    one, plain = step(name, build, batch, WEIGHTS, chosen)
    assert not one.read_border_weights
    method, other = step(name, build, with_labelled(batch, border_weights=border), WEIGHTS, chosen)
    assert method.read_border_weights
    with torch.no_grad():
        logits = method.segmenter.train()(batch.labelled.image)[:, :CLASSES]
        mask = batch.labelled.mask
        expected = chosen(logits, mask, class_weights=WEIGHTS, border_weights=border)
    assert other["loss_segmentation"] == pytest.approx(float(expected), rel=1e-5)
    assert other["loss_segmentation"] > plain["loss_segmentation"]
    others = {key for key in plain if not key.startswith("loss_segmentation")}
    assert {key: plain[key] for key in others} == {key: other[key] for key in others}
