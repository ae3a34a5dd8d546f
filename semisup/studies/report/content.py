"""What a report is of: runs compared, and what is known of them beside their scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from semisup.errors import RunError, suggest
from semisup.runs.folder import RunFolder
from semisup.studies.ablation.attempts import FILE, failed
from semisup.studies.comparison import Arm, Comparison, compare
from semisup.studies.kept import Run
from semisup.studies.listing import list_runs
from semisup.studies.places import find_runs
from semisup.studies.report.study import Study, read_study
from semisup.system.words import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CONFUSED = 2
"""Arms whose confusion is shown where nobody has chosen any."""


@dataclass(frozen=True)
class Report:
    """Everything that is shown.

    Attributes:
        title: of the page.
        comparison: of the runs, by the score that is tested.
        both: (arm by the selected checkpoint, the same arm by the last one or None where that
            was not scored), in the order of the comparison.
        study: whose runs they are; None for runs that nobody has called a study.
        confused: arm -> KK, mean over its runs of the row-normalised confusion; rows are truth.
        unfinished: name of a run's folder -> its state.
        damaged: folder of each run that cannot be read -> why, in one line.
        left_out: what else is not in the tables, each in one line.
        root: folder below which runs are named.
        command: that makes the report again.
    """

    title: str
    comparison: Comparison
    both: tuple[tuple[Arm, Arm | None], ...]
    study: Study | None
    confused: Mapping[str, NDArray[np.float64]]
    unfinished: Mapping[str, str]
    damaged: Mapping[str, str]
    left_out: tuple[str, ...]
    root: Path
    command: str

    @property
    def runs(self) -> list[Run]:
        """All of them, arm by arm, in the order of their seeds."""
        return [run for arm in self.comparison.arms for run in arm.runs]

    def place(self, run: Run) -> str:
        """A run's folder or line as the report names it: without the folders of the machine."""
        return _below(self.root, Path(run.source))

    def unreadable(self) -> list[str]:
        """A line for each run that cannot be read, without the folders of the machine."""
        lines = self.damaged.items()
        return [line.replace(place, _below(self.root, Path(place))) for place, line in lines]

    def annotation_seconds(self, arm: Arm) -> float | None:
        """What the labels of an arm cost, of a study of annotation budgets; else None."""
        return None if self.study is None else self.study.seconds_of(arm.runs[0])


def read_report(
    places: Sequence[str],
    runs: Path,
    *,
    baseline: str = "",
    score: str = "selected",
    title: str = "",
    confusion: Sequence[str] = (),
    command: str = "",
) -> Report:
    """Read runs, compare them, and gather what a report shows.

    Args:
        places: as of `semisup compare`, or the folder of a study.
        runs: folder of the runs, in which recipes are looked for.
        baseline: name of an arm or a recipe; empty: the first of several places, else the one
            supervised arm of each budget, else none.
        score: "selected" or "last", which is tested.
        title: of the page; empty: by the study or by the data.
        confusion: names of the arms whose confusion is shown; empty: the first two.
        command: that is shown to make the report again.

    Raises:
        RunError: runs cannot be read, or must not stand in one table.
    """
    found = find_runs(places, runs)
    study = read_study(Path(places[0])) if len(places) == 1 else None
    chosen = [run for run in found.runs if study is None or study.has(run)]
    if not chosen:
        raise RunError(f"{places[0]}: has no finished run of its study yet. Run the study first.")
    first: Sequence[str] = ()
    if not baseline:
        first = found.first if len(places) > 1 else _supervised(chosen)
    comparison = compare(chosen, baseline=baseline, first=first, score=score)
    root = _root(chosen)
    return Report(
        title=title or _title(study, comparison),
        comparison=comparison,
        both=tuple(_both(arm) for arm in comparison.arms),
        study=study,
        confused=_confused(comparison, confusion),
        unfinished=_unfinished(found.unfinished, root),
        damaged=found.damaged,
        left_out=tuple(_left_out(study, found.runs, chosen)),
        root=root,
        command=command,
    )


def _title(study: Study | None, comparison: Comparison) -> str:
    if study is not None:
        return f"Study {study.name}"
    arms, protocol = comparison.arms, comparison.protocol
    return f"{counted(len(arms), 'arm')} on {protocol['data']}"


