"""Which runs of two arms are paired, and what is said of the differences: one rule for all tables.

An arm and a baseline are paired on the seeds that both have, where their labelled images are the
same: an arm that has begun is compared on the seeds that it has, and the number of pairs is told.
Two pairs or more have an interval and a p; one has a difference alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from semisup.errors import RunError
from semisup.studies.groups import of_one_list
from semisup.studies.kept import Run
from semisup.studies.statistics import PairedDifference, holm, paired_difference


@dataclass(frozen=True)
class Pairs:
    """How far an arm is above a baseline on the seeds that both have.

    Attributes:
        arm: its name.
        baseline: its name.
        seeds: that both have, ascending, at least one.
        mean: of the differences of the mIoU, a share.
        paired: what is said over seeds; None for one seed.
        p_holm: p of the sign-flip test, corrected by Holm's rule for all pairs of arms of the
            table; None for one seed.
    """

    arm: str
    baseline: str
    seeds: tuple[int, ...]
    mean: float
    paired: PairedDifference | None
    p_holm: float | None = None


def pair_arms(
    arms: Mapping[str, Sequence[Run]], candidates: Sequence[tuple[str, str]], score: str
) -> tuple[list[Pairs], list[str]]:
    """Pair arms with their baselines, seed by seed.

    Args:
        arms: name -> its runs, each seed once.
        candidates: (arm, baseline) that are compared where they can be; one family for Holm's rule.
        score: of the "selected" or of the "last" checkpoint.

    Returns:
        What was paired, in the order of `candidates`; and notes, each in one line: arms that have
        no pair and why, and which seeds were used where the two do not have the same ones.

    Raises:
        RunError: a score is not finite.
    """
    found = [
        _pairs(arm, base, arms, score)
        for arm, base in candidates
        if _shared(arms[arm], arms[base]) and of_one_list(arms[arm], arms[base])
    ]
    tested = [one.paired.p for one in found if one.paired is not None]
    corrected = iter(holm(tested))
    found = [one if one.paired is None else replace(one, p_holm=next(corrected)) for one in found]
    return found, [*_apart(arms, candidates, found), *_on_seeds(arms, found)]


def _shared(runs: Sequence[Run], others: Sequence[Run]) -> tuple[int, ...]:
    return tuple(sorted({run.seed for run in runs} & {run.seed for run in others}))


def _pairs(arm: str, base: str, arms: Mapping[str, Sequence[Run]], score: str) -> Pairs:
    seeds = _shared(arms[arm], arms[base])
    own, others = (_scores(name, arms[name], seeds, score) for name in (arm, base))
    paired = None
    if len(seeds) > 1:
        paired = paired_difference(own, others, name=arm, baseline_name=base)
    mean = float(np.mean([own[seed] - others[seed] for seed in seeds]))
    return Pairs(arm, base, seeds, mean, paired)


def _scores(name: str, runs: Sequence[Run], seeds: Sequence[int], score: str) -> dict[int, float]:
    scores = {run.seed: run.miou(score) for run in runs if run.seed in seeds}
    wrong = [seed for seed in seeds if not math.isfinite(scores[seed])]
    if wrong:
        raise RunError(f"{name}: the score of seed {wrong[0]} is not finite. Leave it out.")
    return scores


def _apart(
    arms: Mapping[str, Sequence[Run]],
    candidates: Sequence[tuple[str, str]],
    found: Sequence[Pairs],
) -> list[str]:
    """Which arms are paired with none of their baselines, and why."""
    others: list[str] = []
    unpaired: list[str] = []
    for name in dict.fromkeys(arm for arm, _ in candidates):
        if any(one.arm == name for one in found):
            continue
        bases = [base for arm, base in candidates if arm == name]
        shares = any(_shared(arms[name], arms[base]) for base in bases)
        (others if shares else unpaired).append(name)
    notes = []
    if others:
        notes.append(f"Not compared, since their labelled images are others: {_listed(others)}.")
    if unpaired:
        notes.append(f"Not compared, since they share no seed: {_listed(unpaired)}.")
    return notes


def _on_seeds(arms: Mapping[str, Sequence[Run]], found: Sequence[Pairs]) -> list[str]:
    """On which seeds those are compared that do not have the same ones."""
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for one in found:
        if any(len(arms[name]) > len(one.seeds) for name in (one.arm, one.baseline)):
            groups.setdefault((one.baseline, one.seeds), []).append(one.arm)
    return [
        f"Compared with {base} on the "
        f"{f'{len(seeds)} seeds' if len(seeds) > 1 else 'one seed'} that both have "
        f"({' '.join(map(str, seeds))}): {_listed(names)}."
        for (base, seeds), names in groups.items()
    ]


def _listed(names: Sequence[str]) -> str:
    return ("; " if any("," in name for name in names) else ", ").join(names)
