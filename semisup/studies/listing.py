"""All runs in a folder, finished or not; read without torch."""

from __future__ import annotations

import difflib
import fcntl
import json
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semisup.errors import RecipeError, RunError, SemisupError
from semisup.recipe.places import PLACES
from semisup.recipe.toml import read_toml
from semisup.runs.folder import RunFolder
from semisup.studies.kept import SEED_OF_SPLIT, differences

SORTS = ("newest", "best", "name")
"""Orders of a listing."""

NEAREST = 5
"""Keys that are named where none has the name that was asked for."""

_STEP = re.compile(r"step-0*(\d+)\.pt")
_TAIL = 1 << 16


@dataclass(frozen=True)
class Listed:
    """What is known of a run without opening its weights.

    Attributes:
        folder: of the run.
        name: of its recipe.
        state: "finished", "running" or "stopped"; a run that stopped goes on with its command.
        split: as its recipe states it, such as "1/8".
        masks: number of labelled images; None where it is not recorded yet.
        seed: of the training.
        miou: of the reported predictor, a share; None until it is finished.
        interval: its 95 % bootstrap interval over images.
        step: the last one of which there is a record.
        steps: of the whole training.
        seconds: that training took; None until it is finished.
        warnings: number of them.
        changed: when something was written last, in seconds since 1970.
        settings: dotted key -> value of its recipe.
        differs: key -> value, where the runs of its recipe differ; without seed and split.
    """

    folder: Path
    name: str
    state: str
    split: str
    masks: int | None
    seed: int
    miou: float | None
    interval: tuple[float, float] | None
    step: int
    steps: int
    seconds: float | None
    warnings: int
    changed: float
    settings: Mapping[str, Any]
    differs: Mapping[str, Any]

    @property
    def where(self) -> str:
        """State, with the step where it is stopped."""
        return f"stopped at {self.step}" if self.state == "stopped" else self.state


def list_runs(folders: Iterable[Path]) -> tuple[list[Listed], list[str]]:
    """The runs below folders, and a line for each that cannot be read.

    Raises:
        RunError: a folder is not there.
    """
    found: dict[Path, Listed] = {}
    bad = []
    for folder in folders:
        if not folder.is_dir():
            raise RunError(f"{folder}: is no folder of runs. Start one with 'semisup run RECIPE'.")
        for place in sorted({path.parent for path in _marks(folder)}):
            try:
                found.setdefault(place.resolve(), _read(place))
            except SemisupError as error:
                bad.append(" ".join(str(error).splitlines()))
            except OSError as error:  # such as a run that is deleted meanwhile
                bad.append(f"{place}: cannot be read ({error.strerror}).")
    return _with_differences(list(found.values())), bad


def _marks(folder: Path) -> Iterable[Path]:
    """Files that only the folder of a run has."""
    yield from folder.rglob("recipe.toml")
    yield from folder.rglob("result.json")


def _read(folder: Path) -> Listed:
    files = RunFolder(folder)
    try:
        settings = read_toml(files.recipe)
    except RecipeError as error:
        raise RunError(str(error)) from None
    result, facts = _json(files.result), _json(files.facts)
    known = result or facts or {}
    where = files.facts if result is None else files.result
    split, time = _table(known, "split", where), _table(result or {}, "time", where)
    scores = _table(_table(result or {}, "scores", where), "selected", where)
    seed = known.get("seed", settings.get("train.seed"))
    if not isinstance(seed, int) or (result is not None and not _is_number(scores.get("miou"))):
        raise RunError(f"{where}: has no 'seed' or no mIoU. Is it the record of a run?")
    interval = scores.get("miou_interval_95") or None
    masks, seconds = split.get("labelled"), time.get("train_seconds")
    steps = settings.get("train.steps", 0)
    wrong = [value for value in (masks, seconds, steps) if not (value is None or _is_number(value))]
    if wrong or not (interval is None or _is_interval(interval)):
        raise RunError(f"{where}: has a value that is no number. Delete it and run again.")
    return Listed(
        folder=folder,
        name=str(known.get("recipe") or folder.absolute().parent.name),
        state="finished" if result is not None else _state(folder),
        split=str(settings.get("data.split", "all")),
        masks=masks,
        seed=seed,
        miou=scores.get("miou"),
        interval=(interval[0], interval[1]) if interval else None,
        step=_step(files),
        steps=int(steps),
        seconds=seconds,
        warnings=_lines(folder / "warnings.jsonl"),
        changed=_changed(files),
        settings=settings,
        differs={},
    )


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path}: cannot be read ({reason}). Delete it and run again.") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: is no table of JSON. Delete it and run again.")
    return content


