"""The bootstrap against a loop over the same draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from semisup.metrics import bootstrap
from semisup.metrics.bootstrap import bootstrap_gain, bootstrap_interval
from semisup.metrics.confusion import Absent, image_counts


def counts_of(images: int, num_classes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (images, num_classes, num_classes)
    confusion = torch.randint(0, 50, shape, generator=generator)
    confusion += torch.diag_embed(torch.randint(0, 300, shape[:2], generator=generator))
    return image_counts(confusion)


def miou_by_loop(images: list[list[list[int]]], absent: Absent) -> float:
    ious = []
    for k in range(len(images[0])):
        inside, predicted, true = (sum(image[k][i] for image in images) for i in range(3))
        union = predicted + true - inside
        if union or absent == "zero":
            ious.append(inside / union if union else 0.0)
    return sum(ious) / len(ious)


@pytest.mark.parametrize("absent", ["excluded", "zero"])
def test_equals_a_loop_with_the_same_draws(absent: Absent) -> None:
    counts = counts_of(7, 3)
    counts[2:, 2] = 0  # class 2 is missing from many of the resamples
    generator = np.random.default_rng(5)
    mious = []
    for _ in range(200):
        times_drawn = generator.multinomial(7, [1 / 7] * 7)
        drawn = [counts[i].tolist() for i, n in enumerate(times_drawn) for _ in range(n)]
        mious.append(miou_by_loop(drawn, absent))
    expected = np.percentile(mious, [5, 95])
    found = bootstrap_interval(counts, seed=5, resamples=200, level=0.9, absent=absent)
    assert found == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("absent", ["excluded", "zero"])
def test_a_gain_equals_a_loop_in_which_both_are_drawn_alike(absent: Absent) -> None:
    counts, other = counts_of(7, 3), counts_of(7, 3, seed=1)
    generator = np.random.default_rng(5)
    gains = []
    for _ in range(200):
        times_drawn = generator.multinomial(7, [1 / 7] * 7)
        drawn = [i for i, n in enumerate(times_drawn) for _ in range(n)]
        own, base = ([one[i].tolist() for i in drawn] for one in (counts, other))
        gains.append(miou_by_loop(own, absent) - miou_by_loop(base, absent))
    expected = np.percentile(gains, [2.5, 97.5])
    found = bootstrap_gain(counts, other, seed=5, resamples=200, absent=absent)
    assert found == pytest.approx(tuple(expected), abs=1e-12)


def test_a_gain_over_itself_is_nothing_and_turns_its_sign_with_the_order() -> None:
    counts, other = counts_of(9, 4), counts_of(9, 4, seed=2)
    assert bootstrap_gain(counts, counts, seed=3) == (0.0, 0.0)
    low, high = bootstrap_gain(counts, other, seed=3)
    turned = bootstrap_gain(other, counts, seed=3)
    assert turned == pytest.approx((-high, -low), abs=1e-12)


def test_the_interval_of_a_gain_is_narrower_than_the_difference_of_two() -> None:
    """What makes an image hard for both is drawn once."""
    counts = counts_of(30, 3)
    other = counts.clone()
    other[..., 0] -= other[..., 0] // 10  # every image a little worse
    low, high = bootstrap_gain(counts, other, seed=0)
    own, base = (bootstrap_interval(one, seed=0) for one in (counts, other))
    assert 0 < low < high
    assert high - low < 0.5 * ((own[1] - base[0]) - (own[0] - base[1]))


def test_same_seed_same_interval() -> None:
    counts = counts_of(10, 4)
    assert bootstrap_interval(counts, seed=1) == bootstrap_interval(counts, seed=1)
    assert bootstrap_interval(counts, seed=1) != bootstrap_interval(counts, seed=2)


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counts_of(10, 4)
    whole = bootstrap_interval(counts, seed=1, resamples=103)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 70)
    assert bootstrap_interval(counts, seed=1, resamples=103) == pytest.approx(whole, abs=1e-12)


def test_one_image_gives_a_point() -> None:
    counts = counts_of(1, 3)
    lower, upper = bootstrap_interval(counts, seed=0)
    assert lower == upper == pytest.approx(miou_by_loop(counts.tolist(), "excluded"))


def test_wider_level_contains_the_narrower_and_the_set() -> None:
    counts = counts_of(20, 3)
    low95, high95 = bootstrap_interval(counts, seed=0)
    low50, high50 = bootstrap_interval(counts, seed=0, level=0.5)
    assert low95 < low50 < miou_by_loop(counts.tolist(), "excluded") < high50 < high95


def test_covers_about_as_often_as_it_says() -> None:
    # Two classes, images drawn from a population of which the true mIoU is known.
    population = counts_of(5000, 2, seed=9)
    truth = miou_by_loop([population.sum(0).tolist()], "excluded")
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for trial in range(200):
        sample = population[torch.randint(0, 5000, (60,), generator=generator)]
        lower, upper = bootstrap_interval(sample, seed=trial, resamples=200)
        hits += lower <= truth <= upper
    assert 0.88 <= hits / 200 <= 0.99


def test_counts_of_a_large_set_are_summed_exactly() -> None:
    counts = torch.tensor([[[2**40, 2**40 + 1, 2**40]]]).expand(3, 1, 3)
    lower, upper = bootstrap_interval(counts, seed=0, resamples=10)
    assert lower == upper == 2**40 / (2**40 + 1)


def test_no_valid_pixel_gives_nan() -> None:
    interval = bootstrap_interval(torch.zeros(4, 2, 3, dtype=torch.int64), seed=0, resamples=10)
    assert all(math.isnan(end) for end in interval)
