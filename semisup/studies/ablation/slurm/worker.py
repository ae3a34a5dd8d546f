"""What a job of Slurm does: it runs one cell as `local` does, and asks for more time if need be.

The cell is claimed by the job that runs it. Before the time is over Slurm sends a signal: the run
saves a checkpoint and stops, and the job is put back into the queue, where the run goes on at that
step. The same happens where Slurm takes the node away for another job, or loses it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisup.errors import RunError
from semisup.studies.ablation.attempts import Attempt, add_attempt, failed, read_done
from semisup.studies.ablation.cells import Job
from semisup.studies.ablation.claims import STALE
from semisup.studies.ablation.local import LocalExecutor
from semisup.studies.ablation.plan import Plan, State

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

PATIENCE = STALE + 30.0
"""Seconds that a job waits for a cell that somebody else works on: a dead machine's claim ends."""


@dataclass(frozen=True)
class Worker:
    """One run of a study, to be called on a node.

    Attributes:
        plan: that it is of; it needs neither its jobs nor its cells.
        job: the run.
        first: the run that it starts from; None: none.
        command: what runs it, in front of its words.
        options: behind its words.
        threads: of it.
        retry: whether it is tried again where it has failed.
        minutes: that Slurm is asked for.
    """

    plan: Plan
    job: Job
    first: Job | None
    command: Sequence[str]
    options: Sequence[str]
    threads: int
    retry: bool
    minutes: int

    def __call__(self) -> None:
        """Run it.

        Raises:
            SystemExit: it has failed, was stopped, or goes on in a later job.
        """
        began = time.monotonic()
        plan = self._alone()
        if self.first is not None and plan.states[self.first.folder] != "done":
            raise SystemExit(f"{self.job.label}: its first stage is not finished")
        number = signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]
        warned = _Warned(signal.getsignal(number))
        signal.signal(number, warned)
        threads = str(self.threads)
        os.environ.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        before = _checkpoints(self.job.folder)
        executor = LocalExecutor(self.command, self.options, retry=self.retry)
        outcome = executor.run(plan, _Log())
        if outcome.signal is None:
            if outcome.failed:
                raise SystemExit(1)
            return
        if warned.received:
            late = time.monotonic() - began > 0.5 * 60 * self.minutes
            if late and _checkpoints(self.job.folder) == before:
                self._give_up()
            warned.put_back(number)
        raise SystemExit(128 + outcome.signal)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit puts back into the queue: the same, as all that changes is on the disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _alone(self) -> Plan:
        """A plan of this run alone, with what is known of it by now."""
        jobs = (self.job,) if self.first is None else (self.first, self.job)
        states = {job.folder: _state(job) for job in jobs}
        return dataclasses.replace(self.plan, jobs=jobs, states=states)

    def _give_up(self) -> None:
        """Refuse to be put back for ever.

        Raises:
            SystemExit: always.
        """
        line = f"saved no step in the {self.minutes} min of its Slurm job; raise --slurm time"
        with contextlib.suppress(RunError):
            add_attempt(self.job.folder, Attempt(time.time(), 0.0, 1, 0.0, self.threads, line))
        raise SystemExit(line)


def _state(job: Job) -> State:
    if read_done(job.folder, job.stage.digest) is not None:
        return "done"
    return "failed" if failed(job.folder) else "left"


def _checkpoints(folder: Path) -> set[str]:
    """Names of the checkpoints of a run, which tell their steps."""
    with contextlib.suppress(OSError):
        return {path.name for path in (folder / "checkpoints").iterdir()}
    return set()


class _Warned:
    """Handler of the signal before the end: stops the run first, and leaves the rest to submitit.

    Attributes:
        received: whether it came.
    """

    def __init__(self, handler: Any) -> None:
        self.received = False
        self._handler = handler

    def __call__(self, number: int, frame: object) -> None:
        self.received = True
        os.kill(os.getpid(), signal.SIGTERM)

    def put_back(self, number: int) -> None:
        """Put the job back into the queue, and end this process."""
        if callable(self._handler):
            self._handler(number, None)


class _Log:
    """A board for the log of the job."""

    def __init__(self) -> None:
        self._waits: float | None = None

    def started(self, job: Job, note: str = "") -> None:
        """See `Board`."""
        self._waits = None
        print(f"started {job.label} {note}".rstrip(), flush=True)

    def requeued(self, job: Job) -> None:
        """See `Board`."""

    def finished(self, job: Job, seconds: float) -> None:
        """See `Board`."""
        print(f"finished {job.label}", flush=True)

    def failed(self, job: Job, line: str) -> None:
        """See `Board`."""
        print(f"failed {job.label}: {line}", flush=True)

    def waiting(self, job: Job, owner: str) -> None:
        """See `Board`."""
        self._waits = time.monotonic()
        print(f"waiting for {owner}, which works on {job.label}", flush=True)

    def stopped(self, running: int) -> None:
        """See `Board`."""
        print("asked to stop", flush=True)

    def tick(self) -> None:
        """See `Board`; leaves a cell to its owner after a while.

        Raises:
            SystemExit: it does.
        """
        if self._waits is not None and time.monotonic() - self._waits > PATIENCE:
            raise SystemExit("left to who works on it")
