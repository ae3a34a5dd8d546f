"""Slurm's queue, and which of its jobs are of a study.

`slurm/jobs.json` among the runs of a study has the job of each run that was handed to Slurm, so
that whoever asks again finds it in the queue and submits nothing twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from semisup.errors import RunError
from semisup.system.files import write_text

FOLDER, FILE = "slurm", "jobs.json"

SECONDS = 60.0
"""That a command of Slurm may take."""


@dataclass(frozen=True)
class Queued:
    """A job that Slurm has not ended.

    Attributes:
        running: whether it has a node.
        reason: why it waits, in Slurm's word, such as Resources; empty where it runs.
    """

    running: bool
    reason: str = ""


def check_slurm() -> None:
    """Refuse a machine that cannot hand jobs to Slurm.

    Raises:
        RunError: it lacks submitit, or the commands of Slurm.
    """
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise RunError(
            "--executor slurm needs submitit: pip install 'semisup[slurm]', or take --executor "
            "print for lines of a script of your own."
        ) from None
    for program in ("sbatch", "srun", "squeue"):
        if shutil.which(program) is None:
            raise RunError(
                f"there is no '{program}' here. Log in to a machine that hands jobs to Slurm, or "
                "take --executor local."
            )


def queued(name: str) -> dict[str, Queued]:
    """The jobs of a name that wait or run: "12_3" of an array, "12" of a single one.

    Args:
        name: of the jobs.

    Raises:
        RunError: Slurm does not answer.
    """
    lines = _ask("squeue", f"--user={os.getuid()}", "--noheader", "--array", "--format=%i|%T|%r|%j")
    found = {}
    for line in lines.splitlines():
        job, _, rest = line.strip().partition("|")
        state, _, rest = rest.partition("|")
        reason, _, of = rest.rpartition("|")
        if of == name:
            running = state != "PENDING" and not state.startswith(("REQUEUE", "SPECIAL"))
            found[job] = Queued(running, "" if running else reason)
    return found


def ended(job: str) -> str:
    """How Slurm says that a job has ended, such as "NODE_FAIL"; empty where it has forgotten."""
    with contextlib.suppress(RunError):
        for word in _ask("scontrol", "show", "job", job, "--oneliner").split():
            if word.startswith("JobState="):
                return word.removeprefix("JobState=")
    with contextlib.suppress(RunError):
        words = _ask("sacct", "-n", "-X", "-P", "-j", job, "-o", "State").split()
        return words[0] if words else ""
    return ""


def cancel(jobs: Iterable[str]) -> None:
    """Take jobs out of the queue.

    Raises:
        RunError: Slurm does not answer.
    """
    several = sorted(jobs)
    for start in range(0, len(several), 500):
        _ask("scancel", *several[start : start + 500])


def _ask(*words: str) -> str:
    # Variables such as SQUEUE_STATES would change what is told.
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SQUEUE_", "SACCT_", "SCANCEL_", "SLURM_CLUSTERS"))
    }
    try:
        done = subprocess.run(
            words, env=plain, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{words[0]}: no answer in {SECONDS:.0f} s. {_LATER}") from None
    except OSError as error:
        raise RunError(f"{words[0]}: cannot be run ({error.strerror}). {_LATER}") from None
    if done.returncode:
        raise RunError(f"{last_of(done.stderr) or words[0]}. {_LATER}")
    return done.stdout


_LATER = "Jobs that Slurm has go on; the same command shows where they stand once it answers."


def last_of(text: str) -> str:
    """The last line of what a command of Slurm says, without its end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""


def read_jobs(out: Path) -> dict[str, str]:
    """The jobs that were submitted last: key of a run -> "12_3".

    Args:
        out: folder of the study's runs.

    Raises:
        RunError: the file is damaged.
    """
    path = out / FOLDER / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["jobs"]
        if not all(isinstance(one, str) for one in (*content, *content.values())):
            raise ValueError("a job is no text")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Delete it: "
            "what waits in the queue is then submitted again, and run once all the same."
        ) from None
    return dict(content)


def write_jobs(out: Path, jobs: Mapping[str, str]) -> None:
    """Write which jobs were submitted.

    Raises:
        RunError: it cannot be written.
    """
    write_text(out / FOLDER / FILE, json.dumps({"jobs": dict(jobs)}, indent=1) + "\n")
