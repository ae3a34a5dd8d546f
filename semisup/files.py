"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from semisup.errors import RunError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader finds the old one or the whole new one, whatever happens.

    Written beside, flushed to the disk, renamed, and the folder flushed too.

    Raises:
        RunError: the disk is full or the folder cannot be written to; the old file is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise RunError(
            f"{path}: cannot be written ({reason}). Free some space or choose another --out."
        ) from error


def write_text(path: Path, text: str) -> None:
    """`write_atomically` of UTF-8 text."""
    write_atomically(path, lambda file: file.write(text.encode()))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
