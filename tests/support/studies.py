"""A tiny study, and a stand-in for `semisup run` that trains nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from semisup.recipe.toml import dump_toml
from semisup.studies.ablation.cells import Job
from semisup.studies.ablation.plan import Plan, make_plan
from semisup.studies.ablation.study import read_study

TINY = {
    "data": {"name": "folder", "split": "1/2", "crop": [32, 32], "labelled_batch": 1, "workers": 0},
    "model": {"name": "unet", "width": 2},
    "method": {"name": "supervised"},
    "optim": {"segmenter": {"lr": 0.01}},
    "train": {"steps": 2, "log_every": 1, "checkpoint_every": 1},
    "eval": {"pictures": 0, "boundary": False},
}

STUDY = """\
# Two arms.
base = "tiny.toml"
seeds = 2

[axes]
"data.split" = ["1/2", "all"]

[axes.arm.plain]

[axes.arm.strong]
"data.strong_labelled" = true
"""

PROGRAM = r"""
import json, os, select, signal, sys, time
from pathlib import Path

table, words = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2:]
cell = table[" ".join(words[: words.index("--seed") + 2])]
folder = Path(cell["folder"])


def leave(*_):
    time.sleep(cell.get("lingers", 0))
    (folder / "working").unlink()
    os._exit(143)


with (folder / "tries").open("a") as file:
    file.write(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}\n")
try:
    os.close(os.open(folder / "working", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    if Path(f"/proc/{(folder / 'pid').read_text()}").exists():
        (folder / "twice").write_text("two at once")
(folder / "pid").write_text(str(os.getpid()))
signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
for _ in range(cell.get("steps", 1)):
    if select.select([0], [], [], 0.02)[0] and not os.read(0, 10):
        leave()
if cell["needs"] and not (Path(cell["needs"]) / "result.json").is_file():
    sys.exit("its first stage is not there")
print("half way")
if cell.get("ends") == "raises":
    raise ValueError("no such colour")
if cell.get("ends") == "refused":
    sys.exit("semisup: data/x.png is missing; add it")
if cell.get("ends") == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
result = {"recipe_hash": cell["digest"], "time": {"train_seconds": 3, "score_seconds": 1}}
result |= {"split": {"labelled": cell.get("labelled", 3)}}
(folder / "result.part").write_text(json.dumps(result))
(folder / "result.part").rename(folder / "result.json")
(folder / "working").unlink()
"""


def write_study(folder: Path, text: str = STUDY, **files: str) -> Path:
    """A study file, and the tiny recipe beside it."""
    (folder / "tiny.toml").write_text(dump_toml(TINY))
    for name, content in files.items():
        (folder / f"{name}.toml").write_text(content)
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def plan_of(study: Path, *changes: str) -> Plan:
    """The plan of a study, with its runs beside it."""
    return make_plan(read_study(str(study)), study.parent / "out", changes)


def stand_in(plan: Plan, **ends: Mapping[str, object]) -> list[str]:
    """What runs a job in a moment.

    Args:
        plan: of the study.
        ends: part of a run's label, with _ for what is no letter -> how that run ends, how many
            steps it has, or how many masks.
    """
    place = plan.out.parent
    table = {" ".join(job.words()): _cell(job, ends) for job in plan.jobs}
    (place / "table.json").write_text(json.dumps(table))
    (place / "program.py").write_text(PROGRAM)
    return [sys.executable, "-S", "-E", str(place / "program.py"), str(place / "table.json")]


def _cell(job: Job, ends: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    plain = "".join(letter if letter.isalnum() else "_" for letter in job.label)
    special = next((values for part, values in ends.items() if part in plain), {})
    needs = None if job.needs is None else str(job.needs)
    return {"folder": str(job.folder), "digest": job.stage.digest, "needs": needs, **special}


def finish(plan: Plan) -> None:
    """Results of all runs, without processes."""
    for job in plan.jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
        seconds = {"train_seconds": 3, "score_seconds": 1}
        result = {"recipe_hash": job.stage.digest, "time": seconds, "split": {"labelled": 3}}
        (job.folder / "result.json").write_text(json.dumps(result))


class Noted:
    """A board that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def started(self, job: Job, note: str = "") -> None:
        self.events.append(f"started {job.label}{f' ({note})' if note else ''}")

    def requeued(self, job: Job) -> None:
        self.events.append(f"requeued {job.label}")

    def finished(self, job: Job, seconds: float) -> None:
        self.events.append(f"finished {job.label}")

    def failed(self, job: Job, line: str) -> None:
        self.events.append(f"failed {job.label}: {line}")

    def waiting(self, job: Job, owner: str) -> None:
        self.events.append(f"waiting {job.label}: {owner}")

    def stopped(self, running: int) -> None:
        self.events.append(f"stopped {running}")

    def tick(self) -> None:
        pass
