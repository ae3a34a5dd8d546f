"""Runs the cells of a study on this machine, each in a process of its own.

A cell that fails, runs out of memory or is killed ends alone. A run notices that its scheduler is
gone, however that ended: its standard input is a pipe that only the scheduler holds open. It then
saves a checkpoint and stops, and its cell stays claimed until it has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from semisup.errors import RunError
from semisup.studies.ablation.attempts import (
    LOG,
    Attempt,
    add_attempt,
    failed,
    last_line,
    read_done,
)
from semisup.studies.ablation.cells import Job
from semisup.studies.ablation.claims import Claim, check_folder, take
from semisup.studies.ablation.executors import Board, Outcome
from semisup.studies.ablation.plan import Plan
from semisup.system.cores import usable_cores
from semisup.system.files import writing
from semisup.system.memory import mebibytes_of
from semisup.system.signals import StopSignal

CLAIMS = "claims"
"""Folder of the claims, among the runs."""

POLL = 0.05
"""Seconds between two looks at the running processes."""

PAUSE = 1.0
"""Seconds until a cell that somebody else works on is looked at again."""


HEARD = 1.0
"""Seconds until this process hears what a run was told that is asked to stop at the same time."""


@dataclass
class _Child:
    """A run that goes on."""

    job: Job
    claim: Claim
    process: subprocess.Popen[bytes]
    log: Path
    start: int
    began: float


class LocalExecutor:
    """Runs jobs side by side, and leaves those alone that another process works on.

    Args:
        command: what runs one, in front of `Job.words`; ends when its standard input does.
        options: of every run, behind its words.
        jobs: how many at a time.
        retry: whether jobs that have failed before are tried again.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: Sequence[str] = (),
        *,
        jobs: int = 1,
        retry: bool = False,
    ) -> None:
        self._command, self._options = list(command), list(options)
        self._jobs, self._retry = jobs, retry
        self.threads = threads_of(jobs)

    def run(self, plan: Plan, board: Board) -> Outcome:
        """Run what is left, until all is finished or has failed, or a signal comes.

        Raises:
            RunError: the folder of the runs cannot be written to.
        """
        work = _Work(plan, board, self._retry)
        check_folder(plan.out / CLAIMS)
        with StopSignal() as stop:
            work.stop = stop
            try:
                while work.goes_on():
                    if stop.received is not None and work.outcome.signal is None:
                        work.outcome.signal = stop.received
                        board.stopped(len(work.running))
                        for child in work.running:
                            # Not `terminate`, which would take its status away from `collect`.
                            os.kill(child.process.pid, signal.SIGTERM)
                    work.collect(self.threads)
                    if work.outcome.signal is None:
                        while len(work.running) < self._jobs and self._start_next(work):
                            pass
                    board.tick()
                    time.sleep(POLL)
            finally:
                work.kill()
        work.sweep()
        return work.outcome

    def _start_next(self, work: _Work) -> bool:
        """Start a run, if there is one that can."""
        claimed = work.claim_next()
        if claimed is None:
            return False
        job, claim = claimed
        try:
            child = self._start(job, claim)
        except BaseException as error:
            claim.release()
            if isinstance(error, RunError):  # the disk is full, or the folder is not ours
                work.give_up(job, str(error))
                return True
            raise
        work.running.append(child)
        work.board.started(job, f"taken over from {claim.taken_from}" if claim.taken_from else "")
        return True

    def _start(self, job: Job, claim: Claim) -> _Child:
        log = job.folder / LOG
        # A recipe that was changed meanwhile would train something else, and in another folder.
        words = [*self._command, *job.words(), "--digest", job.stage.digest, *self._options]
        with writing(log):
            job.folder.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                file.write(f"# {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
                file.flush()
                start = file.tell()
                process = self._process(words, file, claim)
        return _Child(job, claim, process, log, start, time.time())

    def _process(
        self, words: Sequence[str], log: IO[bytes], claim: Claim
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,  # its end is what tells it that this process is gone
            stdout=log,
            stderr=log,
            env=self._environment(),
            pass_fds=(claim.descriptor,),  # the cell stays claimed while it lives
        )

    def _environment(self) -> dict[str, str]:
        threads = str(self.threads)
        return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **os.environ}


