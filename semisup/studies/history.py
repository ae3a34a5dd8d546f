"""What a run logged along the way, as arrays."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from semisup.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Curve(NamedTuple):
    """A scalar along a run.

    Attributes:
        steps: N int64, ascending.
        values: N float64; NaN where the value was not finite.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def read_history(folder: Path) -> dict[str, Curve]:
    """Scalar -> its curve, of the run in a folder, finished or not; empty before the first point.

    Names are those of scalars.jsonl and TensorBoard. A score that was recorded again at the same
    step, as the last one is, counts once.

    Raises:
        RunError: scalars.jsonl is damaged.
    """
    path = folder / "scalars.jsonl"
    if not path.is_file():
        return {}
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for number, line in enumerate(_lines(path), 1):
        record = _record(line, f"{path}, line {number}")
        for name, value in record.items():
            if name == "step" or isinstance(value, bool):
                continue
            found[name][record["step"]] = np.nan if value is None else float(value)
    return {name: _curve(points) for name, points in sorted(found.items())}


def _curve(points: dict[int, float]) -> Curve:
    steps = sorted(points)
    values = [points[step] for step in steps]
    return Curve(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Delete it and run again.") from None
    return lines if not lines or lines[-1].endswith("\n") else lines[:-1]  # is being written


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        raise RunError(f"{where}: is no record of a step. Delete the line.")
    if any(not isinstance(value, int | float | None) for value in record.values()):
        raise RunError(f"{where}: has a value that is no number. Delete the line.")
    return record
