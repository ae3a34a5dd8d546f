"""Lists of labelled images: published ones, and those that `write_split` makes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from semisup.data.base import SegmentationData
from semisup.data.formats.id_lists import KnownIds, ListedId, read_id_list, shown
from semisup.errors import DataError


def read_kinds(data: SegmentationData, path: Path) -> tuple[dict[str, str], bool]:
    """Image id -> its kind, as a list has it, and whether the list states kinds.

    In a list that states none, every image is of kind "mask".

    Raises:
        DataError: the list cannot be read, names an image twice or one that is not in `data`, or
            labels none.
    """
    known = KnownIds(data.ids, lambda name: data.image_path(data.index(name)))
    kinds: dict[str, str] = {}
    lines: dict[str, int] = {}
    states = False
    for listed in _read_list(path, known):
        if listed.id is None:
            raise DataError(_unknown(data, path, listed))
        if listed.id in lines:
            raise DataError(
                f"{path}, line {listed.line}: '{shown(listed.id)}' was named on line "
                f"{lines[listed.id]} already; remove one of them"
            )
        states = states or listed.kind is not None
        kinds[listed.id], lines[listed.id] = listed.kind or "mask", listed.line
    if not {"mask", "tags"} & set(kinds.values()):
        raise DataError(f"{path}: labels no image; give a list with one image id a line")
    return kinds, states


def _read_list(path: Path, known: KnownIds) -> list[ListedId]:
    if not path.is_file():
        reason = "Is a directory" if path.is_dir() else "No such file or directory"
        raise DataError(
            f"{path}: cannot read the split list ({reason}); give file:PATH of a text file"
        )
    return read_id_list(path, known)


def _unknown(data: SegmentationData, path: Path, listed: ListedId) -> str:
    """Why a line of a list names no image."""
    place = f"{path}, line {listed.line}: '{shown(listed.entry)}'"
    if listed.why:
        return f"{place} {listed.why}"
    return (
        f"{place} is no image of subset '{data.subset}' of {data.root};"
        f"{_nearest(listed.entry, data.ids)} correct the line or choose the subset that the list "
        "was made for"
    )


def _nearest(entry: str, ids: Sequence[str]) -> str:
    # `errors.suggest` would print all ids where none is near, and a set may have 100,000.
    near = difflib.get_close_matches(
        PurePosixPath(entry.split()[0]).stem[:250], ids, n=1, cutoff=0.6
    )
    return (
        f" did you mean '{shown(near[0])}'?" if near else f" its ids look like '{shown(ids[0])}':"
    )
