"""How much of the spread of a score is due to the label split, and how much to training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semisup.errors import RunError


@dataclass(frozen=True, slots=True)
class VarianceParts:
    """How much of the variance of a score is due to the label split, and how much to training.

    Attributes:
        split: variance between label splits.
        seed: variance between seeds of training: in a crossed grid what a seed does to all splits,
            in a nested one all that varies within a split.
        rest: of a crossed grid, what a seed does to one split alone; 0 in a nested one.
        truncated: names of the parts whose estimate was below 0, and which are given as 0: so few
            splits and seeds do not tell them from 0.
    """

    split: float
    seed: float
    rest: float
    truncated: tuple[str, ...]

    @property
    def total(self) -> float:
        """Variance of one run of another split and another seed."""
        return self.split + self.seed + self.rest

    @property
    def shares(self) -> dict[str, float]:
        """Part -> share of the total; NaN where nothing varies."""
        parts = {"split": self.split, "seed": self.seed, "rest": self.rest}
        return {name: part / self.total if self.total else math.nan for name, part in parts.items()}

    def __str__(self) -> str:
        parts = [
            f"{name} {getattr(self, name) ** 0.5:.4f} ({100 * share:.0f} %)"
            for name, share in self.shares.items()
            if name != "rest" or share
        ]
        below = f"; {' and '.join(self.truncated)} estimated below 0" if self.truncated else ""
        return f"sd: {', '.join(parts)}{below}"


def variance_parts(scores: Sequence[Sequence[float]], *, nested: bool = False) -> VarianceParts:
    """Parts of the variance of a grid of label splits and seeds of training.

    Random effects by the mean squares of an analysis of variance; a part that comes out negative is
    0, and is named. Searle, Casella and McCulloch, "Variance Components", 1992, chapters 3 and 4.

    Args:
        scores: a row for each split, a column for each seed of training; 2 x 2 or more.
        nested: whether each split has seeds of its own, so that a column means nothing; else all
            splits have the same seeds.

    Raises:
        RunError: fewer rows or columns than 2, a cell that is missing, or one that is not finite.
    """
    if len(scores) < 2 or min(len(row) for row in scores) < 2:
        raise RunError("a grid needs 2 splits or more, and 2 seeds of each or more.")
    columns = len(scores[0])
    for place, row in enumerate(scores):
        if len(row) != columns:
            raise RunError(
                f"split {place} has {len(row)} seeds and split 0 has {columns}. Give each as many."
            )
        wrong = [seed for seed, value in enumerate(row) if not math.isfinite(value)]
        if wrong:
            raise RunError(
                f"split {place}, seed {wrong[0]}: the score is not finite. Leave it out."
            )
    grid = np.asarray(scores, dtype=np.float64)
    rows = len(grid)
    by_split = columns * float(np.var(grid.mean(1), ddof=1))
    if nested:
        within = float(np.var(grid, axis=1, ddof=1).mean())
        return _parts(split=(by_split - within) / columns, seed=within, rest=0.0)
    by_seed = rows * float(np.var(grid.mean(0), ddof=1))
    left = grid - grid.mean(1, keepdims=True) - grid.mean(0, keepdims=True) + grid.mean()
    rest = float((left**2).sum()) / ((rows - 1) * (columns - 1))
    return _parts(split=(by_split - rest) / columns, seed=(by_seed - rest) / rows, rest=rest)


def _parts(**parts: float) -> VarianceParts:
    below = tuple(name for name, part in parts.items() if part < 0)
    return VarianceParts(truncated=below, **{name: max(0.0, part) for name, part in parts.items()})
