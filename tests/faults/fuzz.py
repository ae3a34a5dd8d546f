"""Feed damaged input to everything that reads a file, for as long as you like.

    python tests/faults/fuzz.py --minutes 60
    python tests/faults/fuzz.py --minutes 5 --only recipe,checkpoint --seed 3
    python tests/faults/fuzz.py --replay fuzz-failures/png-....bin

Whatever bytes a reader gets, it must give a sound value or raise a `SemisupError` of one line that
names the file: no other exception, no warning, nothing executed, 10 seconds and 2 GiB at most.

Most inputs are damage to valid files (bits, blocks, header fields, records with their checksums
right again), made by Python's own `random`: that is quick, takes any format, and the tests of the
suite (test_fuzz.py) repeat some of it without further packages. Text formats and pickles also get
inputs by a grammar, made by hypothesis.

The readers run in a process of their own, so that a crash or an endless loop is a failure like any
other. Every failing input is kept with its traceback in fuzz-failures/ (up to 20 of one place in
the code); the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT)]

from fuzzing.readers import FAMILIES, READERS, reader_called  # noqa: E402
from fuzzing.trial import SECONDS, Outcome, try_input  # noqa: E402
from fuzzing.worker import COUNTS, Board, Worker, keep  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: E402
from rich.table import Table  # noqa: E402

FAILURES = ROOT / "fuzz-failures"
MEMORY = Path("/dev/shm")
"""Where there is one, inputs are written there: a disk is slow, and may stall for minutes."""

GRACE = 110.0
"""Seconds beyond the limit after which a process that does not come back is ended. The limit is of
processor time and kept by the process itself; on a busy machine 20 seconds were not enough.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="other inputs (default: 0)")
    parser.add_argument("--only", default="", help=f"some of {','.join(FAMILIES)}")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one kept input again")
    options = parser.parse_args(arguments)
    if options.replay:
        return replay(options.replay)
    if importlib.util.find_spec("hypothesis") is None:
        parser.error("needs hypothesis; install it with: python -m pip install hypothesis")
    names = {name for name in options.only.split(",") if name}
    known = {*FAMILIES, *(reader.name for reader in READERS)}
    if names - known:
        parser.error(f"--only {','.join(sorted(names - known))}: known are {', '.join(FAMILIES)}")
    chosen = [
        position
        for position, reader in enumerate(READERS)
        if not names or {reader.name, reader.family} & names
    ]
    return fuzz(chosen, options.minutes * 60, options.seed)


def replay(path: Path) -> int:
    """Run one kept input again in this process."""
    reader = reader_called(path.name.split("-")[0])
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.chdir(folder)
        reader.prepare(Path(folder))
        outcome = try_input(reader, path.resolve().read_bytes(), Path(folder))
    print(f"{reader.name}: {outcome.kind}\n{outcome.text}")
    return 1 if outcome.kind == "failed" else 0


def fuzz(chosen: list[int], seconds: float, start: int, failures: Path = FAILURES) -> int:
    """Try inputs for some time, and print what became of them."""
    board = Board()
    console = Console(stderr=True)
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=place) as scratch:
        worker = Worker(board, chosen, start, Path(scratch), failures)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):  # what was found until then is told
            watch(worker, board, Path(scratch), failures, seconds, console)
    print_table(board, chosen)
    failed = sum(board.count(position, "failed") for position in chosen)
    if failed:
        print(f"{failed} inputs failed; see {failures}")
    return 1 if failed else 0


def watch(
    worker: Worker, board: Board, scratch: Path, failures: Path, seconds: float, console: Console
) -> None:
    """Keep a worker at work, take over its last input where it dies, and show how far it is."""
    began = told = time.monotonic()
    process = worker.process()
    process.start()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    try:
        # No thread of rich's own: the worker is a fork of this process.
        with Progress(*columns, console=console, auto_refresh=False) as bar:
            task = bar.add_task("starting", total=seconds)
            while (passed := time.monotonic() - began) < seconds:
                process.join(0.25)
                reading = board.began.value  # once: the worker sets it to 0 between two inputs
                stuck = reading and time.monotonic() - reading > SECONDS + GRACE
                if stuck or not process.is_alive():
                    take_over(process, board, scratch, failures)
                    process = worker.process()
                    process.start()
                line = f"{_total(board, 'tried'):,} inputs, {_total(board, 'failed')} failed"
                bar.update(task, completed=passed, description=line)
                if console.is_terminal:
                    bar.refresh()
                elif time.monotonic() - told > 30:
                    told = time.monotonic()
                    left = (seconds - passed) / 60
                    print(
                        f"{passed / 60:.1f} min, {left:.1f} left: {line}",
                        file=sys.stderr,
                        flush=True,
                    )
    finally:
        process.kill()
        process.join()


def take_over(process: BaseProcess, board: Board, scratch: Path, failures: Path) -> None:
    """A worker that died, or does not come back, leaves the input that did it."""
    ended = process.exitcode
    process.kill()
    process.join()
    if not board.began.value:
        if ended:
            raise RuntimeError("the worker has a mistake of its own; see above")
        return  # it ended itself, after it had kept the input
    reader = READERS[board.reader.value]
    waited = time.monotonic() - board.began.value
    stuck = ended is None
    what = f"did not come back in {waited:.0f} s" if stuck else f"the process ended with {ended}"
    board.began.value = 0.0
    board.add(board.reader.value, "failed")
    content = (scratch / reader.name / reader.file).read_bytes()
    keep(failures, reader, content, Outcome("failed", what, "crash"))


def print_table(board: Board, chosen: list[int]) -> None:
    """Counts of every reader."""
    table = Table("reader", *COUNTS, "a second")
    for column in table.columns[1:]:
        column.justify = "right"
    for position in chosen:
        counts = [board.count(position, what) for what in COUNTS]
        rate = counts[0] / (board.seconds[position] or 1)
        table.add_row(READERS[position].name, *map(str, counts), f"{rate:.0f}")
    Console().print(table)


def _total(board: Board, what: str) -> int:
    return sum(board.count(position, what) for position in range(len(READERS)))


if __name__ == "__main__":
    sys.exit(main())
