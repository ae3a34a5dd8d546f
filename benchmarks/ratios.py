"""Compare ways of doing one thing: interleaved runs, medians, a table of ratios.

Every script in this folder measures a claim of speed as a ratio between two ways of doing the same
work in one process, so that the machine and its mood cancel out. None of them is a test.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from semisup.system import memory

Contestant = Callable[[], object]
"""Does the whole work once; whatever it prepares beforehand is not timed."""

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""Name -> seconds now. Those of the processor, of all threads, do not grow with what else runs."""


@dataclass(frozen=True)
class Timing:
    """Seconds that one contestant took in each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleave(
    contestants: Mapping[str, Contestant],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    *,
    warm: bool = False,
) -> dict[str, Timing]:
    """Time each contestant once a round, in turn, after one round that does not count.

    The order is turned by one place from round to round, so that none always runs after the same.
    `clock` is one of `CLOCKS`; the first round is left out where all are `warm`.
    """
    names = list(contestants)
    for name in names if not warm else []:
        contestants[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            gc.collect()
            _wait_for_device()
            begin = clock()
            contestants[name]()
            _wait_for_device()
            seconds[name].append(clock() - begin)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def show(
    title: str,
    timings: Mapping[str, Timing],
    *,
    base: str,
    work: float = 1.0,
    unit: str = "runs",
) -> None:
    """Print medians, spread, rate and the ratio of each to `base`.

    Args:
        title: what was measured.
        timings: from `interleave`.
        base: the contestant that the others are measured against.
        work: units of work in one run of a contestant.
        unit: what a unit of work is, such as "images".
    """
    table = Table(title=title, title_justify="left")
    table.add_column("way")
    for column in ("median", "fastest", "slowest", f"{unit} a second", f"speed, {base} = 1"):
        table.add_column(column, justify="right")
    for name, timing in timings.items():
        table.add_row(
            name,
            *(
                f"{1000 * value:.2f} ms"
                for value in (timing.median, min(timing.seconds), max(timing.seconds))
            ),
            f"{work / timing.median:,.1f}",
            f"{speed_up(timings, name, base):.3f}",
        )
    Console(width=110).print(table)


def speed_up(timings: Mapping[str, Timing], name: str, base: str) -> float:
    """How many times faster than `base`: the median of the ratios within each round."""
    pairs = zip(timings[base].seconds, timings[name].seconds, strict=True)
    return statistics.median(slow / fast for slow, fast in pairs)


def markdown_row(cells: Sequence[object]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def markdown_head(columns: Sequence[str], texts: int) -> str:
    """Head of a Markdown table whose first `texts` columns are words and the others numbers."""
    rules = ["---" if place < texts else "--:" for place in range(len(columns))]
    return "\n".join([markdown_row(columns), "|" + "|".join(rules) + "|"])


def height_and_width(text: str) -> tuple[int, int]:
    """The two sides of a size such as 360x480."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it as 360x480")
    return int(height), int(width)


def peak_memory() -> float:
    """Most memory that this process was given so far, in MiB; on a GPU what torch allocated."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return memory.peak_mebibytes()


def forget_peak() -> None:
    """`peak_memory` counts from now on, where the system can do that (Linux and CUDA can)."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    memory.forget_peak()


def arguments(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (%(default)s)")
    return parser


def machine() -> str:
    """What the numbers were measured on, in one line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads, "
        f"{device}, Python {platform.python_version()}, torch {torch.__version__}"
    )


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
