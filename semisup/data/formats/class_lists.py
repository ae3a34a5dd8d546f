"""Lists of classes, in the forms that labelling tools write."""

from __future__ import annotations

import contextlib
import csv
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from semisup.data.base import Colour
from semisup.data.formats.class_colours import class_colours
from semisup.data.formats.id_lists import shown
from semisup.data.formats.lists import numbered_lines
from semisup.errors import DataError
from semisup.system.files import is_file
from semisup.types import IGNORE

NAMES = ("classes.txt", "labelmap.txt", "class_names.txt")
"""What a list of classes may be called; the first that is there is read."""

_FORMS = (
    "write one name a line, with its colour behind or in front if you like ('cat 64 128 64'), "
    "or 'number,name', or CVAT's 'cat:64,128,64::'; comments begin with #"
)
_SHAPES = frozenset({(0, 0), (1, 0), (1, 1), (3, 0), (3, 3), (4, 1), (4, 3), (4, 4)})
"""Numbers of a row with separators, and how many of them stand before the name."""

_VOID = "__ignore__"
_VOID_NAMES = frozenset(
    [
        "border",
        "borders",
        "boundaries",
        "boundary",
        "dontcare",
        "ignore",
        "ignored",
        "ignorelabel",
        "nodata",
        "unlabeled",
        "unlabelled",
        "void",
    ]
)
"""Names of the value 255, by their letters alone, that say that it is void."""

