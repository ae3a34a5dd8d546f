"""Clicks: one for each object or for each class, or several.

Bearman et al., What's the Point: Semantic Segmentation with Point Supervision, ECCV 2016,
https://arxiv.org/abs/1506.02106.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from semisup.data.base import SegmentationData
from semisup.data.weak_labels.base import (
    Drawn,
    ImageRandom,
    Labels,
    Truth,
    WeakKind,
    unlabelled,
)
from semisup.data.weak_labels.clicks import Click, read_clicks
from semisup.data.weak_labels.costs import Content, Costs
from semisup.data.weak_labels.regions import Region
from semisup.errors import DataError, RecipeError
from semisup.types import IGNORE


class Points(WeakKind):
    """Clicks, drawn as discs.

    A click lies on any pixel of its region, all alike. As in What's the Point, the background is a
    class like the others: it is clicked too, or nothing would say where objects end.

    Args:
        per: "object": each region is clicked; "class": the largest of each class alone.
        clicks: on each of them.
        radius: pixels of the disc about a click that take its label: of a single pixel nothing
            may be left once the mask is scaled down. The disc is drawn on its region alone.
        miss_rate: share of the clicks that lie beside their object, within its bounding box grown
            by a tenth; they keep its label, and their discs are not cut. Of the real ones 0.08 are
            not on their class in VOC's masks, if each person's first click is counted, and 0.17 of
            all.

    Raises:
        RecipeError: an option is out of its range.
    """

    name = "points"

    def __init__(
        self,
        *,
        per: Literal["object", "class"] = "object",
        clicks: int = 1,
        radius: int = 2,
        miss_rate: float = 0.0,
    ) -> None:
        if clicks < 1 or radius < 0 or not 0 <= miss_rate <= 1:
            raise RecipeError(
                "points need clicks >= 1, radius >= 0 and miss_rate in 0..1, not "
                f"{clicks}, {radius} and {miss_rate}"
            )
        self.per, self.clicks, self.radius, self.miss_rate = per, clicks, radius, miss_rate

    def label(self, truth: Truth, draws: ImageRandom) -> Labels:
        """See `WeakKind.label`."""
        labels = unlabelled(truth)
        for region, click in self.place(truth, draws):
            draw_click(labels, click, self.radius, region)
        return labels

    def annotated(self, data: SegmentationData, sources: Sequence[Path]) -> Drawn:
        """The clicks of one or more files of `read_clicks`, the later ones over the earlier.

        Raises:
            DataError: as `read_clicks`; or a click is beyond its image, then from the function.
        """
        if not sources:
            raise RecipeError(f"{data.name} has no clicks among its annotations: name a file")
        files = [(path, read_clicks(path, data.num_classes, self.clicks)) for path in sources]

        def draw(index: int) -> Labels | None:
            name = data.ids[index]
            if not any(name in clicks for _, clicks in files):
                return None
            labels = np.full(data.image(index).shape[-2:], IGNORE, np.uint8)
            for path, clicks in files:
                for click in clicks.get(name, []):
                    if click.row >= labels.shape[0] or click.column >= labels.shape[1]:
                        raise DataError(
                            f"{path}: '{name}' has a click at x = {click.column}, y = {click.row}, "
                            f"beyond its image of {labels.shape[1]}x{labels.shape[0]} pixels; take "
                            "images of the size that was clicked on"
                        )
                    draw_click(labels, click, self.radius)
            return labels

        return draw

    def seconds(self, costs: Costs, content: Content) -> float:
        """See `WeakKind.seconds`."""
        places = content.classes + (content.grounds > 0)
        if self.per == "object":
            places = content.objects + content.grounds
        return costs.points(content, self.clicks * places)

    def place(self, truth: Truth, draws: ImageRandom) -> Iterator[tuple[Region | None, Click]]:
        """The clicks, each with the region that it lies on; None for one beside its object."""
        chosen, size = truth.regions, truth.mask.shape
        if self.per == "class":
            chosen = list({region.label: region for region in reversed(chosen)}.values())[::-1]
        for region in chosen:
            for _ in range(self.clicks):
                off = draws.happens(self.miss_rate) and _beside(region, size, draws)
                if off:
                    yield None, Click(*off, region.label)
                    continue
                pixel = region.pixel(draws.below(region.area))
                yield region, Click(*pixel, region.label)


def draw_click(labels: Labels, click: Click, radius: int, region: Region | None = None) -> None:
    """Label a disc about a click; with a region, its pixels alone."""
    left, top, right, bottom = region.box if region else (0, 0, labels.shape[1], labels.shape[0])
    rows = slice(max(top, click.row - radius), min(bottom, click.row + radius + 1))
    columns = slice(max(left, click.column - radius), min(right, click.column + radius + 1))
    down = np.arange(rows.start, rows.stop)[:, None] - click.row
    across = np.arange(columns.start, columns.stop)[None] - click.column
    disc = down**2 + across**2 <= radius**2
    if region is not None:
        within = slice(columns.start - left, columns.stop - left)
        disc &= region.inside[rows.start - top : rows.stop - top, within]
    labels[rows, columns][disc] = click.label


def _beside(region: Region, size: tuple[int, ...], draws: ImageRandom) -> tuple[int, int] | None:
    """A pixel near a region, but not of it; None where the region fills the image."""
    left, top, right, bottom = region.box
    more = max(2, (right - left) // 10), max(2, (bottom - top) // 10)
    left, right = max(0, left - more[0]), min(size[1], right + more[0])
    top, bottom = max(0, top - more[1]), min(size[0], bottom + more[1])
    near = np.ones((bottom - top, right - left), np.bool_)
    height, width = region.inside.shape
    row, column = region.top - top, region.left - left
    near[row : row + height, column : column + width] = ~region.inside
    around = Region(region.label, top, left, near, int(np.count_nonzero(near)))
    return around.pixel(draws.below(around.area)) if around.area else None
