"""Lists of labelled images: published ones, and those that `write_split` makes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from semisup.data.base import SegmentationData
from semisup.errors import DataError

KINDS = ("mask", "tags", "none")
"""How an image may be labelled: with its full mask, with tags alone, or not at all."""

_FOLDERS = 32
"""Parts of a path in a list that are looked at, from its end."""


def read_kinds(data: SegmentationData, path: Path) -> tuple[dict[str, str], bool]:
    """Image id -> its kind, as a list has it, and whether the list states kinds.

    In a list that states none, every image is of kind "mask".

    Raises:
        DataError: the list cannot be read, names an image twice or one that is not in `data`, or
            labels none.
    """
    known = frozenset(data.ids)
    kinds: dict[str, str] = {}
    lines: dict[str, int] = {}
    states = False
    for number, line in _read_list(path):
        entry, kind = _entry_and_kind(line, known)
        key = _known_id(entry, known)
        if key is None:
            raise DataError(
                f"{path}, line {number}: '{entry}' is no image of subset '{data.subset}' of "
                f"{data.root};{_nearest(entry, data.ids)} correct the line or choose the subset "
                "that the list was made for"
            )
        if key in lines:
            raise DataError(
                f"{path}, line {number}: '{key}' was named on line {lines[key]} already; "
                "remove one of them"
            )
        states = states or kind is not None
        kinds[key], lines[key] = kind or "mask", number
    if not {"mask", "tags"} & set(kinds.values()):
        raise DataError(f"{path}: labels no image; give a list with one image id a line")
    return kinds, states


def _read_list(path: Path) -> list[tuple[int, str]]:
    """Numbered lines of a list without comments and blank ones."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the split list ({error.strerror}); give file:PATH of a text file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text; give a list of image ids") from error
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _entry_and_kind(line: str, known: frozenset[str]) -> tuple[str, str | None]:
    entry, _, last = line.rpartition(" ")
    if last in KINDS and entry and line not in known:
        return entry.strip(), last
    return line, None


def _known_id(entry: str, known: frozenset[str]) -> str | None:
    """The id meant by "id", "folder/id.jpg" or "folder/id.jpg folder/id.png", if there is one."""
    if entry in known:
        return entry
    return next((key for key in _readings(entry) if key in known), None)


def _readings(entry: str) -> Iterator[str]:
    """What an id could be in a line of paths: with ever fewer folders, with and without suffix."""
    for text in (entry, entry.split()[0]):
        parts = PurePosixPath(text).parts
        for start in range(max(0, len(parts) - _FOLDERS), len(parts)):
            tail = PurePosixPath(*parts[start:])
            yield str(tail)
            yield str(tail.parent / tail.stem)


def _nearest(entry: str, ids: Sequence[str]) -> str:
    # `errors.suggest` would print all ids where none is near, and a set may have 100,000.
    near = difflib.get_close_matches(PurePosixPath(entry.split()[0]).stem, ids, n=1, cutoff=0.6)
    return f" did you mean '{near[0]}'?" if near else f" its ids look like '{ids[0]}':"
