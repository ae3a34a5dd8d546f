"""Bounding boxes, and the mask that they come to when they are filled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semisup.data.base import ObjectBox, SegmentationData
from semisup.data.weak_labels.base import (
    Drawn,
    Draws,
    Labels,
    Truth,
    WeakKind,
    unlabelled,
)
from semisup.data.weak_labels.costs import Content, Costs
from semisup.data.weak_labels.regions import Region
from semisup.errors import RecipeError
from semisup.types import IGNORE


class Box(NamedTuple):
    """Where an object is; columns and rows count from 0, right and bottom are one beyond."""

    left: int
    top: int
    right: int
    bottom: int
    label: int

    @property
    def area(self) -> int:
        """Pixels."""
        return (self.right - self.left) * (self.bottom - self.top)


class Boxes(WeakKind):
    """Boxes about the regions of all classes but the background.

    Filled they are the first labels of BoxSup (Dai et al. 2015) and of WSSL's Bbox-Rect (Papandreou
    et al. 2015): what is in no box is background, and a pixel in several is of the smallest.

    Args:
        off: standard deviation of each side of a box from where it should be, pixels: people draw
            boxes a few pixels wide of their objects.
        background: label of what is in no box; -1: all classes are boxed, and what is in no box
            has no label.

    Raises:
        RecipeError: an option is out of its range.
    """

    name = "boxes"

    def __init__(self, *, off: float = 0.0, background: int = 0) -> None:
        if not off >= 0 or not -1 <= background < 255:
            raise RecipeError(
                f"boxes need off >= 0 and background of -1 or a label, not {off} and {background}"
            )
        self.off, self.background = off, background

    def label(self, truth: Truth, draws: Draws) -> Labels:
        """See `WeakKind.label`."""
        labels = unlabelled(truth)
        fill(labels, self.place(truth, draws), self.background)
        return labels

    def annotated(self, data: SegmentationData, sources: Sequence[Path]) -> Drawn:
        """The boxes of the data set's own annotations.

        Raises:
            RecipeError: a file is named, or the data set has none.
            DataError: an annotation cannot be used, from the function.
        """
        if sources:
            raise RecipeError(f"boxes are read from the annotations of {data.name}: name no file")

        def draw(index: int) -> Labels:
            labels = np.full(data.image(index).shape[-2:], IGNORE, np.uint8)
            fill(labels, [_whole(box) for box in data.object_boxes(index)], self.background)
            return labels

        return draw

    def seconds(self, costs: Costs, content: Content) -> float:
        """See `WeakKind.seconds`."""
        return costs.boxes(content)

    def place(self, truth: Truth, draws: Draws) -> list[Box]:
        """The boxes, that of the largest region first."""
        size, boxed = truth.mask.shape, [r for r in truth.regions if r.label != self.background]
        return [self._box(region, size, draws) for region in boxed]

    def _box(self, region: Region, size: tuple[int, ...], draws: Draws) -> Box:
        left, top, right, bottom = (
            side + round(self.off * _normal(draws)) if self.off else side for side in region.box
        )
        left = min(max(left, 0), size[1] - 1)
        top = min(max(top, 0), size[0] - 1)
        return Box(
            left,
            top,
            max(min(right, size[1]), left + 1),
            max(min(bottom, size[0]), top + 1),
            region.label,
        )


def fill(labels: Labels, boxes: Sequence[Box], background: int = 0) -> None:
    """Write what the boxes come to: the smallest one has a pixel that is in several."""
    if background >= 0:
        labels[:] = background
    for box in sorted(boxes, key=lambda box: -box.area):
        labels[box.top : box.bottom, box.left : box.right] = box.label


def _whole(box: ObjectBox) -> Box:
    """In whole pixels: all that the box touches."""
    left, top = (max(0, math.floor(side)) for side in (box.left, box.top))
    right, bottom = (max(0, math.ceil(side)) for side in (box.right, box.bottom))
    return Box(left, top, right, bottom, box.label)


def _normal(draws: Draws) -> float:
    """About a normal number, of variance 1 and at most 6: the sum of twelve uniform ones."""
    return sum(draws.uniform() for _ in range(12)) - 6.0
