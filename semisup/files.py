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
    except (OSError, RuntimeError) as error:
        cause = _disk_error(error)
        if cause is None:
            raise
        raise RunError(
            f"{path}: cannot be written ({cause.strerror or cause}). Free some space or choose "
            "another --out."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` of UTF-8 text."""
    write_atomically(path, lambda file: file.write(text.encode()))


def _disk_error(error: BaseException | None) -> OSError | None:
    """The disk's own error: torch.save covers it with a RuntimeError about its archive."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