def _table(content: Mapping[str, Any], key: str, where: Path) -> dict[str, Any]:
    """A table of a record; empty where there is none."""
    value = content.get(key, {})
    if not isinstance(value, dict):
        raise RunError(f"{where}: '{key}' is no table. Delete it and run again.")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _state(folder: Path) -> str:
    """Whether a process of this machine works on a run.

    The lock alone is asked where the process that took it last is alive: a run that begins at the
    very moment would find it taken.
    """
    lock = folder / "lock"
    try:
        owner = int(lock.read_text(encoding="ascii"))
        os.kill(owner, 0)
    except PermissionError:  # of somebody else, and alive
        return "running"
    except (OSError, ValueError, OverflowError):
        return "stopped"
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    except OSError:
        return "stopped"
    return "stopped"


def _step(files: RunFolder) -> int:
    """The last step that a line of scalars or a checkpoint is of."""
    kept = files.checkpoints.iterdir() if files.checkpoints.is_dir() else ()
    steps = [int(found[1]) for path in kept if (found := _STEP.fullmatch(path.name))]
    if files.scalars.is_file():
        with files.scalars.open("rb") as file:
            file.seek(max(0, files.scalars.stat().st_size - _TAIL))
            lines = file.read().splitlines()
        for line in reversed(lines):
            logged = re.match(rb'\{"step": (\d+)', line)
            if logged:
                steps.append(int(logged[1]))
                break
    return max(steps, default=0)


def _lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def _changed(files: RunFolder) -> float:
    paths = (files.result, files.scalars, files.facts, files.recipe)
    return next(path.stat().st_mtime for path in paths if path.is_file())


def _with_differences(runs: Sequence[Listed]) -> list[Listed]:
    """Each run with the keys in which those of its recipe differ."""
    alike: dict[str, list[Listed]] = defaultdict(list)
    for run in runs:
        alike[run.name].append(run)
    keys = {name: _telling(same) for name, same in alike.items()}
    return [
        replace(run, differs={key: run.settings.get(key) for key in keys[run.name]}) for run in runs
    ]


def _telling(runs: Sequence[Listed]) -> list[str]:
    """Keys in which not all of the runs have the value of the first; sorted."""
    keys = {key for run in runs for key in differences(runs[0].settings, run.settings)}
    return sorted(keys - {*PLACES, SEED_OF_SPLIT, "data.split"})


def chosen(runs: Sequence[Listed], words: Sequence[str], where: Sequence[str]) -> list[Listed]:
    """Those that have all of the words and all of the values.

    Args:
        runs: all.
        words: each stands in the name, the state, the split, the folder's name or what differs.
        where: each "key=value": state, recipe, split, seed, or a key of the recipe.

    Raises:
        RecipeError: one is not of that form, or no run has that key.
    """
    kept = [run for run in runs if all(word.lower() in _text(run) for word in words)]
    for condition in where:
        key, equals, value = (part.strip() for part in condition.partition("="))
        known = {name for run in runs for name in _values(run)}
        if not (equals and key):
            raise RecipeError(f"--where {condition}: is not of the form key=value.")
        if runs and key not in known:
            raise RecipeError(f"--where {condition}: no run has that key.{_nearest(key, known)}")
        kept = [run for run in kept if _plain(_values(run).get(key)) == value.strip('"')]
    return kept


def _nearest(key: str, known: Collection[str]) -> str:
    """The end of an error line: the keys that are nearest, whole or by their last part."""

    def likeness(name: str) -> tuple[float, str]:
        parts = (name, name.rpartition(".")[2])
        return max(difflib.SequenceMatcher(None, key, part).ratio() for part in parts), name

    first, *others = sorted(map(likeness, known), reverse=True)[:NEAREST]
    if first[0] >= 0.8:
        return f" Did you mean '{first[1]}'?"
    names = ", ".join(name for _, name in (first, *others))
    return (
        f" Nearest: {names}. There are state, recipe, split, seed and the keys that 'semisup show "
        "RECIPE' prints."
    )


def _text(run: Listed) -> str:
    own = [f"{key}={_plain(value)}" for key, value in run.differs.items()]
    return " ".join([run.name, run.where, run.split, run.folder.name, *own]).lower()


def _values(run: Listed) -> dict[str, Any]:
    own = {"state": run.state, "recipe": run.name, "split": run.split, "seed": run.seed}
    return {**run.settings, **own}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def ordered(runs: Iterable[Listed], by: str) -> list[Listed]:
    """Newest first, best first (unfinished ones last), or by name, split and seed."""
    if by == "best":
        return sorted(runs, key=lambda run: (run.miou is None, -(run.miou or 0.0), run.name))
    if by == "name":
        return sorted(runs, key=lambda run: (run.name, run.split, run.seed, str(run.folder)))
    return sorted(runs, key=lambda run: -run.changed)


def content_of(run: Listed) -> dict[str, Any]:
    """As plain values for JSON."""
    return {
        "folder": str(run.folder),
        "recipe": run.name,
        "state": run.state,
        "split": run.split,
        "masks": run.masks,
        "seed": run.seed,
        "miou": run.miou,
        "miou_interval_95": run.interval,
        "step": run.step,
        "steps": run.steps,
        "train_seconds": run.seconds,
        "warnings": run.warnings,
        "differs": dict(run.differs),
    }
