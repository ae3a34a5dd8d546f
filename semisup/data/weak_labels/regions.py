"""The regions of a mask that a person would label one by one: objects, or connected pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from semisup.types import IGNORE

SMALLEST = 9
"""Pixels: a person does not see a smaller region. Where a class has none else, its largest."""

Inside = npt.NDArray[np.bool_]

Numbers = npt.NDArray[np.int64]


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
        row, beyond = 0, len(self.inside)
        while beyond - row > 1:  # to count the half above is faster than to count in each row
            middle = (row + beyond) // 2
            above = int(np.count_nonzero(self.inside[row:middle]))
            if number < above:
                beyond = middle
            else:
                row, number = middle, number - above
        return self.top + row, self.left + int(np.flatnonzero(self.inside[row])[number])

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
    objects = np.zeros_like(mask) if instances is None else instances * (instances != IGNORE)
    runs = _runs_of(mask, objects)
    part = _parts_of(runs)
    order = np.argsort(part, kind="stable")
    starts = np.flatnonzero(np.diff(part[order], prepend=-1))  # of each part, its first run
    first = order[starts]
    label, number = runs.label[first], runs.number[first]
    area = np.add.reduceat((runs.end - runs.begin)[order], starts)
    top, left = runs.row[first], np.minimum.reduceat(runs.begin[order], starts)
    bottom = np.maximum.reduceat(runs.row[order], starts) + 1
    right = np.maximum.reduceat(runs.end[order], starts)

    place = np.where(number > 0, number - 256, first)  # objects by number, then the rest
    kept = area >= SMALLEST
    by_label = np.lexsort((place, -area, label))  # the largest of each class comes first
    kept[by_label[np.flatnonzero(np.diff(label[by_label], prepend=-1))]] = True
    kept &= label != IGNORE

    order = np.lexsort((place, left, top, label, -area))
    rows = np.stack([np.arange(len(area)), label, area, top, left, bottom, right], axis=1)
    parts = np.repeat(part, runs.end - runs.begin).reshape(mask.shape)
    return [
        Region(of, y, x, parts[y:below, x:beyond] == one, pixels)
        for one, of, pixels, y, x, below, beyond in rows[order[kept[order]]].tolist()
    ]


class _Runs(NamedTuple):
    """Pixels of a row beside each other that have one label and are of one object, N of each.

    In reading order; together they are the whole mask.
    """

    row: Numbers
    begin: Numbers
    """Column."""
    end: Numbers
    """Column, one beyond."""
    label: Numbers
    number: Numbers
    """Of the object; 0 where of none."""


def _runs_of(mask: npt.NDArray[np.uint8], objects: npt.NDArray[np.uint8]) -> _Runs:
    starts = np.ones(mask.shape, np.bool_)
    np.not_equal(mask[:, 1:], mask[:, :-1], out=starts[:, 1:])
    starts[:, 1:] |= objects[:, 1:] != objects[:, :-1]
    first = np.flatnonzero(starts)
    row, begin = np.divmod(first, mask.shape[1])
    end = begin + np.diff(first, append=mask.size)
    return _Runs(row, begin, end, *(m.ravel()[first].astype(np.int64) for m in (mask, objects)))


def _parts_of(runs: _Runs) -> Numbers:
    """The number of the region that each run is of, from 0 on: N.

    Runs are joined where they touch a run like them in the row below, and all of one object.
    """
    one, other = _touching(runs)
    kind = runs.number * 256 + runs.label
    like = kind[one] == kind[other]
    by_kind = np.argsort(kind, kind="stable")
    by_kind = by_kind[runs.number[by_kind] > 0]
    again = kind[by_kind[1:]] == kind[by_kind[:-1]]
    one = np.concatenate([one[like], by_kind[:-1][again]])
    other = np.concatenate([other[like], by_kind[1:][again]])
    order, nodes = np.argsort(one, kind="stable"), np.arange(len(kind) + 1)
    starts = np.searchsorted(one[order], nodes)  # of the edges of each run
    graph = csr_array((np.ones(len(one)), other[order], starts), shape=(len(kind), len(kind)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _touching(runs: _Runs) -> tuple[Numbers, Numbers]:
    """Each run, with each run of the row below that it touches, at a corner too."""
    width = int(runs.end.max())
    first = runs.row * width + runs.begin
    upper = np.flatnonzero(runs.row < runs.row[-1])
    below = (runs.row[upper] + 1) * width
    leftmost = below + np.maximum(runs.begin[upper] - 1, 0)
    rightmost = below + np.minimum(runs.end[upper], width - 1)
    begin = np.searchsorted(first, leftmost, side="right") - 1
    count = np.searchsorted(first, rightmost, side="right") - begin
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(upper, count), np.repeat(begin, count) + within
