"""What became of a cell: finished, failed, or left; and what its attempts took.

`cell.json` in the folder of a run has a line of each attempt at it, `output.log` what it printed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.system.files import write_text

FILE, LOG = "cell.json", "output.log"


@dataclass(frozen=True)
class Attempt:
    """One process that worked on a cell.

    Attributes:
        began: in seconds since 1970.
        seconds: that it took.
        exit: its exit status; negative: the signal that ended it.
        peak_mib: the most memory that it had, in MiB.
        threads: that it was told to take.
        line: the last line of its error; empty: it finished, or was asked to stop.
        stopped: whether it was asked to stop.
    """

    began: float
    seconds: float
    exit: int
    peak_mib: float
    threads: int
    line: str = ""
    stopped: bool = False


def read_attempts(folder: Path) -> tuple[Attempt, ...]:
    """The attempts at a run, the oldest first.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple(_attempt(one) for one in content["attempts"])
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Delete it: the "
            "cell is run again, or found finished."
        ) from None


def _attempt(content: Any) -> Attempt:
    attempt = Attempt(**content)
    numbers = (attempt.began, attempt.seconds, attempt.exit, attempt.peak_mib)
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("a value is no number")
    if not isinstance(attempt.line, str):
        raise ValueError("'line' is no text")
    return attempt


def add_attempt(folder: Path, attempt: Attempt) -> None:
    """Write down another attempt.

    Raises:
        RunError: the file is damaged, or cannot be written.
    """
    attempts = [*read_attempts(folder), attempt]
    content = {"attempts": [asdict(one) for one in attempts]}
    write_text(folder / FILE, json.dumps(content, indent=1) + "\n")


def failed(folder: Path) -> Attempt | None:
    """The last attempt at a run that is not finished, where it failed; None where it did not."""
    attempts = read_attempts(folder)
    last = attempts[-1] if attempts else None
    return None if last is None or last.stopped or not last.line else last


@dataclass(frozen=True)
class Done:
    """What a finished run took.

    Attributes:
        seconds: of training and scoring.
        labelled: images whose mask it could read.
        tagged: further images whose tags it could read.
    """

    seconds: float
    labelled: int
    tagged: int = 0


def read_done(folder: Path, digest: str) -> Done | None:
    """A finished run; None where there is no result, a damaged one, or one of another recipe.

    Args:
        folder: of the run.
        digest: of its recipe.
    """
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if content["recipe_hash"] != digest:
            return None
        time = content["time"]
        seconds = float(time["train_seconds"]) + float(time["score_seconds"])
        split = content["split"]
        return Done(seconds, int(split["labelled"]), int(split.get("tagged") or 0))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # `semisup run` says what is wrong with it


_SIGNALS = {
    -9: "was killed (signal 9): the system may have run out of memory",
    -11: "crashed (signal 11)",
    -6: "aborted (signal 6)",
}


def last_line(log: Path, start: int, exit_code: int) -> str:
    """Why an attempt ended, in one line of what it printed.

    Args:
        log: of the run.
        start: where this attempt begins in it, in bytes.
        exit_code: of the process; negative: the signal that ended it.
    """
    if exit_code < 0:
        return _SIGNALS.get(exit_code, f"was ended by signal {-exit_code}")
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(start, size - (1 << 16)))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line.strip() for line in lines if line.strip()]
    ours = [line for line in told if line.startswith("semisup: ")]
    if exit_code == 0:
        return "ended without a result"
    found = (ours or told or [f"ended with status {exit_code}"])[-1]
    return found.removeprefix("semisup: ")[:500]
