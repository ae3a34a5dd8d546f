"""Where the runs of a comparison are looked for: folders, patterns, recipes, kept files."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semisup.errors import RunError, suggest
from semisup.studies.ablation.attempts import FILE
from semisup.studies.kept import Run, read_runs
from semisup.system.files import exists


@dataclass(frozen=True)
class Found:
    """Runs that were found.

    Attributes:
        runs: finished ones, in the order of the places, each once.
        first: sources of those of the first place.
        notes: what is there and was left out, each in one line.
        damaged: folder of each run that cannot be read -> why, in one line.
        unfinished: folders of the runs that have no result yet.
    """

    runs: tuple[Run, ...]
    first: tuple[str, ...]
    notes: tuple[str, ...]
    damaged: Mapping[str, str] = field(default_factory=dict)
    unfinished: tuple[Path, ...] = ()


def find_runs(places: Sequence[str], out: Path) -> Found:
    """The finished runs of each place.

    Args:
        places: each the folder of a run, a folder of runs, a pattern such as "runs/*/aa*", a recipe
            that was run, a kept file (.jsonl), or NAME=PLACE for runs that are one arm of that
            name.
        out: folder of the runs, in which recipes are looked for.

    Raises:
        RunError: a place is not there or has no finished run that can be read, or a run is in two
            arms.
    """
    runs: dict[str, Run] = {}
    first: tuple[str, ...] = ()
    unfinished: dict[Path, None] = {}
    damaged: dict[str, str] = {}
    for number, place in enumerate(places):
        name, paths = _paths(place, out)
        bad: dict[str, str] = {}
        read = read_runs(paths, bad)
        if bad and not read:  # nothing else was asked for here
            raise RunError(next(iter(bad.values())))
        damaged |= bad
        for run in read:
            named = run.named(name) if name else run
            before = runs.setdefault(run.source, named)
            if name and before.arm != name:
                runs[run.source] = named if not before.arm else _twice(before, name)
        if number == 0:
            first = tuple(runs)
        unfinished |= dict.fromkeys(folder for path in paths for folder in _unfinished(path))
    notes = []
    if unfinished:
        listed = ", ".join(map(str, unfinished))
        notes.append(f"Left out, since they are not finished: {listed}.")
    if damaged:
        notes.append(f"Left out, since they cannot be read: {', '.join(damaged)}.")
    return Found(tuple(runs.values()), first, tuple(notes), damaged, tuple(unfinished))


def _twice(run: Run, name: str) -> Run:
    raise RunError(f"{run.source} is in the arms '{run.arm}' and '{name}'. Give it to one.")


def _paths(place: str, out: Path) -> tuple[str, list[Path]]:
    """The name that a place states for its runs, and the paths that it stands for."""
    name, equals, rest = place.partition("=")
    if equals and not exists(Path(place)):
        if not (name.strip() and rest):
            raise RunError(f"{place}: is not of the form NAME=PLACE.")
        return name.strip(), _below(rest, out)
    return "", _below(place, out)


def _below(place: str, out: Path) -> list[Path]:
    path, of_recipe = Path(place), out / place
    # A recipe may have the name of a folder here, as that of a folder of pictures has.
    if exists(path) and not (exists(of_recipe) and path.is_dir() and _holds_no_run(path)):
        return [path]
    if exists(of_recipe):
        return [of_recipe]
    if glob.has_magic(place):
        matches = _matches(path) or _matches(of_recipe)
        if matches:
            return matches
        raise RunError(f"{place}: matches nothing, here or in {out}. Check the pattern.")
    hint = suggest(place, recipes_in(out)) or " Set --out if the runs lie elsewhere."
    raise RunError(f"{place}: no run, folder or recipe of that name, here or in {out}.{hint}")


def _holds_no_run(folder: Path) -> bool:
    return next(folder.rglob("recipe.toml"), None) is None


def _matches(pattern: Path) -> list[Path]:
    """The paths that a pattern stands for; a file among the runs of a folder is no run."""
    top = Path(pattern.anchor) if pattern.anchor else Path()
    rest = pattern.relative_to(pattern.anchor) if pattern.anchor else pattern
    found = sorted(top.glob(str(rest)))
    return [path for path in found if path.is_dir() or path.suffix == ".jsonl"]


def recipes_in(out: Path) -> list[str]:
    """Names of the recipes that were run in a folder of runs."""
    folders = {path.parent.parent for path in out.rglob("recipe.toml")} if exists(out) else set()
    return sorted(folder.relative_to(out).as_posix() for folder in folders if folder != out)


def _unfinished(path: Path) -> list[Path]:
    """Folders of runs below a path that have no result yet.

    One that failed before it wrote its recipe is known by its attempts, which a study records.
    """
    if not path.is_dir():
        return []
    folders = {file.parent for mark in ("recipe.toml", FILE) for file in path.rglob(mark)}
    return [folder for folder in sorted(folders) if not (folder / "result.json").is_file()]
