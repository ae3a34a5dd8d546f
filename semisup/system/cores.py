"""Cores of the machine that this process may use; told without torch."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def usable_cores() -> int:
    """Cores that this process may use: its affinity and its container's quota, shared by ranks."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
