"""The regions of a mask that a person would label one by one: objects, or connected pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from semisup.types import IGNORE

SMALLEST = 9
"""Pixels: a person does not see a smaller region. Where a class has none else, its largest."""

Inside = npt.NDArray[np.bool_]


class Region(NamedTuple):
    """Pixels of one class that are labelled together.

    Attributes:
        label: of the class, 0..K-1.
        top: first row of its bounding box.
        left: first column of it.
        inside: bool, of the size of the box: True where a pixel is of the region.
        area: pixels of the region.
    """

    label: int
    top: int
    left: int
    inside: Inside
    area: int

    def pixel(self, number: int) -> tuple[int, int]:
        """Row and column, in the image, of one of its pixels: 0..area-1, from the upper left."""
        ends = np.cumsum(np.count_nonzero(self.inside, axis=1))
        row = int(np.searchsorted(ends, number, side="right"))
        before = int(ends[row - 1]) if row else 0
        column = int(np.flatnonzero(self.inside[row])[number - before])
        return self.top + row, self.left + column

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom; the last two are one beyond its pixels."""
        height, width = self.inside.shape
        return self.left, self.top, self.left + width, self.top + height


def regions_of(
    mask: npt.NDArray[np.uint8], instances: npt.NDArray[np.uint8] | None = None
) -> list[Region]:
    """The regions of a mask, the largest first.

    An object is one region, however many parts of it are seen. Where objects are not told apart,
    a region is what is connected, diagonally too. Regions of fewer than `SMALLEST` pixels are left
    out, but each class keeps its largest one.

    Args:
        mask: HW, 0..K-1 and 255 for void.
        instances: HW, the number of the object that a pixel is of, from 1 on; 0 and 255 are of
            none. None: objects are not told apart.
    """
    found: list[Region] = []
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)[:IGNORE]
    for label in np.flatnonzero(counts).tolist():
        of_label = mask == label
        box = _bounds(of_label)
        of_class = [
            _region(label, box, inner, part[inner] == number)
            for part in _parts(of_label[box], None if instances is None else instances[box])
            for number, inner in enumerate(ndimage.find_objects(part), start=1)
            if inner is not None
        ]
        large = [region for region in of_class if region.area >= SMALLEST]
        found += large or [max(of_class, key=lambda region: region.area)]
    return sorted(found, key=lambda region: (-region.area, region.label, region.top, region.left))


def _parts(
    inside: Inside, instances: npt.NDArray[np.uint8] | None
) -> Iterator[npt.NDArray[np.int32]]:
    """Maps of numbered regions, 0 where there is none; they do not overlap."""
    if instances is None:
        yield ndimage.label(inside, np.ones((3, 3)))[0]
        return
    objects = inside & (instances != 0) & (instances != IGNORE)
    yield np.where(objects, instances, 0).astype(np.int32)
    yield ndimage.label(inside & ~objects, np.ones((3, 3)))[0]


def _bounds(inside: Inside) -> tuple[slice, slice]:
    """The bounding box of what is True."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)).tolist() for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _region(
    label: int, outer: tuple[slice, slice], inner: tuple[slice, slice], inside: Inside
) -> Region:
    top, left = (a.start + b.start for a, b in zip(outer, inner, strict=True))
    return Region(label, top, left, inside, int(np.count_nonzero(inside)))
