"""The smallest difference that a study could have seen, and how many seeds see a given one."""

from __future__ import annotations

import functools
import math

from scipy import integrate, optimize, special, stats

from semisup.errors import RunError
from semisup.studies.statistics.significance import smallest_sign_flip_p

LEVEL, POWER = 0.05, 0.8
"""At which a p is significant, and with which chance a difference is to be found."""

_MOST_NEEDED = 1_000_000


def smallest_detectable(
    sd: float, pairs: int, *, level: float = LEVEL, power: float = POWER
) -> float:
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
    _require_sd(sd)
    return _shift(pairs - 1, level, power) * sd / math.sqrt(pairs)


def pairs_needed(
    difference: float, sd: float, *, level: float = LEVEL, power: float = POWER
) -> int:
    """How many paired seeds find a mean difference.

    Args:
        difference: that is to be found, not 0.
        sd: of the differences; 0 or more.
        level: of the test, in (0, 1).
        power: in (level, 1).

    Returns:
        The smallest n whose `smallest_detectable` is at most `difference` and whose
        `smallest_sign_flip_p` is at most `level`.

    Raises:
        RunError: the difference is 0 or not finite, an sd that is negative or not finite, or more
            than a million pairs would be needed.
    """
    _require_sd(sd)
    if not math.isfinite(difference) or difference == 0:
        raise RunError(f"{difference} is no difference to look for. Give another number than 0.")
    share = 1 - level / 2
    few = ((special.ndtri(share) + special.ndtri(power)) * sd / difference) ** 2  # of a known sd
    if few > _MOST_NEEDED:
        raise RunError(
            f"a difference of {difference:g} at an sd of {sd:g} needs more than a million pairs. "
            "Look for a larger one."
        )
    pairs = max(2, int(few))
    while smallest_sign_flip_p(pairs) > level or smallest_detectable(
        sd, pairs, level=level, power=power
    ) > abs(difference):
        pairs += 1
    return pairs


def _require_sd(sd: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise RunError(f"{sd} is no standard deviation. Give a number from 0.")


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
