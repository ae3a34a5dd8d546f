"""Runs compared: means over seeds, and paired differences from a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from semisup.errors import RunError, suggest
from semisup.studies.groups import (
    check_comparable,
    check_lists,
    groups_of,
    masks_trained_on,
    names_of,
    shared_protocol,
)
from semisup.studies.images import on_images
from semisup.studies.kept import Run
from semisup.studies.pairing import Pairs, pair_arms
from semisup.studies.statistics import (
    Interval,
    OverBoth,
    OverSeeds,
    PairedDifference,
    over_seeds,
)


@dataclass(frozen=True)
class Arm:
    """The runs of one recipe, budget and data, which differ in their seed alone.

    Attributes:
        name: of its recipe with the keys that differ from others of that name, or the given one.
        runs: in the order of their seeds, each seed once.
        score: which checkpoint is compared: "selected" or "last".
    """

    name: str
    runs: tuple[Run, ...]
    score: str = "selected"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the training, ascending."""
        return tuple(run.seed for run in self.runs)

    @property
    def scores(self) -> dict[int, float]:
        """Seed -> mIoU, a share."""
        return {run.seed: run.miou(self.score) for run in self.runs}

    @property
    def masks(self) -> tuple[int, int]:
        """The least and the largest number of labelled images."""
        counts = [int(run.split["labelled"]) for run in self.runs]
        return min(counts), max(counts)

    @property
    def over_seeds(self) -> OverSeeds:
        """What the mIoU of the seeds says."""
        return over_seeds(list(self.scores.values()))

    @property
    def mean(self) -> float:
        """Of the mIoU over the seeds."""
        return self.over_seeds.mean

    @property
    def sd(self) -> float | None:
        """Standard deviation of the mIoU over the seeds, with n - 1; None for one seed."""
        return self.over_seeds.sd

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean over seeds, by Student's t; None for one seed."""
        return self.over_seeds.interval

    @property
    def train_seconds(self) -> float:
        """Mean training time."""
        return float(np.mean([run.train_seconds for run in self.runs]))

    def class_means(self) -> dict[str, float | None]:
        """Class -> mean IoU over the seeds in which it counts; None where it counts in none.

        Empty where the last checkpoint is compared: runs keep classes of the reported one alone.
        """
        return {name: _mean(row) for name, row in self.class_scores().items()}

    def class_scores(self) -> dict[str, dict[int, float]]:
        """Class -> seed -> IoU of the selected checkpoint, of the seeds in which it counts."""
        if self.score != "selected":
            return {}
        names = dict.fromkeys(name for run in self.runs for name in run.content.get("iou", {}))
        found: dict[str, dict[int, float]] = {name: {} for name in names}
        for run in self.runs:
            for name, iou in run.content.get("iou", {}).items():
                if iou is not None:
                    found[name][run.seed] = float(iou)
        return found


@dataclass(frozen=True)
class ClassDifference:
    """How far an arm is above its baseline in one class.

    Attributes:
        mean: of the differences of the IoU, over the seeds in which it counts in both.
        interval: 95 % interval of the mean by Student's t, not corrected; None for one seed.
    """

    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """How far an arm is above its baseline on the seeds that both have.

    Attributes:
        arm: name of the arm.
        baseline: name of its baseline.
        seeds: that both have.
        mean: of the differences of the mIoU.
        paired: what is said over seeds; None for one seed.
        p_holm: p of the sign-flip test, corrected by Holm's rule for all differences of the
            comparison; None for one seed.
        images: 95 % bootstrap interval over images of `mean`, both scored on the same images; None
            where a run has no counts of its images.
        both: what is said over seeds and images at once; None for one seed, or without counts.
        classes: class -> difference of its IoU.
    """

    arm: str
    baseline: str
    seeds: tuple[int, ...]
    mean: float
    paired: PairedDifference | None
    p_holm: float | None
    images: Interval | None
    both: OverBoth | None
    classes: Mapping[str, ClassDifference]