_HEADER = frozenset(
    [
        "b",
        "blue",
        "category",
        "categories",
        "class",
        "classes",
        "classname",
        "color",
        "color_rgb",
        "colour",
        "g",
        "green",
        "id",
        "ids",
        "idx",
        "index",
        "label",
        "labels",
        "name",
        "names",
        "parts",
        "actions",
        "pixel",
        "r",
        "red",
        "rgb",
        "trainid",
        "value",
        "values",
    ]
)
_LABELMAP = re.compile(r"(?P<name>[^:]+):(?P<colour>[\d, ]*):[^:]*:[^:]*")
_NUMBERED = re.compile(r"(?P<number>\d{1,3})(?:\s*[:=]\s*|[.)]\s+)(?P<name>.+)")
_FOREIGN = re.compile(
    r"""[,;:|\t"\[\]{}=]|(#|\b0x)[0-9a-fA-F]{3,8}\b|\s#|^-\s|^'.*'$|^//|(\s\d*\.\d+){3}$"""
)
_UNSEEN = re.compile("[\u200b\u2060\ufeff]")
"""Letters of no width, which come along where a name is copied from a page."""


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes of a data set, as a list states them.

    Attributes:
        path: of the list.
        names: K names; position is the label id.
        palette: K colours; where the list states none, those of `class_colours`.
        colours: label id -> the colour that the list states.
        values: label id -> the value in a mask; None: the position.
        void_values: further values in a mask that are void.
        void_colours: colours in a mask that are void.
    """

    path: Path
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    colours: Mapping[int, Colour] = field(default_factory=dict)
    values: Mapping[int, int] | None = None
    void_values: frozenset[int] = frozenset()
    void_colours: frozenset[Colour] = frozenset()


class _Row(NamedTuple):
    """One class; `loose` where its number may be a part of the name."""

    line: int
    text: str
    name: str
    value: int | None = None
    colour: Colour | None = None
    loose: bool = False
    fields: int = 1


def read_class_list(path: Path) -> ClassList:
    """Names, colours and values of the classes in `path`.

    Understood are: one name a line; a colour behind it or in front of it, with spaces, tabs or
    commas between; a number in front ("0 background", "0,background", "0: background") or
    behind a comma; CVAT's labelmap.txt ("cat:48,112,32::"). Comments begin with "#"; a first line
    that names the columns is passed over where numbers or colours follow. `__ignore__` is void: as
    the first line, as labelme writes it, it takes no number.

    Raises:
        DataError: a line of another form, none or more than 255 classes, a name, number or colour
            that stands there twice or is out of its range.
    """
    lines = [(n, text) for n, text in numbered_lines(path) if not text.startswith("#")]
    rows = [_row(path, number, text) for number, text in lines]
    rows = _without_header(path, rows)
    rows = _with_one_form(path, rows)
    rows = [row._replace(name=_cleaned(row.name)) for row in rows]
    void = [row for row in rows if _is_void(row)]
    classes = [row for row in rows if not _is_void(row)]
    if any(row.value is None for row in void) and void != rows[: len(void)]:
        _refuse(path, void[-1], "has no number, and is not the first line;")
    for row in classes:
        _check_name(path, row)
    _check_four_channels(path, classes)
    _check_numbers_behind(path, classes)
    return _class_list(path, classes, void)


def warn_of_other_lists(path: Path) -> None:
    """Say which lists lie beside the one that is read and name other classes, or another order."""
    names = read_class_list(path).names
    for other in (path.with_name(name) for name in NAMES):
        if other == path or not is_file(other):
            continue
        with contextlib.suppress(DataError):
            if read_class_list(other).names != names:
                warnings.warn(
                    f"{path} is read, and {other.name} beside it names other classes, or in "
                    "another order: remove the one that is not that of the masks",
                    stacklevel=3,
                )


def _class_list(path: Path, classes: list[_Row], void: list[_Row]) -> ClassList:
    numbered = bool(classes) and classes[0].value is not None
    if numbered:
        classes = sorted(classes, key=lambda row: row.value or 0)
    if not 1 <= len(classes) <= IGNORE:
        raise DataError(f"{path} names {len(classes)} classes; it must be 1 to {IGNORE}")
    names = [row.name for row in classes]
    values = [row.value for row in (*classes, *void) if row.value is not None]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} names the class '{name}' twice; position is the label id")
    for value in values:
        if values.count(value) > 1:
            raise DataError(f"{path} gives the number {value} twice; each class has one of its own")
    usual = class_colours(names)
    colours = {label: row.colour for label, row in enumerate(classes) if row.colour is not None}
    return ClassList(
        path,
        tuple(names),
        tuple(colours.get(label, usual[label]) for label in range(len(names))),
        colours,
        {label: row.value or 0 for label, row in enumerate(classes)} if numbered else None,
        frozenset(row.value for row in void if row.value is not None),
        frozenset(row.colour for row in void if row.colour is not None),
    )


def _is_void(row: _Row) -> bool:
    name = row.name.casefold()
    letters = "".join(filter(str.isalpha, name))
    return name == _VOID or (row.value == IGNORE and letters in _VOID_NAMES)


def _row(path: Path, number: int, text: str) -> _Row:
    labelmap = _LABELMAP.fullmatch(text)
    if labelmap:
        channels = labelmap["colour"].replace(",", " ").split()
        return _Row(number, text, labelmap["name"].strip(), None, _colour(path, channels), fields=4)
    numbered = _NUMBERED.fullmatch(text)
    if numbered:
        return _of_fields(path, number, text, [numbered["number"], numbered["name"]])
    for separator in "\t,;":
        if separator in text:
            return _of_fields(path, number, text, _split(text, separator))
    return _of_words(path, number, text)


def _split(text: str, separator: str) -> list[str]:
    try:
        (fields,) = csv.reader([text], delimiter=separator, skipinitialspace=True)
    except (csv.Error, ValueError):  # a quote without its end
        fields = text.split(separator)
    return [field.strip() for field in fields if field.strip()]


def _of_fields(path: Path, number: int, text: str, fields: Sequence[str]) -> _Row:
    """A row with separators: one field is the name, the others are numbers."""
    names = [field for field in fields if not _numbers(field)]
    numbers = [word for field in fields for word in _numbers(field)]
    row = _Row(number, text, names[0] if len(names) == 1 else text, fields=len(fields))
    if len(names) != 1:
        return row  # a head, or a name with a separator in it: see _without_header, _check_name
    before = _numbers_before(fields)
    if (len(numbers), before) not in _SHAPES:
        _refuse(path, row, "is no class with a number or a colour")
    if len(numbers) in (0, 3):
        return row._replace(colour=_colour(path, numbers))
    value, channels = numbers[0], numbers[1:]
    if before == 3:
        value, channels = numbers[3], numbers[:3]
    return row._replace(value=_value(path, row, value), colour=_colour(path, channels))


def _numbers_before(fields: Sequence[str]) -> int:
    count = 0
    for part in fields:
        if not _numbers(part):
            break
        count += len(_numbers(part))
    return count


def _numbers(field: str) -> list[str]:
    """The numbers of a field that holds nothing else."""
    words = field.split()
    return words if words and all(map(_is_number, words)) else []


_LONGEST_NUMBER = 9
"""Digits of a number in a list; Python refuses to read some thousand."""


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _of_words(path: Path, number: int, text: str) -> _Row:
    """A row with spaces: "name", "name R G B", "R G B name" or "number name"."""
    words = text.split()
    row = _Row(number, text, text)
    if len(words) > 3 and all(map(_is_number, words[-3:])):
        colour, words = _colour(path, words[-3:]), words[:-3]
        if all(map(_is_number, words)) and len(words) > 1:
            _refuse(path, row, "has numbers and no name")
        row = row._replace(name=" ".join(words), colour=colour)
    leading = next((n for n, word in enumerate(words) if not _is_number(word)), len(words))
    if leading == len(words):
        if len(words) > 1:
            _refuse(path, row, "has numbers and no name")
        return row
    rest = " ".join(words[leading:])
    if leading in (3, 4) and row.colour is None:
        channels = words[leading - 3 : leading]
        row = row._replace(name=rest, colour=_colour(path, channels))
        return row if leading == 3 else row._replace(value=_value(path, row, words[0]))
    if leading == 1 and len(words[0]) <= 3 and int(words[0]) <= IGNORE:
        return row._replace(name=rest, value=int(words[0]), loose=True)
    if leading > 1:
        _refuse(path, row, "begins with numbers that are no colour")
    return row


def _without_header(path: Path, rows: list[_Row]) -> list[_Row]:
    """The rows without a first one that names the columns."""
    if not rows:
        return rows
    head, *rest = rows
    stated = [row for row in rest if row.value is not None or row.colour is not None]
    words = re.findall(r"\w+", head.text.casefold())
    plain = head.value is None and head.colour is None
    numbers = any(word.removeprefix("-").isdecimal() for word in re.split(r"[\s,;:|]+", head.text))
    if plain and not numbers and head.fields > 1 and stated and len(stated) == len(rest):
        return rest
    if plain and words and _HEADER.issuperset(words):
        if stated and len(stated) == len(rest):
            return rest
        _refuse(path, head, "looks like the head of a table: begin it with # or drop it;")
    return rows


def _with_one_form(path: Path, rows: list[_Row]) -> list[_Row]:
    """Numbers for all rows or for none: a name may begin with one, as in "3 wheeler"."""
    without = [row for row in rows if row.value is None and row.name.casefold() != _VOID]
    numbered = [row for row in rows if row.value is not None]
    if not without or not numbered:
        return rows
    if len(numbered) > 1 or not numbered[0].loose:
        _refuse(path, without[0], "has no number, and other lines have one;")
    return [row._replace(name=_whole(row), value=None) if row.loose else row for row in rows]


def _whole(row: _Row) -> str:
    return f"{row.value} {row.name}"


def _check_four_channels(path: Path, rows: Sequence[_Row]) -> None:
    """Refuse colours with a fourth channel, as in "cat 64 0 0 255" and "64 0 0 255 cat"."""
    numbers = [_last_number(row) if row.value is None else row.value for row in rows]
    counted = sorted(number for number in numbers if number is not None)
    blue = {row.colour[2] if row.colour is not None else None for row in rows}
    if len(rows) < 2 or len(counted) < len(rows) or blue != {IGNORE}:
        return
    if counted != list(range(counted[0], counted[0] + len(rows))):
        _refuse(path, rows[0], "may hold a colour of four channels: take the last one off;")


def _check_numbers_behind(path: Path, rows: Sequence[_Row]) -> None:
    """Refuse "cat 1", "dog 0", where the numbers may be labels; "zone 1", "zone 2" are names."""
    numbers = [_last_number(row) for row in rows]
    names = {row.name.rpartition(" ")[0] for row in rows}
    if len(rows) < 2 or rows[0].value is not None or None in numbers:
        return
    if len(names) == len(set(numbers)) == len(rows):
        _refuse(path, rows[0], "ends in a number: if it is the label, write it in front;")


def _last_number(row: _Row) -> int | None:
    """The number at the end of a name of several words."""
    rest, _, last = row.name.rpartition(" ")
    return int(last) if rest and _is_number(last) and len(last) <= _LONGEST_NUMBER else None


def _cleaned(name: str) -> str:
    """A name in one form, however it was typed: single blanks, composed letters."""
    return unicodedata.normalize("NFC", " ".join(_UNSEEN.sub("", name).split()))


def _check_name(path: Path, row: _Row) -> None:
    if any(unicodedata.category(letter) == "Cc" for letter in row.name):
        _refuse(path, row, "holds a control character: save it as UTF-8 text;")
    if not row.name or _FOREIGN.search(row.name):
        _refuse(path, row, "is no name of a class;")


def _colour(path: Path, channels: Sequence[str]) -> Colour | None:
    if not channels:
        return None
    wrong = [c for c in channels if len(c) > 3 or int(c) > IGNORE]
    if len(channels) != 3 or wrong:
        raise DataError(f"{path} has the colour {' '.join(channels)}; a channel is 0..255")
    red, green, blue = map(int, channels)
    return red, green, blue


def _value(path: Path, row: _Row, word: str) -> int:
    if len(word) > 3 or int(word) > IGNORE:
        _refuse(path, row, f"has a number above {IGNORE};")
    return int(word)


def _refuse(path: Path, row: _Row, why: str) -> NoReturn:
    text = row.text if len(row.text) <= 60 else f"{row.text[:60]}..."
    raise DataError(f"{path}, line {row.line}: '{shown(text)}' {why.rstrip(';')}; {_FORMS}")
