"""What `study.json` says of a folder of runs: which study it is of, and which runs belong to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from semisup.studies.ablation.record import Entry, read_record
from semisup.studies.kept import Run, without_folders


@dataclass(frozen=True)
class Study:
    """A study whose runs lie in one folder.

    Attributes:
        name: of the study.
        text: of its file; empty where the record has none.
        seeds: of each cell; empty where the record has none.
        cells: each recipe once.
        changes: that `ablate` was given with --set; a file is named without its folders.
    """

    name: str
    text: str
    seeds: tuple[int, ...]
    cells: tuple[Entry, ...]
    changes: tuple[str, ...] = ()

    @cached_property
    def _by_recipe(self) -> Mapping[tuple[str, str], Entry]:
        return {(one.recipe, one.digest): one for one in self.cells}

    def _cell_of(self, run: Run) -> Entry | None:
        return self._by_recipe.get((run.recipe, run.digest))

    def has(self, run: Run) -> bool:
        """Whether a run is of one of the cells and of one of the seeds."""
        of_seeds = not self.seeds or run.seed in self.seeds
        return of_seeds and self._cell_of(run) is not None

    def values_of(self, run: Run) -> Mapping[str, str]:
        """The values of the axes that a run was made with; empty where it is of no cell."""
        cell = self._cell_of(run)
        return {} if cell is None else cell.values

    def seconds_of(self, run: Run) -> float | None:
        """The budget of annotation that a run was made with; None where it had none."""
        cell = self._cell_of(run)
        return None if cell is None else cell.seconds

    def missing(self, runs: Sequence[Run]) -> list[str]:
        """A line for each cell that lacks runs, in the order of the study."""
        there = {(run.recipe, run.digest, run.seed) for run in runs}
        lines = []
        for cell in self.cells:
            key = cell.recipe, cell.digest
            lacking = [seed for seed in self.seeds if (*key, seed) not in there]
            if lacking:
                axes = ", ".join(f"{key} = {value}" for key, value in cell.values.items())
                seeds = " ".join(map(str, lacking))
                lines.append(f"{cell.recipe}{f' ({axes})' if axes else ''}: seeds {seeds}")
        return lines


def _portable(change: str) -> str:
    """KEY=VALUE, in which a path is the name of its file."""
    key, equals, value = change.partition("=")
    return f"{key}{equals}{without_folders(value)}"


def read_study(folder: Path) -> Study | None:
    """The study that a folder is of; None where it has no `study.json`.

    Raises:
        RunError: the record is damaged.
    """
    record = read_record(folder)
    if record is None:
        return None
    cells: dict[tuple[str, str], Entry] = {}
    for one in record.cells:
        axes = {key: value for key, value in one.values.items() if key != "seed"}
        cells.setdefault((one.recipe, one.digest), replace(one, values=axes))
    changes = tuple(map(_portable, record.changes))
    return Study(record.name, record.text, record.seeds, tuple(cells.values()), changes)
