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
    cohens_dz,
    hedges_g,
    holm,
    mean_interval,
    over_seeds,
    paired_difference,
    paired_superiority,
    pairs_needed,
    sign_flip_p,
    smallest_detectable,
    smallest_sign_flip_p,
    superiority,
    variance_parts,
    what_could_be_seen,
    wilcoxon_p,
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
    ("pairs", "needed", "found", "smallest"),
    [
        (3, 2.48, 3.26, 0.25),
        (4, 1.59, 2.13, 0.125),
        (5, 1.24, 1.68, 0.0625),
        (8, 0.84, 1.16, 0.008),
        (10, 0.72, 1.00, 0.002),
        (20, 0.47, 0.66, 2e-6),
    ],
)
def test_the_table_of_detectable_differences(
    pairs: int, needed: float, found: float, smallest: float
) -> None:
    """In units of the sd of the differences: mean with p = 0.05, mean that is found, smallest p."""
    shape = np.resize([-1.0, 1.0], pairs)
    shape = shape / shape.std(ddof=1)
    just = shape - shape.mean() + needed
    assert stats.ttest_1samp(just, 0).pvalue == pytest.approx(0.05, abs=2e-3)
    assert smallest_detectable(1.0, pairs) == pytest.approx(found, abs=0.005)
    assert smallest_detectable(0.02, pairs) == pytest.approx(0.02 * found, abs=1e-4)
    assert smallest_sign_flip_p(pairs) == pytest.approx(smallest, rel=0.05)


@pytest.mark.parametrize(
    ("pairs", "expected"),  # TTestPower().solve_power of statsmodels 0.15.0
    [(3, 3.264043552819638), (5, 1.6819970833232674), (10, 0.9960019107624178)],
)
def test_smallest_differences_equal_those_of_statsmodels(pairs: int, expected: float) -> None:
    assert smallest_detectable(1.0, pairs) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("difference", "expected"),  # TTestPower of statsmodels 0.15.0: 33.37, 9.94 and 4.22 pairs
    [(0.5, 34), (-0.5, 34), (1.0, 10), (2.0, 6)],
)
def test_how_many_pairs_find_a_difference(difference: float, expected: int) -> None:
    """At 2 sd the t-test needs five; with five the sign-flip test has no p below 0.0625."""
    assert pairs_needed(difference, 1.0) == expected
    assert pairs_needed(0.01 * difference, 0.01) == expected


def test_what_never_varies_needs_the_fewest_pairs_that_can_be_significant() -> None:
    assert pairs_needed(0.01, 0.0) == 6


@pytest.mark.parametrize(
    ("difference", "sd", "reason"),
    [
        (0.0, 1.0, "is no difference to look for"),
        (math.nan, 1.0, "is no difference to look for"),
        (0.1, -1.0, "is no standard deviation"),
        (1e-6, 1.0, "more than a million pairs"),
    ],
)
def test_pairs_that_no_study_has(difference: float, sd: float, reason: str) -> None:
    with pytest.raises(RunError, match=reason):
        pairs_needed(difference, sd)


def test_what_a_study_could_have_seen_is_said_with_the_floor_of_its_seeds() -> None:
    generator = np.random.default_rng(0)
    few, many = (
        paired_difference(
            dict(enumerate(generator.normal(0.4, 0.02, n))), dict.fromkeys(range(n), 0.4)
        )
        for n in (5, 10)
    )
    assert "5 pairs cannot give a p below 0.0625" in what_could_be_seen(few)
    assert "no difference could have been significant" in what_could_be_seen(few)
    assert f"10 pairs find a difference of {many.detectable:.3f}" in what_could_be_seen(many)
    assert "by a paired t-test at 0.05;" in what_could_be_seen(many)
    corrected = smallest_detectable(many.sd, 10, level=0.0025)
    assert corrected > 1.4 * many.detectable
    text = what_could_be_seen(many, family=20)
    assert f"{corrected:.3f} or more in four of five studies by a paired t-test at 0.0025;" in text
    text = what_could_be_seen(many, family=30)  # 30 of 2/1024
    assert "cannot give a p below 0.0586 corrected for 30 comparisons" in text


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


def test_one_seed_has_a_mean_and_no_interval() -> None:
    one, several = over_seeds([0.5]), over_seeds([0.4, 0.5, 0.6])
    assert (one.n, one.mean, one.sd, one.interval) == (1, 0.5, None, None)
    assert several.n == 3
    assert several.mean == pytest.approx(0.5)
    assert several.sd == pytest.approx(0.1)
    assert several.interval == mean_interval([0.4, 0.5, 0.6])
    with pytest.raises(RunError, match="0 values"):
        over_seeds([])


