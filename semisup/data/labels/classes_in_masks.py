"""Which classes are in which image, read from the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.system.progress import track
from semisup.types import IGNORE

Presence = Mapping[str, frozenset[int]]
"""Image id -> the label ids that its mask holds."""


class MaskContent(NamedTuple):
    """What one mask holds.

    Attributes:
        labels: the label ids in it, void apart.
        void: whether some of its pixels are void.
    """

    labels: frozenset[int]
    void: bool


def content_of(counts: Tensor) -> MaskContent:
    """What a mask holds whose pixels of each label are `counts` (256, int64)."""
    held = counts.nonzero().flatten().tolist()
    return MaskContent(frozenset(held) - {IGNORE}, IGNORE in held)


def count_labels(mask: Tensor) -> Tensor:
    """Pixels of each label (256, int64) of a mask (uint8 HW)."""
    return torch.bincount(mask.flatten(), minlength=IGNORE + 1)


def read_contents(data: SegmentationData, ids: Sequence[str]) -> dict[str, MaskContent]:
    """What the masks of `ids` hold; opens no other mask.

    Raises:
        DataError: a mask cannot be used.
    """
    return {
        key: content_of(count_labels(data.mask(data.index(key))))
        for key in track(ids, "reading masks", total=len(ids))
    }


def read_presence(data: SegmentationData, ids: Sequence[str]) -> dict[str, frozenset[int]]:
    """The labels in the masks of `ids`, void apart; opens no other mask.

    Raises:
        DataError: a mask cannot be used.
    """
    return {key: content.labels for key, content in read_contents(data, ids).items()}
