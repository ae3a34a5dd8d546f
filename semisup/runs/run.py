"""Run a recipe to its end."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import save

from semisup.data.labels.splits import write_split
from semisup.data.verify import check_apart
from semisup.errors import RecipeError
from semisup.evaluation.evaluate import evaluate
from semisup.methods.base import Method
from semisup.monitoring.pseudo_labels import PseudoLabelQuality, teaches_pseudo_labels
from semisup.monitoring.tracker import Tracker, Untracked
from semisup.monitoring.view import Silent, View
from semisup.ops.teacher import Teacher
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import (
    build_method,
    open_data,
    open_reported,
    prepare_networks,
    split_labels,
    stream_builder,
)
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Place
from semisup.runs.plugins import changed_plugins, describe_plugins, refuse_changed
from semisup.runs.record import (
    Finished,
    Job,
    Outcome,
    _result,
    _started_from,
    _track,
    describe_split,
)
from semisup.runs.result import read_result, write_result
from semisup.runs.sheets import draw_panel, draw_sample_sheet, draw_sheet
from semisup.system import distributed as ranks
from semisup.system.device import (
    deterministic,
    device_name,
    git_state,
    resolve_precision,
    seed_everything,
    seed_rank,
    settle_on,
    versions,
)
from semisup.system.files import write_atomically, write_text
from semisup.system.torch_errors import translated_errors
from semisup.training.checkpoint import Checkpoints
from semisup.training.loop import train
from semisup.training.selection import Selection
from semisup.training.state import Training
from semisup.training.updates import Updates


def run_recipe(
    recipe: Recipe,
    place: Place,
    device: torch.device,
    *,
    view: View | None = None,
    command: Sequence[str] = (),
) -> Finished:
    """Train, score and record; goes on where an earlier call was stopped.

    The processes of one run (see `system.distributed.joined`) all call this; the first alone
    writes.

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
    directory = RunFolder(place.run_folder(recipe))
    known = ranks.from_first(lambda: read_result(directory.result))
    if known is not None:
        for change in changed_plugins(known):
            view.note(f"{directory.path}: {change}. Choose another --out to run it anew.")
        return Finished(directory.path, known, fresh=False)
    ranks.from_first(lambda: refuse_changed(directory.path, directory.read_facts()))
    first = _run_first_stage(recipe, place, device, view, command)
    view.phase("preparing")
    settle_on(device)
    job = ranks.first_before_others(lambda: _job(recipe, place, directory, device, first))
    with (
        translated_errors(),
        deterministic(recipe.train.deterministic),
        contextlib.ExitStack() as stack,
    ):
        run, selection, notes = _training(job, view)
        started_from = _started_from(job)  # now: the file may change while the run goes on
        ranks.from_first(lambda: _start(stack, job, command, notes))
        for note in notes:
            view.note(note)
        train(run)
        view.phase("scoring")
        outcome = _score(job, run, selection)
        result = ranks.from_first(lambda: _record_end(job, run, outcome, started_from))
    return Finished(directory.path, result, fresh=True)


def _run_first_stage(
    recipe: Recipe, place: Place, device: torch.device, view: View, command: Sequence[str]
) -> Finished | None:
    """The run that this one starts from, brought to its end where it has not come there."""
    if recipe.first is None:
        return None
    view.note(f"{recipe.name} starts from {place.run_folder(recipe.first)}")
    return run_recipe(recipe.first, place, device, view=view, command=command)


def _job(
    recipe: Recipe,
    place: Place,
    directory: RunFolder,
    device: torch.device,
    first: Finished | None,
) -> Job:
    data, reported = open_data(recipe, place), open_reported(recipe, place)
    check_apart(data, reported)
    labels = split_labels(recipe, data)
    precision = resolve_precision(recipe.train.precision, device)
    return Job(recipe, directory, data, reported, labels, device, precision, first)


def _training(job: Job, view: View) -> tuple[Training, Selection | None, list[str]]:
    """All that the loop works on."""
    recipe, directory, data = job.recipe, job.directory, job.data
    seed_everything(recipe.train.seed)
    start = RunFolder(job.first.folder).predictor if job.first is not None else None
    method, notes = build_method(recipe, data.num_classes, start)
    if method.reads.trained_weights and not (start or recipe.model.weights):
        raise RecipeError(
            f"'{recipe.method.name}' goes on from a trained network: name the recipe of its first "
            "stage in init.from, or a file in model.weights."
        )
    seed_rank(recipe.train.seed)
    prepare_networks(method, recipe, job.device)
    updates = Updates(
        method.players(),
        recipe.optim,
        precision=job.precision,
        accumulate=recipe.train.accumulate,
        clip=recipe.train.clip,
    )
    selection = _selection(job)
    run = Training(
        method=method,
        updates=updates,
        streams=stream_builder(recipe, data, job.labels.training, method, job.device),
        settings=recipe.train,
        device=job.device,
        precision=job.precision,
        checkpoints=Checkpoints(directory.checkpoints, keep=recipe.train.keep),
        tracker=lambda step, checked: (
            Tracker(directory.path, step, checked) if ranks.is_first() else Untracked()
        ),
        fingerprint=recipe.digest(),
        checkup=selection,
        checkup_every=recipe.eval.every,
        view=view,
        average=Teacher(method.predictor(), recipe.train.ema) if recipe.train.ema else None,
        draw=lambda batch, predictor, owner: draw_panel(batch, predictor, owner, data.palette),
        pseudo_labels=_pseudo_label_quality(job, method),
    )
    return run, selection, notes


