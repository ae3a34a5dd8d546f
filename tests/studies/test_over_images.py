"""Intervals over images, and over seeds and images: against scipy, and worked by hand."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from semisup.errors import RunError
from semisup.metrics.bootstrap import bootstrap_gain, bootstrap_interval, miou_of, resampled_miou
from semisup.metrics.confusion import Absent, class_iou, mean_iou
from semisup.studies.statistics import mean_interval, over_both, over_images
from semisup.studies.statistics.images import over_both_of

Counts = NDArray[np.int64]


def counts_of(seeds: int, images: int, classes: int = 4, seed: int = 0) -> Counts:
    """Seeds that differ a little, on images that differ much."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 400, (images, classes))
    share = generator.uniform(0.2, 0.9, (images, classes)) + generator.normal(
        0, 0.03, (seeds, 1, classes)
    )
    inside = np.rint(np.clip(share, 0, 1) * true)
    predicted = inside + generator.integers(0, 60, inside.shape)
    return np.stack(np.broadcast_arrays(inside, predicted, true), -1).astype(np.int64)


def miou(counts: Counts) -> float:
    return float(mean_iou(class_iou(torch.from_numpy(counts.sum(0))), "excluded"))


@pytest.mark.parametrize("absent", ["excluded", "zero"])
def test_the_score_of_counts_is_that_of_the_confusion_matrix(absent: Absent) -> None:
    counts = counts_of(3, 5)
    counts[0, :, 2] = counts[1] = 0
    expected = mean_iou(class_iou(torch.from_numpy(counts.sum(1))), absent).numpy()
    np.testing.assert_allclose(miou_of(counts.sum(1), absent), expected, rtol=1e-14)


def test_one_seed_has_the_interval_that_its_result_states() -> None:
    own, other = counts_of(1, 30), counts_of(1, 30, seed=1)
    other[..., 2] = own[..., 2]
    other[..., :2] = np.maximum(np.minimum(other[..., :2], own[..., 2:]), 0)
    one, two = torch.from_numpy(own[0]), torch.from_numpy(other[0])
    assert over_images(own, seed=3) == bootstrap_interval(one, seed=3)
    assert over_images(own, other, seed=3) == bootstrap_gain(one, two, seed=3)


def test_the_interval_over_images_is_that_of_scipys_bootstrap() -> None:
    """Both draw at random, so that the ends agree within a seventh of the interval."""
    counts = counts_of(3, 60)

    def score(drawn: NDArray[np.int64]) -> float:
        return float(np.mean([miou(one[drawn]) for one in counts]))

    expected = stats.bootstrap(
        (np.arange(60),), score, vectorized=False, method="percentile", n_resamples=400, rng=0
    ).confidence_interval
    low, high = over_images(counts, seed=0, resamples=4000)
    assert low == pytest.approx(expected.low, abs=(high - low) / 7)
    assert high == pytest.approx(expected.high, abs=(high - low) / 7)


def test_seeds_that_do_not_differ_leave_the_error_of_the_images() -> None:
    counts = np.repeat(counts_of(1, 40), 5, axis=0)
    found = over_both(counts, seed=0, resamples=2000)
    drawn = resampled_miou(counts[:1], seed=0, resamples=2000)[:, 0]
    assert found.mean == pytest.approx(miou(counts[0]))
    assert found.seeds_error == 0.0
    assert found.images_error == pytest.approx(np.std(drawn, ddof=1) * math.sqrt(40 / 39))
    assert found.freedom == pytest.approx(39)
    low, high = over_images(counts, seed=0, resamples=2000)
    assert found.interval == pytest.approx((low, high), abs=0.1 * (high - low))


def test_images_that_do_not_differ_leave_the_interval_over_seeds() -> None:
    counts = np.repeat(counts_of(6, 1), 20, axis=1)
    found = over_both(counts, seed=0)
    assert found.images_error == pytest.approx(0.0, abs=1e-12)
    assert found.interval == pytest.approx(mean_interval([miou(one) for one in counts]), abs=1e-9)


def test_errors_and_degrees_of_a_worked_example() -> None:
    scores = np.array([0.4, 0.5, 0.6])  # variance 0.01, of the mean 0.01 / 3
    drawn = np.array([[0.3, 0.5, 0.5], [0.5, 0.5, 0.7], [0.4, 0.2, 0.6], [np.nan] * 3])
    found = over_both_of(scores, drawn, images=11)
    joint = 1.1 * np.var([1.3 / 3, 1.7 / 3, 1.2 / 3], ddof=1)
    each = 1.1 * (0.01 + 0.03 + 0.01) / 3
    images = joint - (each - joint) / 2
    assert images > 0
    seeds = 0.01 / 3
    assert found.mean == pytest.approx(0.5)
    assert found.seeds_error**2 == pytest.approx(seeds)
    assert found.images_error**2 == pytest.approx(images)
    assert found.freedom == pytest.approx((seeds + images) ** 2 / (seeds**2 / 2 + images**2 / 10))
    half = stats.t.ppf(0.975, found.freedom) * math.sqrt(seeds + images)
    assert found.interval == pytest.approx((0.5 - half, 0.5 + half))


def test_a_gain_turns_its_sign_with_the_order_and_is_0_over_itself() -> None:
    own, other = counts_of(4, 20), counts_of(4, 20)
    other[..., 0] = other[..., 0] * 9 // 10
    forth, back = (over_both(*pair, seed=0) for pair in ((own, other), (other, own)))
    assert 0 < forth.mean == -back.mean
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert over_both(own, own, seed=0).interval == (0.0, 0.0)


def test_thousands_of_draws_take_seconds_at_the_most() -> None:
    counts = counts_of(10, 300, classes=21)
    start = time.process_time()
    over_both(counts, seed=7, resamples=2000)
    assert time.process_time() - start < 4  # 0.1 s measured


@pytest.mark.parametrize("shape", [(2, 5, 4), (0, 5, 4, 3), (2, 0, 4, 3), (2, 5, 4, 2)])
def test_counts_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    for function in (over_images, over_both):
        with pytest.raises(RunError, match="are not of seeds, images, classes and 3 numbers"):
            function(np.zeros(shape, dtype=np.int64), seed=0)


def test_counts_that_contradict_themselves_or_their_pairs_are_refused() -> None:
    counts = counts_of(2, 5)
    wrong, others = counts.copy(), counts.copy()
    wrong[0, 0, 0] = (5, 4, 9)
    others[1, 2, 3, 2] += 1
    with pytest.raises(RunError, match="more pixels are right than there are"):
        over_images(wrong, seed=0)
    with pytest.raises(RunError, match="Give the same images"):
        over_images(counts, others, seed=0)
    with pytest.raises(RunError, match="not of the same seeds, images and classes"):
        over_images(counts, counts[:, 1:], seed=0)


def test_both_need_two_seeds_two_images_and_pixels() -> None:
    for counts in (counts_of(1, 5), counts_of(5, 1)):
        with pytest.raises(RunError, match="An interval over both needs 2 of each"):
            over_both(counts, seed=0)
    with pytest.raises(RunError, match="has no pixel that is scored"):
        over_both(np.zeros((2, 3, 4, 3), dtype=np.int64), seed=0)
