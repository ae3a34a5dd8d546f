"""How much memory a process has had at most."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path


def forget_peak() -> None:
    """Count from what is in use now, where the system can (Linux)."""
    with contextlib.suppress(AttributeError, OSError):  # what glibc keeps for the next tensor
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mebibytes() -> float:
    """The most memory that this process has had.

    `ru_maxrss` alone would not do on Linux: in a child it begins at the peak of its parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
        return int(fields["VmHWM"].split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
