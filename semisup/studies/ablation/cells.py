"""From a study to its recipes, and from recipes and seeds to jobs: the runs that there are to do.

Each distinct recipe is loaded once, whatever the number of seeds. A job is one `semisup run`; a
first stage that several cells start from is one job.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.data.formats.trees import names_folder
from semisup.errors import DataError, RecipeError
from semisup.recipe.load import load_recipe, stated_in
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import flatten, parse_change
from semisup.studies.ablation.budget import BUDGET, TAGS, kind_paid
from semisup.studies.ablation.study import Point, Study, change_of
from semisup.system.words import counted


@dataclass(frozen=True)
class Stage:
    """A recipe as `semisup run` is told it.

    Attributes:
        recipe: the name or file that is run.
        changes: of --set.
        name: of the folder that its runs lie in.
        digest: of the recipe.
        seed: of its run; None: that of the cell.
        steps: of the training.
    """

    recipe: str
    changes: tuple[str, ...]
    name: str
    digest: str
    seed: int | None
    steps: int


@dataclass(frozen=True)
class Cell:
    """One recipe of a study, whatever the seed.

    Attributes:
        values: axis -> the name of its value.
        run: the recipe as it is run.
        stages: that go before it, the first one first.
        masks: images whose masks its budget pays for, weak ones too; None: it pays for none.
        seconds: its budget of annotation; None: it has none.
    """

    values: Mapping[str, str]
    run: Stage
    stages: tuple[Stage, ...]
    masks: int | None = None
    seconds: float | None = None

    @property
    def label(self) -> str:
        """Such as "arm=fixmatch, data.split=1/64"."""
        return ", ".join(f"{axis}={name}" for axis, name in self.values.items()) or self.run.name


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        label: what a person knows it by.
        stage: what is run.
        seed: of the run.
        folder: of the run.
        needs: folder of the first stage that it starts from; None: it starts from nothing.
        cell: which cell it is; None: a first stage alone.
    """

    label: str
    stage: Stage
    seed: int
    folder: Path
    needs: Path | None
    cell: Cell | None

    @property
    def key(self) -> str:
        """What it is claimed by: a name of a file."""
        return f"{self.stage.name.replace('/', '.')}.{self.folder.name}"

    def words(self) -> list[str]:
        """Its command line behind `semisup`, without where things lie."""
        changes = [word for change in self.stage.changes for word in ("--set", change)]
        return ["run", self.stage.recipe, *changes, "--seed", str(self.seed)]


def cells_of(study: Study, changes: Sequence[str] = ()) -> tuple[Cell, ...]:
    """The recipes of a study, each loaded and checked.

    Args:
        study: whose.
        changes: of every cell, as given to --set; they win.

    Raises:
        RecipeError: a recipe cannot be used, two cells train the very same, or a change is of a
            key that the study varies.
    """
    _check_changes(study, changes)
    stated: dict[str, Mapping[str, Any]] = {}
    cells: list[Cell] = []
    by_digest: dict[str, Cell] = {}
    for point in study.points():
        try:
            if point.base not in stated:
                stated[point.base] = stated_in(point.base)
            cell = _cell(study, point, changes, stated[point.base])
        except (RecipeError, DataError, ValueError) as error:
            raise study.error(f"{point.label}: {error}") from None
        same = by_digest.setdefault(cell.run.digest, cell)
        if same is not cell:
            raise study.error(
                f"'{same.label}' and '{cell.label}' train the very same recipe. Exclude one."
            )
        cells.append(cell)
    return tuple(cells)


def _check_changes(study: Study, changes: Sequence[str]) -> None:
    """Refuse what the names of the cells, the seeds or the arms state otherwise."""
    varied = {key: axis.name for axis in study.axes for key in axis.keys}
    for change in changes:
        key, _ = parse_change(change)
        for other, axis in varied.items():
            if f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}."):
                raise study.error(f"--set {change}: 'axes.{axis}' varies it. Change the file.")
        if key == "train.seed":
            raise study.error(f"--set {change}: seeds are stated by the key 'seeds' of the file.")
        if key.startswith("baseline."):
            raise study.error(
                f"--set {change}: the cells of a study have no baselines; make it an arm."
            )


def _cell(study: Study, point: Point, changes: Sequence[str], of_base: Mapping[str, Any]) -> Cell:
    keys, masks = _with_budget(study, point.keys, of_base, changes)
    for change in changes:
        key, _ = parse_change(change)
        if key in keys and key not in point.keys:
            raise ValueError(f"--set {change}: budget.seconds states it. Change the file.")
    words = [change_of(key, value) for key, value in keys.items()]
    # A baseline would be trained by each run that names one, at any time.
    words += [*changes, *(["baseline.recipe="] if of_base.get("baseline.recipe") else [])]
    recipe = load_recipe(point.base, words)
    run = Stage(point.base, tuple(words), recipe.name, recipe.digest(), None, recipe.train.steps)
    seconds = point.keys.get(f"{BUDGET}seconds")
    return Cell(point.values, run, tuple(_stages(recipe)), masks, seconds)


