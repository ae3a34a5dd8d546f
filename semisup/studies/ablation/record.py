"""`study.json`: which study a folder is of, and by which recipes.

A study or a recipe that is changed meanwhile is noticed by it: runs of the older recipes stay in
their folders, and are not counted in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.studies.ablation.cells import Cell
from semisup.studies.ablation.study import Study
from semisup.system.files import write_text
from semisup.system.words import counted
from semisup.version import __version__

FILE = "study.json"

_BELOW = re.compile(r"(?!/)(?!(.*/)?\.\.?/)[^*?\[\0]+(?<!/)/[0-9a-f]+")
"""Folder of the runs of a cell: below that of the study, and no pattern."""


def check_record(out: Path, study: Study, cells: Sequence[Cell]) -> list[str]:
    """What is to be said of a folder that a study was begun in, in one line each.

    Args:
        out: folder of the runs.
        study: as it is now.
        cells: of it.

    Raises:
        RunError: the folder is of another study, or its record is damaged.
    """
    before = _read(out / FILE)
    if before is None:
        return []
    if before["study"] != study.name:
        raise RunError(
            f"{out}: holds the study '{before['study']}', not '{study.name}'. Choose another --out."
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
        f"{first['digest']}{more}) stay in {out} and are not counted in."
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
    before = _read(out / FILE)
    content = {
        "study": study.name,
        "version": __version__,
        "file": study.text,
        "changes": list(changes),
        "seeds": list(study.seeds),
        "cells": [_content(cell) for cell in cells],
        "older": [] if before is None else _older(before, cells),
    }
    if before is None or before != content:
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


def _older(before: Mapping[str, Any], cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Entries of a record whose recipes are not those of the study any more."""
    now = {(cell.run.name, cell.run.digest) for cell in cells}
    entries = {(one["recipe"], one["digest"]): one for one in (*before["older"], *before["cells"])}
    return [one for key, one in entries.items() if key not in now]


def _count(out: Path, entry: Mapping[str, Any]) -> int:
    return sum(1 for _ in (out / entry["recipe"]).glob(f"{entry['digest']}-s*"))


def _label(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in entry["values"].items()) or str(entry["recipe"])


def _read(path: Path) -> dict[str, Any] | None:
    """The record of a folder; None where there is none.

    Raises:
        RunError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for entry in (*content["cells"], *content["older"]):
            texts = entry["recipe"], entry["digest"], *entry["values"].values()
            if not all(isinstance(text, str) for text in texts):
                raise ValueError("a cell's recipe is no text")
            if not _BELOW.fullmatch(f"{entry['recipe']}/{entry['digest']}"):
                raise ValueError("a cell's recipe or digest is no name of a folder")
        if not isinstance(content["study"], str):
            raise ValueError("'study' is no text")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Delete it: "
            "finished runs are found without it."
        ) from None
    return dict(content)
