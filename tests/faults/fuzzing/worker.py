"""The process that tries inputs, and what it shares with the one that watches it."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.readers import READERS, Reader
from fuzzing.trial import Outcome, try_input

MEMORY = 2 << 30
"""Bytes by which no input may make the process grow, and all of them together."""

TURN = 0.5
"""Seconds that a reader has before the next one's turn."""

KEPT = 20
"""Failing inputs that are kept of one place in the code."""

COUNTS = ("tried", "read", "refused", "failed")
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
)
"""What no reader has a reason to do (names of Python's audit events)."""

_context = multiprocessing.get_context("fork")


@dataclass
class Board:
    """Numbers that both processes see; they outlive a worker that dies.

    Attributes:
        counts: `COUNTS` of every reader, one after another.
        batches: grammar inputs of every reader, in calls.
        seconds: that every reader has had.
        began: when the input in hand was begun (monotonic clock), 0 between two.
        reader: which reader has it.
    """

    counts: Any = field(default_factory=lambda: _context.RawArray("q", 4 * len(READERS)))
    batches: Any = field(default_factory=lambda: _context.RawArray("q", len(READERS)))
    seconds: Any = field(default_factory=lambda: _context.RawArray("d", len(READERS)))
    began: Any = field(default_factory=lambda: _context.RawValue("d", 0.0))
    reader: Any = field(default_factory=lambda: _context.RawValue("i", 0))

    def count(self, position: int, what: str) -> int:
        """One number of one reader."""
        return int(self.counts[4 * position + COUNTS.index(what)])

    def add(self, position: int, what: str) -> None:
        """Count one more."""
        self.counts[4 * position + COUNTS.index(what)] += 1


class Worker:
    """Lets readers read damaged inputs, each in its own scratch folder, until it is stopped.

    Args:
        board: where it counts.
        chosen: positions of the readers in `READERS`.
        start: seed of everything.
        scratch: folder to work in.
        failures: folder for the inputs that fail.
        grammars: whether hypothesis makes inputs too.
    """

    def __init__(
        self,
        board: Board,
        chosen: list[int],
        start: int,
        scratch: Path,
        failures: Path,
        *,
        grammars: bool = True,
    ) -> None:
        self._board, self._chosen, self._start = board, chosen, start
        self._scratch, self._failures, self._grammars = scratch, failures, grammars
        self._events: list[str] = []
        self._armed = False

    def process(self) -> Any:
        """A process, not yet started, that does the work."""
        return _context.Process(target=self._work, daemon=True)

    def _work(self) -> None:
        import torch

        torch.set_num_threads(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the watching process ends this one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        watch = os.getppid()
        sys.addaudithook(self._hear)
        for position in self._chosen:
            reader = READERS[position]
            folder = self._scratch / reader.name
            folder.mkdir(exist_ok=True)
            os.chdir(folder)
            reader.prepare(folder)
            for content in reader.seeds():  # what is imported late is imported now
                try_input(reader, content, folder)
        self._peak = _peak()
        while True:
            for position in self._chosen:
                if os.getppid() != watch:
                    os._exit(1)
                self._take_turn(position)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._armed and event in FORBIDDEN:
            self._events.append(event)

    def _take_turn(self, position: int) -> None:
        reader, began = READERS[position], time.monotonic()
        os.chdir(self._scratch / reader.name)
        while time.monotonic() < began + TURN:
            number = self._board.count(position, "tried")
            self.attempt(position, reader.make(Random(f"{self._start}/{reader.name}/{number}")))
        if self._grammars:
            self._take_examples(position)
        self._board.seconds[position] += time.monotonic() - began

    def _take_examples(self, position: int) -> None:
        """Inputs by the reader's grammar, if it has one."""
        from fuzzing.grammar import GRAMMARS, each_example

        name, batch = READERS[position].name, self._board.batches[position]
        if name in GRAMMARS:
            self._board.batches[position] += 1
            number = int.from_bytes(f"{self._start}/{name}/{batch}".encode(), "big")
            each_example(GRAMMARS[name], number, lambda content: self.attempt(position, content))

    def attempt(self, position: int, content: bytes) -> None:
        """Try one input and keep it if it fails."""
        reader, board = READERS[position], self._board
        board.add(position, "tried")
        board.reader.value, board.began.value = position, time.monotonic()
        _forget_peak()
        before = _peak()
        self._armed = True
        outcome = try_input(reader, content, self._scratch / reader.name)
        self._armed = False
        board.began.value = 0.0
        if self._events:
            outcome = Outcome("failed", f"did {', '.join(self._events)}", self._events[0])
            self._events.clear()
        grown, kept = _peak() - before, before - self._peak
        if grown > MEMORY or kept > MEMORY:
            text = f"took {grown / 2**30:.1f} GiB; inputs before it kept {kept / 2**30:.1f} GiB"
            keep(self._failures, reader, content, Outcome("failed", text, "memory"))
            board.add(position, "failed")
            os._exit(0)  # a new process has a new peak
        board.add(position, outcome.kind)
        if outcome.kind == "failed":
            keep(self._failures, reader, content, outcome)


def keep(folder: Path, reader: Reader, content: bytes, outcome: Outcome) -> None:
    """Keep a failing input, and beside it what happened."""
    folder.mkdir(parents=True, exist_ok=True)
    place = "".join(c if c.isalnum() else "-" for c in outcome.place)[:60]
    if len(list(folder.glob(f"{reader.name}-{place}-*.txt"))) >= KEPT:
        return
    digest = hashlib.sha256(content).hexdigest()[:10]
    path = folder / f"{reader.name}-{place}-{digest}.bin"
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(outcome.text + "\n", encoding="utf-8", errors="replace")


def _forget_peak() -> None:
    """Where the system can: let the peak of memory start from what is used now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """The most memory that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
