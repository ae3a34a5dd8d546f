"""Hands the cells of a study to Slurm, and watches what becomes of them.

One job array has the first stages that are left, one the cells that start from nothing, and one
each further level, which Slurm starts once the one before has ended. What a job does is in
`worker`. Nothing depends on who submitted it: whoever calls again sees the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.studies.ablation.attempts import Attempt, failed, read_attempts, read_done
from semisup.studies.ablation.cells import Job
from semisup.studies.ablation.claims import Claim, check_folder, take
from semisup.studies.ablation.executors import Board, Outcome
from semisup.studies.ablation.local import CLAIMS
from semisup.studies.ablation.plan import Cost, Plan
from semisup.studies.ablation.slurm.parameters import Request
from semisup.studies.ablation.slurm.queue import (
    FOLDER,
    Queued,
    cancel,
    check_slurm,
    ended,
    last_of,
    queued,
    read_jobs,
    write_jobs,
)
from semisup.studies.ablation.slurm.worker import Worker
from semisup.system.signals import StopSignal
from semisup.system.words import counted

POLL = 5.0
"""Seconds between two looks at the queue."""

TICK = 0.2
"""Seconds between two looks at the clock and at signals."""

LATE = 30.0
"""Seconds that a file of a node may take to be seen here, on a network disk."""

SILENT = 600.0
"""Seconds without an answer of Slurm after which it is not waited for."""

MOST = 1000
"""Jobs of an array; Slurm allows 1,001 where its MaxArraySize is not raised."""

TIMEOUTS = 1000
"""Times that a job may come back for more time; one that saves no step does not."""

KEPT = ("SLURM_CONF", "SLURM_CLUSTERS")
"""Variables of Slurm that say where it is, not what job this process is in."""


class SlurmExecutor:
    """Submits what is left and not in the queue, and waits for it.

    Args:
        command: what runs one, in front of `Job.words`; ends when its standard input does.
        options: of every run, behind its words.
        request: what is asked of Slurm.
        costs: digest of a recipe -> what a run of it takes, where that is known.
        retry: whether jobs that have failed before are tried again.
        detach: whether to leave as soon as all is submitted.

    Raises:
        RunError: this machine cannot hand jobs to Slurm.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: Sequence[str] = (),
        *,
        request: Request,
        costs: Mapping[str, Cost] | None = None,
        retry: bool = False,
        detach: bool = False,
    ) -> None:
        check_slurm()
        self._command, self._options = list(command), list(options)
        self._request, self._costs = request, dict(costs or {})
        self._retry, self._detach = retry, detach

    def run(self, plan: Plan, board: Board) -> Outcome:
        """Submit what is left, and watch until all is finished or has failed, or a signal comes.

        Raises:
            RunError: Slurm refuses the jobs or does not answer, or the folder of the runs cannot
                be written to.
        """
        check_folder(plan.out / CLAIMS)
        watch = _Watch(plan, board)
        with StopSignal() as stop:
            claim = _claim_queue(plan.out, stop)
            if claim is not None:
                try:
                    self._submit(plan, watch)
                finally:
                    claim.release()
                if not self._detach:
                    watch.until_all_have_ended(stop)
        if watch.jobs and (self._detach or stop.received is not None):
            arrays = sorted({_array(job) for job in watch.jobs.values()}, key=int)
            watch.outcome.note = (
                f"{counted(len(watch.jobs), 'run')} with Slurm. The same command shows where they "
                f"stand; 'scancel {' '.join(arrays)}' ends them."
            )
        watch.outcome.signal = stop.received
        return watch.outcome

    def standing(self, plan: Plan) -> list[str]:
        """Where a study stands in Slurm's queue, and what will be asked for, in lines.

        Raises:
            RunError: Slurm does not answer.
        """
        known, queue = read_jobs(plan.out), queued(name_of(plan))
        left = [job for job in plan.jobs if plan.states[job.folder] != "done"]
        there = [queue[known[job.key]] for job in left if known.get(job.key) in queue]
        waits = sorted({one.reason for one in there if one.reason not in ("", "None")})
        running = sum(one.running for one in there)
        lines = []
        if there:
            why = f" ({', '.join(waits)})" if waits else ""
            lines.append(f"with Slurm: {running:,} running, {len(there) - running:,} waiting{why}")
        absent = [job for job in plan.left() if known.get(job.key) not in queue]
        for jobs in arrays_of(absent):
            asked = self._request.of(jobs, self._costs)
            lines.append(f"to submit: {counted(len(jobs), 'run')}, each with {_in_words(asked)}")
        return lines

    def _submit(self, plan: Plan, watch: _Watch) -> None:
        """Hand to Slurm what is left and not in the queue."""
        known, queue = read_jobs(plan.out), queued(name_of(plan))
        new: list[Job] = []
        old: list[str] = []
        renewed: set[Path | None] = set()
        for job in plan.jobs:
            if plan.states[job.folder] == "done":
                continue
            attempt = failed(job.folder) if plan.states[job.folder] == "failed" else None
            if job.needs in watch.lost:
                watch.give_up(job, "its first stage failed")
                continue
            there = known.get(job.key) in queue
            if there and job.needs not in renewed:
                watch.follow(job, known[job.key], attempt)
            elif attempt is None or self._retry:
                new.append(job)
                renewed.add(job.folder)
                old += [known[job.key]] if there else []  # it would start before its first stage
                watch.again[job.folder] = attempt
            else:
                watch.give_up(job, f"{attempt.line}; it failed before: --retry tries it again")
        if old:
            cancel(old)
        numbers = {folder: _array(job) for folder, job in watch.jobs.items()}
        for jobs in arrays_of(new):
            after = sorted({numbers[job.needs] for job in jobs if job.needs in numbers}, key=int)
            for job, number in zip(jobs, self._array_of(plan, jobs, after), strict=True):
                numbers[job.folder] = _array(number)
                known[job.key] = number
                watch.follow(job, number, watch.again[job.folder])
            write_jobs(plan.out, known)  # after each: what is in the queue must be known

    def _array_of(self, plan: Plan, jobs: Sequence[Job], after: Sequence[str]) -> list[str]:
        """Submit an array that starts once others have ended; "12_3" of each of its jobs."""
        import submitit

        folder = (plan.out / FOLDER).absolute()
        if "%" in str(folder):
            raise RunError(
                f"{plan.out}: Slurm reads a % in the name of a log otherwise; rename it."
            )
        parameters = self._request.of(jobs, self._costs) | {"job_name": name_of(plan)}
        if after:
            parameters["dependency"] = "afterany:" + ":".join(after)
        of_folder = {job.folder: job for job in plan.jobs}
        bare = Plan(plan.study, (), (), {}, {}, plan.out, plan.changes, ())
        workers = [
            Worker(
                plan=bare,
                job=job,
                first=None if job.needs is None else of_folder[job.needs],
                command=self._command,
                options=self._options,
                threads=self._request.threads,
                retry=self._retry,
                minutes=parameters["time"],
            )
            for job in jobs
        ]
        try:
            kept = {name: os.environ[name] for name in KEPT if name in os.environ}
            # Where this runs in a job of Slurm itself, its variables are not for those to come.
            with submitit.helpers.clean_env():
                os.environ.update(kept)
                executor = submitit.SlurmExecutor(folder, max_num_timeout=TIMEOUTS)
                executor.update_parameters(**parameters)
                return [str(job.job_id) for job in executor.submit_array(workers)]
        except submitit.core.utils.FailedJobError as error:
            line = last_of(str(error)).removeprefix("sbatch: error: ")
            raise RunError(f"Slurm refuses the jobs: {line}. Change it by --slurm.") from None


