"""The steps of the consistency methods equal textbook ones, written out image by image.

With torch's own losses and optimisers. The textbook is told the options; it reads none off the
method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.consistency import (
    answer,
    answers,
    boxes_of,
    coarse,
    follow,
    pasted,
    raw,
    strong,
    supervised,
    teach,
    validity,
    weak,
)
from support.textbook import Optimisers, descend, side_by_side
from torch import Tensor

from semisup.contracts.toys import ToySegmenter, toy_batch
from semisup.methods.base import Method
from semisup.ops.cutmix import CPS, FRENCH, UNIMATCH
from semisup.types import Batch, Progress


def risen(progress: Progress, ramp_up: float) -> float:
    """The share of its weight that a term has."""
    reached = min(1.0, progress.step / progress.steps / ramp_up) if ramp_up else 1.0
    return math.exp(-5 * (1 - reached) ** 2)


def fixmatch(
    method: Any,
    batch: Batch,
    optimisers: Optimisers,
    progress: Progress,
    *,
    unlabelled_weight: float = 1.0,
    ramp_up: float = 0.0,
    teacher_decay: float = 0.996,
    cutmix: float = 0.5,
    weak_weight: float = 0.0,
    absence_weight: float = 0.0,
    presence_weight: float = 0.0,
    **chosen: Any,
) -> None:
    free, student = batch.unlabelled, method.segmenter
    assert free.numbers is not None
    boxes = boxes_of(replace(UNIMATCH, chance=cutmix), free.numbers)
    target = pasted(free, boxes, answers(method.teacher.network))
    count = len(batch.labelled.image)
    both = raw(student, torch.cat([batch.labelled.image, pasted(free, boxes, strong(0))]))
    term = teach(both[count:], target, pasted(free, boxes, validity), chosen)
    weight = unlabelled_weight * risen(progress, ramp_up)
    loss = supervised(both[:count], batch.labelled.mask) + weight * term
    if weak_weight:
        weak = batch.weak
        logits = student.training_logits(weak.image)[0]
        loss = loss + weak_weight * supervised(logits, weak.partial)
        if weak.tags is not None:  # of the second image nobody knows any
            best = logits[0].softmax(0)[:, weak.valid[0]].amax(1)
            loss = loss - absence_weight * (1 - best[~weak.tags[0]]).log().mean()
            loss = loss - presence_weight * best[weak.tags[0]].log().mean()
    descend(optimisers["segmenter"], loss)
    follow(method.teacher, student, progress, teacher_decay)


def unimatch(
    method: Any,
    batch: Batch,
    optimisers: Optimisers,
    progress: Progress,
    *,
    unlabelled_weight: float = 1.0,
    ramp_up: float = 0.0,
    feature_share: float = 0.5,
    feature_dropout: float = 0.5,
    teacher_decay: float = 0.996,
    cutmix: float = 0.5,
    **chosen: Any,
) -> None:
    free, student = batch.unlabelled, method.segmenter
    assert free.numbers is not None
    teacher = answers(method.teacher.network)
    rule = replace(UNIMATCH, chance=cutmix)
    boxes = [boxes_of(rule, free.numbers[:, place : place + 5]) for place in (0, 5)]
    views = [pasted(free, box, strong(number)) for number, box in enumerate(boxes)]
    labelled, *others = raw(student, torch.cat([batch.labelled.image, *views])).split(2)
    first, second = (
        teach(maps, pasted(free, box, teacher), pasted(free, box, validity), chosen)
        for maps, box in zip(others, boxes, strict=True)
    )
    kept = {name: value.clone() for name, value in student.named_buffers()}
    (features,) = student.encode(free.image)
    perturbed = student.decode([F.dropout2d(features, feature_dropout)])
    dropped = teach(perturbed, teacher(free), free.valid, chosen)
    term = (1 - feature_share) * (first + second) / 2 + feature_share * dropped
    weight = unlabelled_weight * risen(progress, ramp_up)
    loss = supervised(labelled, batch.labelled.mask) + weight * term
    descend(optimisers["segmenter"], loss)
    for name, value in student.named_buffers():
        value.copy_(kept[name])
    follow(method.teacher, student, progress, teacher_decay)


def cutmix_seg(
    method: Any,
    batch: Batch,
    optimisers: Optimisers,
    progress: Progress,
    *,
    confidence_threshold: float,
    consistency_weight: float = 1.0,
    ramp_up: float = 0.0,
    teacher_decay: float = 0.99,
    partner: str = "other",
) -> None:
    free, student = batch.unlabelled, method.segmenter
    assert free.numbers is not None
    boxes = boxes_of(FRENCH, free.numbers)
    target = pasted(free, boxes, answers(method.teacher.network))
    valid = coarse(pasted(free, boxes, validity), target)
    count = len(batch.labelled.image)
    both = raw(student, torch.cat([batch.labelled.image, pasted(free, boxes, weak)]))
    squares = (both[count:].softmax(1) - target).pow(2).sum(1)
    sure = target.max(1).values > confidence_threshold
    term = squares[valid].mean() * sure[valid].double().mean()
    weight = consistency_weight * risen(progress, ramp_up)
    loss = supervised(both[:count], batch.labelled.mask) + weight * term
    descend(optimisers["segmenter"], loss)
    follow(method.teacher, student, progress, teacher_decay)


def mean_teacher(
    method: Any,
    batch: Batch,
    optimisers: Optimisers,
    progress: Progress,
    *,
    consistency_weight: float = 100.0,
    ramp_up: float = 0.25,
    teacher_decay: float = 0.99,
) -> None:
    free, student = batch.unlabelled, method.segmenter
    target = answer(method.teacher.network, free.image)
    count = len(batch.labelled.image)
    both = raw(student, torch.cat([batch.labelled.image, free.views[0]]))
    squares = (both[count:].softmax(1) - target).pow(2).mean(1)[coarse(free.valid, target)]
    weight = consistency_weight * risen(progress, ramp_up)
    loss = supervised(both[:count], batch.labelled.mask) + weight * squares.mean()
    descend(optimisers["segmenter"], loss)
    follow(method.teacher, student, progress, teacher_decay)


def cps(
    method: Any,
    batch: Batch,
    optimisers: Optimisers,
    progress: Progress,
    *,
    cross_weight: float = 1.0,
    ramp_up: float = 0.0,
    cutmix: float = 1.0,
    partner: str = "other",
) -> None:
    free, networks = batch.unlabelled, (method.segmenter, method.second_segmenter)
    assert free.numbers is not None
    boxes = boxes_of(replace(CPS, chance=cutmix), free.numbers)
    said = [pasted(free, boxes, answers(network)) for network in networks]
    mixed, valid = pasted(free, boxes, weak), coarse(pasted(free, boxes, validity), said[0])
    weight = cross_weight * risen(progress, ramp_up)
    for name, network, target in zip(
        ("segmenter", "second_segmenter"), networks, reversed(said), strict=True
    ):
        labelled, others = raw(network, torch.cat([batch.labelled.image, mixed])).split(2)
        cross = F.cross_entropy(others, target.argmax(1), reduction="none")[valid].mean()
        loss = supervised(labelled, batch.labelled.mask) + weight * cross
        descend(optimisers[name], loss)


TEXTBOOK: dict[str, Callable[..., None]] = {
    "cps": cps,
    "cutmix_seg": cutmix_seg,
    "fixmatch": fixmatch,
    "mean_teacher": mean_teacher,
    "unimatch": unimatch,
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("cps", {}),
    ("cps", {"cross_weight": 1.5, "cutmix": 0.5}),
    ("cps", {"ramp_up": 0.7, "cross_weight": 9.0}),
    ("cps", {"partner": "self"}),
    ("cutmix_seg", {"confidence_threshold": 0.4}),
    ("cutmix_seg", {"confidence_threshold": 0.4, "partner": "self"}),
    (
        "cutmix_seg",
        {"confidence_threshold": 0.45, "consistency_weight": 3.0, "teacher_decay": 0.5},
    ),
    ("cutmix_seg", {"confidence_threshold": 0.4, "ramp_up": 0.7, "consistency_weight": 9.0}),
    ("fixmatch", {"confidence_threshold": 0.4}),
    ("fixmatch", {"confidence_threshold": 0.4, "teacher_decay": 0.0, "unlabelled_weight": 2.0}),
    ("fixmatch", {"confidence_threshold": 0.45, "divisor": "taught", "cutmix": 1.0}),
    ("fixmatch", {"confidence_threshold": 0.45, "divisor": "all", "teacher_decay": 0.5}),
    ("fixmatch", {"confidence_threshold": 0.4, "partner": "self", "cutmix": 1.0}),
    ("fixmatch", {"confidence_threshold": 0.4, "ramp_up": 0.7, "unlabelled_weight": 9.0}),
    ("fixmatch", {"confidence_threshold": 0.4, "weak_weight": 0.7}),
    (
        "fixmatch",
        {
            "confidence_threshold": 0.4,
            "weak_weight": 0.7,
            "absence_weight": 0.3,
            "presence_weight": 0.2,
        },
    ),
    ("mean_teacher", {}),
    ("mean_teacher", {"ramp_up": 1.0, "consistency_weight": 30.0, "teacher_decay": 0.5}),
    ("unimatch", {"confidence_threshold": 0.4}),
    (
        "unimatch",
        {"confidence_threshold": 0.4, "feature_share": 0.2, "feature_dropout": 0.3, "cutmix": 1.0},
    ),
    ("unimatch", {"confidence_threshold": 0.45, "divisor": "taught", "teacher_decay": 0.5}),
    ("unimatch", {"confidence_threshold": 0.4, "partner": "self", "cutmix": 1.0}),
    ("unimatch", {"confidence_threshold": 0.4, "ramp_up": 0.7, "unlabelled_weight": 9.0}),
]


class Coarse(ToySegmenter):
    """Of pictures at a quarter of their size."""

    def encode(self, image: Tensor) -> list[Tensor]:
        return super().encode(F.avg_pool2d(image, 4))

    def training_logits(self, image: Tensor) -> list[Tensor]:
        return [self(image)]


FIRST = dict(reversed(CASES))
"""Method -> its first case."""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(*case, marks=[] if case[1] is FIRST[case[0]] else [pytest.mark.slow])
        for case in CASES
    ],
)
def test_losses_at_the_logits_own_resolution_equal_those_of_a_loop(
    name: str, options: dict[str, Any]
) -> None:
    build = partial(Coarse, normalise=True, dropout=0.0)
    assert_equals_the_textbook(name, options, build, resolution="logits")


def assert_equals_the_textbook(
    name: str, options: dict[str, Any], build: Callable[..., Any], **more: Any
) -> None:
    def batch_of(method: Method, step: int) -> Batch:
        batch = toy_batch(method.reads, step, dtype=torch.float64)
        assert (batch.unlabelled.partner is None) == (options.get("partner") != "self")
        if "absence_weight" in options:
            assert batch.weak.tags is not None
            batch.weak.tags[0] = torch.tensor([True, True, False])
            batch.weak.tags[1] = False
        return batch

    textbook = partial(TEXTBOOK[name], **options)
    fast, slow, start = side_by_side(name, build, options | more, textbook, batch_of)
    expected = slow.state_dict()
    for key, value in fast.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-9, atol=1e-11, msg=key)
    moved = [key for key, value in fast.state_dict().items() if not torch.equal(value, start[key])]
    assert len(moved) > 0.7 * len(start)
