"""A finished run whose data nobody has touched since they were last compared: told at once.

`identity.check_finished` opens the data and reads masks again, for which torch is imported: some
seconds. Where size and times of all their files are those that they had then, it would find what
it found then, and is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.recipe.load import load_baseline
from semisup.recipe.recipe import Recipe
from semisup.runs.baseline.kept import check_comparable, read_gain
from semisup.runs.data.parts import check_result
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.result import DataRecord, FinishedRun, read_result
from semisup.system.files import write_text
from semisup.version import __version__

MOST = 400_000
"""Files that are looked at; of more, the data are compared in any case."""

State = dict[str, str]
"""Folder -> hash of the names, sizes and times of all that lies in it."""


def finished_before(recipe: Recipe, paths: Paths) -> FinishedRun | None:
    """The result of a run, and its gain, where nothing has to be opened or computed for it.

    Args:
        recipe: of the run.
        paths: where data and runs lie.

    Returns:
        None where the run is not finished, its data were touched, code from outside the package is
        part of it, or its gain is not known: then `run_recipe` says what is to be said.

    Raises:
        RunError: the result is damaged or of another run.
    """
    run = _known(recipe, paths)
    baseline = None if run is None else load_baseline(recipe)
    if run is None or baseline is None:
        return run
    other = _known(baseline, paths)
    if other is None:
        return None
    check_comparable(run, other)
    gain = read_gain(RunFolder(run.folder).gain, run.result, other.result)
    if gain is None:
        return None
    return replace(run, baseline=other, gain=gain)


def _known(recipe: Recipe, paths: Paths) -> FinishedRun | None:
    folder = RunFolder(paths.run_folder(recipe))
    result = read_result(folder.result)
    if result is None or result.plugins or result.data is None:
        return None
    check_result(folder.result, result, recipe)
    root, notes = paths.data_of(recipe), tuple[str, ...]()
    if not root.is_dir() and not _named_folders(recipe):
        notes = (gone(root),)
    else:
        state = state_of(recipe, folders_of(root, result.data).values())
        if not state or _read(folder.untouched) != state | _own(folder):
            return None
    return FinishedRun(folder.path, folder.result, result, fresh=False, notes=notes)


def gone(root: Path) -> str:
    """What is to be said of a result whose data root is not there."""
    return f"{root}: the data are not there any more; this is the result as it was recorded."


def folders_of(root: Path, record: DataRecord) -> dict[str, Path]:
    """The folders of the sets of a run, "trained" and "reported", as its result states them."""
    sets = {"reported": record.reported, "trained": record.trained}
    return {use: root / one.folder for use, one in sets.items() if one is not None}


def state_of(recipe: Recipe, sets: Iterable[Path]) -> State:
    """The state of all folders that the data of a run are read from; empty where it is not known.

    Args:
        recipe: of the run.
        sets: the folders of its sets.
    """
    state = {"version": __version__}
    left = MOST
    for folder in {*sets, *_named_folders(recipe)}:
        digest = hashlib.sha256()
        try:
            for line in _entries(folder):
                digest.update(line.encode(errors="surrogateescape"))
                left -= 1
                if not left:
                    return {}
        except OSError:  # it is not there, or goes while it is looked at
            return {}
        state[str(folder.resolve())] = digest.hexdigest()
    return state


def _named_folders(recipe: Recipe) -> list[Path]:
    """Folders beside those of the sets that a recipe names."""
    data = recipe.data
    named = [text.strip() for text in (data.masks, data.weak_masks, data.unlabelled)]
    return [
        Path(text.removeprefix("folder:")).expanduser()
        for text in named
        if text.startswith("folder:")
    ]


def _entries(folder: Path) -> Iterator[str]:
    """A line for each file below a folder, in an order of their own; links are followed."""
    seen: set[tuple[int, int]] = set()
    below = [str(folder)]
    while below:
        place = below.pop()
        found = Path(place).stat()
        if (found.st_dev, found.st_ino) in seen:  # a link back
            continue
        seen.add((found.st_dev, found.st_ino))
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                if entry.is_dir():
                    below.append(entry.path)
                    continue
                facts = entry.stat()
                name = os.path.relpath(entry.path, folder)
                yield f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_ctime_ns}\n"


def keep_state(folder: RunFolder, state: Mapping[str, str], sets: Mapping[str, Path]) -> None:
    """Write the state that the data had when they were compared; it only saves time.

    With what they were compared to, which another run may have left there. Not where a file of the
    run lies in none of the folders that were looked at, such as masks of SBD beside VOC's: a change
    of it would not be seen.

    Args:
        folder: of the run.
        state: of the folders, before the data were compared.
        sets: the folders of the sets, as `folders_of` names them.
    """
    if state and _lie_in(folder.files, sets):
        with contextlib.suppress(OSError, RunError):  # nobody may write there
            now = {**state, **_own(folder)}
            if now != _read(folder.untouched):
                write_text(folder.untouched, json.dumps(now, indent=1) + "\n")


def _lie_in(files: Path, sets: Mapping[str, Path]) -> bool:
    """Whether each file that a run has recorded lies in the folder of its set."""
    recorded = _read(files)
    return isinstance(recorded, dict) and all(
        (folder / name).exists() for use, folder in sets.items() for name in recorded.get(use, ())
    )


def _own(folder: RunFolder) -> State:
    """The hashes of the run's files that say what its data were."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder.result, folder.files)
        if path.is_file()
    }


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
