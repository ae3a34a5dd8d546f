"""Slices with those around them, from which the blocks of a network for volumes are cut."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from semisup.data.base import SegmentationData, WrappedData
from semisup.data.volumes import Block, as_volume, mirrored
from semisup.types import IGNORE


class Blocks(WrappedData):
    """A stack whose images are slices with their neighbours in the same subset.

    Every block of `depth` slices that is cut from slab `index` holds slice `index`. Voxels of
    slices that are not labelled are void, and their masks are not opened.

    Args:
        data: slices, in their order.
        labelled: ids of those whose masks are read.
    """

    def __init__(self, data: SegmentationData, labelled: Collection[str]) -> None:
        super().__init__(data)
        self._labelled = frozenset(data.index(name) for name in labelled)

    def image(self, index: int) -> Tensor:
        """Slice `index` with up to `depth` - 1 before and behind it: CLHW.

        Raises:
            DataError: as in the data set, or slices differ in size.
        """
        places = self._places(index)
        own = [mirrored(place, len(self)) for place in places]
        slices = {place: self._data.image(place) for place in {*own}}
        paths = [self._data.image_path(place) for place in own]
        return as_volume([slices[place] for place in own], paths)

    def mask(self, index: int) -> Tensor:
        """The masks of the same slices: uint8 LHW, void where a slice is not labelled.

        Args:
            index: of a labelled slice.
        """
        places = self._places(index)
        masks = {place: self._data.mask(place) for place in places if place in self._labelled}
        void = torch.full_like(masks[index], IGNORE)
        slices = [masks.get(place, void)[None] for place in places]
        paths = [self._data.mask_path(place % len(self)) for place in places]
        return as_volume(slices, paths)[0]

    def _places(self, index: int) -> range:
        """Where the slab begins and ends; beyond the ends of a stack of fewer slices than that."""
        block = self._data.block
        assert isinstance(block, Block), "no stack of slices"
        count, depth = len(self), block.depth
        if count < depth:
            before = (depth - count) // 2
            return range(-before, depth - before)
        return range(max(0, index - depth + 1), min(count, index + depth))
