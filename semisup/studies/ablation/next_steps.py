"""What to do with a finished study: the commands that compare its arms."""

from __future__ import annotations

import shlex
from pathlib import Path

from semisup.studies.ablation.cells import Cell, told_apart
from semisup.studies.ablation.plan import Plan

MOST = 6
"""Commands that are named."""


def comparisons(plan: Plan) -> list[str]:
    """A command for each combination of the other axes: its arms side by side, the first first."""
    arms = plan.study.arms
    groups: dict[tuple[tuple[str, str], ...], list[Cell]] = {}
    for cell in plan.cells:
        key = () if arms is None else told_apart(cell.values, arms.name)
        groups.setdefault(key, []).append(cell)
    commands = []
    for cells in list(groups.values())[:MOST]:
        places = [f"{_name(plan, cell)}={_place(plan.out, cell)}" for cell in cells]
        commands.append("semisup compare " + " ".join(shlex.quote(place) for place in places))
    return commands


def _name(plan: Plan, cell: Cell) -> str:
    arms = plan.study.arms
    name = cell.label if arms is None else cell.values[arms.name]
    return name.replace("=", " ")


def _place(out: Path, cell: Cell) -> str:
    return str(out / cell.run.name / f"{cell.run.digest}-s*")
