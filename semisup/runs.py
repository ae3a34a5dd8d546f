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
from semisup.engine.loop import Silent, Training, View, make_average, train
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
    with directory:
        run, selection, notes = _training(recipe, directory, data, reported, labels, device, view)
        for note in notes:
            view.note(note)
        _record_start(directory, recipe, labels, device, command, notes)
        train(run)
        view.phase("scoring")
        result = _finish(recipe, directory, run, selection, labels, reported)
        write_result(directory.result, result)
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
        checkup_every=recipe.eval.every or (recipe.train.steps if labels.held_out else 0),
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
        best = directory.checkpoints / "best.pt"
        return Selection(data, labels.held_out, "held_out", best, recipe.eval, device, precision)
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


def _finish(
    recipe: Recipe,
    directory: RunDirectory,
    run: Training,
    selection: Selection | None,
    labels: Labels,
    reported: SegmentationData,
) -> dict[str, Any]:
    """Score the last and the selected predictor, and write everything but the result file."""
    last = run.predictor()
    chosen, step = last, recipe.train.steps
    rule = "last checkpoint"
    if labels.held_out:
        assert selection is not None
        chosen = copy.deepcopy(last)
        chosen.load_state_dict(selection.best())
        step = selection.best_step
        rule = f"best on {len(labels.held_out)} held-out labelled training images"
    began = time.perf_counter()
    scored_last = _score(recipe, run, last, reported)
    same = step == recipe.train.steps
    scored = scored_last if same else _score(recipe, run, chosen, reported)
    seconds = time.perf_counter() - began
    _export(directory, chosen, recipe, step)
    sheet = directory.pictures / "sheet.png"
    draw_sheet(
        sheet,
        _inference(recipe, run, chosen),
        reported,
        scored,
        run.method,
        count=recipe.eval.pictures,
    )
    _track(recipe, run, scored)
    return {
        "recipe": recipe.name,
        "scores": {"selected": scored.summary(), "last": scored_last.summary()},
        "per_class": scored.per_class(),
        "confusion": scored.confusion.tolist(),
        "protocol": protocol(
            recipe.eval,
            reported,
            scored.ids,
            pretraining=pretraining(recipe),
            selection=rule,
        ),
        "split": describe_split(labels),
        "palette": [list(colour) for colour in reported.palette],
        "seed": recipe.train.seed,
        "checkpoint": {"rule": rule, "step": step, "steps": recipe.train.steps},
        "recipe_hash": recipe.digest(),
        "git": git_state(),
        "versions": versions(),
        "device": device_name(run.device),
        "precision": run.precision,
        "time": {"train_seconds": round(run.seconds, 1), "score_seconds": round(seconds, 1)},
    }


def _inference(recipe: Recipe, run: Training, predictor: nn.Module) -> Inference:
    return Inference(predictor, recipe.eval, run.device, run.precision)


def _score(
    recipe: Recipe, run: Training, predictor: nn.Module, reported: SegmentationData
) -> Evaluation:
    return evaluate(_inference(recipe, run, predictor), reported)


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
    tracker.hyperparameters(flatten(recipe.resolved()), {"hparam/miou": scored.scores.miou})
    tracker.close()


def pretraining(recipe: Recipe) -> str:
    """What the weights started from: "none", or the file with the start of its hash."""
    if not recipe.model.weights:
        return "none"
    path = Path(recipe.model.weights)
    with path.open("rb") as file:
        return f"{path.name} ({hashlib.file_digest(file, 'sha256').hexdigest()[:8]})"


def _export(directory: RunDirectory, predictor: nn.Module, recipe: Recipe, step: int) -> None:
    """The chosen predictor alone, for `predict`, `evaluate` and other programs."""
    state = {k: v.detach().cpu().contiguous() for k, v in predictor.state_dict().items()}
    # One entry: safetensors writes several in an order that changes from process to process.
    facts = json.dumps({"recipe": recipe.digest(), "step": step})
    content = save(state, metadata={"semisup": facts})
    write_atomically(directory.predictor, lambda file: file.write(content))
