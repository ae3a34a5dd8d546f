"""The clicks of What's the Point: {"2007_000032": [{"x": 1.5, "y": 2.5, "cls": 1, "rank": 1}]}.

`cls` is the label, 0 for background; `rank` counts the clicks of a person from 1 on and is left out
in the file of background clicks. Coordinates are pixels from the upper left corner, fractions of
one included.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

from semisup.errors import DataError

LARGEST = 1 << 26
"""Bytes of a file; the clicks on VOC's 12,180 images take 2 million."""

_FORM = '{"ID": [{"x": 1.5, "y": 2.5, "cls": 1}]}'


class Click(NamedTuple):
    """A pixel that somebody has named.

    Attributes:
        row: from 0, the top.
        column: from 0, the left.
        label: 0..K-1.
    """

    row: int
    column: int
    label: int


def read_clicks(path: Path, num_classes: int, ranks: int = 1) -> dict[str, list[Click]]:
    """Image id -> its clicks.

    Args:
        path: of the file.
        num_classes: K.
        ranks: so many clicks of each person; a click without a rank counts as the first.

    Raises:
        DataError: the file cannot be read or is of another form, a click is on no class of K or
            has no place; names the file and the image.
    """
    clicks: dict[str, list[Click]] = {}
    for name, entries in _content(path).items():
        if not isinstance(entries, list):
            raise DataError(f"{path}: '{name}' has no list of clicks; give {_FORM}")
        clicks[name] = [
            _click(path, name, entry, num_classes)
            for entry in entries
            if not isinstance(entry, dict) or _rank(path, name, entry) <= ranks
        ]
    return clicks


def _content(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise DataError(f"{path} is refused: it has more than {LARGEST >> 20} MiB")
        content = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the clicks ({error.strerror}); check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a table of images; give {_FORM}")
    return content


def _once(path: Path, pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise DataError(f"{path} has '{key}' twice; remove one of them")
        found[key] = value
    return found


def _rank(path: Path, name: str, entry: dict[str, object]) -> int:
    rank = entry.get("rank", 1)
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise DataError(f"{path}: '{name}' has a click of rank {rank!r}; ranks are 1, 2, 3, ...")
    return rank


def _click(path: Path, name: str, entry: object, num_classes: int) -> Click:
    if not isinstance(entry, dict):
        raise DataError(f"{path}: '{name}' has {entry!r} in place of a click; give {_FORM}")
    label = entry.get("cls")
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < num_classes:
        raise DataError(
            f"{path}: '{name}' has a click on class {label!r}, but there are 0..{num_classes - 1}"
        )
    place = entry.get("y"), entry.get("x")
    for value in place:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _in_reach(value):
            raise DataError(f"{path}: '{name}' has a click at {value!r}; x and y are pixels >= 0")
    row, column = (math.floor(float(value)) for value in place)  # type: ignore[arg-type]
    return Click(row, column, label)


def _in_reach(value: float) -> bool:
    return 0 <= value < 1e6
