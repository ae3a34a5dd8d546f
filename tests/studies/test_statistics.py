"""Paired differences against loops over all signs, worked examples, simulation and scipy."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import stats

from semisup.errors import RunError
from semisup.studies.statistics import (
    MOST_PAIRS,
    holm,
    mean_interval,
    paired_difference,
    sign_flip_p,
    smallest_detectable,
    smallest_sign_flip_p,
)


def p_by_loop(differences: list[float]) -> float:
    found = abs(sum(differences)) - 1e-12
    patterns = list(itertools.product((-1, 1), repeat=len(differences)))
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in patterns]
    return sum(abs(total) >= found for total in sums) / len(patterns)


@pytest.mark.parametrize("count", range(2, 12))
@pytest.mark.parametrize("seed", range(3))
def test_p_equals_a_loop_over_all_signs(count: int, seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.5, 1.0, count).tolist()
    assert sign_flip_p(differences) == p_by_loop(differences)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 2.0], 2 / 4),  # 3 of 3, 1, -1, -3
        ([1.0, 2.0, 3.0, -1.0], 6 / 16),  # 7 once, 5 twice (either 1 turned), and below
        ([1.0, -1.0], 1.0),
        ([0.0, 0.0, 0.0], 1.0),
        ([0.0, 1.0, 1.0, 1.0], 2 / 8),  # a difference of 0 says nothing
        ([0.2, 0.2, 0.2, 0.2, 0.2], 2 / 32),
        ([0.1, 0.1, 0.1, 0.1, 0.1, -0.1], 14 / 64),  # one sign of six, or none
    ],
)
def test_p_of_worked_examples(differences: list[float], expected: float) -> None:
    assert sign_flip_p(differences) == expected


def test_p_equals_scipys_exact_permutation() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1.0, 9)
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(differences) == pytest.approx(found.pvalue, abs=1e-12)


def test_ties_are_counted_whatever_the_rounding() -> None:
    """Scores as they are read from a file: 0.1 + 0.2 is not 0.3."""
    scores = [(0.43, 0.41), (0.36, 0.38), (0.52, 0.48), (0.31, 0.29)]
    rounded = [round(a - b, 2) for a, b in scores]  # 2, -2, 4, 2
    assert [100 * d for d in rounded] == pytest.approx([2, -2, 4, 2])
    assert sign_flip_p([a - b for a, b in scores]) == p_by_loop(rounded) == 8 / 16


@pytest.mark.parametrize("factor", [-1.0, 1e-6, 3.0, 1e6])
def test_p_and_its_order_do_not_depend_on_scale_sign_or_order(factor: float) -> None:
    differences = np.random.default_rng(1).normal(0.3, 1.0, 11)
    p = sign_flip_p(differences)
    assert sign_flip_p(factor * differences) == p
    assert sign_flip_p(differences[::-1]) == p


@pytest.mark.parametrize("pairs", [2, 5, 10, 20, MOST_PAIRS])
def test_no_p_is_below_that_of_one_sign(pairs: int) -> None:
    assert sign_flip_p(np.full(pairs, 0.01)) == smallest_sign_flip_p(pairs) == 2 / 2**pairs


def test_five_pairs_are_never_significant_and_six_may_be() -> None:
    assert smallest_sign_flip_p(5) == 0.0625
    assert smallest_sign_flip_p(6) == 0.03125


def test_the_false_positive_rate_under_the_null() -> None:
    draws = np.random.default_rng(0).standard_t(3, (2000, 8))
    rate = np.mean([sign_flip_p(one) < 0.05 for one in draws])
    assert 0.035 < rate < 0.06  # 12 of 256 patterns, 0.047


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5], [0.5]),
        ([0.4, 0.5, 0.6], [1.0, 1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.03, 0.01], [0.03, 0.02]),
        ([], []),
    ],
)
def test_holm_of_worked_examples(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected)


def test_holm_is_monotone_keeps_the_order_and_is_no_more_than_bonferroni() -> None:
    p_values = np.random.default_rng(2).uniform(0, 0.2, 9)
    corrected = np.array(holm(p_values.tolist()))
    order = np.argsort(p_values)
    assert (np.diff(corrected[order]) >= 0).all()
    assert (corrected >= p_values).all()
    assert (corrected <= np.minimum(1, 9 * p_values)).all()
    assert corrected[order[0]] == 9 * p_values[order[0]]
    turned = holm(p_values[::-1].tolist())
    assert turned[::-1] == corrected.tolist()


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan])
def test_holm_refuses_what_is_no_p(wrong: float) -> None:
    with pytest.raises(RunError, match="is no p value"):
        holm([0.5, wrong])


def test_the_interval_of_a_worked_example() -> None:
    # t of 0.975 and 3 degrees is 3.182446; sd of 1 2 3 4 is 1.290994, of the mean 0.645497.
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert (low, high) == pytest.approx((2.5 - 2.054260, 2.5 + 2.054260), abs=1e-6)


def test_the_interval_equals_scipys_and_covers_the_mean() -> None:
    draws = np.random.default_rng(5).normal(2.0, 3.0, (2000, 5))
    found = [mean_interval(one) for one in draws]
    assert found[0] == pytest.approx(
        stats.ttest_1samp(draws[0], 0).confidence_interval(0.95), abs=1e-12
    )
    assert np.mean([low < 2.0 < high for low, high in found]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("pairs", "expected"), [(3, 3.26), (4, 2.13), (5, 1.68), (8, 1.16), (10, 1.00), (20, 0.66)]
)
def test_smallest_differences_of_known_tables(pairs: int, expected: float) -> None:
    assert smallest_detectable(1.0, pairs) == pytest.approx(expected, abs=0.005)
    assert smallest_detectable(0.02, pairs) == pytest.approx(0.02 * expected, abs=1e-4)


@pytest.mark.parametrize("pairs", [2, 3, 5, 10])
def test_the_smallest_difference_is_found_in_four_of_five_simulated_studies(pairs: int) -> None:
    difference = smallest_detectable(1.5, pairs)
    draws = np.random.default_rng(pairs).normal(difference, 1.5, (40_000, pairs))
    t = np.abs(draws.mean(1)) / (draws.std(1, ddof=1) / math.sqrt(pairs))
    found = np.mean(t > stats.t.ppf(0.975, pairs - 1))
    assert found == pytest.approx(0.8, abs=0.008)


@pytest.mark.parametrize(("pairs", "power"), [(4, 0.7), (6, 0.8), (12, 0.95), (40, 0.99)])
def test_the_power_equals_scipys_noncentral_t(pairs: int, power: float) -> None:
    shift = smallest_detectable(1.0, pairs, power=power) * math.sqrt(pairs)
    critical = stats.t.ppf(0.975, pairs - 1)
    assert stats.nct.sf(critical, pairs - 1, shift) == pytest.approx(power, abs=1e-5)


def test_no_spread_no_difference_too_small() -> None:
    assert smallest_detectable(0.0, 5) == 0.0


@pytest.mark.parametrize("sd", [-1.0, math.nan, math.inf])
def test_a_standard_deviation_that_is_none_is_refused(sd: float) -> None:
    with pytest.raises(RunError, match="is no standard deviation"):
        smallest_detectable(sd, 5)


def test_everything_of_a_comparison() -> None:
    arm = {2: 0.45, 0: 0.42, 1: 0.41}
    baseline = {0: 0.40, 1: 0.40, 2: 0.42}
    found = paired_difference(arm, baseline)  # 2, 1 and 3 points
    assert found.pairs == 3
    assert found.mean == pytest.approx(0.02)
    assert found.sd == pytest.approx(0.01)
    # t of 0.975 and 2 degrees is 4.302653.
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert found.interval == pytest.approx((0.02 - half, 0.02 + half), abs=1e-8)
    assert found.p == found.smallest_p == 0.25
    assert found.detectable == pytest.approx(0.0326, abs=1e-4)


def test_turning_the_comparison_turns_its_sign_alone() -> None:
    generator = np.random.default_rng(4)
    one, other = (dict(enumerate(generator.uniform(0, 1, 7))) for _ in range(2))
    forth, back = paired_difference(one, other), paired_difference(other, one)
    assert back.mean == -forth.mean
    assert back.interval == pytest.approx((-forth.interval[1], -forth.interval[0]))
    assert (back.p, back.sd, back.detectable) == (forth.p, forth.sd, forth.detectable)


def test_what_both_arms_share_at_a_seed_cancels() -> None:
    generator = np.random.default_rng(6)
    shared = generator.normal(0, 10, 6)
    own = generator.normal(0, 1, (2, 6))
    alone = paired_difference(dict(enumerate(own[0])), dict(enumerate(own[1])))
    with_shared = paired_difference(
        dict(enumerate(own[0] + shared)), dict(enumerate(own[1] + shared))
    )
    assert with_shared.mean == pytest.approx(alone.mean)
    assert with_shared.sd == pytest.approx(alone.sd)
    assert with_shared.p == alone.p


def test_equal_arms_give_plain_numbers_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired_difference({0: 0.5, 1: 0.4}, {0: 0.5, 1: 0.4})
    assert (found.mean, found.sd, found.interval) == (0.0, 0.0, (0.0, 0.0))
    assert (found.p, found.detectable) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("arm", "baseline", "reason"),
    [
        ({0: 0.5, 1: 0.5}, {0: 0.5, 2: 0.5}, "seed 1 of fixmatch alone and seed 2 of plain alone"),
        ({0: 0.5, 1: 0.5, 2: 0.5}, {0: 0.5}, "unpaired: seeds 1, 2 of fixmatch alone"),
        ({}, {0: 0.5}, "seed 0 of plain alone"),
        ({0: 0.5}, {0: 0.4}, "fixmatch and plain have 1 paired seeds"),
        ({}, {}, "have 0 paired seeds"),
        ({0: 0.5, 1: math.nan}, {0: 0.5, 1: 0.5}, "seed 1 of fixmatch: the score is not finite"),
        ({0: 0.5, 1: 0.5}, {0: math.inf, 1: 0.5}, "seed 0 of plain: the score is not finite"),
    ],
)
def test_what_cannot_be_compared_is_named(
    arm: dict[int, float], baseline: dict[int, float], reason: str
) -> None:
    with pytest.raises(RunError, match=reason) as caught:
        paired_difference(arm, baseline, name="fixmatch", baseline_name="plain")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "0 values"),
        ([1.0], "1 values"),
        ([1.0, math.nan, 2.0], "value 1 of 3 is not finite"),
    ],
)
def test_differences_that_cannot_be_tested(values: list[float], reason: str) -> None:
    with pytest.raises(RunError, match=reason):
        sign_flip_p(values)


def test_one_pair_shows_nothing() -> None:
    with pytest.raises(RunError, match="1 pairs"):
        smallest_detectable(1.0, 1)
