"""A probe: a few steps of each kind of cell, to say beforehand what a study takes."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semisup.errors import RunError
from semisup.recipe.load import load_recipe
from semisup.studies.ablation.attempts import last_line
from semisup.studies.ablation.cells import Stage
from semisup.studies.ablation.plan import Cost, Plan, estimate
from semisup.system.files import write_text
from semisup.system.memory import mebibytes_of

FILE = "probes.json"

STEPS = 6
"""Of a probe; the first ones are slower than the rest, so that it rather says too much."""

MOST_START = 20.0
"""Seconds that a run takes beside training and scoring, at most: a probe may make its data."""

SHORT = (
    f"train.steps={STEPS}",
    "train.log_every=1",
    "eval.every=0",
    "eval.hold_out=0",
    "eval.pictures=0",
    "eval.boundary=false",
    "init.from=",
)
"""What makes a run a probe."""


def to_probe(plan: Plan) -> list[Stage]:
    """One recipe for each kind of run that is left of which nothing is known."""
    costs = estimate(plan, read_probes(plan.out))
    left = {job.stage.digest for job in plan.left()}
    groups: dict[tuple[str, str], Stage] = {}
    for cell in plan.cells:
        for stage in (*cell.stages, cell.run):
            if stage.digest in left and stage.digest not in costs:
                group = "" if stage is not cell.run else plan.group_of(cell)
                groups.setdefault((group, stage.name), stage)
    return list(groups.values())


def probe(
    stages: Sequence[Stage],
    command: Sequence[str],
    options: Sequence[str],
    note: Callable[[str], None],
) -> dict[str, Cost]:
    """Measure a few steps of each recipe, one after the other, in processes of their own.

    Args:
        stages: what to measure.
        command: what runs one, in front of its words.
        options: behind them, without where runs lie.
        note: told of each in a line.

    Returns:
        Digest -> cost of a whole run; not of those whose probe failed.
    """
    costs = {}
    for stage in stages:
        note(f"measuring {STEPS} steps of {stage.name} ...")
        with tempfile.TemporaryDirectory() as folder:
            found = _measure(stage, command, options, Path(folder))
        if isinstance(found, str):
            note(f"{stage.name} cannot be measured: {found}")
        else:
            costs[stage.digest] = found
    return costs


def _measure(
    stage: Stage, command: Sequence[str], options: Sequence[str], folder: Path
) -> Cost | str:
    recipe = load_recipe(stage.recipe, stage.changes)
    masks = [f"{key}=boxes" for key in recipe.pseudo_masks]  # which take a first stage
    changes = [word for change in (*stage.changes, *SHORT, *masks) for word in ("--set", change)]
    words = [*command, "run", stage.recipe, *changes, *options, "--out", str(folder), "--json"]
    log, printed = folder / "log", folder / "printed"
    began = time.perf_counter()
    with log.open("wb") as errors, printed.open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=errors)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
    wall = time.perf_counter() - began
    if process.returncode:
        return last_line(log, 0, process.returncode)
    try:
        result = json.loads(printed.read_text(encoding="utf-8"))
        training, scoring = (float(result["time"][f"{k}_seconds"]) for k in ("train", "score"))
    except (ValueError, KeyError, TypeError):
        return "it printed no result, as where a plug-in prints to standard output"
    start = min(max(wall - training - scoring, 0.0), MOST_START)
    return Cost(start + scoring + training / STEPS * stage.steps, mebibytes_of(usage))


def read_probes(out: Path) -> dict[str, Cost]:
    """What was measured before: digest -> cost.

    Raises:
        RunError: the file is damaged.
    """
    path = out / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {digest: _cost(one) for digest, one in content.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Delete it.") from None


def _cost(content: Mapping[str, Any]) -> Cost:
    peak = content["peak_mib"]
    return Cost(float(content["seconds"]), None if peak is None else float(peak))


def keep_probes(out: Path, costs: Mapping[str, Cost]) -> None:
    """Write what was measured beside what is known.

    Raises:
        RunError: it cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made ({error.strerror}). Choose another --out.") from None
    content = {digest: asdict(cost) for digest, cost in (read_probes(out) | dict(costs)).items()}
    write_text(out / FILE, json.dumps(content, indent=1) + "\n")
