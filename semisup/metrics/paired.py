"""Whether one arm of an experiment scores higher than another: differences over paired seeds.

Two arms that were run with the same seeds share splits and draws, so that each seed gives one
difference, and the differences vary less than the scores. What is said of them speaks of training
repeated with other seeds; the images that are scored stay the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize, special, stats

from semisup.errors import RunError

MOST_PAIRS = 40
"""For which all patterns of signs are counted: 2^20 sums for each half of them."""

_TIE = 1e-10
"""Two sums of differences that are this near, as a share of the largest, count as one."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How far an arm is above its baseline.

    Attributes:
        pairs: n, number of seeds.
        mean: of the differences, arm less baseline.
        sd: of the differences, with n - 1.
        interval: 95 % interval of the mean by Student's t.
        p: exact two-sided sign-flip p of the mean.
        smallest_p: the smallest p that n pairs can give, whatever the differences.
        detectable: the smallest mean difference that a paired t-test at 0.05 finds with a power of
            0.8, at this n and this sd.
    """

    pairs: int
    mean: float
    sd: float
    interval: tuple[float, float]
    p: float
    smallest_p: float
    detectable: float


def paired_difference(
    scores: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    name: str = "the arm",
    baseline_name: str = "the baseline",
) -> PairedDifference:
    """Compare an arm with its baseline, seed by seed.

    Args:
        scores: seed -> score of the arm.
        baseline: seed -> score of the baseline, for the same seeds.
        name: of the arm, for errors.
        baseline_name: of the baseline, for errors.

    Raises:
        RunError: a seed is of one of them alone, there are fewer than 2 or more than `MOST_PAIRS`,
            or a score is not finite.
    """
    _require_pairs(scores, baseline, name, baseline_name)
    seeds = sorted(scores)
    differences = np.array([scores[seed] - baseline[seed] for seed in seeds], dtype=np.float64)
    sd = float(np.std(differences, ddof=1))
    return PairedDifference(
        pairs=len(seeds),
        mean=float(np.mean(differences)),
        sd=sd,
        interval=mean_interval(differences),
        p=sign_flip_p(differences),
        smallest_p=smallest_sign_flip_p(len(seeds)),
        detectable=smallest_detectable(sd, len(seeds)),
    )


def _require_pairs(
    scores: Mapping[int, float], baseline: Mapping[int, float], name: str, baseline_name: str
) -> None:
    alone = {name: scores.keys() - baseline.keys(), baseline_name: baseline.keys() - scores.keys()}
    parts = [f"{_seeds(seeds)} of {arm} alone" for arm, seeds in alone.items() if seeds]
    if parts:
        raise RunError(f"unpaired: {' and '.join(parts)}. Compare runs of the same seeds.")
    for arm, values in ((name, scores), (baseline_name, baseline)):
        wrong = {seed for seed, value in values.items() if not math.isfinite(value)}
        if wrong:
            raise RunError(f"{_seeds(wrong)} of {arm}: the score is not finite. Leave it out.")
    if len(scores) < 2:
        raise RunError(
            f"{name} and {baseline_name} have {len(scores)} paired seeds. A comparison needs 2 or "
            "more."
        )


def _seeds(seeds: set[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


def mean_interval(values: Sequence[float] | _Floats, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean by Student's t.

    Args:
        values: n at least 2.
        level: in (0, 1).

    Raises:
        RunError: fewer than 2 values, or one that is not finite.
    """
    numbers = _numbers(values)
    factor = float(stats.t.ppf(0.5 + level / 2, len(numbers) - 1))
    half = factor * float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers))
    middle = float(np.mean(numbers))
    return middle - half, middle + half


def _numbers(values: Sequence[float] | _Floats) -> _Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2:
        raise RunError(f"{len(numbers)} values. An interval or a test needs 2 or more.")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise RunError(f"value {wrong[0]} of {len(numbers)} is not finite. Leave it out.")
    return numbers


def sign_flip_p(differences: Sequence[float] | _Floats) -> float:
    """Exact two-sided p of the mean difference, over all 2^n patterns of signs.

    Had the two arms one distribution, each difference could as well have the other sign: p is the
    share of the patterns whose mean is as far from 0 as the one found, or farther. It assumes
    nothing of the form of the distribution. Sums of the two halves are counted against one another,
    so that 2^(n/2) of them are made and not 2^n.

    Args:
        differences: n of 2 to `MOST_PAIRS`.

    Raises:
        RunError: too few or too many, or one that is not finite.
    """
    numbers = _numbers(differences)
    count = len(numbers)
    if count > MOST_PAIRS:
        raise RunError(
            f"{count} pairs have too many patterns of signs to count. Compare at most {MOST_PAIRS}."
        )
    found = abs(float(numbers.sum())) - _TIE * float(np.abs(numbers).sum())
    if found <= 0:
        return 1.0
    left, right = _signed_sums(numbers[: count // 2]), _signed_sums(numbers[count // 2 :])
    right.sort()
    as_far = len(right) - np.searchsorted(right, found - left, side="left")
    return int(as_far.sum()) * 2.0 ** (1 - count)  # as many are as far below 0


def _signed_sums(values: _Floats) -> _Floats:
    """All 2^n sums of n values, each with either sign."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def smallest_sign_flip_p(pairs: int) -> float:
    """The p of differences that all have one sign: no differences of `pairs` seeds give less.

    With 5 it is 0.0625, so that nothing is significant at 0.05; with 6 it is 0.03125.
    """
    return 2.0 ** (1 - pairs)


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


def smallest_detectable(sd: float, pairs: int, *, level: float = 0.05, power: float = 0.8) -> float:
    """The mean difference that a two-sided paired t-test finds with this power.

    By the noncentral t distribution. A difference that is smaller than this may well be there and
    not be seen; with pairs too few for the sign-flip test to reach `level` at all
    (`smallest_sign_flip_p`), it is what a t-test would have seen.

    Args:
        sd: of the differences; 0 or more.
        pairs: n, at least 2.
        level: of the test, in (0, 1).
        power: in (level, 1).

    Raises:
        RunError: fewer than 2 pairs, or an sd that is negative or not finite.
    """
    if pairs < 2:
        raise RunError(f"{pairs} pairs. A comparison needs 2 or more.")
    if not (math.isfinite(sd) and sd >= 0):
        raise RunError(f"{sd} is no standard deviation. Give a number from 0.")
    return _shift(pairs - 1, level, power) * sd / math.sqrt(pairs)


@functools.lru_cache(maxsize=256)
def _shift(freedom: int, level: float, power: float) -> float:
    """The noncentrality at which the test of `freedom` degrees has this power."""
    critical = float(stats.t.ppf(1 - level / 2, freedom))
    # The power is reached where Z and the sd are both within shares whose product it is.
    share = math.sqrt(power)
    sd = math.sqrt(float(stats.chi2.ppf(share, freedom)) / freedom)
    bound = float(stats.norm.ppf(share)) + critical * sd
    found = optimize.brentq(lambda x: _power(x, critical, freedom) - power, 0.0, bound, xtol=1e-10)
    return float(found)


def _power(shift: float, critical: float, freedom: int) -> float:
    """Chance of a noncentral t beyond the critical value on either side.

    The integral over the sd that the sample happens to have, in units of the true one: scipy's own
    `nct` gives NaN in the far tail of few degrees.
    """

    def beyond(sd: float) -> float:
        tails = special.ndtr(shift - critical * sd) + special.ndtr(-shift - critical * sd)
        return float(tails * stats.chi.pdf(sd * root, freedom) * root)

    root = math.sqrt(freedom)
    end = float(stats.chi.isf(1e-12, freedom)) / root
    return float(integrate.quad(beyond, 0.0, end, points=[min(shift / critical, end)])[0])
