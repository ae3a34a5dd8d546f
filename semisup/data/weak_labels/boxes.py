"""Bounding boxes, and the mask that they come to when they are filled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from semisup.data.base import ObjectBox, SegmentationData
from semisup.data.weak_labels.base import (
    Drawn,
    ImageRandom,
    Labels,
    Truth,
    WeakKind,
    background_of,
    unlabelled,
)
from semisup.data.weak_labels.costs import Content, Costs
from semisup.data.weak_labels.regions import Region
from semisup.errors import DataError, RecipeError
from semisup.ops.boxes import segment_boxes
from semisup.ops.crf_settings import CrfSettings
from semisup.types import IGNORE

NEAR, FAR = 0.012, 0.08
"""Standard deviations of position of the CRF of refined boxes, of smoothness and of appearance, as
shares of the longer side of the image: chosen on 40 masks of VOC (docs/weak_labels.md)."""


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
    et al. 2015): what is in no box is background, and a pixel in several is of the smallest. Where
    no class is the background, all are boxed, and what is in no box has no label. Void of the mask
    stays void; of annotations, the boxes of classes that are left out and of crowds are void.

    Args:
        jitter: standard deviation of each side of a box from where it should be, pixels: people
            draw boxes a few pixels wide of their objects.

    Raises:
        RecipeError: an option is out of its range.
    """

    name = "boxes"

    def __init__(self, *, jitter: float = 0.0) -> None:
        if not 0 <= jitter < math.inf:
            raise RecipeError(f"boxes need jitter >= 0, not {jitter}")
        self.jitter = jitter

    def label(self, truth: Truth, draws: ImageRandom) -> Labels:
        """See `WeakKind.label`."""
        labels = unlabelled(truth)
        boxes = self.place(truth, draws)
        self.write(labels, boxes, truth.background, lambda: truth.picture)
        labels[truth.mask == IGNORE] = IGNORE
        return labels

    def annotated(self, data: SegmentationData, sources: Sequence[Path]) -> Drawn:
        """The boxes of the data set's own annotations.

        Raises:
            RecipeError: a file is named, or the data set has none.
            DataError: an annotation cannot be used, or is of another image; from the function.
        """
        if sources:
            raise RecipeError(f"boxes are read from the annotations of {data.name}: name no file")

        def draw(index: int) -> Labels:
            picture = data.image(index)
            labels = np.full(picture.shape[-2:], IGNORE, np.uint8)
            boxes = [_whole(box, data, index, labels) for box in data.object_boxes(index)]
            self.write(labels, boxes, background_of(data), lambda: picture)
            return labels

        return draw

    def seconds(self, costs: Costs, content: Content) -> float:
        """See `WeakKind.seconds`."""
        return costs.boxes(content)

    def write(
        self, labels: Labels, boxes: Sequence[Box], background: int, picture: Callable[[], Tensor]
    ) -> None:
        """Write what the boxes come to.

        Args:
            labels: HW, 255 throughout.
            boxes: of one image.
            background: its label; -1: there is none.
            picture: gives the image, CHW.
        """
        fill(labels, boxes, background)

    def place(self, truth: Truth, draws: ImageRandom) -> list[Box]:
        """The boxes, that of the largest region first."""
        size, boxed = truth.mask.shape, [r for r in truth.regions if r.label != truth.background]
        return [self._box(region, size, draws) for region in boxed]

    def _box(self, region: Region, size: tuple[int, ...], draws: ImageRandom) -> Box:
        left, top, right, bottom = (
            side + round(self.jitter * _normal(draws)) if self.jitter else side
            for side in region.box
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


class RefinedBoxes(Boxes):
    """Boxes of which a dense CRF leaves what looks like the object in their middle.

    WSSL's Bbox-Seg (Papandreou et al. 2015, `ops.boxes`): the middle of a box is of its class, what
    is in no box is background, and the CRF says of the pixels between which of the two they are;
    those of which it is not sure have no label. Where what is in a box would be void, as of classes
    that are left out and of crowds, the background in it is. Colours need 8 bits and one or three
    channels.

    Args:
        jitter: as of boxes.
        middle: share of the area of a box that is of its class in any case.
        sure: least marginal of a label.

    Raises:
        RecipeError: an option is out of its range.
    """

    name = "refined_boxes"

    def __init__(self, *, jitter: float = 0.0, middle: float = 0.4, sure: float = 0.8) -> None:
        super().__init__(jitter=jitter)
        if not (0 <= middle <= 1 and 0 <= sure <= 1):
            raise RecipeError(
                f"refined boxes need middle and sure in [0, 1], not {middle} and {sure}"
            )
        self.middle, self.sure = middle, sure

    def write(
        self, labels: Labels, boxes: Sequence[Box], background: int, picture: Callable[[], Tensor]
    ) -> None:
        """See `Boxes.write`.

        Raises:
            RecipeError: no class is the background, or the image has no colours to compare.
        """
        if background != 0:
            raise RecipeError(
                "refined boxes need a class 'background' (0), which what is in no box is of: take "
                "boxes"
            )
        image = picture()
        if image.dtype != torch.uint8 or len(image) not in (1, 3):
            raise RecipeError(
                f"refined boxes compare colours of 8 bits in 1 or 3 channels, and an image has "
                f"{len(image)} channels of {8 * image.element_size()} bits: take boxes"
            )
        known = [box for box in boxes if box.label != IGNORE]
        side = max(labels.shape)
        settings = CrfSettings(
            smoothness_sigma=max(NEAR * side, 0.1), appearance_sigma=max(FAR * side, 0.1)
        )
        made = segment_boxes(
            image.expand(3, -1, -1), known, middle=self.middle, sure=self.sure, settings=settings
        )
        labels[:] = made.numpy()
        for box in boxes:
            if box.label == IGNORE:
                part = labels[box.top : box.bottom, box.left : box.right]
                part[part == background] = IGNORE


def fill(labels: Labels, boxes: Sequence[Box], background: int) -> None:
    """Write what the boxes come to: the smallest one has a pixel that is in several."""
    if background >= 0:
        labels[:] = background
    for box in sorted(boxes, key=lambda box: -box.area):
        labels[box.top : box.bottom, box.left : box.right] = box.label


def _whole(box: ObjectBox, data: SegmentationData, index: int, labels: Labels) -> Box:
    """In whole pixels: all that the box touches."""
    height, width = labels.shape
    if min(box.left, box.top) < -1 or box.right > width + 1 or box.bottom > height + 1:
        raise DataError(
            f"{data.image_path(index)} is {width}x{height} pixels, but a box of its annotation "
            f"reaches to {box.right:g}, {box.bottom:g}: take annotations of these images"
        )
    left, top = (max(0, math.floor(side)) for side in (box.left, box.top))
    right, bottom = (max(0, math.ceil(side)) for side in (box.right, box.bottom))
    return Box(left, top, right, bottom, box.label)


def _normal(draws: ImageRandom) -> float:
    """About a normal number, of variance 1 and at most 6: the sum of twelve uniform ones."""
    return sum(draws.uniform() for _ in range(12)) - 6.0
