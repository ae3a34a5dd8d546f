"""What a study costs beside its training, and what it saves.

    python benchmarks/studies.py shared              # DecoupledNet's study against its cells
    python benchmarks/studies.py overhead            # 20 short cells, two at a time
    python benchmarks/studies.py plan                # of 10,000 cells
    python benchmarks/studies.py report              # of 10,000 made runs
    python benchmarks/studies.py report --recipes 10 --seeds 10

shared: the arms of recipes/studies/decouplednet.toml at two budgets, on made scenes, by `semisup
ablate`, which trains the first stage of the arms with all tags once, against `semisup run` of each
cell in a folder of its own. In seconds of the processor, which do not grow with what else runs.

overhead: what the scheduler itself takes of the processor, and how long a place for a run stands
empty between two cells, as shares of the time of the cells.

plan, report: seconds of the processor and the most memory of one command. The runs of the report
are made: results and logs as runs write them, with scores by chance.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisup.recipe.toml import dump_toml
from semisup.studies.ablation.attempts import read_attempts
from semisup.studies.ablation.executors import Lines
from semisup.studies.ablation.local import LocalExecutor
from semisup.studies.ablation.plan import Plan, make_plan
from semisup.studies.ablation.record import write_record
from semisup.studies.ablation.study import read_study
from semisup.system.memory import mebibytes_of

CELL = [sys.executable, "-m", "semisup.cli.studies.cell"]

SCENES = """
"data.train" = 64
"data.val" = 8
"data.test" = 4
"data.size" = [128, 128]
"data.crop" = [96, 96]
"data.workers" = 0
"eval.every" = 0
"eval.watch" = ""
"eval.pictures" = 0
"eval.boundary" = false
"train.log_every" = 50
"train.checkpoint_every" = 500
"""

DECOUPLED = """
base = "scenes/supervised_unet_1-8"
seeds = 1

[set]
SCENES
"data.tags" = "xml"

[axes]
"data.split" = SPLITS

[axes.arm.supervised]
"train.steps" = STEPS

[axes.arm.strong_only]
recipe = "scenes/decouplednet_5"
"train.steps" = STEPS
"data.tagged" = "{data.split}"
"init.set" = ["train.steps=STEPS", "data.tagged={data.split}", COMMON]

[axes.arm.decouplednet]
recipe = "scenes/decouplednet_5"
"train.steps" = STEPS
"init.set" = ["train.steps=TWICE", COMMON]

[axes.arm.decouplednet_joint]
recipe = "scenes/decouplednet_joint_5"
"init.from" = "scenes/decouplednet_classifier"
"train.steps" = STEPS
"init.set" = ["train.steps=TWICE", COMMON]
"""

SHORT = """
base = "scenes/supervised_unet_1-8"
seeds = SEEDS

[set]
SCENES
"train.steps" = STEPS
"""

MANY = """
base = "scenes/supervised_unet_1-8"
seeds = SEEDS

