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
