"""WSSL: the biased labels in closed form, and a step beside a textbook's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.consistency import supervised
from support.methods import create
from support.textbook import CLASSES, SIDE, Optimisers, descend, side_by_side

from semisup.contracts.toys import ToySegmenter, toy_batch
from semisup.methods.wssl import WsslTags, adapted_labels, fixed_labels
from semisup.types import IGNORE, Batch, Progress, Weak

ALL = torch.ones(1, 1, 4, dtype=torch.bool)


def row(*scores: list[float]) -> torch.Tensor:
    """Scores of each class at the pixels of one image of one row: 1K1N."""
    return torch.tensor(scores)[None, :, None]


def test_em_fixed_adds_a_constant_to_what_is_present() -> None:
    logits = row([0.0, 0.0, 0.0, 0.0], [-1.0, -3.0, 1.0, -1.9], [4.0, 4.0, 9.0, 3.05])
    tags = torch.tensor([[True, True, False]])
    # background 3, class 1: 4, 2, 6, 3.1; the absent class 2 keeps 4, 4, 9, 3.05
    assert fixed_labels(logits, tags, ALL, 3.0, 5.0).tolist() == [[[1, 2, 2, 1]]]
    assert fixed_labels(logits, tags, ALL, 0.0, 0.0).tolist() == [[[2, 2, 2, 2]]]


def test_em_adapt_gives_each_class_the_smallest_constant_for_its_share() -> None:
    logits = row([0.0, 0.0, 0.0, 0.0], [-4.0, -1.0, -3.0, -2.0], [9.0, 9.0, 9.0, 9.0])
    tags = torch.tensor([[True, True, False]])
    for share, labels in [
        (0.0, [0, 0, 0, 0]),
        (0.25, [0, 1, 0, 0]),
        (0.5, [0, 1, 0, 1]),
        (1.0, [1, 1, 1, 1]),
    ]:
        assert adapted_labels(logits, tags, ALL, 0.25, share).tolist() == [[labels]], share
    ahead = row([9.0, 0.0, 0.0, 0.0], [0.0, 5.0, 4.0, 6.0])
    few = torch.tensor([[True, True]])
    assert adapted_labels(ahead, few, ALL, 0.5, 0.5).tolist() == [[[0, 1, 0, 1]]]
    assert adapted_labels(ahead, few, ALL, 0.25, 0.75).tolist() == [[[0, 1, 1, 1]]], "no bias"
    equal = torch.zeros(1, 2, 1, 4)
    assert adapted_labels(equal, few, ALL, 0.5, 0.5).unique().tolist() == [1], "ties go to the last"


def test_the_last_class_has_its_share_and_an_absent_one_never_wins() -> None:
    torch.manual_seed(0)
    logits = torch.randn(64, 4, 5, 6).round(decimals=1)  # with ties
    tags = torch.rand(64, 4) < 0.5
    tags[:, 0] = True
    valid = torch.rand(64, 5, 6) < 0.8
    labels = adapted_labels(logits, tags, valid, 0.3, 0.3)
    assert bool((labels[~valid] == IGNORE).all())
    for own, present, seen in zip(labels, tags, valid, strict=True):
        counts = torch.bincount(own[seen], minlength=4)
        assert not counts[~present].any()
        wanted = round(0.3 * int(seen.sum()))
        if present.sum() == 2:  # background and one class, which comes last
            assert counts[present][1] >= wanted
        assert counts[present].max() >= wanted


def test_what_lies_in_padding_has_no_part_in_a_share() -> None:
    torch.manual_seed(1)
    logits, tags = torch.randn(1, 3, 4, 4), torch.tensor([[True, True, False]])
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[..., 3] = False
    other = logits.clone()
    other[..., 3] = 100 * torch.randn(1, 3, 4)
    found = [adapted_labels(one, tags, valid, 0.4, 0.2) for one in (logits, other)]
    assert torch.equal(*found)
    empty = adapted_labels(logits, tags, torch.zeros_like(valid), 0.4, 0.2)
    assert empty.unique().tolist() == [IGNORE]


@pytest.mark.parametrize(("rule", "weight"), [("adapt", 1.0), ("fixed", 0.25)])
def test_a_step_equals_the_textbook(rule: str, weight: float) -> None:
    def textbook(method: Any, batch: Batch, optimisers: Optimisers, _: Progress) -> None:
        own, weak = batch.labelled, batch.weak
        maps = method.segmenter.training_logits(torch.cat([own.image, weak.image]))
        target = method.labels(maps[0][2:], weak)
        loss = torch.zeros((), dtype=torch.float64)
        for factor, logits in zip((1.0, *method.segmenter.auxiliary_weights), maps, strict=True):
            loss = loss + factor * supervised(logits[:2], own.mask)
            loss = loss + factor * weight * supervised(logits[2:], target)
        descend(optimisers["segmenter"], loss)

    fast, slow, start = side_by_side(
        "wssl",
        ToySegmenter,
        {"tags_weight": weight, "rule": rule},
        textbook,
        lambda method, step: toy_batch(method.reads, step, dtype=torch.float64),
    )
    moved = 0.0
    for key, value in fast.state_dict().items():
        torch.testing.assert_close(value, slow.state_dict()[key], rtol=1e-9, atol=1e-12)
        moved += float((value.double() - start[key].double()).abs().sum())
    assert moved > 0.1


def test_tags_alone_are_taught_without_a_mask() -> None:
    method = create("wssl_tags", ToySegmenter, CLASSES, (SIDE, SIDE)).train()
    assert isinstance(method, WsslTags)
    assert (method.reads.streams, method.takes_class_weights) == (("weak",), False)
    weak: Weak = toy_batch(method.reads).weak
    logits = torch.zeros(2, CLASSES, SIDE, SIDE, requires_grad=True)
    assert weak.tags is not None
    labels = method.labels(logits, weak)
    assert not labels.requires_grad
    for own, tags in zip(labels, weak.tags, strict=True):
        assert set(own.unique().tolist()) <= {*tags.nonzero().flatten().tolist(), IGNORE}


@pytest.mark.parametrize(
    ("option", "value"), [("foreground_share", 1.5), ("background_bias", -1.0)]
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(Exception, match=option):
        create("wssl", ToySegmenter, CLASSES, (SIDE, SIDE), **{option: value})
