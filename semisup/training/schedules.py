"""Learning rates as functions of the step alone, so that a resumed run needs no state of them."""

from __future__ import annotations

import math

from semisup.settings import OptimSettings
from semisup.types import Progress


def rate_factor(optim: OptimSettings, progress: Progress) -> float:
    """Factor in [0, 1] on the learning rate at this step.

    poly is (1 - t)^power (Liu et al. 2015), cosine is (1 + cos(pi t)) / 2, step multiplies by
    gamma at each milestone, exponential is gamma^t; t is the share of the run that is behind.
    Warm-up multiplies a linear rise on top, which reaches 1 at its last step.
    """
    return _decay(optim, progress.fraction) * _warmup(optim, progress)


def _decay(optim: OptimSettings, fraction: float) -> float:
    if optim.schedule == "poly":
        return float((1 - fraction) ** optim.power)
    if optim.schedule == "cosine":
        return (1 + math.cos(math.pi * fraction)) / 2
    if optim.schedule == "step":
        return float(optim.gamma ** sum(fraction >= share for share in optim.milestones))
    if optim.schedule == "exponential":
        return float(optim.gamma**fraction)
    return 1.0


def _warmup(optim: OptimSettings, progress: Progress) -> float:
    length = round(optim.warmup * progress.steps)
    return min(1.0, (progress.step + 1) / length) if length else 1.0
