"""Lists of image ids: one grammar for the lists of data sets and of splits.

A line is an id, in this order: the whole line; with the ending of a file; between quotes; a path
to the image or its mask; two columns, image and mask. A kind may stand behind it ("mask", "tags",
"none"). A line that begins with "#" and is no id is a comment.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from semisup.data.formats.lists import read_text, unique
from semisup.data.formats.pictures import IMAGE_SUFFIXES
from semisup.errors import DataError

KINDS = ("mask", "tags", "none")
"""How an image may be labelled: with its full mask, with tags alone, or not at all."""

_LONGEST = 250
"""Bytes of the last part of an id: a file system takes 255 for the name of a file."""

_FOLDERS = 32
"""Parts of a path in a list that are looked at, from its end."""

_COLUMNS = 64
"""Places in a line where a second column may begin."""

_ENDINGS = (*IMAGE_SUFFIXES, ".mat", ".npy", ".xml")
_USUAL = frozenset(
    [
        "/",
        ".",
        "annotations",
        "gt",
        "groundtruth",
        "ground_truth",
        "image",
        "images",
        "img",
        "imgs",
        "jpegimages",
        "label",
        "labels",
        "mask",
        "masks",
        "segmentationclass",
        "segmentationclassaug",
        "segmentationclasspng",
    ]
)
"""Folders that say what a file is, and not which image it is of."""

_OF_CITYSCAPES = re.compile(r"_(leftImg8bit|gtFine|gtCoarse)(_[A-Za-z]+)?$")
"""What stands behind an id of Cityscapes in the names of its files."""

_HEAD = 2
"""Lines at the head of every list that `write_split` wrote."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


class ListedId(NamedTuple):
    """A line of a list.

    Attributes:
        line: its number, from 1.
        entry: what stands there for the id.
        id: the image that it names; None where it names none.
        kind: one of `KINDS`, where it states one.
        why: what is wrong with it, where it is near to an id.
    """

    line: int
    entry: str
    id: str | None
    kind: str | None = None
    why: str = ""


