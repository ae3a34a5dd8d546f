"""The file beside weak labels that says what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from semisup.data.base import SegmentationData
from semisup.errors import DataError
from semisup.system.files import write_text

MANIFEST = "weak_labels.json"


def manifest(data: SegmentationData, seed: int, about: dict[str, Any]) -> dict[str, Any]:
    """What the labels of `data` are: `about`, and what their numbers mean."""
    return {
        **about,
        "seed": seed,
        "data": data.name,
        "subset": data.subset,
        "classes": list(data.classes),
    }


def claim(out: Path, labels: dict[str, Any]) -> None:
    """Make the folder of some labels, or find it made for the same ones.

    Raises:
        DataError: it holds something else.
        RunError: the file cannot be written.
    """
    path = out / MANIFEST
    if path.is_file():
        before = _read(path)
        for key in sorted(before.keys() | labels.keys()):
            if before.get(key) != labels.get(key):
                raise DataError(
                    f"{path} has {key} = {before.get(key)!r}, and not {labels.get(key)!r}: give "
                    "these labels a folder of their own"
                )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not empty: give the labels a folder of their own")
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(labels, indent=1) + "\n")


def check_written_for(folder: Path, data: SegmentationData) -> None:
    """Refuse weak labels that were written for other classes: their numbers would be wrong.

    Raises:
        DataError: the folder's manifest is damaged, or states other classes than `data` has.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return
    classes = _read(path).get("classes")
    if classes != list(data.classes):
        raise DataError(
            f"{path} says that these labels are of {_listed(classes)}, but {data.name} has "
            f"{_listed(list(data.classes))} here; write them anew with 'semisup data weaken', with "
            "the same classes"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); write the labels anew") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} says nothing of the labels; write them anew")
    return content


def _listed(classes: object) -> str:
    names = classes if isinstance(classes, list) else []
    return f"{len(names)} classes, {', '.join(map(str, names[:3]))}, ..."
