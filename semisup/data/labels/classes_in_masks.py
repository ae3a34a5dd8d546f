"""Which classes are in which image, read from the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from semisup.data.base import SegmentationData
from semisup.system.progress import track
from semisup.types import IGNORE

Presence = Mapping[str, frozenset[int]]
"""Image id -> the label ids that its mask holds."""


def read_presence(data: SegmentationData, ids: Sequence[str]) -> dict[str, frozenset[int]]:
    """The labels in the masks of `ids`, void apart; opens no other mask.

    Raises:
        DataError: a mask cannot be used.
    """
    found = {}
    for key in track(ids, "reading masks", total=len(ids)):
        histogram = torch.bincount(data.mask(data.index(key)).flatten(), minlength=IGNORE + 1)
        found[key] = frozenset(histogram[:IGNORE].nonzero().flatten().tolist())
    return found
