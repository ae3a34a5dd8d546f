"""Weights that rise over a run."""

from __future__ import annotations

import math

RAMP = 0.5
"""Share of the run over which the consistency term rises to its full weight."""


def ramp(fraction: float, start: float) -> float:
    """0 up to `start`, then in a straight line to 1 over `RAMP` of the run.

    Args:
        fraction: share of the run that is behind.
        start: share of the run.
    """
    return min(1.0, max(0.0, (fraction - start) / RAMP))


def gaussian_ramp(fraction: float, length: float) -> float:
    """exp(-5 (1 - t)^2), t from 0 to 1 over `length` of the run; then 1 (Laine and Aila 2017).

    Args:
        fraction: share of the run that is behind.
        length: share of the run; 0: 1 from the start.
    """
    reached = min(1.0, fraction / length) if length > 0 else 1.0
    return math.exp(-5.0 * (1.0 - reached) ** 2)
