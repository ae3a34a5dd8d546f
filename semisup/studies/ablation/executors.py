"""Who runs the jobs of a plan: an executor; this one prints them for any other scheduler."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from semisup.studies.ablation.cells import Job
from semisup.studies.ablation.plan import Plan


class Board(Protocol):
    """Where a person watches."""

    def started(self, job: Job, note: str = "") -> None:
        """A run has started; `note` says what is special about it."""

    def requeued(self, job: Job) -> None:
        """A run that had started waits again, and will go on where it was."""

    def finished(self, job: Job, seconds: float) -> None:
        """A run is finished; 0 seconds: somebody else did it."""

    def failed(self, job: Job, line: str) -> None:
        """A run has failed, or cannot start, for the reason in `line`."""

    def waiting(self, job: Job, owner: str) -> None:
        """A run is left to somebody else who works on it."""

    def stopped(self, running: int) -> None:
        """A signal has come; `running` runs are asked to save and stop."""

    def tick(self) -> None:
        """Time has passed."""


@dataclass(frozen=True)
class Lines:
    """A board that tells of each event in a line.

    Attributes:
        say: what takes a line.
    """

    say: Callable[[str], None]

    def started(self, job: Job, note: str = "") -> None:
        """See `Board`."""
        self.say(f"started   {job.label}{f' ({note})' if note else ''}")

    def finished(self, job: Job, seconds: float) -> None:
        """See `Board`."""
        self.say(f"finished  {job.label}" + (f" in {seconds:.0f} s" if seconds else ""))

    def failed(self, job: Job, line: str) -> None:
        """See `Board`."""
        self.say(f"failed    {job.label}: {line}")

    def requeued(self, job: Job) -> None:
        """See `Board`."""
        self.say(f"requeued  {job.label}, which will go on where it was")

    def waiting(self, job: Job, owner: str) -> None:
        """See `Board`."""
        self.say(f"left      {job.label} to {owner}, which works on it")

    def stopped(self, running: int) -> None:
        """See `Board`."""
        self.say(f"stopping: {running} running to save a checkpoint")

    def tick(self) -> None:
        """See `Board`."""


@dataclass
class Outcome:
    """What an executor has come to.

    Attributes:
        failed: label of a run -> why.
        signal: that it was stopped by; None: it came to its end.
        note: what goes on without this process, in a line; empty: nothing does.
    """

    failed: dict[str, str] = field(default_factory=dict)
    signal: int | None = None
    note: str = ""


class Executor(Protocol):
    """Brings the jobs of a plan to their end, each after the one it needs.

    One for a cluster hands them to its scheduler here; all it needs is in the plan: `Job.words` is
    the command line, `Job.needs` the run that goes before, and `Job.folder` has a result at the
    end.
    """

    def run(self, plan: Plan, board: Board) -> Outcome:
        """Run what is left."""


@dataclass(frozen=True)
class PrintExecutor:
    """Prints a shell line for each job that is left, in an order in which each can start.

    Attributes:
        options: of every line, such as where data and runs lie.
        echo: what prints a line.
    """

    options: Sequence[str]
    echo: Callable[[str], None]

    def run(self, plan: Plan, board: Board | None = None) -> Outcome:
        """Print the lines; nothing is watched."""
        for line in lines_of(plan, self.options):
            self.echo(line)
        return Outcome()


def lines_of(plan: Plan, options: Sequence[str]) -> Iterator[str]:
    """A shell line for each job that is not finished."""
    for job in plan.jobs:
        if plan.states[job.folder] != "done":
            yield shlex.join(["semisup", *job.words(), *options])
