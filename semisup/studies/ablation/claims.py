"""Claims: who works on which cell, so that no two do.

A claim is a file that its owner holds locked (flock) as long as it lives; the system frees it when
the last process that holds it is gone, however it ended. The run that it is for inherits the lock,
so that a cell whose scheduler was killed stays claimed until its run has ended too. Machines whose
locks do not reach one another (some network disks) tell by the age of the file, which its owner
touches every few seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.system.files import writing

BEAT = 10.0
"""Seconds between two touches of a claim."""

STALE = 12 * BEAT
"""Seconds without a touch after which the claim of another machine counts as given up."""


@dataclass
class Claim:
    """A cell that this process works on.

    Attributes:
        path: of the file.
        descriptor: of the locked file, for the process that does the work.
        taken_from: who held it before and is gone; empty: nobody.
    """

    path: Path
    descriptor: int
    taken_from: str = ""
    _touched: float = 0.0

    def beat(self) -> None:
        """Touch the file, where that is due."""
        now = time.monotonic()
        if now - self._touched > BEAT:
            self._touched = now
            with contextlib.suppress(OSError):
                os.utime(self.descriptor)

    def release(self) -> None:
        """Give the cell back: the file goes while it is still locked."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def take(folder: Path, key: str) -> Claim | str:
    """Claim a cell.

    Args:
        folder: of the claims.
        key: of the cell, a name of a file.

    Returns:
        The claim; or who holds it, such as "process 17 of host".

    Raises:
        RunError: the folder cannot be written to.
    """
    path = folder / f"{key}.claim"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            kept = False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_still_there(path, descriptor):
                    continue  # its owner has given it back just now
                before = _read(descriptor)
                if _is_alive_elsewhere(before, descriptor):
                    return _owner(before)
                _write(descriptor)
                kept = True
                return Claim(path, descriptor, _owner(before) if before else "")
            except BlockingIOError:
                return _owner(_read(descriptor))
            finally:
                if not kept:
                    os.close(descriptor)


def _is_still_there(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one that others would open."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)


def _is_alive_elsewhere(content: dict[str, Any], descriptor: int) -> bool:
    """Whether another machine works on it, whose lock is not seen here."""
    if content.get("host", socket.gethostname()) == socket.gethostname():
        return False
    return time.time() - os.fstat(descriptor).st_mtime < STALE


def _read(descriptor: int) -> dict[str, Any]:
    """Who wrote it; empty where that is not known yet, or any more."""
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(descriptor: int) -> None:
    content = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content).encode(), 0)


def _owner(content: dict[str, Any]) -> str:
    return f"process {content.get('pid', '?')} of {content.get('host', 'another process')}"


def check_folder(folder: Path) -> None:
    """Refuse a folder in which nothing can be claimed.

    Raises:
        RunError: as `take`.
    """
    claim = take(folder, f"check-{os.getpid()}")
    if isinstance(claim, str):
        raise RunError(f"{folder}: {claim} holds a file of this process's name; delete it.")
    claim.release()