def threads_of(jobs: int) -> int:
    """Threads for each of so many runs; OMP_NUM_THREADS comes first."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdecimal() else max(1, usable_cores() // jobs)


class _Work:
    """What is left, what goes on, and what has come of the rest."""

    def __init__(self, plan: Plan, board: Board, retry: bool) -> None:
        self.board, self.outcome = board, Outcome()
        self.running: list[_Child] = []
        self.stop = StopSignal()
        self._folder, self._jobs = plan.out / CLAIMS, plan.jobs
        self._done = {job.folder for job in plan.jobs if plan.states[job.folder] == "done"}
        self._lost: set[Path] = set()
        self._left: dict[Path, Job] = {}
        self._again: dict[Path, Attempt] = {}
        self._later: dict[Path, float] = {}
        self._told: set[Path] = set()
        for job in plan.jobs:
            attempt = failed(job.folder) if plan.states[job.folder] == "failed" else None
            if plan.states[job.folder] == "done":
                continue
            if attempt is None or retry:
                self._left[job.folder] = job
                if attempt is not None:
                    self._again[job.folder] = attempt
            else:
                self.give_up(job, f"{attempt.line}; it failed before: --retry tries it again")

    def goes_on(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self.running) or (bool(self._left) and self.outcome.signal is None)

    def claim_next(self) -> tuple[Job, Claim] | None:
        """The next job that can start, and the claim on it."""
        for job in list(self._candidates()):
            try:
                claim = take(self._folder, job.key)
            except RunError as error:  # the disk is full meanwhile; what runs may have its room
                self.give_up(job, str(error))
                continue
            if isinstance(claim, str):
                self._later[job.folder] = time.monotonic() + PAUSE
                if job.folder not in self._told:
                    self._told.add(job.folder)
                    self.board.waiting(job, claim)
                continue
            # Somebody else may have come to the end of it since.
            if read_done(job.folder, job.stage.digest) is not None:
                claim.release()
                self._finish(job, 0.0)
                continue
            attempt = failed(job.folder)
            if attempt is not None and attempt != self._again.get(job.folder):
                claim.release()
                self.give_up(job, attempt.line)
                continue
            del self._left[job.folder]
            return job, claim
        return None

    def _candidates(self) -> Iterator[Job]:
        now = time.monotonic()
        for folder, job in list(self._left.items()):
            if job.needs in self._lost:
                self.give_up(job, "its first stage failed")
            elif (job.needs is None or job.needs in self._done) and self._later.get(
                folder, 0.0
            ) <= now:
                yield job

    def collect(self, threads: int) -> None:
        """Look which processes have ended."""
        for child in list(self.running):
            child.claim.beat()
            pid, status, usage = os.wait4(child.process.pid, os.WNOHANG)
            if pid == 0:
                continue
            child.process.returncode = os.waitstatus_to_exitcode(status)
            self.running.remove(child)
            self._ended(child, mebibytes_of(usage), threads)

    def _ended(self, child: _Child, peak: float, threads: int) -> None:
        job, code = child.job, child.process.returncode
        done = read_done(job.folder, job.stage.digest) is not None
        asked = not done and self._was_asked(code)
        line = "" if done or asked else last_line(child.log, child.start, code)
        seconds = time.time() - child.began
        attempt = Attempt(child.began, seconds, code, peak, threads, line, stopped=asked)
        with contextlib.suppress(RunError):  # a full disk; what has become of it is told anyway
            add_attempt(job.folder, attempt)
        _close(child)
        if done:
            self._finish(job, seconds)
        elif not asked:
            self.give_up(job, f"{line} ({child.log})")

    def _was_asked(self, code: int) -> bool:
        """Whether a run was to stop; who ends a whole job of a cluster may tell the run first."""
        heard = time.monotonic() + HEARD
        while code in (-signal.SIGTERM, 128 + signal.SIGTERM) and time.monotonic() < heard:
            if self.stop.received is not None:
                self.outcome.signal = self.stop.received
                break
            time.sleep(POLL)
        return self.outcome.signal is not None

    def _finish(self, job: Job, seconds: float) -> None:
        self._left.pop(job.folder, None)
        self._done.add(job.folder)
        self.board.finished(job, seconds)

    def give_up(self, job: Job, line: str) -> None:
        """Leave a job that has failed, or cannot start."""
        self._left.pop(job.folder, None)
        self._lost.add(job.folder)
        self.outcome.failed[job.label] = line
        self.board.failed(job, line)

    def sweep(self) -> None:
        """Remove the claims of finished runs whose owner was killed before it could."""
        keys = {f"{job.key}.claim": job.key for job in self._jobs if job.folder in self._done}
        for path in self._folder.glob("*.claim"):
            with contextlib.suppress(RunError):
                claim = take(self._folder, keys[path.name]) if path.name in keys else ""
                if isinstance(claim, Claim):
                    claim.release()

    def kill(self) -> None:
        """End what still goes on, at once, and give its cells back."""
        for child in self.running:
            child.process.kill()
        for child in self.running:
            child.process.wait()
            _close(child)
        self.running.clear()


def _close(child: _Child) -> None:
    if child.process.stdin is not None:
        child.process.stdin.close()
    child.claim.release()
