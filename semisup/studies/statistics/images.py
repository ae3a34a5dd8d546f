"""Intervals over the images that are scored, and over seeds and images at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from semisup.errors import RunError
from semisup.metrics.bootstrap import ends, miou_of, resampled_miou
from semisup.studies.statistics.seeds import Floats, Interval

if TYPE_CHECKING:
    from semisup.metrics.confusion import Absent

Counts = NDArray[np.int64]


def over_images(
    counts: Counts,
    baseline: Counts | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    absent: Absent = "excluded",
) -> Interval:
    """Percentile bootstrap interval, over images, of the mean mIoU or of a mean difference.

    Each resample draws the images once for all predictors, adds up the counts of each, and takes
    the mean over the seeds of the mIoU, or of how much higher it is than the baseline's. It speaks
    of the choice of test images only, not of seeds of training.

    Args:
        counts: SNK3 of the S seeds of an arm: of each image and class the pixels in the
            intersection, the predicted and the true ones.
        baseline: of what each seed is paired with, of the same images in the same order.
        seed: of the draws.
        resamples: how many sets are drawn.
        level: share of the resamples inside the interval, in (0, 1).
        absent: what becomes of a class without a pixel; see `semisup.metrics.confusion.mean_iou`.

    Returns:
        Lower and upper end.

    Raises:
        RunError: counts of another shape, or that contradict themselves.
    """
    drawn = _resampled(counts, baseline, seed, resamples, absent)
    return ends(drawn.mean(1), level)


@dataclass(frozen=True, slots=True)
class OverBoth:
    """A mean over seeds with an interval for other seeds and other images at once.

    Attributes:
        mean: of the mIoU over the seeds, or of its difference.
        interval: by Student's t.
        seeds_error: standard error of the mean that is due to the seeds.
        images_error: the same, due to the images.
        freedom: degrees of freedom of the t.
    """

    mean: float
    interval: Interval
    seeds_error: float
    images_error: float
    freedom: float


def over_both(
    counts: Counts,
    baseline: Counts | None = None,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    absent: Absent = "excluded",
) -> OverBoth:
    """Interval over seeds and images of the mean mIoU or of a mean difference.

    All seeds are scored on the same images, so that seeds and images are two crossed samples. The
    variance of the mean is that over the S seeds, s^2 / S, and that of the images, by the bootstrap
    of `over_images`. What changes from seed to seed with the images is in both, and is taken out of
    the second: with J the variance of the mean over the resamples and E the mean variance of single
    seeds, J - (E - J) / (S - 1) is left, or 0. Their sum has the degrees of freedom of
    Satterthwaite, "An approximate distribution of estimates of variance components", 1946.
    Percentiles of seeds and images that are both resampled do not cover with 5 to 10 seeds
    (docs/statistics.md).

    Args:
        counts: SNK3 of the S seeds, 2 or more, and N images, 2 or more; see `over_images`.
        baseline: of what each seed is paired with, of the same images in the same order.
        seed: of the draws.
        resamples: how many sets of images are drawn.
        level: in (0, 1).
        absent: as in `over_images`.

    Raises:
        RunError: too few seeds or images, no valid pixel, or counts as in `over_images`.
    """
    drawn = _resampled(counts, baseline, seed, resamples, absent)
    seeds, images = counts.shape[:2]
    if min(seeds, images) < 2:
        raise RunError(f"{seeds} seeds and {images} images. An interval over both needs 2 of each.")
    scores = miou_of(counts.sum(1), absent)
    if baseline is not None:
        scores = scores - miou_of(baseline.sum(1), absent)
    if not np.isfinite(scores).all():
        raise RunError("a seed has no pixel that is scored. Leave it out.")
    return over_both_of(scores, drawn, images, level)


def over_both_of(scores: Floats, drawn: Floats, images: int, level: float = 0.95) -> OverBoth:
    """What `over_both` says, from scores instead of counts.

    Args:
        scores: S, of each seed, 2 or more.
        drawn: RS, of each seed on each resample of the images; NaN where it has no valid pixel.
        images: N, 2 or more.
        level: in (0, 1).
    """
    seeds = len(scores)
    by_seeds = float(np.var(scores, ddof=1)) / seeds
    drawn = drawn[~np.isnan(drawn).any(1)]
    unbiased = images / (images - 1)
    joint = unbiased * float(np.var(drawn.mean(1), ddof=1))
    each = unbiased * float(np.var(drawn, axis=0, ddof=1).mean())
    by_images = max(0.0, joint - (each - joint) / (seeds - 1))
    freedom = _freedom((by_seeds, seeds - 1), (by_images, images - 1))
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * math.sqrt(by_seeds + by_images)
    mean = float(scores.mean())
    return OverBoth(
        mean=mean,
        interval=(mean - half, mean + half),
        seeds_error=math.sqrt(by_seeds),
        images_error=math.sqrt(by_images),
        freedom=freedom,
    )


def _freedom(*parts: tuple[float, int]) -> float:
    """Degrees of freedom of a sum of variances, each with its own."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return float(min(freedom for _, freedom in parts))
    return 1 / sum((variance / total) ** 2 / freedom for variance, freedom in parts)


def _resampled(
    counts: Counts, baseline: Counts | None, seed: int, resamples: int, absent: Absent
) -> Floats:
    """RS: the mIoU of each seed on each resample, or its difference from the baseline's."""
    _require_counts(counts)
    if baseline is None:
        return resampled_miou(counts, seed=seed, resamples=resamples, absent=absent)
    _require_counts(baseline)
    if baseline.shape != counts.shape:
        raise RunError(
            f"counts of {counts.shape} and of {baseline.shape} are not of the same seeds, images "
            "and classes. Give pairs."
        )
    if (counts[..., 2] != baseline[..., 2]).any():
        raise RunError("the true pixels of an arm and its baseline differ. Give the same images.")
    together = np.concatenate([counts, baseline])
    drawn = resampled_miou(together, seed=seed, resamples=resamples, absent=absent)
    return drawn[:, : len(counts)] - drawn[:, len(counts) :]


def _require_counts(counts: Counts) -> None:
    if counts.ndim != 4 or counts.shape[-1] != 3 or 0 in counts.shape:
        raise RunError(f"counts of {counts.shape} are not of seeds, images, classes and 3 numbers.")
    if (counts < 0).any() or (counts[..., :1] > counts[..., 1:]).any():
        raise RunError("counts contradict themselves: more pixels are right than there are.")
