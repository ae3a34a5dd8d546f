"""The memory of this process: what glibc keeps of it, and the most that it has had."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next tensor; without glibc nothing changes.

    By default it hands every block above 32 MiB back to the system at once, and so the maps of
    every step are filled anew, 4 KiB at a time, with zeros that nothing reads. Settings of the
    environment come first.
    """
    if not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        with contextlib.suppress(AttributeError, OSError):
            libc = ctypes.CDLL("libc.so.6")
            for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
                libc.mallopt(parameter, 1 << 30)


def forget_peak() -> None:
    """Let `peak_mebibytes` count from what is in use now, where the system can (Linux).

    What glibc keeps of freed memory goes back first.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mebibytes() -> float:
    """The most memory that this process has had.

    Linux states it in /proc. `ru_maxrss` would be wrong in a child: there it begins at the peak of
    the process that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
        return int(fields["VmHWM"].split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def mebibytes_of(usage: resource.struct_rusage) -> float:
    """The most memory that a process has had which has ended."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
