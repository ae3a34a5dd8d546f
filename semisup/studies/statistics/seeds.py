"""Mean, standard deviation and interval of the scores of several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from semisup.errors import RunError

TIE = 1e-10
"""Numbers that are this near, as a share of the largest, count as one."""

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """Scores of one arm over its seeds.

    Attributes:
        n: number of seeds.
        mean: of the scores.
        sd: standard deviation, with n - 1; None for one seed.
        interval: 95 % interval of the mean by Student's t; None for one seed.
    """

    n: int
    mean: float
    sd: float | None
    interval: Interval | None


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Mean, standard deviation and interval of the scores of some seeds.

    Args:
        values: one or more.

    Raises:
        RunError: there are none, or one of several is not finite.
    """
    if not values:
        raise RunError("0 values. A mean needs 1 or more.")
    mean = float(np.mean(values))
    if len(values) == 1:
        return OverSeeds(1, mean, None, None)
    numbers = numbers_of(values)
    return OverSeeds(len(values), mean, float(np.std(numbers, ddof=1)), mean_interval(numbers))


def mean_interval(values: Sequence[float] | Floats, level: float = 0.95) -> Interval:
    """Interval of the mean by Student's t.

    Args:
        values: n at least 2.
        level: in (0, 1).

    Raises:
        RunError: fewer than 2 values, or one that is not finite.
    """
    numbers = numbers_of(values)
    factor = float(special.stdtrit(len(numbers) - 1, 0.5 + level / 2))
    half = factor * float(np.std(numbers, ddof=1)) / math.sqrt(len(numbers))
    middle = float(np.mean(numbers))
    return middle - half, middle + half


def numbers_of(values: Sequence[float] | Floats) -> Floats:
    """Two values or more as an array.

    Raises:
        RunError: fewer than 2 values, or one that is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2:
        raise RunError(f"{len(numbers)} values. An interval or a test needs 2 or more.")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise RunError(f"value {wrong[0]} of {len(numbers)} is not finite. Leave it out.")
    return numbers


def equal(values: Floats) -> bool:
    """Whether all are one number, but for rounding."""
    return float(np.ptp(values)) <= TIE * float(np.abs(values).max())