def shown(entry: str) -> str:
    """A part of a list for an error: in one line, and no longer than 200 letters."""
    text = entry if len(entry) <= 200 else f"...{entry[-200:]}"
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class KnownIds:
    """The ids that a line may name.

    Args:
        ids: all of them.
        place: where the image of an id lies.
    """

    def __init__(self, ids: Iterable[str], place: Callable[[str], Path]) -> None:
        self._ids = frozenset(ids)
        self._place = place
        self._composed: dict[str, str | None] = {}
        for name in self._ids:
            form = unicodedata.normalize("NFC", name)
            self._composed[form] = None if form in self._composed else name
        self._stems = {name.rpartition("/")[2]: name for name in self._ids}
        self._deepest = max((name.count("/") for name in self._ids), default=0)

    def named(self, text: str) -> str | None:
        """The id that `text` is, letter by letter or in another Unicode form."""
        if text in self._ids:
            return text
        return self._composed.get(unicodedata.normalize("NFC", text))

    def find(self, text: str) -> tuple[str | None, str]:
        """The id that `text` names as an id, a file or a path; and what speaks against it."""
        name = self.file(text)
        return (name, "") if name is not None else self.path(text)

    def file(self, text: str) -> str | None:
        """The id that `text` is, alone, with the ending of a file or in quotes."""
        forms = dict.fromkeys((text, text.strip(), _unquoted(text.strip())))
        return next((name for form in forms if (name := self._file(form)) is not None), None)

    def path(self, text: str) -> tuple[str | None, str]:
        """The id at the end of a path, or why it is another's."""
        parts = PurePosixPath(_unquoted(text.strip()).replace("\\", "/")).parts
        for start in range(max(0, len(parts) - _FOLDERS), len(parts)):
            name = self._file("/".join(parts[start:]))
            if name is None:
                continue
            if start == 0:
                return name, ""
            folder, home = parts[start - 1], self._home(name)
            homes = {home.name.casefold()}
            if name in self._renamed:  # a part of a data set, of which its city is a part
                homes.add(home.parent.name.casefold())
            if folder.casefold() in _USUAL | homes:
                return name, ""
            return None, (
                f"is in the folder '{shown(folder)}', and image '{shown(name)}' in "
                f"'{home.name}'; write its id"
            )
        return None, ""

    def has_stem(self, text: str) -> str | None:
        """The id whose last part is the name of the file at the end of `text`."""
        stem = PurePosixPath(_unquoted(text.strip()).replace("\\", "/")).name
        return self._stems.get(stem, self._stems.get(_without_ending(stem)))

    def begins(self, text: str) -> str | None:
        """The id that the file at the end of `text` begins with, where files have longer names."""
        stem = PurePosixPath(_unquoted(text.strip()).replace("\\", "/")).name
        parts = stem.split("_")
        starts = ("_".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
        found = (start for start in starts if start in self._ids)
        return next(found, None) if self._files else None

    def _file(self, text: str) -> str | None:
        if text.count("/") > self._deepest:
            return None  # a long path, of which every line has several ends that are tried
        for form in (text, _without_ending(text), _without_ending(_without_ending(text))):
            name = self.named(form) or self._files.get(form)
            if name is not None:
                return name
        return None

    @functools.cached_property
    def _files(self) -> dict[str, str]:
        """The name of an image's file, without its ending -> its id, where the two differ.

        Names that several ids have are left out.
        """
        files = {name: _without_ending(self._place(name).name) for name in self._ids}
        times = Counter(files.values())
        return {
            file: name
            for name, file in files.items()
            if times[file] == 1 and file != name.rpartition("/")[2]
        }

    @functools.cached_property
    def _renamed(self) -> frozenset[str]:
        """The ids whose files have other names."""
        return frozenset(self._files.values())

    def _home(self, name: str) -> Path:
        """The folder in which the id begins."""
        return self._place(name).parents[name.count("/")]


def read_id_list(path: Path, known: KnownIds) -> list[ListedId]:
    """The lines of a list that are no comments and not blank.

    Raises:
        DataError: the file is missing or no text.
    """
    lines = read_text(path).split("\n")
    strict = _is_written(lines)
    entries = (_entry(number, line, known, strict) for number, line in enumerate(lines, start=1))
    return [entry for entry in entries if entry is not None]


def read_ids(path: Path, known: Callable[[], KnownIds] | None = None) -> tuple[str, ...]:
    """The image ids of a list file, one a line, in its order.

    A line that names no known id stands for the id that it is, or that its paths share.

    Args:
        path: of the list.
        known: makes the ids that there are; asked for only if a line is no plain word.

    Raises:
        DataError: a line that is no id, or an id that stands there twice.
    """
    lines = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if known is None or all(map(_PLAIN.fullmatch, lines)):
        return unique((_checked(_shared_stem(line, path), line, path) for line in lines), path)
    return unique((_id_of(entry, path) for entry in read_id_list(path, known())), path)


def canonical_id(text: str) -> str:
    """The id in a file's name or path: neither folders, nor endings, nor Unicode forms are in it.

    Such as "2007_000033" of "JPEGImages/2007_000033.jpg", and "aachen_000000_000019" of
    "gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png".
    """
    name = _unquoted(text.strip()).replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = _without_ending(_without_ending(name))
    return unicodedata.normalize("NFC", _OF_CITYSCAPES.sub("", name))


def read_bare_list(path: Path) -> list[ListedId]:
    """The lines of a list, each with its `canonical_id`, where no data set says what ids there are.

    Comments and blank lines are left out. A line whose columns name two images has no id.

    Raises:
        DataError: the file is missing or no text.
    """
    lines = read_text(path).split("\n")
    strict = _is_written(lines)
    entries = (_bare(number, line, strict) for number, line in enumerate(lines, start=1))
    return [entry for entry in entries if entry is not None]


def _bare(number: int, line: str, strict: bool) -> ListedId | None:
    text, kind = line.strip(), None
    if _PLAIN.fullmatch(text):
        return ListedId(number, text, canonical_id(text))
    entry, _, last = text.rpartition(" ")
    if last in KINDS and entry.strip():
        text, kind = entry.strip(), last
    if not text or (text.startswith("#") and not (strict and kind and number > _HEAD)):
        return None
    if strict:
        return ListedId(number, text, canonical_id(text), kind)
    return _bare_columns(ListedId(number, text, None, kind))


def _bare_columns(listed: ListedId) -> ListedId:
    columns = re.split(r"\s+|\s*[,;]\s*", listed.entry)
    names = dict.fromkeys(canonical_id(column) for column in columns)
    endings = [_has_ending(column) for column in columns]
    alike = all(endings) or (not any(endings) and all("/" in column for column in columns))
    if len(names) == 1 or not alike:
        name = next(iter(names)) if len(names) == 1 else canonical_id(listed.entry)
        return listed._replace(id=name) if name else listed._replace(why="names no image")
    first, second, *_ = names
    return listed._replace(
        why=f"names two images, '{shown(first)}' and '{shown(second)}'; a line is one"
    )


def was_changed(path: Path) -> bool:
    """Whether a list that `write_split` wrote has other lines than its head states.

    Raises:
        DataError: the file is missing or no text.
    """
    lines = read_text(path).split("\n")
    if not _is_written(lines):
        return False
    parts = [line.rpartition(" ") for line in lines[_HEAD:] if not line.startswith("# tags: ")]
    found = sorted(f"{_unquoted(name)} {kind}\n" for name, _, kind in parts if kind in KINDS)
    return hashlib.sha256("".join(found).encode()).hexdigest() != lines[1].rpartition(" ")[2]


def line_of(name: str, kind: str) -> str:
    """A line of a written list; an id that no line could hold is put as a JSON string."""
    special = name.startswith('"') or "\n" in name or "\r" in name
    return f"{json.dumps(name) if special else name} {kind}\n"


def _id_of(entry: ListedId, path: Path) -> str:
    if entry.why:
        raise DataError(f"{path}, line {entry.line}: '{shown(entry.entry)}' {entry.why}")
    if entry.id is not None:
        return entry.id
    return _checked(_shared_stem(entry.entry, path), entry.entry, path)


def _entry(number: int, line: str, known: KnownIds, strict: bool) -> ListedId | None:
    if strict:
        entry, _, kind = line.rpartition(" ")
        name = known.named(_unquoted(entry) if entry.startswith('"') else entry)
        if kind in KINDS and name is not None:
            return ListedId(number, entry, name, kind)
    if not line.strip():
        return None
    name = known.file(line)
    if name is None:
        entry, _, kind = line.strip().rpartition(" ")
        states = kind in KINDS and bool(entry.strip())
        found = _columns(number, entry if states else line, known)
        found = found._replace(kind=kind if states else None)
    else:
        found = ListedId(number, line.strip(), name)
    # Such as "# images/t0.png": a line that was taken out names no image.
    comment = line.lstrip().startswith("#") and not (found.id or "").startswith("#")
    return None if comment else found


def _columns(number: int, text: str, known: KnownIds) -> ListedId:
    """The image that a file, a path or two columns name."""
    entry = ListedId(number, text.strip(), known.file(text))
    if entry.id is not None:
        return entry
    loose, why = None, ""
    for first, second in _pairs(text):
        name, reason = known.find(first)
        why = why or reason
        if name is None:
            continue
        other = known.find(second)[0] or known.has_stem(second) or known.begins(second)
        if other == name:
            return entry._replace(id=name)
        if other is not None:
            return entry._replace(
                why=f"names two images, '{shown(name)}' and '{shown(other)}'; a line is one"
            )
        loose = loose or name
    name, reason = known.path(text)
    return entry._replace(id=name or loose, why="" if name or loose else reason or why)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Image and mask, wherever a line may be parted."""
    text = text.strip()
    for match in list(re.finditer(r"\s+|\s*[,;]\s*", text))[:_COLUMNS]:
        first, second = text[: match.start()], text[match.end() :]
        alike = "/" not in first or _has_ending(first) == _has_ending(second)
        if alike and (_has_ending(second) or "/" in second or "\\" in second):
            yield first, second


def _has_ending(text: str) -> bool:
    name = _unquoted(text.strip())
    return _without_ending(name) != name


def _without_ending(text: str) -> str:
    stem, dot, ending = text.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in _ENDINGS else text


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"'":
        return text
    try:
        value = json.loads(text) if text[0] == '"' else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, str) else text[1:-1]


def _is_written(lines: list[str]) -> bool:
    """Whether `write_split` wrote a list, which holds one id and its kind in each line."""
    return (
        len(lines) > 1
        and lines[0].startswith("# name: ")
        and re.fullmatch(r"# sha256: [0-9a-f]{64}", lines[1]) is not None
    )


def _checked(name: str, line: str, path: Path) -> str:
    if len(name.encode()) > _LONGEST or "\0" in name:
        raise DataError(f"{path} has the line {line[:20]!r}..., which names no file; correct it")
    return name


def _shared_stem(line: str, path: Path) -> str:
    words = line.split()
    if len(words) == 1 and "/" not in line:
        return line
    stems = {PurePosixPath(word).stem for word in words if "/" in word}
    if len(stems) != 1 or not all("/" in word for word in words):
        raise DataError(f"{path} has the line {line[:60]!r}; a line is one image id")
    return stems.pop()