def _selection(job: Job) -> Selection | None:
    """Choose on held-out images where there are some; else only watch the reported ones."""
    settings, reported = job.recipe.eval, job.reported
    on = (settings, job.device, job.precision)
    if job.labels.held_out:
        keep = job.directory.checkpoints
        return Selection(job.data, job.labels.held_out, "held_out", keep, *on)
    if settings.every:
        return Selection(reported, reported.ids, reported.subset, None, *on)
    return None


def _pseudo_label_quality(job: Job, method: Method) -> PseudoLabelQuality | None:
    """Measure pseudo-labels on held-out images where there are some; else on the reported ones."""
    if not teaches_pseudo_labels(method):
        return None
    recipe, held_out = job.recipe, job.labels.held_out
    return PseudoLabelQuality(
        job.data if held_out else job.reported,
        held_out or job.reported.ids,
        None if recipe.data.crop == "whole" else recipe.data.crop,
        job.device,
        job.precision,
        channels_last=recipe.train.channels_last,
    )


def _start(
    stack: contextlib.ExitStack, job: Job, command: Sequence[str], notes: Sequence[str]
) -> None:
    """Take the folder, until `stack` is closed, and record how the run was started."""
    directory, recipe = job.directory, job.recipe
    stack.enter_context(directory)
    write_text(directory.recipe, recipe.to_toml())
    write_split(directory.split, job.labels.split)
    facts = {
        "recipe": recipe.name,
        "command": list(command) or sys.argv,
        "git": git_state(),
        "versions": versions(),
        "device": device_name(job.device),
        "processes": ranks.world(),
        "split": describe_split(job.labels),
        **describe_plugins(recipe),
        "weights": list(notes),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    first = directory.read_facts()
    if first is not None:  # a run that goes on keeps the record of how it began
        facts = first | {"resumed": [*first.get("resumed", []), facts]}
    write_text(directory.facts, json.dumps(facts, indent=1) + "\n")


def _score(job: Job, run: Training, selection: Selection | None) -> Outcome:
    """Score the last predictor and, where one was selected before it, that one."""
    began = time.perf_counter()
    predictor, step, rule = run.predictor(), job.recipe.train.steps, "last checkpoint"
    last = selected = evaluate(job.inference(predictor), job.reported)
    if job.labels.held_out:
        assert selection is not None
        rule = f"best on {len(job.labels.held_out)} held-out labelled training images"
        if selection.best_step < step:
            step = selection.best_step
            predictor = copy.deepcopy(predictor)
            predictor.load_state_dict(ranks.from_first(selection.best))
            selected = evaluate(job.inference(predictor), job.reported)
    return Outcome(predictor, step, rule, selected, last, time.perf_counter() - began)


def _record_end(job: Job, run: Training, outcome: Outcome, started_from: str) -> dict[str, Any]:
    """Write the predictor, the result, the last scalars and the picture sheets."""
    directory, recipe = job.directory, job.recipe
    _export(directory, outcome, recipe)
    _track(recipe, run, outcome.selected)
    result = _result(job, run, outcome, started_from)
    draw_sheet(
        directory.pictures / "sheet.png",
        job.inference(outcome.predictor),
        job.reported,
        outcome.selected,
        run.method,
        count=recipe.eval.pictures,
    )
    steps, seed = recipe.train.steps, recipe.train.seed
    draw_sample_sheet(directory.pictures / "samples.png", run.method, step=steps, seed=seed)
    write_result(directory.result, result)  # last: it says that all is there
    return result


def _export(directory: RunFolder, outcome: Outcome, recipe: Recipe) -> None:
    """The chosen predictor alone, for `predict`, `evaluate` and other programs."""
    state = outcome.predictor.state_dict()
    state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    # One entry: safetensors writes several in an order that changes from process to process.
    facts = json.dumps({"recipe": recipe.digest(), "step": outcome.step})
    content = save(state, metadata={"semisup": facts})
    write_atomically(directory.predictor, lambda file: file.write(content))
