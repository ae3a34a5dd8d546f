"""How large a difference is: P(A > B), and differences in units of their spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from semisup.studies.statistics.seeds import Floats, Interval, equal, numbers_of


@dataclass(frozen=True, slots=True)
class Superiority:
    """P(A > B): the chance that a run of the one arm scores higher than one of the other.

    Attributes:
        chance: share of the comparisons that the arm wins; a tie counts as half.
        interval: 95 % interval of the chance; 0.5 inside of it says that neither is shown to be
            more often ahead.
    """

    chance: float
    interval: Interval


def paired_superiority(differences: Sequence[float] | Floats) -> Superiority:
    """P(A > B) of pairs: the share of the seeds at which the arm is above its baseline.

    The interval is that of Clopper and Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", 1934: it covers in at least 95 % of studies, mostly
    in more. With 5 seeds it has 0.5 inside whatever they say, with 6 it need not. Bouthillier et
    al., "Accounting for variance in machine learning benchmarks", MLSys 2021, ask for P(A > B) and
    take a bootstrap, whose interval has no width where all pairs have one sign.

    Args:
        differences: n of 2 or more.

    Raises:
        RunError: too few, or one that is not finite.
    """
    numbers = numbers_of(differences)
    count = len(numbers)
    wins = float(np.count_nonzero(numbers > 0)) + 0.5 * float(np.count_nonzero(numbers == 0))
    low = float(stats.beta.ppf(0.025, wins, count - wins + 1)) if wins > 0 else 0.0
    high = float(stats.beta.ppf(0.975, wins + 1, count - wins)) if wins < count else 1.0
    return Superiority(wins / count, (low, high))


def superiority(scores: Sequence[float], others: Sequence[float]) -> Superiority:
    """P(A > B) of two groups of runs that are not paired: over all pairs of one of each.

    It is Mann and Whitney's U as a share. The interval is method 5 of Newcombe, "Confidence
    intervals for an effect size measure based on the Mann-Whitney statistic, part 2", 2006, which
    has a width where the groups do not overlap, too.

    Args:
        scores: of the arm, 2 or more.
        others: of the other arm, 2 or more.

    Raises:
        RunError: too few, or one that is not finite.
    """
    own, other = numbers_of(scores), numbers_of(others)
    apart = own[:, None] - other[None]
    chance = float(np.mean(np.where(apart == 0, 0.5, apart > 0)))
    quantile, middle = float(special.ndtri(0.975)), (len(own) + len(other)) / 2 - 1

    def off(true: float) -> float:
        spread = 1 + middle * ((1 - true) / (2 - true) + true / (1 + true))
        variance = true * (1 - true) * spread / (len(own) * len(other))
        return (chance - true) ** 2 - quantile**2 * variance

    # Beside the chance it is below 0; at a chance of 0 or 1 it is 0, which is no end.
    low = float(optimize.brentq(off, 0.0, chance - 1e-9)) if chance > 0 else 0.0
    high = float(optimize.brentq(off, chance + 1e-9, 1.0)) if chance < 1 else 1.0
    return Superiority(chance, (low, high))


def cohens_dz(differences: Sequence[float] | Floats) -> float | None:
    """The mean of paired differences in units of their standard deviation.

    Args:
        differences: n of 2 or more.

    Returns:
        d_z; None where all differences are equal.

    Raises:
        RunError: too few, or one that is not finite.
    """
    numbers = numbers_of(differences)
    return None if equal(numbers) else float(np.mean(numbers) / np.std(numbers, ddof=1))


def hedges_g(scores: Sequence[float], others: Sequence[float]) -> float | None:
    """How far two groups that are not paired are apart, in units of their common sd.

    Cohen's d with the exact correction for few runs of Hedges, "Distribution theory for Glass's
    estimator of effect size and related estimators", 1981.

    Args:
        scores: of the arm, 2 or more.
        others: of the other arm, 2 or more.

    Returns:
        g, above 0 where the arm scores higher; None where no run differs from its group.

    Raises:
        RunError: too few, or one that is not finite.
    """
    own, other = numbers_of(scores), numbers_of(others)
    if equal(own) and equal(other):
        return None
    freedom = len(own) + len(other) - 2
    squares = sum((len(one) - 1) * float(np.var(one, ddof=1)) for one in (own, other))
    shrunk = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    correction = math.exp(shrunk) / math.sqrt(freedom / 2)
    return correction * float(np.mean(own) - np.mean(other)) / math.sqrt(squares / freedom)