[axes]
"train.steps" = VALUES
"""


@dataclass(frozen=True)
class Cost:
    """Of processes that have ended.

    Attributes:
        processor: seconds, of all threads and all processes that they started.
        wall: seconds.
        mebibytes: the most memory of the largest of them.
    """

    processor: float
    wall: float
    mebibytes: float

    def __str__(self) -> str:
        return (
            f"{self.processor:.1f} s of the processor, {self.wall:.0f} s of wall, "
            f"{self.mebibytes:,.0f} MiB"
        )


def cost_of(words: Sequence[str], folder: Path) -> Cost:
    """Run a command to its good end."""
    began = time.monotonic()
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, env=environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (folder / "log.txt").read_text()[-2000:]
    wall = time.monotonic() - began
    return Cost(usage.ru_utime + usage.ru_stime, wall, mebibytes_of(usage))


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    paths = [path for path in (root, os.environ.get("PYTHONPATH", "")) if path]
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def study_in(folder: Path, text: str, **values: object) -> Path:
    """A study file with its placeholders filled in."""
    text = text.replace("SCENES", SCENES)
    for name, value in values.items():
        text = text.replace(name, str(value))
    path = folder / "study.toml"
    path.write_text(text)
    return path


def plan_of(path: Path, out: Path) -> Plan:
    return make_plan(read_study(str(path)), out)


def shared(options: argparse.Namespace) -> None:
    """The study against its cells one by one."""
    folder = options.folder
    lines = SCENES.strip().replace('"', "").splitlines()
    common = ", ".join(json.dumps(line.replace(" = ", "=")) for line in lines)
    values = {
        "SPLITS": json.dumps(options.splits.split(",")),
        "STEPS": options.steps,
        "TWICE": 2 * options.steps,
        "COMMON": common,
    }
    path = study_in(folder, DECOUPLED, **values)
    place = ["--data-root", str(folder / "data"), "--device", "cpu"]
    ours = [sys.executable, "-m", "semisup"]
    plan = plan_of(path, folder / "out")
    cost_of([*ours, *plan.jobs[0].words(), *place, "--out", "warm"], folder)  # makes the data
    words = [*ours, "ablate", str(path), "--no-probe", *place, "--out", "out"]
    together = cost_of(words, folder)
    print(f"semisup ablate, {len(plan.jobs)} runs: {together}", flush=True)
    alone = 0.0
    for number, job in enumerate(job for job in plan.jobs if job.cell is not None):
        one = cost_of([*ours, *job.words(), *place, "--out", f"alone-{number}"], folder)
        alone += one.processor
        print(f"semisup run, {job.label}: {one}", flush=True)
    print(f"the study takes {together.processor / alone:.2f} x the processor of its cells alone")


def overhead(options: argparse.Namespace) -> None:
    """What scheduling takes beside the cells."""
    folder = options.folder
    path = study_in(folder, SHORT, SEEDS=options.cells, STEPS=options.steps)
    plan = plan_of(path, folder / "out")
    place = ["--data-root", str(folder / "data"), "--device", "cpu"]
    words = [sys.executable, "-m", "semisup", *plan.jobs[0].words(), *place]
    cost_of([*words, "--out", "warm"], folder)  # makes the data
    os.environ.update(environment())
    local = LocalExecutor(CELL, [*place, "--out", str(folder / "out")], jobs=options.jobs)
    before, began = os.times(), time.time()
    outcome = local.run(plan, Lines(lambda line: None))
    after = os.times()
    assert not outcome.failed, outcome.failed
    own = after.user + after.system - before.user - before.system
    cells = after.children_user + after.children_system
    cells -= before.children_user + before.children_system
    print(f"{options.cells} cells: {cells:.1f} s of the processor, the scheduler {own:.2f} s")
    print(f"scheduling takes {own / cells:.2%} of the processor of its cells")
    attempts = [read_attempts(job.folder)[-1] for job in plan.jobs]
    begins = sorted(attempt.began for attempt in attempts)
    ends = sorted(attempt.began + attempt.seconds for attempt in attempts)
    free = [began] * options.jobs + ends
    empty = sum(start - since for start, since in zip(begins, free, strict=False))
    total = sum(attempt.seconds for attempt in attempts)
    print(f"places stand empty for {empty:.2f} s in {total:.0f} s of cells: {empty / total:.2%}")


def many(options: argparse.Namespace) -> Path:
    """A study of so many recipes and seeds."""
    values = list(range(1, options.recipes + 1))
    return study_in(options.folder, MANY, SEEDS=options.seeds, VALUES=values)


def plan(options: argparse.Namespace) -> None:
    """The plan of a large study."""
    path, folder = many(options), options.folder
    words = [sys.executable, "-m", "semisup", "ablate", str(path), "--plan", "--no-probe"]
    print(f"plan, nothing done: {cost_of([*words, '--out', 'out'], folder)}", flush=True)
    make_runs(plan_of(path, folder / "out"))
    print(f"plan, all done: {cost_of([*words, '--out', 'out'], folder)}")


def report(options: argparse.Namespace) -> None:
    """The report of a large study."""
    path, folder = many(options), options.folder
    made = plan_of(path, folder / "out")
    make_runs(made)
    write_record(made.out, made.study, made.cells, ())
    words = [sys.executable, "-m", "semisup", "report", "out", "--out", "page"]
    print(f"report of {len(made.jobs):,} runs: {cost_of(words, folder)}")
    page = (folder / "page" / "index.html").stat().st_size
    print(f"the page has {page / 2**20:.1f} MiB")


CLASSES = [f"class {number}" for number in range(21)]


def make_runs(plan: Plan) -> None:
    """Results, recipes and logs of all runs, as runs write them."""
    from semisup.recipe.load import load_recipe

    chance = random.Random(0)
    recipes = {
        cell.run.digest: load_recipe(cell.run.recipe, cell.run.changes).resolved()
        for cell in plan.cells
    }
    for job in plan.jobs:
        job.folder.mkdir(parents=True)
        tables: dict[str, Any] = recipes[job.stage.digest]
        tables = {**tables, "train": {**tables["train"], "seed": job.seed}}
        (job.folder / "recipe.toml").write_text(dump_toml(tables))
        (job.folder / "result.json").write_text(json.dumps(_result(job.stage, job.seed, chance)))
        lines = [
            {"step": 10 * step, "loss_segmentation": chance.random(), "score/miou": chance.random()}
            for step in range(1, 41)
        ]
        (job.folder / "scalars.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))


def _result(stage: Any, seed: int, chance: random.Random) -> dict[str, Any]:
    iou = {name: {"iou": chance.uniform(0.3, 0.7)} for name in CLASSES}
    miou = sum(row["iou"] for row in iou.values()) / len(iou)
    scores = {"miou": miou, "pixel_accuracy": 0.9, "miou_interval_95": [miou - 0.02, miou + 0.02]}
    return {
        "recipe": stage.name,
        "recipe_hash": stage.digest,
        "seed": seed,
        "scores": {"selected": scores, "last": scores},
        "per_class": iou,
        "confusion": [[chance.randrange(10_000) for _ in CLASSES] for _ in CLASSES],
        "protocol": {
            "data": "scenes",
            "subset": "val",
            "images": 200,
            "ids_sha256": "0" * 64,
            "classes": CLASSES,
            "scored_size": "original",
            "void": "left out by ground truth",
            "absent_classes": "excluded",
            "mode": "whole",
            "scales": [1.0],
            "flip": False,
            "crf": None,
            "precision": "float32",
            "pretraining": "none",
            "selection": "last checkpoint",
        },
        "split": {"name": "1/8-s0", "sha256": "0" * 64, "labelled": 25, "unlabelled": 175},
        "time": {"train_seconds": chance.uniform(50, 60), "score_seconds": 5.0},
        "device": "cpu",
    }


TABLES = {"shared": shared, "overhead": overhead, "plan": plan, "report": report}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--steps", type=int, default=200, help="of a cell (%(default)s)")
    parser.add_argument(
        "--splits", default="5/class,10/class", help="of `shared`, with commas (%(default)s)"
    )
    parser.add_argument("--cells", type=int, default=20, help="of `overhead` (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (%(default)s)")
    parser.add_argument("--recipes", type=int, default=100, help="of a large study (%(default)s)")
    parser.add_argument("--seeds", type=int, default=100, help="of a large study (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        TABLES[options.table](options)


if __name__ == "__main__":
    main()