def test_beyond_the_patterns_that_can_be_counted_some_are_drawn() -> None:
    """Of differences that are all 1 or -1 the exact p is that of the binomial test."""
    pairs = MOST_PAIRS + 20
    differences = np.where(np.arange(pairs) < 39, 1.0, -1.0)
    exact = stats.binomtest(39, pairs).pvalue
    found = sign_flip_p(differences)
    assert found == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 100_000))
    assert sign_flip_p(differences) == found  # the seed of the draws is one
    assert sign_flip_p(np.ones(pairs)) == smallest_sign_flip_p(pairs) == 1 / 100_001


@pytest.mark.parametrize("count", [2, 5, 9, 12])
def test_wilcoxon_equals_scipys_exact_test(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.4, 1.0, count)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert wilcoxon_p(differences) == pytest.approx(expected, abs=1e-12)


def test_wilcoxon_with_ties_equals_scipys_permutation_of_the_ranks() -> None:
    """0.1 + 0.2 and 0.3 are a tie, and a difference of 0 is left out."""
    differences = [0.1 + 0.2, -0.3, 0.3, 0.5, 0.0, 0.7, 0.1, -0.1, 0.9]
    ranks = [4.0, -4.0, 4.0, 6.0, 7.0, 1.5, -1.5, 8.0]
    expected = stats.permutation_test(
        (ranks,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert wilcoxon_p(differences) == pytest.approx(expected.pvalue, abs=1e-12)
    assert wilcoxon_p([0.0, 0.0]) == wilcoxon_p([0.0, 0.2]) == 1.0


def test_one_failed_run_counts_as_one_rank() -> None:
    differences = [0.02, 0.03, 0.02, 0.01, 0.04, 0.03, 0.02, -0.4]
    assert wilcoxon_p(differences) < 0.2 < sign_flip_p(differences)


def test_holm_equals_that_of_statsmodels() -> None:
    """multipletests(..., method="holm") of statsmodels 0.15.0."""
    p_values = [0.001, 0.013, 0.021, 0.049, 0.2, 0.7, 0.02]
    assert holm(p_values) == pytest.approx([0.007, 0.078, 0.1, 0.147, 0.4, 0.7, 0.1], abs=1e-12)


@pytest.mark.parametrize(
    ("wins", "pairs", "low", "high"),  # proportion_confint(method="beta") of statsmodels 0.15.0
    [
        (5, 5, 0.4781762498950185, 1.0),
        (6, 6, 0.5407418735600995, 1.0),
        (8, 10, 0.4439045376923585, 0.9747892736731666),
        (0, 7, 0.0, 0.4096163972250034),
    ],
)
def test_superiority_of_pairs_equals_that_of_statsmodels(
    wins: int, pairs: int, low: float, high: float
) -> None:
    found = paired_superiority(np.where(np.arange(pairs) < wins, 0.01, -0.02))
    assert found.chance == wins / pairs
    assert found.interval == pytest.approx((low, high), abs=1e-9)


def test_a_tie_is_half_a_win() -> None:
    assert paired_superiority([0.0, 0.1, -0.1, 0.0]).chance == 0.5
    assert superiority([1.0, 2.0], [1.0, 2.0]).chance == 0.5


def test_superiority_of_groups_is_mann_whitneys_u_as_a_share() -> None:
    own, others = [0.33, 0.41, 0.34, 0.41, 0.42], [0.31, 0.36, 0.33, 0.38, 0.35]
    found, turned = superiority(own, others), superiority(others, own)
    assert found.chance == stats.mannwhitneyu(own, others).statistic / 25
    assert turned.chance == pytest.approx(1 - found.chance)
    assert turned.interval == pytest.approx((1 - found.interval[1], 1 - found.interval[0]))


def test_groups_that_do_not_overlap_have_an_end_that_their_number_gives() -> None:
    above = superiority([5, 6, 7], [1, 2, 3]).interval
    assert above == pytest.approx((0.50102, 1.0), abs=1e-4)
    assert superiority([1, 2, 3], [5, 6, 7]).interval == pytest.approx((0, 0.49898), abs=1e-4)


@pytest.mark.parametrize("gain", [0.0, 0.5, 3.0, -9.0])
@pytest.mark.parametrize("counts", [(2, 2), (5, 8), (20, 10)])
def test_ends_of_a_superiority_are_as_far_off_as_its_quantile(
    gain: float, counts: tuple[int, int]
) -> None:
    """Newcombe's method 5, put in anew: (found - true)^2 = 1.96^2 variance at both ends."""
    generator = np.random.default_rng(1)
    own, others = (generator.normal(0, 1, count) for count in counts)
    found = superiority((own + gain).tolist(), others.tolist())
    m, n = counts
    for end in found.interval:
        if not (found.chance == end and end in (0, 1)):
            odds = (1 - end) / (2 - end) + end / (1 + end)
            variance = end * (1 - end) * (1 + ((m + n) / 2 - 1) * odds) / (m * n)
            assert abs(found.chance - end) == pytest.approx(1.959964 * variance**0.5, abs=1e-6)
    assert found.interval[0] <= found.chance <= found.interval[1]
    assert found.interval[1] - found.interval[0] > 0.05  # groups that do not overlap, too


def test_effect_sizes_of_worked_examples() -> None:
    assert cohens_dz([0.01, 0.02, 0.03]) == pytest.approx(2.0)
    # Means 2 and 4, variances 1 and 4, so that d = -2 / sqrt(2.5); 4 degrees shrink by 0.797885.
    assert hedges_g([1, 2, 3], [2, 4, 6]) == pytest.approx(-1.264911 * 0.797885, abs=1e-6)
    assert cohens_dz([0.1 + 0.2, 0.3]) is None
    assert hedges_g([1.0, 1.0], [2.0, 2.0]) is None


def test_what_a_comparison_knows_beside_its_mean() -> None:
    arm, baseline = {0: 0.42, 1: 0.41, 2: 0.45}, {0: 0.40, 1: 0.40, 2: 0.42}
    found = paired_difference(arm, baseline)
    assert found.effect == pytest.approx(2.0)
    assert found.superiority.chance == 1.0
    assert found.wilcoxon_p == 0.25
    assert found.correlation == pytest.approx(np.corrcoef([42, 41, 45], [40, 40, 42])[0, 1])
    assert paired_difference(arm, dict.fromkeys(arm, 0.4)).correlation is None


GRID = [[0.41, 0.43, 0.40, 0.44], [0.36, 0.35, 0.39, 0.38], [0.45, 0.47, 0.44, 0.46]]
"""Three splits, four seeds of training."""


def test_parts_of_a_nested_grid_equal_a_mixed_model() -> None:
    """In a balanced grid REML is the analysis of variance: MixedLM of statsmodels 0.15.0."""
    found = variance_parts(GRID, nested=True)
    assert found.split == pytest.approx(0.0017555555, abs=1e-9)
    assert found.seed == pytest.approx(0.0002777778, abs=1e-9)
    assert (found.rest, found.truncated) == (0.0, ())
    assert found.total == found.split + found.seed
    assert sum(found.shares.values()) == pytest.approx(1.0)


def test_parts_of_a_crossed_grid_equal_a_mixed_model() -> None:
    """With what each seed does to all splits; MixedLM, whose search ends within 1 %."""
    grid = [[a + b for a, b in zip(row, (0, 0.02, -0.02, 0.03), strict=True)] for row in GRID]
    found = variance_parts(grid)
    assert found.split == pytest.approx(0.0017432, rel=0.01)
    assert found.seed == pytest.approx(0.0007948, rel=0.01)
    assert found.rest == pytest.approx(0.00029985, rel=0.01)


def test_a_part_below_0_is_0_and_said() -> None:
    """Splits whose means are equal vary less than their seeds would make them."""
    found = variance_parts([[0.1, 0.3], [0.3, 0.1]], nested=True)
    assert (found.split, found.truncated) == (0.0, ("split",))
    assert found.shares["split"] == 0.0
    assert str(found) == "sd: split 0.0000 (0 %), seed 0.1414 (100 %); split estimated below 0"


def test_a_grid_that_never_varies_has_no_shares() -> None:
    found = variance_parts([[0.5, 0.5], [0.5, 0.5]])
    assert found.total == 0.0
    assert all(math.isnan(share) for share in found.shares.values())


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        ([], "needs 2 splits or more"),
        ([[0.1, 0.2]], "needs 2 splits or more"),
        ([[0.1], [0.2]], "and 2 seeds of each or more"),
        ([[0.1, 0.2], [0.1, 0.2, 0.3]], "split 1 has 3 seeds and split 0 has 2"),
        ([[0.1, 0.2], [0.1, math.nan]], "split 1, seed 1: the score is not finite"),
    ],
)
def test_a_grid_with_holes_is_refused(grid: list[list[float]], reason: str) -> None:
    with pytest.raises(RunError, match=reason):
        variance_parts(grid)
