"""How much higher a run scores than the one that it is compared with."""

from __future__ import annotations

import json

import torch

from semisup.evaluation.evaluate import BOOTSTRAP_SEED, Evaluation, evaluate
from semisup.metrics.bootstrap import bootstrap_gain
from semisup.recipe.toml import read_toml
from semisup.runs.baseline.kept import check_comparable, read_gain
from semisup.runs.baseline.sheet import draw_both
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.reopen import OpenRun, open_run
from semisup.runs.result import FinishedRun, Gain, plain
from semisup.system import distributed as ranks
from semisup.system.files import write_text
from semisup.system.torch_errors import translated_errors


def compare(run: FinishedRun, baseline: FinishedRun, paths: Paths, device: torch.device) -> Gain:
    """Score both on the same images, draw both, and keep what comes of it beside the result.

    Args:
        run: the run.
        baseline: what it is compared with.
        paths: where the data lie.
        device: where to compute.

    Raises:
        RunError: they were scored by different protocols, or on files that differ.
    """
    ranks.from_first(lambda: check_comparable(run, baseline))
    files = RunFolder(run.folder)
    known = ranks.from_first(lambda: read_gain(files.gain, run.result, baseline.result))
    if known is not None:
        return known
    opened = [open_run(one.folder, device, paths=paths) for one in (baseline, run)]
    with translated_errors():
        others, own = [_score(one) for one in opened]
        gain = _gain(baseline, run, others, own)
        ranks.from_first(lambda: _keep(files, gain, opened, (others, own)))
    return gain


def _score(opened: OpenRun) -> Evaluation:
    return evaluate(opened.inference(), opened.experiment.reported, boundary=False)


def _gain(baseline: FinishedRun, run: FinishedRun, others: Evaluation, own: Evaluation) -> Gain:
    rule = run.result.protocol["absent_classes"]
    interval = bootstrap_gain(own.counts, others.counts, seed=BOOTSTRAP_SEED, absent=rule)
    return Gain(
        baseline=baseline.recipe,
        baseline_hash=baseline.result.recipe_hash,
        differs=_differing(baseline, run),
        baseline_weights=baseline.result.weights_sha256,
        weights=run.result.weights_sha256,
        miou=run.miou - baseline.miou,
        miou_interval_95=interval,
    )


def _differing(baseline: FinishedRun, run: FinishedRun) -> tuple[str, ...]:
    """Keys of both recipes that differ, but for what the methods need not have in common."""
    other, own = (read_toml(RunFolder(one.folder).recipe) for one in (baseline, run))
    return tuple(
        key
        for key in sorted(own.keys() & other.keys())
        if own[key] != other[key] and not key.startswith(("method.", "init.", "baseline."))
    )


def _keep(
    files: RunFolder, gain: Gain, opened: list[OpenRun], scored: tuple[Evaluation, Evaluation]
) -> None:
    draw_both(files.pictures / "baseline.png", opened, scored)
    write_text(files.gain, json.dumps(plain(gain), indent=1, allow_nan=False) + "\n")
