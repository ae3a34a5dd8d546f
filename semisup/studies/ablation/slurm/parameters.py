"""What Slurm is asked for each run: `--slurm KEY=VALUE`, and what is asked where none states it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semisup.errors import RecipeError, suggest
from semisup.studies.ablation.cells import Job
from semisup.studies.ablation.plan import Cost
from semisup.system.cores import usable_cores

MOST_CORES = 4
"""Cores of a run where nothing states them: more are of little use to one."""

LONGEST, UNKNOWN, SPARE = 24 * 60, 4 * 60, 10
"""Minutes: most that are asked for, those of a run of unknown length, and beside three times the
estimate. A run that needs more is put back into the queue and goes on."""

TEXTS = (
    *("account", "comment", "constraint", "exclude", "gres", "mail_type", "mail_user"),
    *("nodelist", "partition", "qos", "wckey"),
)
NUMBERS = ("cpus_per_task", "signal_delay_s")
SIZES = ("mem", "mem_per_cpu", "mem_per_gpu")
KEYS = (*TEXTS, *NUMBERS, *SIZES, "exclusive", "gpus_per_node", "setup", "time")
"""Keys of --slurm: parameters of submitit that make sense for runs of one process each."""

MEANT = {
    **dict.fromkeys(("gpu", "gpus", "num_gpus", "gpus_per_task"), "gpus_per_node"),
    **dict.fromkeys(("cpus", "cores", "threads", "c"), "cpus_per_task"),
    **dict.fromkeys(("memory", "ram", "mem_gb"), "mem"),
    **dict.fromkeys(("timeout", "timeout_min", "hours", "minutes", "t"), "time"),
    **dict.fromkeys(("queue", "p"), "partition"),
    **dict.fromkeys(("module", "modules", "load"), "setup"),
}
"""Words for them elsewhere -> the key."""

_SIZE = re.compile(r"[1-9][0-9]*(?:[KMGT]B?)?")
_GPUS = re.compile(r"(?:[\w.-]+:)?[0-9]+")
_TIME = re.compile(r"(?:([0-9]+)-)?([0-9]+)(?::([0-9]+))?(?::([0-9]+))?")


def read_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Parameters of submitit for Slurm.

    Args:
        words: of --slurm, each KEY=VALUE; `setup`, a shell command before the run, may be repeated.

    Raises:
        RecipeError: a key is unknown, is stated twice, or has a value that it cannot have.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = (part.strip() for part in word.partition("="))
        key = key.lstrip("-").removeprefix("slurm_").replace("-", "_")
        if not equals or not value:
            raise RecipeError(f"--slurm {word}: is no KEY=VALUE, such as partition=gpu.")
        if key == "array_parallelism":
            raise RecipeError(f"--slurm {word}: --jobs says how many run at a time.")
        if key not in KEYS:
            meant = MEANT.get(key)
            near = f" Did you mean '{meant}'?" if meant else suggest(key, KEYS)
            raise RecipeError(f"--slurm {word}: there is no key '{key}'.{near}")
        if key == "setup":
            found.setdefault("setup", []).append(value)
            continue
        if key in found:
            raise RecipeError(f"--slurm {word}: '{key}' is stated twice.")
        try:
            found[key] = _value(key, value)
        except ValueError as error:
            raise RecipeError(f"--slurm {word}: {error}") from None
    sizes = [key for key in SIZES if key in found]
    if len(sizes) > 1:
        raise RecipeError(f"--slurm: '{sizes[0]}' and '{sizes[1]}' both state memory; state one.")
    return found


def _value(key: str, value: str) -> Any:
    if key in NUMBERS:
        if not value.isdecimal() or int(value) < 1:
            raise ValueError("is no whole number above 0.")
        return int(value)
    if key in SIZES:
        if not _SIZE.fullmatch(value.upper()):
            raise ValueError("is no size, such as 8G or 500M.")
        return value.upper()
    if key == "gpus_per_node":
        if not _GPUS.fullmatch(value):
            raise ValueError("is no number of GPUs, such as 1 or a100:1.")
        return value
    if key == "exclusive":
        if value.lower() not in ("true", "user", "mcs"):
            raise ValueError("is true, user or mcs.")
        return True if value.lower() == "true" else value.lower()
    return minutes_of(value) if key == "time" else value


def minutes_of(text: str) -> int:
    """A time as sbatch reads it, in minutes, rounded up.

    Args:
        text: "90", "90:00", "1:30:00", "1-12", "1-12:30" or "1-12:30:00".

    Raises:
        ValueError: it is none, or less than a minute.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("is no time: minutes, hours:minutes:seconds or days-hours.")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:  # hours, minutes, seconds
        units = (3600, 60, 1)
    else:
        units = {1: (60,), 2: (60, 1), 3: (3600, 60, 1)}[len(numbers)]  # type: ignore[assignment]
    seconds = int(days or 0) * 86400 + sum(
        n * unit for n, unit in zip(numbers, units, strict=False)
    )
    if seconds < 60:
        raise ValueError("is less than a minute.")
    return math.ceil(seconds / 60)


@dataclass(frozen=True)
class Request:
    """What is asked of Slurm for the runs of a study.

    Attributes:
        stated: by --slurm, as parameters of submitit.
        parallel: runs of an array at a time; None: as many as Slurm lets.
    """

    stated: Mapping[str, Any]
    parallel: int | None = None

    @property
    def cores(self) -> int:
        """Of each run."""
        stated = self.stated.get("cpus_per_task")
        return int(stated) if stated else _threads_stated() or min(MOST_CORES, usable_cores())

    @property
    def threads(self) -> int:
        """Of each run: its cores; OMP_NUM_THREADS comes first."""
        return _threads_stated() or self.cores

    def of(self, jobs: Sequence[Job], costs: Mapping[str, Cost]) -> dict[str, Any]:
        """Parameters of submitit for an array.

        Args:
            jobs: of the array.
            costs: digest of a recipe -> what a run of it takes, where that is known.
        """
        parameters: dict[str, Any] = {
            "cpus_per_task": self.cores,
            "time": _minutes(jobs, costs),
            # Slurm hands the cores of a job to none of its steps unless the step asks for them.
            "srun_args": [f"--cpus-per-task={self.cores}"],
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True},
        }
        memory = _memory(jobs, costs)
        if memory is not None and not any(key in self.stated for key in SIZES):
            parameters["mem"] = memory
        if self.parallel is not None:
            parameters["array_parallelism"] = self.parallel
        return parameters | dict(self.stated)


def _threads_stated() -> int | None:
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdecimal() and int(stated) else None


def _minutes(jobs: Sequence[Job], costs: Mapping[str, Cost]) -> int:
    """Three times the longest estimate, and some to start."""
    if any(job.stage.digest not in costs for job in jobs):
        return UNKNOWN
    longest = max(costs[job.stage.digest].seconds for job in jobs)
    return min(LONGEST, SPARE + math.ceil(3 * longest / 60))


def _memory(jobs: Sequence[Job], costs: Mapping[str, Cost]) -> str | None:
    """Twice the highest peak, whose loaders count apart; None where one is not known."""
    peaks = [costs[job.stage.digest].peak_mib for job in jobs if job.stage.digest in costs]
    known = [peak for peak in peaks if peak is not None]
    if len(known) < len(jobs):
        return None  # as the partition has it
    return f"{math.ceil((2 * max(known) + 512) / 1024)}G"
