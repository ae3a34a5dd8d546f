"""How well predicted contours lie on the true ones.

Both scores go class by class. Pixels whose ground truth is void take no part: they are on no
boundary, they make no neighbour a boundary, and no prediction on them is read. The annotators of
Pascal VOC hid the contours of all objects under bands of void; for the boundary F1 such a band is
closed from both sides, so that the contour lies in its middle: void within the tolerance of a
labelled pixel takes the label of the nearest one, and only what lies deeper stays void. The
boundary IoU reaches across a band that is narrower than its own width.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from semisup.types import IGNORE

Labels = NDArray[np.uint8]

F1_TOLERANCE = 0.0075
"""Share of the image diagonal within which two boundary pixels match (SegNet)."""

IOU_WIDTH = 0.02
"""Share of the image diagonal that an inner boundary region is wide (Cheng et al.)."""


_THREADS = 2
_MOST_WAITING = 16


class BoundaryScores:
    """Boundary F1 and boundary IoU of a set, one image at a time.

    *Boundary F1* (Csurka et al. 2013, as averaged by Badrinarayanan et al., "SegNet", 2017). A
    pixel is on the boundary of its class if one of its 4 neighbours is of another class; the edge
    of the image is no boundary. Precision is the share of a class's predicted boundary pixels that
    have a true one of that class within 0.75 % of the image diagonal (Euclidean), recall the
    reverse. F1 is averaged over the classes that have a boundary in this image's truth, then over
    the images that have such a class: each image weighs the same, whatever its classes.

    *Boundary IoU* (Cheng et al. 2021). The inner boundary region of a class is the part of it that
    lies within 2 % of the image diagonal (at least 1 pixel, chessboard distance) of another class
    or of the outside of the image. Intersection and union of the true and the predicted regions
    are summed over the set for each class; the mean is over classes whose union is not empty.

    Images are scored on two threads of their own, beside whatever the caller does meanwhile: scipy
    and numpy leave the interpreter free. The result does not depend on the order in which images
    are added or merged, not even in its last bit. An object can be pickled, to be merged into that
    of another process.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._images: list[_ImageBoundaries] = []
        self._waiting: deque[Future[_ImageBoundaries]] = deque()
        self._pool: ThreadPoolExecutor | None = None  # its threads end when it is let go

    def add(self, prediction: Tensor, truth: Tensor) -> None:
        """Count one image. Its maps are read later: they must not be changed after the call.

        Args:
            prediction: HW uint8, labels 0..K-1; may still be under way on its device.
            truth: HW uint8, labels 0..K-1 and `IGNORE`.
        """
        assert prediction.ndim == 2, prediction.shape
        assert prediction.shape == truth.shape, (prediction.shape, truth.shape)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS)
        self._waiting.append(self._pool.submit(_judge, prediction, truth, self.num_classes))
        self._take(_MOST_WAITING)

    def _take(self, most_waiting: int = 0) -> None:
        """Take in scored images, and wait until no more than `most_waiting` are under way."""
        while len(self._waiting) > most_waiting:
            self._images.append(self._waiting.popleft().result())

    def merge(self, other: BoundaryScores) -> None:
        """Take in what `other` has counted on other images."""
        assert self.num_classes == other.num_classes, (self.num_classes, other.num_classes)
        other._take()
        self._images += other._images

    def __getstate__(self) -> dict[str, Any]:
        self._take()
        return self.__dict__ | {"_pool": None}

    def result(self, left_out: Sequence[int] = ()) -> dict[str, float | list[float | None] | None]:
        """The scores so far, for JSON: shares in [0, 1], None where nothing defines one.

        Args:
            left_out: classes that the set does not have, which count in no mean.

        Returns:
            `boundary_f1`: mean over images; `per_class_boundary_f1`: for each class its mean over
            the images whose truth has a boundary of it; `boundary_iou`: mean over classes;
            `per_class_boundary_iou`.
        """
        self._take()
        f1 = [image.f1 for image in self._images]
        of_class = [[float(row[k]) for row in f1] for k in range(self.num_classes)]
        zeros = np.zeros(self.num_classes, dtype=np.int64)
        intersection = sum((image.intersection for image in self._images), zeros)
        union = sum((image.union for image in self._images), zeros)
        pairs = zip(intersection.tolist(), union.tolist(), strict=True)
        per_class_iou = [
            both / either if either and k not in left_out else None
            for k, (both, either) in enumerate(pairs)
        ]
        return {
            "boundary_f1": _mean([_mean(row.tolist()) for row in f1]),
            "per_class_boundary_f1": [_mean(values) for values in of_class],
            "boundary_iou": _mean(per_class_iou),
            "per_class_boundary_iou": per_class_iou,
        }


@dataclass(frozen=True, slots=True)
class _ImageBoundaries:
    """What is known of one image.

    Attributes:
        f1: K float64; NaN for a class without a boundary in the truth.
        intersection: K int64, pixels in both inner boundary regions.
        union: K int64, pixels in either.
    """

    f1: NDArray[np.float64]
    intersection: NDArray[np.int64]
    union: NDArray[np.int64]


