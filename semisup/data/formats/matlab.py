"""Numbers out of a MATLAB 5 file, as SBD's masks are.

scipy's reader takes the sizes in a file on trust: a damaged one can end the process. The format is
that of "MAT-File Format" (MathWorks), level 5: nested elements of a type, a length and data.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEADER = 128
_LARGEST = 1 << 28
"""Bytes that an element may have when it is unpacked."""

_MATRIX, _PACKED = 14, 15
_STRUCT = 2
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
"""Type of an element -> what its data are."""

_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
"""Class of a matrix -> what its values are."""

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
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER])
    if order is None or content[124:126] != struct.pack(f"{order}H", 0x0100):
        raise ValueError("not the format of MATLAB 5")
    for kind, data in _elements(content[_HEADER:], order):
        matrix = _matrix(_unpacked(data, order) if kind == _PACKED else (kind, data), order)
        if matrix.name == variable:
            return _numbers(_field(matrix, field, order), order)
    raise KeyError(variable)


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
    if matrix.kind != _STRUCT or math.prod(matrix.shape) != 1 or len(matrix.rest) < 2:
        raise KeyError(name)
    length = max(1, _integer(matrix.rest[0][1][:4], order))
    joined = matrix.rest[1][1]
    names = [joined[at : at + length].split(b"\0")[0] for at in range(0, len(joined), length)]
    fields = dict(zip(names, matrix.rest[2:], strict=False))
    return _matrix(fields[name.encode()], order)


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
