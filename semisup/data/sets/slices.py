"""The slices of a volume, whatever files they are in: which are trained on, and blocks of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.volumes import Block, as_volume, mirrored
from semisup.errors import DataError, RecipeError
from semisup.system.words import counted

SUBSETS = ("train", "val", "all")


class Slices(SegmentationData):
    """The slices of one volume, some of which are annotated.

    The last ones are the subset "val", which is never trained on; those before them are "train".
    A subclass sets `root`, `subset`, `classes` and `palette`, and calls `divide`.
    """

    default_split = "masked"

    def divide(
        self,
        slices: Sequence[str],
        has_mask: Callable[[str], bool],
        *,
        held_out: int,
        annotated: int,
        block: Block,
    ) -> None:
        """Find the slices of the subset, and those of them that may be labelled.

        Args:
            slices: the names of all, in order.
            has_mask: whether there is a mask of a slice.
            held_out: slices at the end that are reported on.
            annotated: how many of the masks of "train" are used, evenly spread; 0: all.
            block: what a network for volumes is shown.

        Raises:
            DataError: no slice is left to train on or to report on, or there are fewer masks.
            RecipeError: a number is negative.
        """
        for name, value in {"held_out": held_out, "annotated": annotated}.items():
            if value < 0:
                raise RecipeError(f"{name} = {value}: must not be negative")
        self._slices, self._block = tuple(slices), block
        self._held_out, self._annotated = held_out, annotated
        first, last = self._part()
        self._first, self.ids = first, self._slices[first:last]
        self._used = self._with_mask(has_mask)

    @abstractmethod
    def slice_path(self, name: str) -> Path:
        """Where slice `name` lies: a file of its own, or one of many."""

    @abstractmethod
    def slice_of(self, name: str) -> Tensor:
        """Slice `name`: CHW.

        Raises:
            DataError: it cannot be read.
        """

    def _part(self) -> tuple[int, int]:
        """Which of the slices are in the subset: from, and to before."""
        count, held_out = len(self._slices), self._held_out
        if held_out >= count:
            raise DataError(
                f"{self.root}: has {counted(count, 'slice')}, and held_out = {held_out} leaves "
                "none to train on. Hold out fewer."
            )
        if self.subset == "val" and not held_out:
            raise DataError(f"{self.root}: held_out = 0 leaves no subset 'val'. Hold out some.")
        border = count - held_out
        return {"train": (0, border), "val": (border, count), "all": (0, count)}[self.subset]

    def _with_mask(self, has_mask: Callable[[str], bool]) -> frozenset[str]:
        """The slices that may be labelled: of "train" as many as are asked for, evenly spread."""
        there = [name for name in self.ids if has_mask(name)]
        count = self._annotated if self.subset == "train" else 0
        if count > len(there):
            raise DataError(
                f"{self.root}: annotated = {count}, but {len(there)} of the {len(self.ids)} slices "
                "to train on have a mask. Ask for fewer."
            )
        places = [(2 * i + 1) * len(there) // (2 * count) for i in range(count)]
        return frozenset([there[place] for place in places] if count else there)

    @property
    def block(self) -> Block:
        """What a network for volumes is shown."""
        return self._block

    def image_path(self, index: int) -> Path:
        """Where slice `index` lies."""
        return self.slice_path(self.ids[index])

    def has_mask(self, index: int) -> bool:
        """Whether slice `index` is annotated, and its mask is one of those that are used."""
        return self.ids[index] in self._used

    def image(self, index: int) -> Tensor:
        """Slice `index`: CHW; errors as in `slice_of`."""
        return self.slice_of(self.ids[index])

    def context(self, first: int, last: int) -> Tensor:
        """Slices `first` to before `last` of the whole volume, counted from slice 0 of the subset.

        No mask is opened. Beyond the ends of the volume it is mirrored.

        Returns:
            CDHW.

        Raises:
            DataError: a slice cannot be read, or is of another size than the first of them.
        """
        places = [mirrored(self._first + place, len(self._slices)) for place in range(first, last)]
        names = [self._slices[place] for place in places]
        slices = {name: self.slice_of(name) for name in dict.fromkeys(names)}
        return as_volume([slices[name] for name in names], [*map(self.slice_path, names)])

    def facts(self) -> dict[str, object]:
        """Which slices are held out and annotated, and of how many a block is."""
        annotated = {"annotated_slices": self._annotated} if self._annotated else {}
        return {
            "held_out_slices": self._held_out,
            "block_depth": self._block.depth,
            **annotated,
        }