def _judge(prediction: Tensor, truth: Tensor, num_classes: int) -> _ImageBoundaries:
    true: Labels = truth.cpu().numpy()
    predicted: Labels = prediction.cpu().numpy()
    radius = F1_TOLERANCE * math.hypot(*true.shape)
    closed = close_void(true, radius)
    f1 = _class_f1(_without_void(predicted, closed), closed, radius, num_classes)
    return _ImageBoundaries(f1, *_inner_overlap(_without_void(predicted, true), true, num_classes))


def _class_f1(
    predicted: Labels, true: Labels, radius: float, num_classes: int
) -> NDArray[np.float64]:
    points, true_points = _contour_points(predicted), _contour_points(true)
    right = _per_class(points[_near(points, true_points, radius), 2], num_classes)
    found = _per_class(true_points[_near(true_points, points, radius), 2], num_classes)
    in_prediction = _per_class(points[:, 2], num_classes)
    in_truth = _per_class(true_points[:, 2], num_classes)
    precision = right / np.maximum(in_prediction, 1)
    recall = found / np.maximum(in_truth, 1)
    both = precision + recall
    f1 = 2.0 * precision * recall / np.where(both > 0, both, 1.0)
    return np.where(in_truth > 0, f1, np.nan)


def _inner_overlap(
    predicted: Labels, true: Labels, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Intersection and union of the inner boundary regions of each class."""
    width = max(1, round(IOU_WIDTH * math.hypot(*true.shape)))
    inner, true_inner = _inner_regions(predicted, width), _inner_regions(true, width)
    shared = _per_class(true[inner & true_inner & (predicted == true)], num_classes)
    in_prediction = _per_class(predicted[inner], num_classes)
    return shared, in_prediction + _per_class(true[true_inner], num_classes) - shared


def _per_class(labels: NDArray[np.generic], num_classes: int) -> NDArray[np.int64]:
    return np.bincount(labels, minlength=num_classes).astype(np.int64)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of those that are there and no NaN; None where there is none."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return math.fsum(known) / len(known) if known else None  # fsum: the same in any order


def close_void(labels: Labels, radius: float) -> Labels:
    """Labels (HW) in which void within `radius` of a labelled pixel has the nearest one's label.

    Args:
        labels: HW uint8, with `IGNORE`.
        radius: in pixels, Euclidean.
    """
    void = labels == IGNORE
    if radius < 1 or not void.any() or void.all():
        return labels
    # What lies further from any void than the radius cannot be the nearest within it.
    box = _surroundings(void, math.ceil(radius))
    rows, columns = ndimage.distance_transform_edt(
        void[box], return_distances=False, return_indices=True
    )
    y, x = np.nonzero(void[box])
    nearest_y, nearest_x = rows[y, x], columns[y, x]
    near = np.sqrt((nearest_y - y) ** 2 + (nearest_x - x) ** 2) <= radius
    closed = labels.copy()
    closed[box][y[near], x[near]] = labels[box][nearest_y[near], nearest_x[near]]
    return closed


def _surroundings(where: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """The smallest box around all that is true in `where`, and `margin` pixels more."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return slice(top, rows[-1] + margin + 1), slice(left, columns[-1] + margin + 1)


def _without_void(predicted: Labels, true: Labels) -> Labels:
    return np.where(true == IGNORE, np.uint8(IGNORE), predicted)


def _contour_points(labels: Labels) -> NDArray[np.int64]:
    """Pixels with a 4-neighbour of another class, void on neither side.

    Returns:
        N x (row, column, label).
    """
    contour = np.zeros(labels.shape, dtype=bool)
    valid = labels != IGNORE
    down = (labels[1:] != labels[:-1]) & valid[1:] & valid[:-1]
    right = (labels[:, 1:] != labels[:, :-1]) & valid[:, 1:] & valid[:, :-1]
    contour[1:] |= down
    contour[:-1] |= down
    contour[:, 1:] |= right
    contour[:, :-1] |= right
    return np.column_stack([*np.nonzero(contour), labels[contour].astype(np.int64)])


def _near(points: NDArray[np.int64], others: NDArray[np.int64], radius: float) -> NDArray[np.bool_]:
    """Which of `points` have one of `others`, of their own label, within `radius` (inclusive)."""
    # The label is a third coordinate, in which two labels are never near: one search serves all
    # classes. Contours are thin, so this is faster than a distance transform for each class.
    apart = np.array([1.0, 1.0, 2.0 * radius + 1.0])
    tree = cKDTree(others * apart, balanced_tree=False, compact_nodes=False)
    bound = np.nextafter(radius, math.inf)  # scipy's bound is exclusive
    distance, _ = tree.query(points * apart, distance_upper_bound=bound)
    found: NDArray[np.bool_] = np.isfinite(distance)
    return found


def _inner_regions(labels: Labels, width: int) -> NDArray[np.bool_]:
    """Pixels within `width` (chessboard) of another class or of the outside, void apart."""
    # Another class is in the window where the window's greatest or smallest label is not the
    # pixel's own. Void is made neutral in each; 255 beyond the edge counts as another class.
    size = 2 * width + 1
    void = labels == IGNORE
    greatest = ndimage.maximum_filter(np.where(void, 0, labels), size, mode="constant", cval=IGNORE)
    smallest = ndimage.minimum_filter(labels, size, mode="constant", cval=IGNORE)
    inner: NDArray[np.bool_] = ((greatest != labels) | (smallest != labels)) & ~void
    return inner