def _supervised(runs: Sequence[Run]) -> list[str]:
    """Sources of the supervised runs, if each budget has at most one arm of them; else none."""
    own = [run for run in runs if run.settings.get("method.name") == "supervised"]
    arms = {(run.arm, run.recipe, run.settings.get("data.split")) for run in own}
    budgets = [budget for _, _, budget in arms]
    others = len(own) < len(runs)
    return [r.source for r in own] if others and len(set(budgets)) == len(budgets) else []


def _root(runs: Sequence[Run]) -> Path:
    """The folder that all runs lie below; that of one run is the folder of its recipe's folder."""
    paths = [Path(run.source) for run in runs]
    folders = [path.parent.parent if path.is_dir() else path.parent for path in paths]
    root = folders[0]
    while not all(folder.is_relative_to(root) for folder in folders):
        root = root.parent
    return root


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _both(arm: Arm) -> tuple[Arm, Arm | None]:
    has_last = all(run.content["scores"].get("last") is not None for run in arm.runs)
    return Arm(arm.name, arm.runs, "selected"), (
        Arm(arm.name, arm.runs, "last") if has_last else None
    )


def _unfinished(folders: Sequence[Path], root: Path) -> dict[str, str]:
    """Name -> state of the runs that have no result."""
    found = {}
    for folder in folders:
        name = _below(root, folder.resolve())
        listed, bad = list_runs([folder])
        failure = _failure(folder)
        unknown = "cannot be read" if bad else "failed" if failure else "not begun"
        found[name] = next((one.where for one in listed), unknown) + failure
    return dict(sorted(found.items()))


def _failure(folder: Path) -> str:
    """What the last attempt at a cell of a study ended with, where the study has recorded it."""
    try:
        last = failed(folder)
    except RunError:
        return f", and its {FILE} cannot be read"
    return "" if last is None else f": {' '.join(last.line.split())}"


def _left_out(study: Study | None, runs: Sequence[Run], chosen: Sequence[Run]) -> list[str]:
    if study is None:
        return []
    others = len(runs) - len(chosen)
    lines = [f"{line}: not finished." for line in study.missing(chosen)]
    if others:
        lines.append(
            f"{counted(others, 'run')} below the folder: first stages, or of recipes or seeds that "
            "the study does not have (any more)."
        )
    return lines


def _confused(comparison: Comparison, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The confusion of the arms of these names, or of the first ones that have it."""
    by_name = {arm.name: arm for arm in comparison.arms}
    for name in names:
        if name not in by_name:
            raise RunError(f"--confusion {name}: no arm has that name.{suggest(name, by_name)}")
    found = {}
    for arm in [by_name[name] for name in names] or comparison.arms[:MOST_CONFUSED]:
        matrices = [_confusion(run) for run in arm.runs]
        kept = [matrix for matrix in matrices if matrix is not None]
        if kept and len(kept) == len(arm.runs):
            found[arm.name] = _mean(np.stack(kept))
    return found


def _mean(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the runs in which a row counts; NaN where it counts in none."""
    rows = matrices.sum(-1, keepdims=True)
    counts = (rows > 0).sum(0)
    shares = np.divide(matrices, rows, out=np.zeros_like(matrices), where=rows > 0)
    empty = np.full(matrices.shape[1:], np.nan)
    mean: NDArray[np.float64] = np.divide(shares.sum(0), counts, out=empty, where=counts > 0)
    return mean


def _confusion(run: Run) -> NDArray[np.float64] | None:
    """KK pixels of the reported checkpoint; None where a run is kept without them.

    Raises:
        RunError: they are no square of numbers.
    """
    path = RunFolder(Path(run.source)).result
    if not path.is_file():
        return None
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "confusion" not in content:
        return None
    size = len(run.protocol["classes"])
    try:
        matrix = np.array(content["confusion"], dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (size, size) or not np.isfinite(matrix).all() or (matrix < 0).any():
        raise RunError(
            f"{path}: 'confusion' is no table of {size} x {size} counts. Score the run again with "
            "'semisup evaluate'."
        )
    return matrix
