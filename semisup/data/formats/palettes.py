"""The palette of a PNG and its stored indices, beside what a data set reads of them."""

from __future__ import annotations

import functools
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from semisup.data.base import Colour

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 64
"""Looked at before the pixels begin: a palette stands near the head of the file."""


def read_palette(path: Path) -> tuple[Colour, ...] | None:
    """The colours of a palette PNG, read from its head alone; None for any other file."""
    try:
        with path.open("rb") as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                return None
            for _ in range(_MOST_CHUNKS):
                length, kind = struct.unpack(">I4s", file.read(8))
                if kind == b"PLTE":
                    return _colours(file.read(min(length, 768)))
                if kind == b"IDAT":
                    return None
                file.seek(length + 4, 1)  # the content and its checksum
    except (OSError, struct.error):
        pass
    return None


def read_indices(path: Path) -> np.ndarray | None:
    """The stored indices (uint8 HW) of a palette PNG; None for any other file, or a damaged one."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return np.array(picture) if picture.mode == "P" else None
    except Exception:  # damage makes Pillow fail in nearly every way there is
        return None


@functools.lru_cache(maxsize=64)
def _colours(content: bytes) -> tuple[Colour, ...]:
    # The masks of a set share a palette as a rule: kept once, not once for each of them.
    return tuple(zip(content[::3], content[1::3], content[2::3], strict=False))
