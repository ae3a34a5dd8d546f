"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from semisup.errors import RunError

_FOLDER = 0x10
"""Attribute of a folder in a zip archive."""


def name_with_hash(path: Path) -> str:
    """The name of a file with the first 8 digits of its SHA-256."""
    with path.open("rb") as file:
        return f"{path.name} ({hashlib.file_digest(file, 'sha256').hexdigest()[:8]})"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader finds the old one or the whole new one, whatever happens.

    Written beside, flushed to the disk, renamed, and the folder flushed too.

    Raises:
        RunError: the disk is full or the folder cannot be written to; the old file is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
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
        raise _cannot_write(path, cause) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """For the length of a `with` block: an error of the system is one of writing `path`.

    Raises:
        RunError: as `write_atomically`.
    """
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    """`write_atomically` of UTF-8 text."""
    write_atomically(path, lambda file: file.write(text.encode()))


def exists(path: Path) -> bool:
    """As `Path.exists`, but False for a path that no system has or that one may not look at."""
    try:
        return path.exists()
    except OSError:  # a name of 300 letters, a folder of somebody else
        return False


def is_file(path: Path) -> bool:
    """As `Path.is_file`, but False for a path that no system has or that one may not look at."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_sums(path: Path) -> None:
    """Find the damage to what torch.save wrote that torch reads without a word.

    Raises:
        zipfile.BadZipFile: a checksum does not fit, or a record is not stored as torch does.
        pickle.UnpicklingError: a call in it would take any amount of memory.
    """
    _check_calls(path)
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        record = archive.testzip()
        entries = archive.infolist()
    if record is not None:
        raise zipfile.BadZipFile(f"checksum of {record} does not fit")
    for entry in entries:
        # Torch skips a record marked as a folder: its tensor is whatever the memory held.
        if entry.external_attr & _FOLDER or entry.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{entry.filename} is not stored as torch does")


def _check_calls(path: Path) -> None:
    """Torch's reader lets a file of a kilobyte call bytearray(10**12)."""
    if path.stat().st_size == 0:
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if content.find(b"bytearray\n") >= 0:  # nothing in it is packed
            raise pickle.UnpicklingError("calls bytearray")


def _cannot_write(path: Path, cause: OSError) -> RunError:
    return RunError(
        f"{path}: cannot be written ({cause.strerror or cause}). Free some space or choose "
        "another folder."
    )


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
