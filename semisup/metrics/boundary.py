"""How well predicted contours lie on the true ones.

Both scores judge class by class. Pixels whose ground truth is void take no part: they are on no
boundary, they make no neighbour a boundary, and no prediction on them is read. The annotators of
Pascal VOC hid the contours of all objects under bands of void; for the boundary F1 such a band is
closed from both sides, so that the contour lies in its middle: void within the tolerance of a
labelled pixel takes the label of the nearest one, and only what lies deeper stays void. The
boundary IoU reaches across a band that is narrower than its own width.
"""

from __future__ import annotations

import math

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

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.images = 0
        self.f1_sum = 0.0
        self.class_images = np.zeros(num_classes, dtype=np.int64)
        self.class_f1_sum = np.zeros(num_classes)
        self.intersection = np.zeros(num_classes, dtype=np.int64)
        self.union = np.zeros(num_classes, dtype=np.int64)

    def add(self, prediction: Tensor, truth: Tensor) -> None:
        """Count one image.

        Args:
            prediction: HW uint8, labels 0..K-1.
            truth: HW uint8, labels 0..K-1 and `IGNORE`.
        """
        assert prediction.ndim == 2, prediction.shape
        assert prediction.shape == truth.shape, (prediction.shape, truth.shape)
        true: Labels = truth.cpu().numpy()
        predicted: Labels = prediction.cpu().numpy()
        radius = F1_TOLERANCE * math.hypot(*true.shape)
        closed = close_void(true, radius)
        self._add_f1(_without_void(predicted, closed), closed, radius)
        self._add_iou(_without_void(predicted, true), true)

    def _add_f1(self, predicted: Labels, true: Labels, radius: float) -> None:
        points, true_points = _contour_points(predicted), _contour_points(true)
        right = self._per_class(points[_near(points, true_points, radius), 2])
        found = self._per_class(true_points[_near(true_points, points, radius), 2])
        in_prediction, in_truth = self._per_class(points[:, 2]), self._per_class(true_points[:, 2])
        present = np.flatnonzero(in_truth)
        if not present.size:
            return
        precision = right[present] / np.maximum(in_prediction[present], 1)
        recall = found[present] / in_truth[present]
        both = precision + recall
        f1 = 2.0 * precision * recall / np.where(both > 0, both, 1.0)
        self.images += 1
        self.f1_sum += float(f1.mean())
        self.class_images[present] += 1
        self.class_f1_sum[present] += f1

    def _add_iou(self, predicted: Labels, true: Labels) -> None:
        width = max(1, round(IOU_WIDTH * math.hypot(*true.shape)))
        inner, true_inner = _inner_regions(predicted, width), _inner_regions(true, width)
        shared = self._per_class(true[inner & true_inner & (predicted == true)])
        self.intersection += shared
        self.union += self._per_class(predicted[inner]) + self._per_class(true[true_inner]) - shared

    def _per_class(self, labels: NDArray[np.generic]) -> NDArray[np.int64]:
        return np.bincount(labels, minlength=self.num_classes).astype(np.int64)

    def merge(self, other: BoundaryScores) -> None:
        """Take in what `other` has counted on other images."""
        assert self.num_classes == other.num_classes, (self.num_classes, other.num_classes)
        self.images += other.images
        self.f1_sum += other.f1_sum
        self.class_images += other.class_images
        self.class_f1_sum += other.class_f1_sum
        self.intersection += other.intersection
        self.union += other.union

    def result(self) -> dict[str, float | list[float | None] | None]:
        """The scores so far, for JSON: shares in [0, 1], None where nothing defines one.

        Returns:
            `boundary_f1`: mean over images; `per_class_boundary_f1`: for each class its mean over
            the images whose truth has a boundary of it; `boundary_iou`: mean over classes;
            `per_class_boundary_iou`.
        """
        per_class_f1 = _ratios(self.class_f1_sum, self.class_images)
        per_class_iou = _ratios(self.intersection, self.union)
        known = [iou for iou in per_class_iou if iou is not None]
        return {
            "boundary_f1": self.f1_sum / self.images if self.images else None,
            "per_class_boundary_f1": per_class_f1,
            "boundary_iou": sum(known) / len(known) if known else None,
            "per_class_boundary_iou": per_class_iou,
        }


def close_void(labels: Labels, radius: float) -> Labels:
    """Labels (HW) in which void within `radius` of a labelled pixel has the nearest one's label.

    Args:
        labels: HW uint8, with `IGNORE`.
        radius: in pixels, Euclidean.
    """
    void = labels == IGNORE
    if radius < 1 or not void.any() or void.all():
        return labels
    distance, (rows, columns) = ndimage.distance_transform_edt(void, return_indices=True)
    near = void & (distance <= radius)
    closed = labels.copy()
    closed[near] = labels[rows[near], columns[near]]
    return closed


def _without_void(predicted: Labels, true: Labels) -> Labels:
    return np.where(true == IGNORE, np.uint8(IGNORE), predicted)


def _ratios(above: NDArray[np.generic], below: NDArray[np.int64]) -> list[float | None]:
    pairs = zip(above.tolist(), below.tolist(), strict=True)
    return [a / b if b else None for a, b in pairs]


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
