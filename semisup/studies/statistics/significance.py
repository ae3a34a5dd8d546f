"""P values of paired differences, and their correction for a family of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from semisup.errors import RunError
from semisup.studies.statistics.seeds import TIE, Floats, numbers_of

MOST_PAIRS = 40
"""For which all patterns of signs are counted: 2^20 sums for each half of them."""

SIGN_DRAWS, SIGN_SEED = 100_000, 0
"""Beyond `MOST_PAIRS`: how many patterns of signs are drawn, and the seed of the draws."""

_DRAWN_AT_ONCE = 10_000


def sign_flip_p(differences: Sequence[float] | Floats) -> float:
    """Two-sided p of the mean difference, over all 2^n patterns of signs.

    Had the two arms one distribution, each difference could as well have the other sign: p is the
    share of the patterns whose mean is as far from 0 as the one found, or farther. It assumes
    nothing of the form of the distribution. Sums of the two halves are counted against one another,
    so that 2^(n/2) of them are made and not 2^n. Beyond `MOST_PAIRS` `SIGN_DRAWS` patterns are
    drawn at random with the seed `SIGN_SEED`, and the pattern found is counted among them, so that
    the test keeps its level: Phipson and Smyth, "Permutation p-values should never be zero", 2010.

    Args:
        differences: n of 2 or more.

    Raises:
        RunError: too few, or one that is not finite.
    """
    numbers = numbers_of(differences)
    count = len(numbers)
    found = abs(float(numbers.sum())) - TIE * float(np.abs(numbers).sum())
    if found <= 0:
        return 1.0
    if count > MOST_PAIRS:
        return (1 + _drawn_as_far(numbers, found)) / (1 + SIGN_DRAWS)
    left, right = _signed_sums(numbers[: count // 2]), _signed_sums(numbers[count // 2 :])
    right.sort()
    as_far = len(right) - np.searchsorted(right, found - left, side="left")
    return int(as_far.sum()) * 2.0 ** (1 - count)  # as many are as far below 0


def _signed_sums(values: Floats) -> Floats:
    """All 2^n sums of n values, each with either sign."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _drawn_as_far(values: Floats, found: float) -> int:
    """How many of the drawn patterns of signs have a sum as far from 0 as the one found."""
    generator = np.random.default_rng(SIGN_SEED)
    as_far = 0
    for start in range(0, SIGN_DRAWS, _DRAWN_AT_ONCE):
        size = (min(_DRAWN_AT_ONCE, SIGN_DRAWS - start), len(values))
        signs = generator.integers(0, 2, size, dtype=np.int8) * 2.0 - 1.0
        as_far += int(np.count_nonzero(np.abs(signs @ values) >= found))
    return as_far


def smallest_sign_flip_p(pairs: int) -> float:
    """The p of differences that all have one sign: no differences of `pairs` seeds give less.

    With 5 it is 0.0625, so that nothing is significant at 0.05; with 6 it is 0.03125.
    """
    return 2.0 ** (1 - pairs) if pairs <= MOST_PAIRS else 1 / (1 + SIGN_DRAWS)


def wilcoxon_p(differences: Sequence[float] | Floats) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact up to `MOST_PAIRS` pairs, ties or not.

    It is the sign-flip test of the ranks in place of the differences, so that one run that has
    failed counts as one rank and no more. Differences of 0 are left out, as Wilcoxon does, and
    equal ones share their mean rank. Wilcoxon, "Individual comparisons by ranking methods", 1945.

    Args:
        differences: n of 2 or more.

    Raises:
        RunError: too few, or one that is not finite.
    """
    numbers = numbers_of(differences)
    largest = float(np.abs(numbers).max())
    sizes = np.round(np.abs(numbers) / largest, 10) if largest else np.zeros(len(numbers))
    ranks = np.zeros(len(numbers))
    ranks[sizes > 0] = stats.rankdata(sizes[sizes > 0])
    return sign_flip_p(np.sign(numbers) * ranks)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values of a family of tests, corrected by Holm's rule, in the same order.

    The i-th smallest of m is multiplied by m - i + 1 and is no smaller than those before it. Below
    0.05 in the result, the chance of one false finding or more in the family is at most 0.05.
    Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Raises:
        RunError: one is outside of [0, 1].
    """
    wrong = [value for value in p_values if not 0 <= value <= 1]
    if wrong:
        raise RunError(f"{wrong[0]} is no p value. Give values in [0, 1].")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
