"""The plan of a study: what is done, what is left, and how long it may take."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semisup.errors import RunError
from semisup.studies.ablation.attempts import Done, failed, read_attempts, read_done
from semisup.studies.ablation.cells import Cell, Job, cells_of, jobs_of
from semisup.studies.ablation.record import check_record
from semisup.studies.ablation.study import Study

State = Literal["done", "failed", "left"]


@dataclass(frozen=True)
class Cost:
    """What one run takes.

    Attributes:
        seconds: of wall time.
        peak_mib: of memory, in MiB; None: not known.
    """

    seconds: float
    peak_mib: float | None = None


@dataclass(frozen=True)
class Plan:
    """A study that is ready to run.

    Attributes:
        study: as its file states it.
        cells: its recipes.
        jobs: its runs, in an order in which each can start.
        states: folder of a run -> what is known of it.
        costs: digest of a recipe -> mean of its finished runs.
        out: folder of the runs.
        changes: of --set, of every cell.
        notes: what is odd, in one line each.
    """

    study: Study
    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]
    states: Mapping[Path, State]
    costs: Mapping[str, Cost]
    out: Path
    changes: tuple[str, ...]
    notes: tuple[str, ...]

    def count(self, state: State, cells: Sequence[Cell] | None = None) -> int:
        """How many cells, times seeds, are in a state; first stages are not counted."""
        chosen = None if cells is None else {id(cell) for cell in cells}
        return sum(
            self.states[job.folder] == state
            for job in self.jobs
            if job.cell is not None and (chosen is None or id(job.cell) in chosen)
        )

    def left(self) -> list[Job]:
        """Runs that are neither finished nor failed, first stages too."""
        return [job for job in self.jobs if self.states[job.folder] == "left"]

    def group_of(self, cell: Cell) -> str:
        """The arm of a cell, whose cells take about as long a step; empty: there are no arms."""
        arms = self.study.arms
        return "" if arms is None else cell.values[arms.name]


def make_plan(study: Study, out: Path, changes: Sequence[str] = ()) -> Plan:
    """Load all recipes of a study and look at what is there.

    Args:
        study: to be planned.
        out: folder of the runs.
        changes: of every cell, as given to --set.

    Raises:
        RecipeError: a recipe cannot be used.
        RunError: the folder is of another study, or a file in it is damaged.
    """
    cells = cells_of(study, changes)
    jobs = jobs_of(cells, study.seeds, out)
    notes = check_record(out, study, cells)
    states: dict[Path, State] = {}
    found: dict[str, list[Cost]] = defaultdict(list)
    wrong: list[str] = []
    for job in jobs:
        done = read_done(job.folder, job.stage.digest)
        if done is None:
            states[job.folder] = "failed" if failed(job.folder) else "left"
            continue
        states[job.folder] = "done"
        found[job.stage.digest].append(_cost(job.folder, done.seconds))
        if job.cell is not None:
            wrong += _not_as_paid(study, job.cell, job.label, done)
    if wrong:
        raise RunError(
            f"study {study.path}: {wrong[0]}: 'budget.images' is not the number of images that "
            "are trained on. Correct it."
        )
    costs = {digest: _mean(several) for digest, several in found.items()}
    return Plan(study, cells, jobs, states, costs, out, tuple(changes), tuple(notes))


def _not_as_paid(study: Study, cell: Cell, label: str, done: Done) -> list[str]:
    """A line where a finished run has other labels than its budget pays for."""
    if cell.masks not in (None, done.labelled):
        return [f"{label}: has {done.labelled} masks, and {cell.masks} paid for"]
    images = None if study.budget is None or cell.seconds is None else study.budget.images
    for change in cell.run.changes if images else ():
        found = re.fullmatch(rf"data\.tagged=(\d+)/{images}", change)
        # Images with a mask have their tags by it; they may be among those that are paid for.
        if found and not int(found[1]) - done.labelled <= done.tagged <= int(found[1]):
            return [f"{label}: has tags of {done.tagged} images, and {found[1]} paid for"]
    return []


def _cost(folder: Path, seconds: float) -> Cost:
    """Of a finished run: what its processes took, where they are recorded."""
    attempts = read_attempts(folder)
    if not attempts:
        return Cost(seconds)
    total = sum(attempt.seconds for attempt in attempts)
    return Cost(max(total, seconds), max(attempt.peak_mib for attempt in attempts))


def _mean(costs: Sequence[Cost]) -> Cost:
    peaks = [cost.peak_mib for cost in costs if cost.peak_mib is not None]
    seconds = sum(cost.seconds for cost in costs) / len(costs)
    return Cost(seconds, max(peaks) if peaks else None)


def estimate(plan: Plan, probed: Mapping[str, Cost] | None = None) -> dict[str, Cost]:
    """What a run of each recipe may take: digest -> cost, where anything is known.

    By finished runs of the recipe; else by those of its arm, for as many steps; else by a probe.

    Args:
        plan: of the study.
        probed: digest -> cost of a whole run, as a probe makes it out.
    """
    known = {**(probed or {}), **plan.costs}
    costs = dict(known)
    by_group: dict[tuple[str, str], list[tuple[Cost, int]]] = defaultdict(list)
    stages = [
        (plan.group_of(cell), stage) for cell in plan.cells for stage in (*cell.stages, cell.run)
    ]
    for group, stage in stages:
        if stage.digest in known:
            by_group[group, stage.name].append((known[stage.digest], stage.steps))
            by_group[group, ""].append((known[stage.digest], stage.steps))
    for group, stage in stages:
        if stage.digest in costs:
            continue
        alike = by_group.get((group, stage.name)) or by_group.get((group, ""))
        if alike:
            a_step = sum(cost.seconds / steps for cost, steps in alike) / len(alike)
            peaks = [cost.peak_mib for cost, _ in alike if cost.peak_mib is not None]
            costs[stage.digest] = Cost(a_step * stage.steps, max(peaks) if peaks else None)
    return costs


def seconds_left(plan: Plan, costs: Mapping[str, Cost], jobs: int) -> float | None:
    """How long what is left may take; None where that of a recipe is not known."""
    left = plan.left()
    if any(job.stage.digest not in costs for job in left):
        return None
    longest = max((costs[job.stage.digest].seconds for job in left), default=0.0)
    return max(longest, sum(costs[job.stage.digest].seconds for job in left) / jobs)
