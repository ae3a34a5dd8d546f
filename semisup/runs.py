"""Run a recipe to its end."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from semisup.assemble import (
    Labels,
    Place,
    build_method,
    open_data,
    open_reported,
    prepare_networks,
    split_labels,
    stream_builder,
)
from semisup.data.base import SegmentationData
from semisup.data.splits import write_split
from semisup.engine.checkpoint import Checkpoints
from semisup.engine.evaluate import Evaluation, evaluate, protocol
from semisup.engine.inference import Inference
from semisup.engine.loop import Training, make_average, train
from semisup.engine.result import read_result, write_result
from semisup.engine.rundir import RunDirectory
from semisup.engine.runtime import (
    Precision,
    device_name,
    git_state,
    resolve_precision,
    seed_everything,
    versions,
)
from semisup.engine.selection import Selection
from semisup.engine.tracker import Tracker
from semisup.engine.updates import Updates
from semisup.engine.watch import Silent, View
from semisup.files import write_atomically, write_text
from semisup.recipe import Recipe
from semisup.sheets import draw_panel, draw_sheet
from semisup.tables import flatten


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


def run_recipe(
    recipe: Recipe,
    place: Place,
    device: torch.device,
    *,
    view: View | None = None,
    command: Sequence[str] = (),
) -> Finished:
    """Train, score and record; goes on where an earlier call was stopped.

    Args:
        recipe: what to run.
        place: where the data and the runs lie.
        device: where to compute.
        view: where a person watches.
        command: how the run was started, for the record.

    Raises:
        SemisupError: whatever a user can mend.
    """
    view = view or Silent()
    directory = RunDirectory(place.run_folder(recipe))
    known = read_result(directory.result)
    if known is not None:
        return Finished(directory.path, known, fresh=False)
    view.phase("preparing")
    data, reported = open_data(recipe, place), open_reported(recipe, place)
    labels = split_labels(recipe, data)
    run, selection, notes = _training(recipe, directory, data, reported, labels, device, view)
    started_from = pretraining(recipe)
    with directory:
        for note in notes:
            view.note(note)
        _record_start(directory, recipe, labels, device, command, notes)
        train(run)
        view.phase("scoring")
        outcome = _score(recipe, run, selection, labels, reported)
        _export(directory, outcome, recipe)
        _track(recipe, run, outcome.selected)
        result = _result(recipe, run, outcome, labels, reported, started_from)
        write_result(directory.result, result)
        draw_sheet(
            directory.pictures / "sheet.png",
            _inference(recipe, run, outcome.predictor),
            reported,
            outcome.selected,
            run.method,
            count=recipe.eval.pictures,
        )
    return Finished(directory.path, result, fresh=True)


def _training(
    recipe: Recipe,
    directory: RunDirectory,
    data: SegmentationData,
    reported: SegmentationData,
    labels: Labels,
    device: torch.device,
    view: View,
) -> tuple[Training, Selection | None, list[str]]:
    """All that the loop works on."""
    precision = resolve_precision(recipe.train.precision, device)
    seed_everything(recipe.train.seed)
    method, notes = build_method(recipe, data.num_classes)
    prepare_networks(method, recipe, device)
    updates = Updates(
        method.players(),
        recipe.optim,
        precision=precision,
        accumulate=recipe.train.accumulate,
        clip=recipe.train.clip,
    )
    selection = _selection(recipe, directory, data, reported, labels, device, precision)
    run = Training(
        method=method,
        updates=updates,
        streams=stream_builder(recipe, data, labels.training, method),
        settings=recipe.train,
        device=device,
        precision=precision,
        checkpoints=Checkpoints(directory.checkpoints),
        tracker=lambda step: Tracker(directory, step),
        fingerprint=recipe.digest(),
        checkup=selection,
        checkup_every=recipe.eval.every,
        view=view,
        average=make_average(method) if recipe.train.ema else None,
        draw=lambda batch, predictor, owner: draw_panel(batch, predictor, owner, data.palette),
    )
    return run, selection, notes


def _selection(
    recipe: Recipe,
    directory: RunDirectory,
    data: SegmentationData,
    reported: SegmentationData,
    labels: Labels,
    device: torch.device,
    precision: Precision,
) -> Selection | None:
    """Choose on held-out images where there are some; else only watch the reported ones."""
    if labels.held_out:
        keep = directory.checkpoints
        return Selection(data, labels.held_out, "held_out", keep, recipe.eval, device, precision)
    if recipe.eval.every:
        return Selection(
            reported, reported.ids, reported.subset, None, recipe.eval, device, precision
        )
    return None


def _record_start(
    directory: RunDirectory,
    recipe: Recipe,
    labels: Labels,
    device: torch.device,
    command: Sequence[str],
    notes: Sequence[str],
) -> None:
    write_text(directory.recipe, recipe.to_toml())
    write_split(directory.split, labels.split)
    facts = {
        "command": list(command) or sys.argv,
        "git": git_state(),
        "versions": versions(),
        "device": device_name(device),
        "split": describe_split(labels),
        "weights": list(notes),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    if directory.facts.is_file():  # a run that goes on keeps the record of how it began
        first = json.loads(directory.facts.read_text())
        facts = first | {"resumed": [*first.get("resumed", []), facts]}
    write_text(directory.facts, json.dumps(facts, indent=1) + "\n")


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


def _score(
    recipe: Recipe,
    run: Training,
    selection: Selection | None,
    labels: Labels,
    reported: SegmentationData,
) -> Outcome:
    """Score the last predictor and, where one was selected before it, that one."""
    began = time.perf_counter()
    predictor, step, rule = run.predictor(), recipe.train.steps, "last checkpoint"
    last = selected = evaluate(_inference(recipe, run, predictor), reported)
    if labels.held_out:
        assert selection is not None
        rule = f"best on {len(labels.held_out)} held-out labelled training images"
        if selection.best_step < step:
            step = selection.best_step
            predictor = copy.deepcopy(predictor)
            predictor.load_state_dict(selection.best())
            selected = evaluate(_inference(recipe, run, predictor), reported)
    return Outcome(predictor, step, rule, selected, last, time.perf_counter() - began)


def _result(
    recipe: Recipe,
    run: Training,
    outcome: Outcome,
    labels: Labels,
    reported: SegmentationData,
    started_from: str,
) -> dict[str, Any]:
    """The content of the result file."""
    selected = outcome.selected
    return {
        "recipe": recipe.name,
        "scores": {"selected": selected.summary(), "last": outcome.last.summary()},
        "per_class": selected.per_class(),
        "confusion": selected.confusion.tolist(),
        "protocol": protocol(
            recipe.eval,
            reported,
            selected.ids,
            pretraining=started_from,
            selection=outcome.rule,
            precision=run.precision,
        ),
        "split": describe_split(labels),
        "palette": [list(colour) for colour in reported.palette],
        "seed": recipe.train.seed,
        "checkpoint": {
            "rule": outcome.rule,
            "step": outcome.step,
            "steps": recipe.train.steps,
        },
        "recipe_hash": recipe.digest(),
        "git": git_state(),
        "versions": versions(),
        "device": device_name(run.device),
        "precision": run.precision,
        "time": {
            "train_seconds": round(run.seconds, 1),
            "score_seconds": round(outcome.seconds, 1),
        },
    }


def _inference(recipe: Recipe, run: Training, predictor: nn.Module) -> Inference:
    return Inference(predictor, recipe.eval, run.device, run.precision)


def _track(recipe: Recipe, run: Training, scored: Evaluation) -> None:
    """The final scores for TensorBoard."""
    from semisup.engine.pictures import confusion_figure

    step = recipe.train.steps
    tracker = run.tracker(step)
    values = {f"score/{k}": v for k, v in scored.summary().items() if isinstance(v, float)}
    per_class = {
        f"score_iou/{name}": row["iou"]
        for name, row in scored.per_class().items()
        if row["iou"] is not None
    }
    tracker.final(step, values | per_class)
    tracker.figure("confusion", confusion_figure(scored.confusion, scored.classes), step)
    tracker.hyperparameters(flatten(recipe.resolved()), {"hparam/miou": scored.scores.miou}, step)
    tracker.close()


def pretraining(recipe: Recipe) -> str:
    """What the weights started from: "none", or the file with the start of its hash."""
    if not recipe.model.weights:
        return "none"
    path = Path(recipe.model.weights)
    with path.open("rb") as file:
        return f"{path.name} ({hashlib.file_digest(file, 'sha256').hexdigest()[:8]})"


def _export(directory: RunDirectory, outcome: Outcome, recipe: Recipe) -> None:
    """The chosen predictor alone, for `predict`, `evaluate` and other programs."""
    state = outcome.predictor.state_dict()
    state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    # One entry: safetensors writes several in an order that changes from process to process.
    facts = json.dumps({"recipe": recipe.digest(), "step": outcome.step})
    content = save(state, metadata={"semisup": facts})
    write_atomically(directory.predictor, lambda file: file.write(content))
