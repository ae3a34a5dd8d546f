"""Numbers and texts out of a MATLAB 5 file, as SBD's masks and the lists of NYU and SUN are.

scipy's reader takes the sizes in a file on trust: a damaged one can end the process. The format is
that of "MAT-File Format" (MathWorks), level 5: nested elements of a type, a length and data.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from semisup.data.formats.matlab.files import reading

T = TypeVar("T")

_HEADER = 128
_LARGEST = 1 << 28
"""Bytes that an element may have when it is unpacked."""

_MATRIX, _PACKED = 14, 15
_CELL, _STRUCT, _TEXT = 1, 2, 4
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
"""Type of an element -> what its data are."""

_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
"""Class of a matrix -> what its values are."""

_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
"""Type of an element -> how the letters of a text are stored in it."""

Element = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Class, sizes, name, and the elements behind them."""

    kind: int
    shape: tuple[int, ...]
    name: str
    rest: list[Element]


def read_field(content: bytes, variable: str, field: str) -> NDArray[np.generic]:
    """The field of a 1x1 struct of plain numbers, in MATLAB's shape.

    Raises:
        ValueError: this is no MATLAB 5 file, or it is damaged; zlib.error does so too.
        KeyError: it has no such struct, or the struct has no such field.
    """
    matrix, order = _variable(content, variable)
    return _numbers(_field(matrix, field, order), order)


def read_numbers(content: bytes, variable: str) -> NDArray[np.generic]:
    """A variable of plain numbers, in MATLAB's shape; errors as in `read_field`."""
    return _numbers(*_variable(content, variable))


def read_texts(content: bytes, variable: str) -> list[str]:
    """The texts of a cell, in MATLAB's order; errors as in `read_field`."""
    matrix, order = _variable(content, variable)
    if matrix.kind != _CELL:
        raise ValueError(f"'{variable}' is no cell")
    _check_count(matrix, len(matrix.rest))
    return [_text(_matrix(element, order), order) for element in matrix.rest]


def read_field_texts(content: bytes, variable: str, field: str) -> list[str]:
    """The text in a field of each struct of an array, in MATLAB's order; errors as `read_field`."""
    matrix, order = _variable(content, variable)
    names, values = _fields(matrix, order)
    if field.encode() not in names:
        raise KeyError(field)
    _check_count(matrix, len(values) / len(names))
    column = values[names.index(field.encode()) :: len(names)]
    return [_text(_matrix(element, order), order) for element in column]


def read_file(path: Path, read: Callable[[bytes], T], remedy: str) -> T:
    """What `read`, such as one of the above, finds in the content of a file.

    Args:
        path: of the file.
        read: content -> what is wanted.
        remedy: the end of an error, such as "take it from the toolbox".

    Raises:
        DataError: the file is missing, no MATLAB 5 file, damaged, or lacks what is wanted.
    """
    with reading(path, "MATLAB 5", remedy):
        return read(path.read_bytes())


def _variable(content: bytes, name: str) -> tuple[_Matrix, str]:
    """A variable and the byte order."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER])
    if order is None or content[124:126] != struct.pack(f"{order}H", 0x0100):
        raise ValueError("not the format of MATLAB 5")
    for kind, data in _elements(content[_HEADER:], order):
        matrix = _matrix(_unpacked(data, order) if kind == _PACKED else (kind, data), order)
        if matrix.name == name:
            return matrix, order
    raise KeyError(name)


def _check_count(matrix: _Matrix, count: float) -> None:
    if min(matrix.shape, default=0) < 0 or count != math.prod(matrix.shape):
        raise ValueError("the sizes do not fit the data")


def _elements(data: bytes, order: str) -> Iterator[Element]:
    """The elements that lie in `data` one after another."""
    at = 0
    while at < len(data):
        first = _integer(data[at : at + 4], order)
        if first >> 16:  # a short one: type and length in four bytes, the data in the next four
            kind, length, begin, step = first & 0xFFFF, first >> 16, at + 4, 8
        else:
            kind, length, begin = first, _integer(data[at + 4 : at + 8], order), at + 8
            step = 8 + (length if kind == _PACKED else -(-length // 8) * 8)
        if begin + length > len(data) or (first >> 16 and length > 4):
            raise ValueError("cut short")
        yield kind, data[begin : begin + length]
        at += step


def _integer(data: bytes, order: str) -> int:
    if len(data) != 4:
        raise ValueError("cut short")
    return int.from_bytes(data, "little" if order == "<" else "big")


def _unpacked(data: bytes, order: str) -> Element:
    unpack = zlib.decompressobj()
    content = unpack.decompress(data, _LARGEST)
    if not unpack.eof:
        raise ValueError("cut short, or too large")
    return next(_elements(content, order), (0, b""))


def _matrix(element: Element, order: str) -> _Matrix:
    kind, data = element
    parts = list(_elements(data, order)) if kind == _MATRIX else []
    if len(parts) < 3 or len(parts[0][1]) < 4:
        raise ValueError("no matrix where there should be one")
    shape = tuple(np.frombuffer(_whole(parts[1][1], 4), f"{order}i4").tolist())
    flags = _integer(parts[0][1][:4], order)
    return _Matrix(flags & 0xFF, shape, parts[2][1].decode("latin-1"), parts[3:])


def _field(matrix: _Matrix, name: str, order: str) -> _Matrix:
    if math.prod(matrix.shape) != 1:
        raise KeyError(name)
    names, values = _fields(matrix, order)
    fields = dict(zip(names, values, strict=False))
    return _matrix(fields[name.encode()], order)


def _fields(matrix: _Matrix, order: str) -> tuple[list[bytes], list[Element]]:
    """The names of the fields of structs, and their values, struct by struct."""
    if matrix.kind != _STRUCT or len(matrix.rest) < 2:
        raise KeyError(matrix.name)
    length = max(1, _integer(matrix.rest[0][1][:4], order))
    joined = matrix.rest[1][1]
    names = [joined[at : at + length].split(b"\0")[0] for at in range(0, len(joined), length)]
    return names, matrix.rest[2:]


def _text(matrix: _Matrix, order: str) -> str:
    """The letters of a text of one line."""
    if matrix.kind != _TEXT or not matrix.rest or matrix.rest[0][0] not in _ENCODINGS:
        raise ValueError("no text where there should be one")
    kind, data = matrix.rest[0]
    encoding = _ENCODINGS[kind]
    if encoding == "utf-16":
        encoding += "-le" if order == "<" else "-be"
    return data.decode(encoding)


def _numbers(matrix: _Matrix, order: str) -> NDArray[np.generic]:
    if matrix.kind not in _CLASSES or not matrix.rest or matrix.rest[0][0] not in _NUMBERS:
        raise ValueError("the field holds no plain numbers")
    kind, data = matrix.rest[0]
    values = np.frombuffer(_whole(data, int(_NUMBERS[kind][1])), f"{order}{_NUMBERS[kind]}")
    if min(matrix.shape, default=0) < 0 or values.size != math.prod(matrix.shape):
        raise ValueError("the sizes do not fit the data")
    return values.astype(_CLASSES[matrix.kind]).reshape(matrix.shape, order="F")


def _whole(data: bytes, size: int) -> bytes:
    """`data`, if it holds whole numbers of `size` bytes."""
    if len(data) % size:
        raise ValueError("cut short")
    return data