@dataclass(frozen=True)
class Comparison:
    """What is known of several arms and of the differences between them.

    Attributes:
        arms: in the order in which they were given.
        differences: of each arm from each baseline of the same labelled images.
        score: which checkpoint was compared: "selected" or "last".
        notes: what a reader has to know, each in one line.
    """

    arms: tuple[Arm, ...]
    differences: tuple[Difference, ...]
    score: str
    notes: tuple[str, ...] = field(default=())

    @property
    def protocol(self) -> dict[str, Any]:
        """By which all of them were scored; without training masks where these differ."""
        return shared_protocol([run for arm in self.arms for run in arm.runs])

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the arms that others are compared with."""
        return tuple(dict.fromkeys(one.baseline for one in self.differences))


def compare(
    runs: Sequence[Run],
    *,
    baseline: str = "",
    first: Sequence[str] = (),
    score: str = "selected",
    notes: Sequence[str] = (),
) -> Comparison:
    """Compare runs: one arm for each recipe, budget and data, over its seeds.

    Args:
        runs: of one protocol, scored on the same files.
        baseline: name of the arm that others are compared with; its recipe where that has one arm
            for each budget; empty: the arms of `first`.
        first: sources of the runs whose arms are the baselines; empty: nothing is compared.
        score: of the "selected" or of the "last" checkpoint.
        notes: what is said of the runs beside.

    Raises:
        RunError: there are no runs, they must not stand in one table, a seed is there twice, or no
            arm is called as the baseline.
    """
    if not runs:
        raise RunError("no finished runs to compare. Name folders of runs or recipes.")
    check_comparable(runs)
    groups = groups_of(runs)
    place = {run.source: number for number, run in enumerate(runs)}
    groups.sort(key=lambda group: min(place[run.source] for run in group))
    names = [name.replace("`", "") for name in names_of(groups)]
    arms = [Arm(name, tuple(group), score) for name, group in zip(names, groups, strict=True)]
    notes = (*notes, *_on_masks(arms))
    bases = _named(arms, baseline) if baseline else _of(arms, first)
    if not bases:
        return Comparison(tuple(arms), (), score, tuple(notes))
    check_lists(runs)
    arms = [*bases, *(arm for arm in arms if arm not in bases)]
    differences, apart = _differences(arms, bases)
    return Comparison(tuple(arms), tuple(differences), score, (*notes, *apart))


def _on_masks(arms: Sequence[Arm]) -> list[str]:
    """Which masks each arm was trained on, where these differ."""
    kinds: dict[str, list[str]] = {}
    for arm in arms:
        kinds.setdefault(_masks(arm), []).append(arm.name)
    if len(kinds) == 1:
        return []
    return [f"Trained on {kind}: {'; '.join(names)}." for kind, names in kinds.items()]


def _masks(arm: Arm) -> str:
    folder = masks_trained_on(arm.runs[0])
    return f"masks of {folder}" if folder else "the data set's own masks"


def _named(arms: Sequence[Arm], baseline: str) -> list[Arm]:
    """The arm of this name, or all arms of the recipe of this name."""
    found = [arm for arm in arms if arm.name == baseline] or [
        arm for arm in arms if not arm.runs[0].arm and arm.runs[0].recipe == baseline
    ]
    if not found:
        known = [arm.name for arm in arms]
        raise RunError(f"--baseline {baseline}: no arm has that name.{suggest(baseline, known)}")
    return found


def _of(arms: Sequence[Arm], sources: Sequence[str]) -> list[Arm]:
    if not sources:
        return []
    known = set(sources)
    return [arm for arm in arms if any(run.source in known for run in arm.runs)]


def _differences(arms: Sequence[Arm], bases: Sequence[Arm]) -> tuple[list[Difference], list[str]]:
    """Each arm less each baseline that it can be paired with, and notes of the others."""
    named = {arm.name: arm for arm in arms}
    candidates = [(arm.name, base.name) for arm in arms if arm not in bases for base in bases]
    runs = {arm.name: arm.runs for arm in arms}
    found, notes = pair_arms(runs, candidates, arms[0].score)
    return [_difference(named[one.arm], named[one.baseline], one) for one in found], notes


def _difference(arm: Arm, base: Arm, found: Pairs) -> Difference:
    pairs = [(_run(arm, seed), _run(base, seed)) for seed in found.seeds]
    images = on_images(pairs) if arm.score == "selected" else None
    return Difference(
        arm=arm.name,
        baseline=base.name,
        seeds=found.seeds,
        mean=found.mean,
        paired=found.paired,
        p_holm=found.p_holm,
        images=images.images if images else None,
        both=images.both if images else None,
        classes=_classes(arm, base, found.seeds),
    )


def _run(arm: Arm, seed: int) -> Run:
    return next(run for run in arm.runs if run.seed == seed)


def _classes(arm: Arm, base: Arm, seeds: Sequence[int]) -> dict[str, ClassDifference]:
    own, others = arm.class_scores(), base.class_scores()
    found = {}
    for name in own.keys() & others.keys():
        values = [
            own[name][seed] - others[name][seed]
            for seed in seeds
            if seed in own[name] and seed in others[name]
        ]
        if values:
            seen = over_seeds(values)
            found[name] = ClassDifference(seen.mean, seen.interval)
    return {name: found[name] for name in own if name in found}


def _mean(row: Mapping[int, float]) -> float | None:
    return float(np.mean(list(row.values()))) if row else None
