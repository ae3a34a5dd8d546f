"""How far the mIoU of a set depends on the images that happen to be in it.

The draws are made and scored by numpy, so that a comparison of runs need not wait for torch;
`semisup.studies.statistics` has the intervals of several runs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from semisup.metrics.confusion import Absent

_DRAWS_AT_ONCE = 1 << 22


def bootstrap_interval(
    counts: Tensor,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    absent: Absent = "excluded",
) -> tuple[float, float]:
    """Percentile bootstrap interval, over images, of the mIoU of a set.

    Each resample draws N of the N images with replacement, adds up their counts and scores the
    sum as the set itself is scored: mIoU is no mean over images, so resampling the mIoU of single
    images would give the interval of another number. It speaks of the choice of test images only,
    not of seeds of training. Efron, "Bootstrap methods: another look at the jackknife", 1979.

    Args:
        counts: NK3 int64, one `image_counts` for each image, N at least 1.
        seed: of the draws; the same seed gives the same interval.
        resamples: how many sets are drawn.
        level: share of the resamples inside the interval, in (0, 1).
        absent: as in `mean_iou`; a class may be absent from a resample and not from the set.

    Returns:
        Lower and upper end, shares in [0, 1]; NaN where the set has no valid pixel.
    """
    return ends(_resampled(counts, seed, resamples, absent), level)


def bootstrap_gain(
    counts: Tensor,
    baseline: Tensor,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    absent: Absent = "excluded",
) -> tuple[float, float]:
    """Interval, over images, of how much higher the mIoU of one predictor is than another's.

    Both are scored on the same resamples, so what makes an image hard for both cancels.

    Args:
        counts: NK3 int64 of one predictor, as for `bootstrap_interval`.
        baseline: NK3 of the other, of the same images in the same order.
        seed: of the draws.
        resamples: how many sets are drawn.
        level: share of the resamples inside the interval, in (0, 1).
        absent: as in `mean_iou`.

    Returns:
        Lower and upper end of the difference, in [-1, 1].
    """
    assert counts.shape == baseline.shape, (counts.shape, baseline.shape)
    mious, others = (_resampled(one, seed, resamples, absent) for one in (counts, baseline))
    return ends(mious - others, level)


def ends(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The percentiles that a share `level` of the values lies between; NaN values are left out."""
    tail = (1.0 - level) / 2.0
    if np.isnan(values).all():
        return float("nan"), float("nan")
    lower, upper = np.nanquantile(values, [tail, 1.0 - tail]).tolist()
    return lower, upper


def resampled_miou(
    counts: NDArray[np.int64], *, seed: int, resamples: int, absent: Absent = "excluded"
) -> NDArray[np.float64]:
    """The mIoU of several predictors on the same resampled sets.

    Args:
        counts: SNK3 of S predictors, each of the same N images in the same order, at least 1.
        seed: of the draws; the same seed and N give the same resamples whatever the counts.
        resamples: R, how many sets of N images are drawn with replacement.
        absent: as in `mean_iou`.

    Returns:
        RS; NaN where a resample has no valid pixel.
    """
    assert counts.ndim == 4, counts.shape
    predictors, images, classes, numbers = counts.shape
    assert images >= 1, counts.shape
    assert numbers == 3, counts.shape
    # float64 adds integers exactly up to 2**53 and has a fast matrix product; int64 has none.
    flat = counts.transpose(1, 0, 2, 3).reshape(images, -1).astype(np.float64)
    at_once = max(1, _DRAWS_AT_ONCE // max(images, flat.shape[1]))
    if images * resamples <= _DRAWS_AT_ONCE:
        whole = _all_drawn(seed, images, resamples)
        draws = iter([whole[start : start + at_once] for start in range(0, resamples, at_once)])
    else:
        draws = _drawn(seed, images, resamples, at_once)
    mious = []
    for times_drawn in draws:
        summed = (times_drawn @ flat).reshape(len(times_drawn), predictors, classes, 3)
        mious.append(miou_of(summed, absent))
    return np.concatenate(mious)


def _drawn(seed: int, images: int, resamples: int, at_once: int) -> Iterator[NDArray[np.float64]]:
    """How often each image is in each resample, RN, some resamples at a time."""
    generator = np.random.default_rng(seed)
    shares = np.full(images, 1.0 / images)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        yield generator.multinomial(images, shares, size=size).astype(np.float64)


@functools.lru_cache(maxsize=1)  # a table of many arms takes the same draws for each
def _all_drawn(seed: int, images: int, resamples: int) -> NDArray[np.float64]:
    (whole,) = _drawn(seed, images, resamples, resamples)
    whole.flags.writeable = False
    return whole


def miou_of(counts: NDArray[np.generic], absent: Absent = "excluded") -> NDArray[np.float64]:
    """The mIoU of summed counts, by `class_iou` and `mean_iou` of `semisup.metrics.confusion`.

    Args:
        counts: ...K3, sums over images.
        absent: as in `mean_iou`.

    Returns:
        ... (two dimensions less); NaN where every class is excluded.
    """
    inside, predicted, true = np.moveaxis(counts.astype(np.float64), -1, 0)
    union = predicted + true - inside
    there = union > 0
    iou = np.divide(inside, union, out=np.zeros_like(union), where=there)
    if absent == "zero":
        return np.asarray(iou.mean(-1))
    counted = there.sum(-1)
    mean = np.full(counted.shape, np.nan)
    np.divide(iou.sum(-1), counted, out=mean, where=counted > 0)
    return mean


def _resampled(counts: Tensor, seed: int, resamples: int, absent: Absent) -> NDArray[np.float64]:
    own = counts.cpu().numpy()[None]
    return resampled_miou(own, seed=seed, resamples=resamples, absent=absent)[:, 0]
