"""What a list of image ids is: its name in the literature, its overlap with others, its faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semisup.data.base import SegmentationData
from semisup.data.formats.id_lists import (
    KnownIds,
    ListedId,
    canonical_id,
    read_bare_list,
    read_id_list,
    shown,
    was_changed,
)
from semisup.data.labels.classes_in_masks import read_presence
from semisup.data.labels.known_lists.known import KnownList, known_lists, sha256_of
from semisup.errors import DataError
from semisup.system.words import counted

_NO_TEXT = (".pkl", ".pickle", ".npy")


@dataclass(frozen=True, slots=True)
class ExplainedList:
    """What is to be said of a list.

    Attributes:
        path: of the list.
        ids: those that it labels with a mask, each once, sorted.
        sha256: of them, see `sha256_of`.
        known: the list of the literature that has the same ids.
        as_long: names of those that have as many, where none has the same.
        contradictions: what cannot be meant, a line each, with the remedy.
        classes: class -> how many of the masks hold it; empty without a data set.
    """

    path: Path
    ids: tuple[str, ...]
    sha256: str
    known: KnownList | None
    as_long: tuple[str, ...]
    contradictions: tuple[str, ...]
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Overlap:
    """What another list has in common with the explained one.

    Attributes:
        name: in the literature; else where it lies in its folder.
        files: how many files have these ids.
        count: of its ids.
        common: of those that are in both.
        relation: "the same", "inside it" or "holds it"; empty where each has ids of its own.
    """

    name: str
    files: int
    count: int
    common: int
    relation: str


@dataclass(frozen=True, slots=True)
class Overlaps:
    """The lists of a folder beside the explained one.

    Attributes:
        rows: the lists that share ids with it, those with the most first.
        apart: number of those that share none.
        unread: files that are no lists.
    """

    rows: tuple[Overlap, ...]
    apart: int
    unread: tuple[Path, ...]


def explain_list(path: Path, data: SegmentationData | None = None) -> ExplainedList:
    """What the list `path` is.

    Without a data set an id is what `canonical_id` makes of a line, so that one list has one hash
    in whatever form it comes: order, line endings, folders and file endings have no say.

    Args:
        path: one id or path a line, with a second column or not; or a written split, of which those
            with a mask count.
        data: the images that it may name; the masks of those that it does name are opened.

    Raises:
        DataError: the file is missing, no text, or labels no image; or a mask cannot be used.
    """
    if path.suffix in _NO_TEXT:
        raise DataError(
            f"{path} is no text: give a list with one image id a line (a pickle is not opened, and "
            "one of positions is an order of another list's images)"
        )
    bare = read_bare_list(path)
    listed = bare if data is None else _of_data(path, data, bare)
    labelled = [entry for entry in listed if entry.kind in (None, "mask")]
    ids = tuple(sorted({entry.id for entry in labelled if entry.id is not None}))
    if not ids:
        raise DataError(f"{path}: labels no image; give a list with one image id a line")
    found = [*_faults(listed, data), *_repeats(listed, data)]
    if was_changed(path):
        found.append("it was changed after it was written: its head states another sha256")
    sha256 = sha256_of(_forms(ids))
    known = known_lists().get(sha256)
    as_long = (one.name for one in known_lists().values() if one.count == len(ids))
    return ExplainedList(
        path,
        ids,
        sha256,
        known,
        () if known else tuple(as_long),
        tuple(found),
        {} if data is None else _count_classes(data, ids),
    )


def overlaps(explained: ExplainedList, folder: Path) -> Overlaps:
    """What the lists in `folder` and below, its .txt files, have in common with one.

    Raises:
        DataError: there is no such folder, or no other .txt file in it.
    """
    own = frozenset(_forms(explained.ids))
    files = [path for path in sorted(folder.rglob("*.txt")) if path.is_file()]
    files = [path for path in files if path.resolve() != explained.path.resolve()]
    if not files:
        raise DataError(f"{folder} has no other list, NAME.txt, in it: give a folder of lists")
    groups: dict[frozenset[str], list[Path]] = {}
    unread = []
    for path in files:
        ids = _ids_of(path)
        if ids:
            groups.setdefault(ids, []).append(path)
        else:
            unread.append(path)
    rows = [
        _overlap(own, ids, [path.relative_to(folder) for path in paths])
        for ids, paths in groups.items()
        if own & ids
    ]
    rows.sort(key=lambda row: (-row.common, row.count, row.name))
    return Overlaps(tuple(rows), len(groups) - len(rows), tuple(unread))


def _overlap(own: frozenset[str], ids: frozenset[str], paths: Sequence[Path]) -> Overlap:
    known = known_lists().get(sha256_of(ids))
    relation = "the same" if ids == own else "inside it" if ids < own else ""
    return Overlap(
        known.name if known else paths[0].as_posix(),
        len(paths),
        len(ids),
        len(own & ids),
        relation or ("holds it" if ids > own else ""),
    )


def _ids_of(path: Path) -> frozenset[str]:
    """The ids of a list; none where it cannot be read as one."""
    try:
        listed = read_bare_list(path)
    except DataError:
        return frozenset()
    if any(entry.id is None for entry in listed):
        return frozenset()
    return frozenset(entry.id for entry in listed if entry.id and entry.kind in (None, "mask"))


def _forms(ids: Iterable[str]) -> Iterable[str]:
    """The ids as a hash takes them: without folders, unless those tell them apart."""
    ids = tuple(ids)
    forms = {canonical_id(name) for name in ids}
    return forms if len(forms) == len(ids) else ids


def _of_data(path: Path, data: SegmentationData, bare: Sequence[ListedId]) -> list[ListedId]:
    """The lines with the ids of the data set; one that it does not know says so."""
    known = KnownIds(data.ids, lambda name: data.image_path(data.index(name)))
    found = {entry.line: entry for entry in read_id_list(path, known)}
    listed = []
    for entry in bare:
        one = found.get(entry.line, entry)
        if one.id is None:
            why = one.why or f"is no image of {data.name} {data.subset}"
            one = entry._replace(why=why)
        listed.append(one)
    return listed


def _faults(listed: Sequence[ListedId], data: SegmentationData | None) -> Iterable[str]:
    """Lines that name no image, two images, or one that the data set does not have."""
    wrong = [entry for entry in listed if entry.why]
    if wrong:
        first = wrong[0]
        others = counted(len(wrong) - 1, "other line")
        more = f" ({others} cannot be used either)" if len(wrong) > 1 else ""
        remedy = "" if data is None else ", or choose the subset that it was made for"
        place = f"line {first.line}: '{shown(first.entry)}' {first.why}"
        yield f"{place}{more}: correct the list{remedy}"
    if data is None:
        return
    names = {entry.id for entry in listed if not entry.why and entry.kind in (None, "mask")}
    bare = sorted(name for name in names if name and not data.has_mask(data.index(name)))
    if bare:
        yield (
            f"{counted(len(bare), 'image')} of {data.name} {data.subset} without a mask is to be "
            f"labelled, such as '{shown(bare[0])}': add the mask, or drop the line"
        )


def _repeats(listed: Sequence[ListedId], data: SegmentationData | None) -> Iterable[str]:
    """Ids that stand in several lines."""
    lines: dict[str, list[int]] = {}
    for entry in listed:
        if entry.id is not None:
            lines.setdefault(entry.id, []).append(entry.line)
    repeated = {name: at for name, at in lines.items() if len(at) > 1}
    if not repeated:
        return
    name, (first, second, *_) = next(iter(repeated.items()))
    verb = "is" if len(repeated) == 1 else "are"
    folders = " (or name the data set, if folders tell them apart)" if data is None else ""
    yield (
        f"{counted(len(repeated), 'id')} {verb} named more than once, such as '{shown(name)}' on "
        f"lines {first} and {second}: remove the repeats{folders}"
    )


def _count_classes(data: SegmentationData, ids: Sequence[str]) -> dict[str, int]:
    """Class -> how many of the masks of `ids` hold it; ids that have no mask are left out."""
    here = frozenset(data.masked_ids)
    presence = read_presence(data, [name for name in ids if name in here])
    return {
        name: sum(label in labels for labels in presence.values())
        for label, name in enumerate(data.classes)
    }
