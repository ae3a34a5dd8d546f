"""How far the mIoU of a set depends on the images that happen to be in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from semisup.metrics.confusion import Absent, class_iou, mean_iou

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
    return _ends(_resampled_miou(counts.cpu(), seed, resamples, absent), level)


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
    mious, others = (
        _resampled_miou(one.cpu(), seed, resamples, absent) for one in (counts, baseline)
    )
    return _ends(mious - others, level)


def bootstrap_mean_gain(
    counts: Sequence[Tensor],
    baselines: Sequence[Tensor],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
    absent: Absent = "excluded",
) -> tuple[float, float]:
    """Interval, over images, of the mean gain of several predictors over as many others.

    Such as those of the seeds of two arms. All are scored on the same resamples; with one pair it
    is `bootstrap_gain`. It speaks of the choice of test images only, not of seeds of training.

    Args:
        counts: NK3 int64 of each predictor, as for `bootstrap_interval`.
        baselines: NK3 of what each is paired with, of the same images in the same order.
        seed: of the draws.
        resamples: how many sets are drawn.
        level: share of the resamples inside the interval, in (0, 1).
        absent: as in `mean_iou`.

    Returns:
        Lower and upper end of the mean difference, in [-1, 1].
    """
    gains = []
    for own, other in zip(counts, baselines, strict=True):
        assert own.shape == other.shape == counts[0].shape, (own.shape, other.shape)
        gain, base = (_resampled_miou(one.cpu(), seed, resamples, absent) for one in (own, other))
        gains.append(gain - base)
    return _ends(torch.stack(gains).mean(0), level)


def _ends(values: Tensor, level: float) -> tuple[float, float]:
    tail = (1.0 - level) / 2.0
    ends = torch.tensor([tail, 1.0 - tail], dtype=torch.float64)
    lower, upper = torch.nanquantile(values, ends).tolist()
    return lower, upper


def _resampled_miou(counts: Tensor, seed: int, resamples: int, absent: Absent) -> Tensor:
    # float64 adds integers exactly up to 2**53 and has a fast matrix product; int64 has none.
    assert counts.ndim == 3, counts.shape
    assert counts.shape[0] >= 1, counts.shape
    assert counts.shape[2] == 3, counts.shape
    images = counts.shape[0]
    flat = counts.reshape(images, -1).double()
    generator = np.random.default_rng(seed)
    shares = np.full(images, 1.0 / images)
    at_once = max(1, _DRAWS_AT_ONCE // images)
    mious = []
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        times_drawn = generator.multinomial(images, shares, size=size)
        summed = torch.from_numpy(times_drawn).double() @ flat
        mious.append(mean_iou(class_iou(summed.view(size, -1, 3)), absent))
    return torch.cat(mious)
