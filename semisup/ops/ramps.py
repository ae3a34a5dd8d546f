"""Weights that rise over a run."""

from __future__ import annotations

RAMP = 0.5
"""Share of the run over which the consistency term rises to its full weight."""


def ramp(fraction: float, start: float) -> float:
    """0 up to `start`, then in a straight line to 1 over `RAMP` of the run.

    Args:
        fraction: share of the run that is behind.
        start: share of the run.
    """
    return min(1.0, max(0.0, (fraction - start) / RAMP))