def _with_budget(
    study: Study,
    stated: Mapping[str, Any],
    of_base: Mapping[str, Any],
    changes: Sequence[str],
) -> tuple[dict[str, Any], int | None]:
    """The keys of a recipe alone: a budget in seconds as a share of the images."""
    keys = {key: value for key, value in stated.items() if not key.startswith(BUDGET)}
    of_budget = {k.removeprefix(BUDGET): v for k, v in stated.items() if k.startswith(BUDGET)}
    if not of_budget:
        return keys, None
    unknown = sorted(of_budget.keys() - {"seconds", "kind"})
    if unknown:
        raise ValueError(f"there is no key 'budget.{unknown[0]}'. Known: kind, seconds.")
    seconds = of_budget.get("seconds")
    wrong = ValueError(f"budget.seconds = {seconds!r}: is a number of seconds above 0.")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise wrong
    if not 0 < seconds < math.inf:
        raise wrong
    assert study.budget is not None  # read_study refuses budgets without
    known = {**of_base, **keys, **dict(map(parse_change, changes))}
    weak = str(known.get("data.weak_masks", ""))
    if weak and not names_folder(weak):
        raise ValueError(
            f"data.weak_masks = {weak!r}: budget.seconds pays for the images "
            "of data.split alone. State data.masks, or budget no seconds."
        )
    kind = kind_paid(str(of_budget.get("kind", "")), str(known.get("data.masks", "")))
    bought = study.budget.changes(seconds, kind)
    twice = sorted(bought.keys() & keys.keys())
    if twice:
        raise ValueError(f"'{twice[0]}' is stated, and budget.seconds states it too.")
    masks = None if kind == TAGS else study.budget.affords(seconds, kind)
    return keys | bought, masks


def _stages(recipe: Recipe) -> list[Stage]:
    """The recipes that go before one, the first one first."""
    first = recipe.first
    if first is None:
        return []
    plain = flatten(load_recipe(recipe.init.recipe, recipe.init.changes).resolved())
    stated = flatten(first.resolved())
    handed = [
        change_of(key, value)
        for key, value in stated.items()
        if first.sources[key] == f"recipe {recipe.name}"
        and key != "train.seed"
        and plain.get(key) != value
    ]
    quiet = ["baseline.recipe="] if first.baseline.recipe else []
    words = (*recipe.init.changes, *handed, *quiet)
    again = load_recipe(recipe.init.recipe, words)
    assert again.digest() == first.digest(), "a first stage that is told otherwise than it is run"
    seed = None if recipe.init.seed == "same" else recipe.init.seed
    stage = Stage(recipe.init.recipe, words, first.name, first.digest(), seed, first.train.steps)
    before = _stages(first)
    if seed is not None:  # the stages before it have its seed, not the cell's
        before = [_with_seed(one, seed) for one in before]
    return [*before, stage]


def _with_seed(stage: Stage, seed: int) -> Stage:
    fixed = seed if stage.seed is None else stage.seed
    return Stage(stage.recipe, stage.changes, stage.name, stage.digest, fixed, stage.steps)


def jobs_of(cells: Sequence[Cell], seeds: Sequence[int], out: Path) -> tuple[Job, ...]:
    """Every run that a study consists of, in an order in which each can start.

    Seed by seed, so that each arm has as many as the others at any time.

    Args:
        cells: of the study.
        seeds: of each.
        out: folder of the runs.
    """
    jobs: dict[Path, Job] = {}
    for seed in seeds:
        for cell in cells:
            needs: Path | None = None
            for stage in (*cell.stages, cell.run):
                own = seed if stage.seed is None else stage.seed
                folder = out / stage.name / f"{stage.digest}-s{own}"
                of_cell = cell if stage is cell.run else None
                known = jobs.get(folder)
                if known is None or (known.cell is None and of_cell is not None):
                    label = cell.label if of_cell else f"first stage {stage.name}"
                    jobs[folder] = Job(f"{label}, seed {own}", stage, own, folder, needs, of_cell)
                needs = folder
    return tuple(jobs.values())


def shared_stages(cells: Sequence[Cell]) -> list[str]:
    """A line for each first stage that cells start from, and how many of them do."""
    users: dict[tuple[str, str], int] = {}
    for cell in cells:
        for stage in cell.stages:
            key = stage.name, stage.digest
            users[key] = users.get(key, 0) + 1
    return [
        f"first stage {name}: trained once a seed for {counted(count, 'recipe')}"
        for (name, _), count in users.items()
    ]


def told_apart(values: Mapping[str, str], but: str) -> tuple[tuple[str, str], ...]:
    """The values of all axes but one."""
    return tuple((axis, name) for axis, name in values.items() if axis != but)
