"""Which classes are in which image, read from the masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.labels.seams import Seams, seams_of
from semisup.system.progress import track
from semisup.system.threads import in_threads
from semisup.types import IGNORE

T = TypeVar("T")

Presence = Mapping[str, frozenset[int]]
"""Image id -> the label ids that its mask holds."""


class MaskContent(NamedTuple):
    """What one mask holds.

    Attributes:
        labels: the label ids in it, void apart.
        void: whether some of its pixels are void.
        seams: how its classes meet; empty where they are fewer than three.
    """

    labels: frozenset[int]
    void: bool
    seams: Seams = Seams()


def content_of(mask: Tensor, counts: Tensor | None = None) -> MaskContent:
    """What a mask (uint8 HW) holds, whose pixels of each label are `counts` (256, int64)."""
    held = labels_of(mask, counts)
    labels = held - {IGNORE}
    return MaskContent(labels, IGNORE in held, seams_of(mask) if len(labels) > 2 else Seams())


def labels_of(mask: Tensor, counts: Tensor | None = None) -> frozenset[int]:
    """The labels in a mask (uint8 HW), void among them; `counts` as in `content_of`."""
    found = count_labels(mask) if counts is None else counts
    return frozenset(found.nonzero()[:, 0].tolist())


def count_labels(mask: Tensor) -> Tensor:
    """Pixels of each label (256, int64) of a mask (uint8 HW)."""
    return torch.bincount(mask.flatten(), minlength=IGNORE + 1)


def read_contents(data: SegmentationData, ids: Sequence[str]) -> dict[str, MaskContent]:
    """What the masks of `ids` hold; opens no other mask.

    Raises:
        DataError: a mask cannot be used.
    """
    return _of_each(data, ids, content_of)


def read_presence(data: SegmentationData, ids: Sequence[str]) -> dict[str, frozenset[int]]:
    """The labels in the masks of `ids`, void apart; opens no other mask.

    Raises:
        DataError: a mask cannot be used.
    """
    return _of_each(data, ids, lambda mask: labels_of(mask) - {IGNORE})


def _of_each(
    data: SegmentationData, ids: Sequence[str], look: Callable[[Tensor], T]
) -> dict[str, T]:
    found = in_threads(lambda key: look(data.mask(data.index(key))), ids)
    return dict(zip(ids, track(found, "reading masks", total=len(ids)), strict=True))