def name_of(plan: Plan) -> str:
    """The name of a study's jobs, which no other study's jobs of one person have."""
    place = hashlib.sha256(str(plan.out.resolve()).encode()).hexdigest()[:6]
    return f"semisup-{re.sub(r'[^A-Za-z0-9_.-]', '-', plan.study.name)}-{place}"


def arrays_of(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs as arrays, in an order in which each can be submitted behind those that it needs.

    First stages, cells that start from nothing, and each further level are apart, so that nothing
    waits for what it does not start from.

    Args:
        jobs: to be submitted, each behind the one that it needs.
    """
    needed = {job.needs for job in jobs}
    levels: dict[Path, int] = {}
    arrays: dict[tuple[int, bool], list[Job]] = {}
    for job in jobs:
        level = levels.get(job.needs, -1) + 1 if job.needs is not None else 0
        levels[job.folder] = level
        arrays.setdefault((level, job.folder not in needed), []).append(job)
    return [
        jobs_of_level[start : start + MOST]
        for _, jobs_of_level in sorted(arrays.items(), key=lambda item: item[0])
        for start in range(0, len(jobs_of_level), MOST)
    ]


def _array(job: str) -> str:
    """The number that all jobs of an array share."""
    return job.partition("_")[0]


def _in_words(asked: Mapping[str, Any]) -> str:
    """What is asked for each run, as a person would say it."""
    words = [counted(asked["cpus_per_task"], "core")]
    if "gpus_per_node" in asked:
        words.append(f"gpus {asked['gpus_per_node']}")
    words += [str(asked[key]) for key in ("mem", "mem_per_cpu", "mem_per_gpu") if key in asked]
    words.append(f"{asked['time']:,} min")
    words += [f"{key} {asked[key]}" for key in ("partition", "account", "qos") if key in asked]
    return ", ".join(words)


def _claim_queue(out: Path, stop: StopSignal) -> Claim | None:
    """Wait until nobody else submits jobs of the study; None: a signal came first."""
    while stop.received is None:
        claim = take(out / CLAIMS, "slurm")
        if isinstance(claim, Claim):
            return claim
        time.sleep(TICK)
    return None


class _Watch:
    """What is with Slurm, and what has come of the rest."""

    def __init__(self, plan: Plan, board: Board) -> None:
        self.board, self.outcome = board, Outcome()
        self.jobs: dict[Path, str] = {}
        self.lost: set[Path] = set()
        self.again: dict[Path, Attempt | None] = {}
        self._plan = plan
        self._runs: dict[Path, Job] = {}
        self._running: set[Path] = set()
        self._gone: dict[Path, float] = {}
        self._told: set[Path] = set()

    def follow(self, job: Job, number: str, before: Attempt | None) -> None:
        """Watch a run.

        Args:
            job: the run.
            number: of its job.
            before: its last attempt, where that has failed.
        """
        self.jobs[job.folder] = number
        self._runs[job.folder] = job
        self.again[job.folder] = before

    def until_all_have_ended(self, stop: StopSignal) -> None:
        """Watch until nothing is with Slurm any more, or a signal comes.

        Raises:
            RunError: Slurm has not answered for long.
        """
        looked, answered = -POLL, time.monotonic()
        while self.jobs and stop.received is None:
            now = time.monotonic()
            if now - looked >= POLL:
                looked = now
                try:
                    queue = queued(name_of(self._plan))
                except RunError:
                    if now - answered > SILENT:
                        raise
                else:
                    answered = now
                    self._look(queue)
            self.board.tick()
            time.sleep(TICK)

    def _look(self, queue: Mapping[str, Queued]) -> None:
        for job in list(self._runs.values()):
            found = queue.get(self.jobs[job.folder])
            if found is None:
                self._settle(job)
                continue
            self._gone.pop(job.folder, None)
            if found.running and job.folder not in self._running:
                self._running.add(job.folder)
                self.board.started(job, f"job {self.jobs[job.folder]}")
            elif not found.running and job.folder in self._running:
                self._running.remove(job.folder)
                self.board.requeued(job)

    def _settle(self, job: Job) -> None:
        """Find out what has become of a run whose job has ended."""
        attempt = failed(job.folder)
        if read_done(job.folder, job.stage.digest) is not None:
            attempts = read_attempts(job.folder)
            self._leave(job)
            self.board.finished(job, attempts[-1].seconds if attempts else 0.0)
        elif attempt is not None and attempt != self.again[job.folder]:
            self.give_up(job, f"{attempt.line} ({job.folder / 'output.log'})")
        elif job.needs in self.lost:
            self.give_up(job, "its first stage failed")
        elif job.needs not in self.jobs and not self._is_held(job):
            now = time.monotonic()
            if now - self._gone.setdefault(job.folder, now) >= LATE:
                number = self.jobs[job.folder]
                state = ended(number) or "no word of it"
                self.give_up(
                    job,
                    f"job {number} has ended ({state}) without a result; the same command submits "
                    f"it again ({_log(self._plan.out, number)})",
                )

    def _is_held(self, job: Job) -> bool:
        """Whether somebody else works on it."""
        claim = take(self._plan.out / CLAIMS, job.key)
        if isinstance(claim, Claim):
            claim.release()
            return False
        self._gone.pop(job.folder, None)
        if job.folder not in self._told:
            self._told.add(job.folder)
            self.board.waiting(job, claim)
        return True

    def give_up(self, job: Job, line: str) -> None:
        """Leave a run that has failed, or cannot start."""
        self._leave(job)
        self.lost.add(job.folder)
        self.outcome.failed[job.label] = line
        self.board.failed(job, line)

    def _leave(self, job: Job) -> None:
        self.jobs.pop(job.folder, None)
        self._runs.pop(job.folder, None)
        self._running.discard(job.folder)


def _log(out: Path, number: str) -> Path:
    """What a job has printed."""
    return out / FOLDER / f"{number}_0_log.out"
