"""Coarse masks: polygons of few corners, with a margin that nobody labels."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from semisup.data.weak_labels.base import ImageRandom, Labels, Truth, WeakKind, unlabelled
from semisup.data.weak_labels.costs import Content, Costs
from semisup.data.weak_labels.regions import Inside
from semisup.errors import RecipeError
from semisup.types import IGNORE

Corners = npt.NDArray[np.float64]
"""N2, row and column, of the corners of pixels: 0 is the upper or left edge of the first one."""


class Coarse(WeakKind):
    """The outline of each region as a polygon, the small ones over the large ones.

    A polygon goes around the holes of its region. Void of the mask stays void.

    Args:
        corners: of a polygon, at most.
        margin: pixels about every border between two labels that have none: an annotator in a
            hurry keeps away from it, as in the coarse masks of Cityscapes.
        dilate: pixels by which each region is drawn too large; below 0, too small.

    Raises:
        RecipeError: an option is out of its range.
    """

    name = "coarse"

    def __init__(self, *, corners: int = 8, margin: int = 0, dilate: int = 0) -> None:
        if corners < 3 or margin < 0:
            raise RecipeError(
                f"coarse masks need corners >= 3 and margin >= 0, not {corners} and {margin}"
            )
        self.corners, self.margin, self.dilate = corners, margin, dilate

    def label(self, truth: Truth, draws: ImageRandom) -> Labels:
        """See `WeakKind.label`; nothing is random here."""
        labels = unlabelled(truth)
        for region in truth.regions:
            inside, off = _grown(region.inside, self.dilate)
            outline = simplified(outline_of(inside), self.corners)
            corner = np.array([region.top - off, region.left - off])
            labels[filled(outline + corner, labels.shape)] = region.label
        labels[truth.mask == IGNORE] = IGNORE
        return _without_margin(labels, self.margin)

    def seconds(self, costs: Costs, content: Content) -> float:
        """See `WeakKind.seconds`."""
        return costs.coarse(content)


def _grown(inside: Inside, by: int) -> tuple[Inside, int]:
    """A region with `by` pixels more on all sides, in a box with so many more; or fewer."""
    if by == 0:
        return inside, 0
    if by > 0:
        padded = np.pad(inside, by)
        return ndimage.distance_transform_edt(~padded) <= by, by
    shrunk = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] > -by
    return (shrunk if shrunk.any() else inside), 0


def outline_of(inside: Inside) -> Corners:
    """The outline that encloses most, along the edges of the pixels; the first corner once.

    Clockwise, as rows go down. The outline of a hole runs the other way and is never taken.
    """
    padded = np.pad(inside, 1)
    own = padded[1:-1, 1:-1]
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    sides = (  # neighbour that is outside, where the edge begins, where it ends
        (padded[:-2, 1:-1], (0, 0), (0, 1)),
        (padded[1:-1, 2:], (0, 1), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (1, 0)),
        (padded[1:-1, :-2], (1, 0), (0, 0)),
    )
    for outside, begin, end in sides:
        for row, column in np.argwhere(own & ~outside).tolist():
            start = row + begin[0], column + begin[1]
            after.setdefault(start, []).append((row + end[0], column + end[1]))
    best: list[tuple[int, int]] = []
    largest = 0.0
    while after:
        first = place = next(iter(after))
        walked = []
        while True:
            walked.append(place)
            following = after[place].pop()
            if not after[place]:
                del after[place]
            place = following
            if place == first:
                break
        area = _signed_area(walked)
        if area > largest:
            best, largest = walked, area
    way = np.array(best, np.float64)
    turns = (way - np.roll(way, 1, 0) != np.roll(way, -1, 0) - way).any(axis=1)
    return np.asarray(way[turns])


def _signed_area(walked: list[tuple[int, int]]) -> float:
    """Pixels within an outline; below 0 where it is that of a hole."""
    rows, columns = np.array(walked, np.float64).T
    return float(np.dot(columns, np.roll(rows, -1)) - np.dot(rows, np.roll(columns, -1))) / 2


def simplified(corners: Corners, count: int) -> Corners:
    """An outline with at most `count` corners.

    The corner whose triangle with its neighbours is smallest goes first (Visvalingam and Whyatt,
    1993).
    """
    size, places = len(corners), corners.tolist()
    before, after = list(range(-1, size - 1)), [*range(1, size), 0]
    before[0] = size - 1

    def triangle(at: int) -> float:
        (ay, ax), (by, bx), (cy, cx) = places[before[at]], places[at], places[after[at]]
        return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))  # type: ignore[no-any-return]

    areas = [triangle(at) for at in range(size)]
    heap = [(area, at) for at, area in enumerate(areas)]
    heapq.heapify(heap)
    left, gone = size, [False] * size
    while left > max(3, count) or (heap and heap[0][0] == 0 and left > 3):
        area, at = heapq.heappop(heap)
        if gone[at] or area != areas[at]:
            continue
        gone[at], left = True, left - 1
        one, other = before[at], after[at]
        after[one], before[other] = other, one
        for neighbour in (one, other):
            areas[neighbour] = max(area, triangle(neighbour))
            heapq.heappush(heap, (areas[neighbour], neighbour))
    return corners[[not lost for lost in gone]]


def filled(corners: Corners, size: tuple[int, ...]) -> Inside:
    """Bool HW: True where the centre of a pixel is in a polygon, which may reach beyond the map."""
    height, width = size
    crossed = np.zeros((height, width + 1), np.int32)
    for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        (top, left), (bottom, right) = sorted((one.tolist(), other.tolist()))
        rows = np.arange(max(0, np.ceil(top - 0.5)), min(height, np.ceil(bottom - 0.5)))
        if len(rows):  # of an edge that passes the centre of a row
            x = left + (rows + 0.5 - top) / (bottom - top) * (right - left)
            beyond = np.ceil(x - 0.5).clip(0, width).astype(np.intp)
            np.add.at(crossed, (rows.astype(np.intp), beyond), 1)
    return np.asarray(crossed.cumsum(axis=1)[:, :width] % 2 == 1)


def _without_margin(labels: Labels, margin: int) -> Labels:
    """Labels, void within `margin` pixels of a pixel of another one."""
    if not margin:
        return labels
    border = np.zeros(labels.shape, np.bool_)
    border[1:] |= labels[1:] != labels[:-1]
    border[:-1] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    if border.any():
        labels[ndimage.distance_transform_edt(~border) < margin] = IGNORE
    return labels
