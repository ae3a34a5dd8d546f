"""Partial cross entropy beside a textbook step, and where a batch has no label at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.consistency import supervised
from support.methods import create
from support.textbook import CLASSES, SIDE, Optimisers, descend, side_by_side

from semisup.contracts.toys import ToySegmenter, toy_batch, toy_updates
from semisup.types import IGNORE, Batch, Progress


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_a_step_equals_the_textbook(weight: float) -> None:
    def textbook(method: Any, batch: Batch, optimisers: Optimisers, _: Progress) -> None:
        own, weak = batch.labelled, batch.weak
        assert weak.partial is not None
        maps = method.segmenter.training_logits(torch.cat([own.image, weak.image]))
        loss = torch.zeros((), dtype=torch.float64)
        factors = (1.0, *method.segmenter.auxiliary_weights)
        for factor, logits in zip(factors, maps, strict=True):
            loss = loss + factor * supervised(logits[:2], own.mask)
            loss = loss + factor * weight * supervised(logits[2:], weak.partial)
        descend(optimisers["segmenter"], loss)

    fast, slow, start = side_by_side(
        "partial_cross_entropy",
        ToySegmenter,
        {"weak_weight": weight},
        textbook,
        lambda method, step: toy_batch(method.reads, step, dtype=torch.float64),
    )
    moved = 0.0
    for key, value in fast.state_dict().items():
        torch.testing.assert_close(value, slow.state_dict()[key], rtol=1e-9, atol=1e-12)
        moved += float((value.double() - start[key].double()).abs().sum())
    assert moved > 0.1


@pytest.mark.parametrize("weak_weight", [0.5, 0.0])
def test_a_step_with_tags_equals_the_textbook(weak_weight: float) -> None:
    def textbook(method: Any, batch: Batch, optimisers: Optimisers, _: Progress) -> None:
        own, weak = batch.labelled, batch.weak
        assert weak.tags is not None
        maps = method.segmenter.training_logits(torch.cat([own.image, weak.image]))
        loss = supervised(maps[0][:2], own.mask)
        if weak.partial is not None:
            loss = loss + 0.5 * supervised(maps[0][2:], weak.partial)
        for logits, tags, valid in zip(maps[0][2:], weak.tags, weak.valid, strict=True):
            best = logits.softmax(0)[:, valid].amax(1)
            absent = -(1 - best[~tags]).log().mean() if (~tags).any() else 0.0
            loss = loss + 0.3 * absent / int((~weak.tags).any(1).sum())
            loss = loss - 0.2 * best[tags].log().mean() / 2
        descend(optimisers["segmenter"], loss)

    options = {"weak_weight": weak_weight, "absence_weight": 0.3, "presence_weight": 0.2}

    def batch(method: Any, step: int) -> Batch:
        made = toy_batch(method.reads, step, dtype=torch.float64)
        assert made.weak.tags is not None
        assert (made.weak.partial is None) == (weak_weight == 0)
        made.weak.tags[0, 2], made.weak.tags[1] = False, True
        return made

    fast, slow, _ = side_by_side("partial_cross_entropy", ToySegmenter, options, textbook, batch)
    for key, value in fast.state_dict().items():
        torch.testing.assert_close(value, slow.state_dict()[key], rtol=1e-9, atol=1e-12)


def test_tags_are_read_where_a_term_asks_for_them() -> None:
    def reads(**options: float) -> frozenset[str]:
        method = create("partial_cross_entropy", ToySegmenter, CLASSES, (SIDE, SIDE), **options)
        found: frozenset[str] = method.reads.weak
        return found

    assert reads() == {"partial"}
    assert reads(absence_weight=1.0) == {"partial", "tags"}
    assert reads(presence_weight=1.0, weak_weight=0.0) == {"tags"}


def test_a_batch_without_a_weak_label_teaches_nothing_by_it() -> None:
    method = create("partial_cross_entropy", ToySegmenter, CLASSES, (SIDE, SIDE)).train()
    batch = toy_batch(method.reads)
    assert batch.weak.partial is not None
    batch.weak.partial.fill_(IGNORE)
    updates = toy_updates(method)
    updates.begin(Progress(0, 10))
    scalars = method.step(batch, Progress(0, 10), updates)
    assert float(scalars["loss_segmentation_weak"]) == 0.0
    assert torch.isfinite(scalars["loss_segmentation"])
    assert all(torch.isfinite(p).all() for p in method.parameters())
