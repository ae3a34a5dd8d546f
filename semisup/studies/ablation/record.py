"""`study.json`: which study a folder is of, and by which recipes.

A study or a recipe that is changed meanwhile is noticed by it: runs of the older recipes stay in
their folders, and are not counted in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.studies.ablation.cells import Cell
from semisup.studies.ablation.study import Study
from semisup.system.files import write_text
from semisup.system.words import counted
from semisup.version import __version__

FILE = "study.json"

_BELOW = re.compile(r"(?!/)(?!(.*/)?\.\.?/)[^*?\[\0]+(?<!/)/[0-9A-Za-z-]+")
"""Folder of the runs of a cell: below that of the study, and no pattern."""


@dataclass(frozen=True)
class Entry:
    """A recipe of a study, whatever its seed.

    Attributes:
        recipe: its name.
        digest: of it.
        values: axis -> its value, as text; with "seed" where seeds are an axis.
        seconds: its budget of annotation; None: it has none.
        content: as it stands in the file.
    """

    recipe: str
    digest: str
    values: Mapping[str, str]
    seconds: float | None
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """What `study.json` says of a folder of runs.

    Attributes:
        name: of the study.
        text: of its file; empty where there is none.
        seeds: of each cell, ascending; empty where there are none.
        changes: that were given with --set.
        cells: in the order of the study.
        older: entries of recipes that the study does not have any more.
        content: the whole of it, as it stands in the file.
    """

    name: str
    text: str
    seeds: tuple[int, ...]
    changes: tuple[str, ...]
    cells: tuple[Entry, ...]
    older: tuple[Entry, ...]
    content: Mapping[str, Any]


def read_record(folder: Path) -> Record | None:
    """The record of a folder of runs; None where there is none.

    Only the name and the cells have to be there.

    Raises:
        RunError: it is damaged.
    """
    path = folder / FILE
    try:
        content = _table(json.loads(path.read_text(encoding="utf-8")), "it")
        return Record(
            name=_text(content["study"], "study"),
            text=_text(content.get("file", ""), "file"),
            seeds=tuple(sorted({_seed(seed) for seed in content.get("seeds", [])})),
            changes=tuple(_text(one, "changes") for one in content.get("changes", [])),
            cells=tuple(map(_entry, content["cells"])),
            older=tuple(map(_entry, content.get("older", []))),
            content=content,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: cannot be read ({_reason(error)}). Move it away: finished runs are found "
            "without it."
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return getattr(error, "strerror", None) or str(error)


def _table(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no table")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"'{what}' is no text")
    return value


def _seed(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a seed is no whole number")
    return value


def _entry(value: Any) -> Entry:
    content = _table(value, "a cell")
    recipe, digest = _text(content["recipe"], "recipe"), _text(content["digest"], "digest")
    if not _BELOW.fullmatch(f"{recipe}/{digest}"):
        raise ValueError("a cell's recipe or digest is no name of a folder")
    values = {key: _text(value, key) for key, value in content.get("values", {}).items()}
    seconds = content.get("seconds", values.get("budget.seconds"))
    return Entry(recipe, digest, values, None if seconds is None else float(seconds), content)


def check_record(out: Path, study: Study, cells: Sequence[Cell]) -> list[str]:
    """What is to be said of a folder that a study was begun in, in one line each.

    Args:
        out: folder of the runs.
        study: as it is now.
        cells: of it.

    Raises:
        RunError: the folder is of another study, or its record is damaged.
    """
    before = read_record(out)
    if before is None:
        return []
    if before.name != study.name:
        raise RunError(
            f"{out}: holds the study '{before.name}', not '{study.name}'. Choose another --out."
        )
    older = _older(before, cells)
    runs = [(one, _count(out, one)) for one in older]
    there = [(one, count) for one, count in runs if count]
    if not there:
        return []
    first, _ = there[0]
    more = f" and {len(there) - 1} more" if len(there) > 1 else ""
    total = counted(sum(count for _, count in there), "run")
    return [
        f"the study or a recipe has changed: {total} of older recipes ({_label(first)} was "
        f"{first.digest}{more}) stay in {out} and are not counted in."
    ]


def write_record(out: Path, study: Study, cells: Sequence[Cell], changes: Sequence[str]) -> None:
    """Write which study a folder is of.

    Args:
        out: folder of the runs.
        study: as it is now.
        cells: of it.
        changes: of --set.

    Raises:
        RunError: it cannot be written.
    """
    before = read_record(out)
    content = {
        "study": study.name,
        "version": __version__,
        "file": study.text,
        "changes": list(changes),
        "seeds": list(study.seeds),
        "cells": [_content(cell) for cell in cells],
        "older": [] if before is None else [one.content for one in _older(before, cells)],
    }
    if before is None or before.content != content:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{out}: cannot be made ({error.strerror}). Choose another --out."
            ) from None
        write_text(out / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _content(cell: Cell) -> dict[str, Any]:
    return {
        "values": dict(cell.values),
        "recipe": cell.run.name,
        "digest": cell.run.digest,
        "stages": [{"recipe": one.name, "digest": one.digest} for one in cell.stages],
        **({} if cell.seconds is None else {"seconds": cell.seconds}),
    }


def _older(before: Record, cells: Sequence[Cell]) -> list[Entry]:
    """Entries of a record whose recipes are not those of the study any more."""
    now = {(cell.run.name, cell.run.digest) for cell in cells}
    entries = {(one.recipe, one.digest): one for one in (*before.older, *before.cells)}
    return [one for key, one in entries.items() if key not in now]


def _count(out: Path, entry: Entry) -> int:
    return sum(1 for _ in (out / entry.recipe).glob(f"{entry.digest}-s*"))


def _label(entry: Entry) -> str:
    return ", ".join(f"{k}={v}" for k, v in entry.values.items()) or entry.recipe
