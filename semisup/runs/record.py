"""What a run records: the content of run.json and result.json."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from semisup.data.base import SegmentationData
from semisup.data.labels.splits import Split
from semisup.evaluation.evaluate import Evaluation
from semisup.evaluation.inference import Inference
from semisup.evaluation.protocol import protocol
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import flatten
from semisup.runs.assemble import Labels
from semisup.runs.folder import RunFolder
from semisup.runs.plugins import describe_plugins
from semisup.system.device import Precision, device_name, git_state, versions
from semisup.system.files import name_with_hash
from semisup.training.state import Training


@dataclass(frozen=True)
class Finished:
    """A run that is done.

    Attributes:
        folder: where it lies.
        result: content of its result file.
        fresh: False where it had been finished before.
    """

    folder: Path
    result: dict[str, Any]
    fresh: bool


@dataclass(frozen=True)
class Job:
    """What a recipe has become on this machine.

    Attributes:
        data: the set that is trained on.
        reported: the set that is reported on.
        first: the finished run that this one starts from; None where there is none.
    """

    recipe: Recipe
    directory: RunFolder
    data: SegmentationData
    reported: SegmentationData
    labels: Labels
    device: torch.device
    precision: Precision
    first: Finished | None

    def inference(self, predictor: nn.Module) -> Inference:
        """`predictor` under the recipe's protocol."""
        return Inference(predictor, self.recipe.eval, self.device, self.precision)


def describe_split(labels: Labels) -> dict[str, Any]:
    """Name, hash and counts of a split, for run and result."""
    split = labels.split
    return {
        "name": split.name,
        "sha256": split.sha256,
        "labelled": len(split.labelled),
        "unlabelled": len(split.unlabelled),
        "held_out": len(labels.held_out),
        "class_counts": split.class_counts,
        **_describe_tags(split),
    }


def _describe_tags(split: Split) -> dict[str, Any]:
    """How many images have tags, and which; nothing where there are none."""
    if split.tags is None:
        return {}
    return {
        "tagged": len(split.weak),
        "tags": {"source": split.tags.source, "sha256": split.tags.sha256},
    }


@dataclass(frozen=True)
class Outcome:
    """What training gave.

    Attributes:
        predictor: the chosen one.
        step: steps after which it was taken.
        rule: how it was chosen.
        selected: its evaluation.
        last: evaluation of the predictor after the last step.
        seconds: that scoring took.
    """

    predictor: nn.Module
    step: int
    rule: str
    selected: Evaluation
    last: Evaluation
    seconds: float


def _result(job: Job, run: Training, outcome: Outcome, started_from: str) -> dict[str, Any]:
    """The content of the result file."""
    recipe, selected = job.recipe, outcome.selected
    return {
        "recipe": recipe.name,
        "scores": {"selected": selected.summary(), "last": outcome.last.summary()},
        "per_class": selected.per_class(),
        "confusion": selected.confusion.tolist(),
        "protocol": protocol(
            recipe.eval,
            job.reported,
            selected.ids,
            pretraining=started_from,
            selection=outcome.rule,
            precision=job.precision,
        ),
        "split": describe_split(job.labels),
        "palette": [list(colour) for colour in job.reported.palette],
        "seed": recipe.train.seed,
        **({"init": describe_first(job.first)} if job.first is not None else {}),
        "checkpoint": {
            "rule": outcome.rule,
            "step": outcome.step,
            "steps": recipe.train.steps,
        },
        "recipe_hash": recipe.digest(),
        **describe_plugins(recipe),
        "git": git_state(),
        "versions": versions(),
        "device": device_name(job.device),
        "processes": run.processes,
        "precision": job.precision,
        "time": {
            "train_seconds": round(run.seconds, 1),
            "score_seconds": round(outcome.seconds, 1),
        },
    }


def _track(recipe: Recipe, run: Training, scored: Evaluation) -> None:
    """The final scores for TensorBoard."""
    from semisup.pictures.figures import confusion_figure

    step = recipe.train.steps
    values = {f"score/{k}": v for k, v in scored.summary().items() if isinstance(v, float)}
    per_class = {
        f"score_iou/{name}": row["iou"]
        for name, row in scored.per_class().items()
        if row["iou"] is not None
    }
    metrics = {"hparam/miou": scored.scores.miou}
    with contextlib.closing(run.tracker(step, step)) as tracker:
        tracker.final(step, values | per_class)
        tracker.figure("confusion", confusion_figure(scored.confusion, scored.classes), step)
        tracker.hyperparameters(flatten(recipe.resolved()), metrics, step)


def describe_first(first: Finished) -> dict[str, Any]:
    """The run that another starts from, for the result."""
    keys = ("recipe", "recipe_hash", "seed", "split", "init")
    return {key: first.result[key] for key in keys if key in first.result}


def _started_from(job: Job) -> str:
    """The first stage's own pretraining; the labels it used are recorded under `split`."""
    if job.first is not None:
        return str(job.first.result["protocol"]["pretraining"])
    return pretraining(job.recipe)


def pretraining(recipe: Recipe) -> str:
    """What the weights started from: "none", or the file with the start of its hash."""
    if not recipe.model.weights:
        return "none"
    return name_with_hash(Path(recipe.model.weights))
