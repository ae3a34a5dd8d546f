"""Files of image tags: our own text, and the array of the field.

Text is one image a line, the id and the names of its foreground classes with tabs between, after
head lines that begin with "#":

    # classes: background<TAB>aeroplane<TAB>...
    # sha256: ...
    2007_000032<TAB>aeroplane<TAB>person

The array is `cls_labels.npy`, in which the code of IRN and many others keeps the tags of VOC 2012:
a pickled dict, image id -> one 0 or 1 for each class but background. Ids may be numbers, such as
2007000032 for 2007_000032.
"""

from __future__ import annotations

import re
from pathlib import Path

from semisup.data.base import SegmentationData
from semisup.data.formats.pickles import Array, RefusedError, read_dict
from semisup.errors import DataError, suggest

Names = dict[str, frozenset[str]]
"""Image id -> the names of its classes."""

_LARGEST = 1 << 24
"""Bytes of a file; the tags of VOC's 12,031 images take 2.4 million."""

_NUMPY = b"\x93NUMPY"
_CLASSES = "# classes:"
_REMEDY = "write the tags with 'semisup data tags'"


def read_tag_file(path: Path, data: SegmentationData) -> Names:
    """What a file says of the images of `data`; images that it does not name are left out.

    Raises:
        DataError: it cannot be read, is damaged, wants to run something, has an image twice, a
            class that `data` does not have, or was written for fewer classes.
    """
    content = _content(path)
    if content.startswith(_NUMPY):
        return _from_array(path, content, data)
    return _from_text(path, content, data)


def text_of_tags(classes: tuple[str, ...], sha256: str, lines: list[str]) -> str:
    """The text of a file."""
    return "".join(["\t".join([f"{_CLASSES} {classes[0]}", *classes[1:]]), "\n"]) + "".join(
        [f"# sha256: {sha256}\n", *lines]
    )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise DataError(
            f"{path}: cannot read the tags ({error.strerror}); give file:PATH of a tag file"
        ) from error
    if len(content) > _LARGEST:
        raise DataError(f"{path} is refused: it has more than {_LARGEST >> 20} MiB; {_REMEDY}")
    return content


def _from_text(path: Path, content: bytes, data: SegmentationData) -> Names:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is neither UTF-8 text nor a .npy file; {_REMEDY}") from error
    known, classes = frozenset(data.ids), frozenset(data.stored_classes)
    found: Names = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key, *names = line.split("\t")
        if key not in known:  # a head line, or an image of another subset
            if not found and key.startswith(_CLASSES):
                _check_classes(path, {key.removeprefix(_CLASSES).strip(), *names}, data)
            continue
        if key in found:
            raise DataError(f"{path}, line {number}: '{key}' was named before; remove one of them")
        for name in names:
            if name not in classes:
                raise DataError(
                    f"{path}, line {number}: '{name}' is no class of {data.name}."
                    f"{suggest(name, classes)}"
                )
        found[key] = frozenset(names)
    return found


def _check_classes(path: Path, classes: set[str], data: SegmentationData) -> None:
    for name in data.classes:
        if name not in classes:
            raise DataError(
                f"{path} was written for classes without '{name}', so it cannot say where that "
                "is; write the tags anew, with the same classes"
            )


def _from_array(path: Path, content: bytes, data: SegmentationData) -> Names:
    columns = [name for name in data.stored_classes if name != "background"]
    rows = _rows(path, content)
    found: Names = {}
    for key in data.ids:
        row = rows.get(key, rows.get(_number(key)))
        if row is not None:
            marks = _marks(path, key, row, len(columns))
            pairs = zip(columns, marks, strict=True)
            found[key] = frozenset(name for name, mark in pairs if mark)
    return found


def _rows(path: Path, content: bytes) -> dict[str | int, Array]:
    width = 2 if content[len(_NUMPY) : len(_NUMPY) + 1] == b"\1" else 4
    begin = len(_NUMPY) + 2 + width
    end = begin + int.from_bytes(content[begin - width : begin], "little")
    if not re.search(rb"'descr': *'\|O'", content[begin:end]):
        raise DataError(f"{path} holds no dict of images; {_REMEDY}")
    try:
        return read_dict(content[end:])
    except RefusedError as error:
        raise DataError(
            f"{path} is refused: it holds {error}, and tags need nothing but numbers; {_REMEDY}"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is no tag file ({error}); fetch it again") from error


def _number(key: str) -> int:
    """2007_000032 -> 2007000032; -1 for an id of another form."""
    return int(key.replace("_", "")) if re.fullmatch(r"[0-9]{4}_[0-9]{6}", key) else -1


def _marks(path: Path, key: str, row: Array, count: int) -> list[float]:
    try:
        marks = row.numbers()
    except ValueError as error:
        raise DataError(f"{path}: '{key}' has {error}; fetch it again") from error
    if len(marks) != count or any(mark not in (0, 1) for mark in marks):
        raise DataError(
            f"{path}: the row of '{key}' is not {count} times 0 or 1, one for each class but "
            f"background; take the file of this data set, or {_REMEDY}"
        )
    return marks
