"""Freed memory is kept on a machine with glibc, unless its settings say otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import sys

import torch

from semisup.system.device import settle_on

settle_on(torch.device("cpu"))
counts = []
for _ in range(20):
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    torch.empty(48 << 20, dtype=torch.uint8).fill_(1)
print(counts[-1] - counts[-3])
"""
"""Counts the pages that the system clears for two tensors of 48 MiB, late in a row of them."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize(
    ("chosen", "kept"),
    [({}, True), pytest.param({"MALLOC_ARENA_MAX": "4"}, False, marks=pytest.mark.slow)],
)
def test_freed_memory_is_kept_for_the_next_tensor(chosen: dict[str, str], kept: bool) -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        capture_output=True,
        text=True,
        check=True,
        env=plain | chosen,
        timeout=60,
    )
    assert (int(done.stdout) < 1000) is kept  # 24,576 pages of 4 KiB otherwise
