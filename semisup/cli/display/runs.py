"""How a listing of runs is printed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semisup.studies.listing import Listed

_GAP = "  "

_COLUMNS = (
    "mIoU",
    "run",
    "split",
    "masks",
    "seed",
    "state",
    "interval",
    "step",
    "time",
    "warnings",
)
_NUMBERS = {"mIoU", "masks", "seed", "step", "time", "warnings"}
_DROPPED = ("warnings", "time", "masks", "interval", "step", "split", "seed", "state")
"""The first to go where the table is wider than the terminal; a column that says nothing goes
before all of them."""


def lines_of(runs: Sequence[Listed], width: int | None) -> list[str]:
    """A table of runs.

    Args:
        runs: in the order of the rows.
        width: of the terminal: columns are left out until the table fits, and what differs stands
            on a line of its own; None: every column, and one line for each run.
    """
    rows = [_row(run) for run in runs]
    columns = list(_COLUMNS) if width is None else _fitting(rows, width)
    sizes = {name: _size(rows, name) for name in columns}
    lines = [_line({name: name for name in columns}, sizes)]
    for run, row in zip(runs, rows, strict=True):
        line = _line(row, sizes)
        differs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in run.differs.items())
        if width is None:
            lines.append(f"{line}{_GAP}{differs}" if differs else line)
        else:
            lines += [line.rstrip(), *(_wrapped(differs, width) if differs else [])]
    return [line.rstrip() for line in lines]


def _row(run: Listed) -> dict[str, str]:
    low, high = run.interval or (None, None)
    return {
        "mIoU": "-" if run.miou is None else f"{run.miou:.3f}",
        "run": run.name,
        "split": run.split,
        "masks": "-" if run.masks is None else f"{run.masks:,}",
        "seed": str(run.seed),
        "state": run.where,
        "interval": "-" if low is None else f"{low:.3f} to {high:.3f}",
        "step": f"{run.step}/{run.steps}",
        "time": "-" if run.seconds is None else _time(run.seconds),
        "warnings": str(run.warnings) if run.warnings else "-",
    }


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _fitting(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """Columns that fit side by side; mIoU and name always stay."""
    same = "warnings", "interval"
    columns = [c for c in _COLUMNS if c not in same or any(row[c] != "-" for row in rows)]
    for name in _DROPPED:
        total = sum(_size(rows, column) for column in columns) + len(_GAP) * (len(columns) - 1)
        if total <= width:
            break
        if name in columns:
            columns.remove(name)
    return columns


def _size(rows: Sequence[dict[str, str]], name: str) -> int:
    return max(len(name), *(len(row[name]) for row in rows))


def _line(row: dict[str, str], sizes: dict[str, int]) -> str:
    cells = [
        row[name].rjust(size) if name in _NUMBERS else row[name].ljust(size)
        for name, size in sizes.items()
    ]
    return _GAP.join(cells)


def _wrapped(text: str, width: int) -> list[str]:
    indent = " " * 7
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )
