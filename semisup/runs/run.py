"""Run a recipe to its end."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save

from semisup.data.labels.pseudo_masks import RECORD
from semisup.data.labels.splits import write_split
from semisup.evaluation.evaluate import Evaluation, evaluate
from semisup.evaluation.objects import evaluate_objects
from semisup.models.layers import dropout_layers
from semisup.monitoring.pseudo_labels import PseudoLabelQuality, teaches_pseudo_labels
from semisup.monitoring.tracker import Tracker, Untracked
from semisup.monitoring.view import Silent, View
from semisup.ops.teacher import Teacher
from semisup.recipe.difference import describing
from semisup.recipe.load import load_baseline
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import (
    check_method,
    criterion_of,
    prepare_networks,
    regulariser_of,
    stream_builder,
    weights_of_classes,
)
from semisup.runs.baseline.compare import compare
from semisup.runs.baseline.counts import write_counts
from semisup.runs.data.identity import (
    check_finished,
    of_other_length,
    refuse_changed_data,
    refuse_other_data,
    write_files,
)
from semisup.runs.data.parts import check_facts, check_result, run_digest
from semisup.runs.data.untouched import State, folders_of, keep_state, state_of
from semisup.runs.experiment import Experiment
from semisup.runs.folder import RunFolder
from semisup.runs.label import label_run
from semisup.runs.paths import Paths
from semisup.runs.plugins import changed_plugins, refuse_changed
from semisup.runs.record import (
    ScoredPredictor,
    describe_split,
    read_facts,
    recorded_data,
    recorded_plugins,
    recorded_split,
    refuse_other_weights,
    result_of_run,
    started_from,
    write_detections,
    write_facts,
)
from semisup.runs.reopen import open_run
from semisup.runs.result import DataRecord, FinishedRun, Result, plain, read_result, write_result
from semisup.runs.sheets import draw_panel, draw_sample_sheet, draw_sheet
from semisup.system import distributed as ranks
from semisup.system.device import deterministic, seed_everything, seed_rank, settle_on
from semisup.system.files import write_atomically, write_text
from semisup.system.torch_errors import translated_errors
from semisup.system.words import counted
from semisup.training.checkpoint import Checkpoints
from semisup.training.loop import train
from semisup.training.resume import check_of_run
from semisup.training.selection import Selection
from semisup.training.state import TrainingState
from semisup.training.updates import Updates


def run_recipe(
    recipe: Recipe,
    paths: Paths,
    device: torch.device,
    *,
    view: View | None = None,
    command: Sequence[str] = (),
) -> FinishedRun:
    """Train, score and record; goes on where an earlier call was stopped.

    The processes of one run (see `system.distributed.joined`) all call this; the first alone
    writes.

    Args:
        recipe: what to run.
        paths: where the data and the runs lie.
        device: where to compute.
        view: where a person watches.
        command: how the run was started, for the record.

    Raises:
        SemisupError: whatever a user can mend.
    """
    view = view or Silent()
    baseline = load_baseline(recipe)
    _check_ahead(recipe, paths, another_first=baseline is not None)
    if baseline is None:
        return _run(recipe, paths, device, view, command)
    _check_ahead(baseline, paths)
    view.note(f"{recipe.name} is compared with {paths.run_folder(baseline)}")
    other = _run(baseline, paths, device, view, command)
    done = _run(recipe, paths, device, view, command)
    view.phase("comparing")
    return replace(done, baseline=other, gain=compare(done, other, paths, device))


def _check_ahead(recipe: Recipe, paths: Paths, another_first: bool = False) -> None:
    """Refuse what is wrong in a recipe or its stages now, and not after another run.

    Args:
        recipe: of the run.
        paths: where it lies: a finished one has nothing to be refused.
        another_first: whether another run goes before it, beside its own first stage.
    """
    if RunFolder(paths.run_folder(recipe)).result.is_file():
        return
    if another_first or recipe.first is not None:
        check_method(recipe)
    if recipe.first is not None:
        _check_ahead(recipe.first, paths)


def _run(
    recipe: Recipe, paths: Paths, device: torch.device, view: View, command: Sequence[str]
) -> FinishedRun:
    """Train, score and record one recipe, after its first stage."""
    folder = RunFolder(paths.run_folder(recipe))
    known, notes = ranks.from_first(lambda: _read_known(folder, recipe, paths))
    if known is not None:
        for note in notes:
            view.note(note)
        for change in changed_plugins(known.plugins):
            view.note(
                f"{folder.path}: {change}. Choose another folder of runs (--out) to run it anew."
            )
        return FinishedRun(folder.path, folder.result, known, fresh=False, notes=tuple(notes))
    ranks.from_first(
        lambda: refuse_changed(folder.path, recorded_plugins(read_facts(folder.facts)))
    )
    first = _run_first_stage(recipe, paths, device, view, command)
    if recipe.pseudo_masks:
        view.phase("labelling")
        ranks.first_before_others(lambda: _label(recipe, paths, device))
    view.opened(recipe.name, folder.path)
    note = ranks.from_first(lambda: _of_other_length(folder, recipe))
    if note:
        view.note(note)
    view.phase("preparing")
    settle_on(device)
    recorded = ranks.from_first(lambda: _recorded(folder, recipe))
    images = None if recorded is None else recorded.images
    experiment = Experiment(recipe, paths, device, first, stated_images=images)
    state_of_data = ranks.from_first(lambda: _state(experiment))
    ranks.first_before_others(lambda: _open(experiment, recorded))
    with (
        translated_errors(),
        deterministic(recipe.train.deterministic),
        contextlib.ExitStack() as stack,
    ):
        state, selection = _prepare(experiment, view)
        origin = started_from(experiment)  # now: the file may change while the run goes on
        ranks.from_first(lambda: _start(stack, experiment, state, command, origin))
        for note in experiment.weight_notes:
            view.note(note)
        for doubt in experiment.doubts:
            view.warned(doubt)
        train(state)
        view.phase("scoring")
        scored = _score(experiment, state, selection)
        result = ranks.from_first(lambda: _record_end(experiment, state, scored, origin))
        if ranks.is_first():
            keep_state(folder, state_of_data, _sets(experiment))
    return FinishedRun(folder.path, folder.result, result, fresh=True)


def _read_known(folder: RunFolder, recipe: Recipe, paths: Paths) -> tuple[Result | None, list[str]]:
    """The result of a run that is finished, if its data have not changed since; else a note."""
    result = read_result(folder.result)
    if result is not None:
        check_result(folder.result, result, recipe)
        sets = {} if result.data is None else folders_of(paths.data_of(recipe), result.data)
        state = state_of(recipe, sets.values())  # before they are compared
        notes = check_finished(folder, recipe, result, paths)
        if sets and not notes:
            keep_state(folder, state, sets)
        return result, notes
    return None, []


def _recorded(folder: RunFolder, recipe: Recipe) -> DataRecord | None:
    """The data that a run was begun with; None for one that begins."""
    facts = read_facts(folder.facts)
    check_facts(folder.facts, facts, recipe)
    return recorded_data(facts)


def _state(experiment: Experiment) -> State:
    """The state of the data, before anything is read of them."""
    return state_of(experiment.recipe, _sets(experiment).values())


def _sets(experiment: Experiment) -> dict[str, Path]:
    """The folders of the sets, as `folders_of` names them."""
    return {"trained": experiment.data.root, "reported": experiment.reported.root}


def _open(experiment: Experiment, recorded: DataRecord | None) -> None:
    """Open all that training reads; classes and ids are compared before a mask is opened."""
    if recorded is not None:
        refuse_other_data(experiment.folder, recorded, experiment.outline())
    experiment.open_for_training()


def _of_other_length(folder: RunFolder, recipe: Recipe) -> str:
    """What is to be said before a run begins beside one of another number of steps."""
    return "" if folder.facts.is_file() else of_other_length(folder.path, recipe)


def _run_first_stage(
    recipe: Recipe, paths: Paths, device: torch.device, view: View, command: Sequence[str]
) -> FinishedRun | None:
    """The run that this one starts from, brought to its end where it has not come there."""
    if recipe.first is None:
        return None
    view.note(f"{recipe.name} starts from {paths.run_folder(recipe.first)}")
    return _run(recipe.first, paths, device, view, command)


def _label(recipe: Recipe, paths: Paths, device: torch.device) -> None:
    """Write the pseudo-masks that the first stage makes of the images that it has no mask of.

    They lie in its folder, for all runs that start from it.
    """
    assert recipe.first is not None
    out = paths.pseudo_masks(recipe)
    if (out / RECORD).is_file():
        return
    opened = open_run(paths.run_folder(recipe.first), device, paths=paths)
    label_run(opened, out, threshold=recipe.init.threshold)


def _prepare(experiment: Experiment, view: View) -> tuple[TrainingState, Selection | None]:
    """All that the loop works on."""
    recipe, folder, data = experiment.recipe, experiment.folder, experiment.data
    device, precision = experiment.device, experiment.precision
    seed_everything(recipe.train.seed)
    method = experiment.method
    if recipe.eval.samples:
        dropout_layers(method.predictor())
    method.class_weights = weights_of_classes(recipe, data, experiment.labels, method)
    method.criterion = criterion_of(recipe, method)
    method.regulariser = regulariser_of(recipe, method, experiment.images)
    seed_rank(recipe.train.seed)
    prepare_networks(method, recipe, device)
    updates = Updates(
        method.players(),
        recipe.optim,
        precision=precision,
        accumulate=recipe.train.accumulate,
        clip=recipe.train.clip,
    )
    selection = _selection(experiment)
    state = TrainingState(
        method=method,
        updates=updates,
        streams=stream_builder(recipe, data, experiment.labels, method, device),
        settings=recipe.train,
        device=device,
        precision=precision,
        checkpoints=Checkpoints(folder.checkpoints, keep=recipe.train.keep),
        tracker=lambda step, checked: (
            Tracker(folder.path, step, checked) if ranks.is_first() else Untracked()
        ),
        fingerprint=recipe.digest(),
        of_run=ranks.from_first(lambda: run_digest(recipe.train.seed, experiment.identity.record)),
        images=experiment.images,
        checkup=selection,
        checkup_every=recipe.eval.every,
        view=view,
        average=Teacher(method.predictor(), recipe.train.ema) if recipe.train.ema else None,
        draw=lambda batch, predictor, owner: draw_panel(
            batch, predictor, owner, data.classes, data.palette, experiment.images
        ),
        pseudo_labels=_pseudo_label_quality(experiment),
    )
    return state, selection


def _selection(experiment: Experiment) -> Selection | None:
    """Choose on held-out images where there are some; else only watch a subset."""
    settings, held_out = experiment.recipe.eval, experiment.labels.held_out
    on = (settings, experiment.device, experiment.precision, experiment.images)
    applied = experiment.applied
    if held_out:
        keep = experiment.folder.checkpoints
        return Selection(experiment.data, held_out, "held_out", keep, *on, applied=applied)
    if settings.every:
        watched = experiment.watched
        return Selection(watched, watched.ids, watched.subset, None, *on, applied=applied)
    return None


def _pseudo_label_quality(experiment: Experiment) -> PseudoLabelQuality | None:
    """Measure pseudo-labels on held-out images where there are some; else on the reported ones."""
    if not teaches_pseudo_labels(experiment.method):
        return None
    recipe, held_out = experiment.recipe, experiment.labels.held_out
    return PseudoLabelQuality(
        experiment.data if held_out else experiment.reported,
        held_out or experiment.reported.ids,
        None if recipe.data.crop == "whole" else recipe.data.crop,
        experiment.device,
        experiment.precision,
        channels_last=recipe.train.channels_last,
        images=experiment.images,
    )


def _start(
    stack: contextlib.ExitStack,
    experiment: Experiment,
    state: TrainingState,
    command: Sequence[str],
    origin: str,
) -> None:
    """Take the folder, until `stack` is closed, and record how the run was started."""
    folder = experiment.folder
    stack.enter_context(folder)
    facts = read_facts(folder.facts)
    if facts is None and (saved := state.checkpoints.latest()) is not None:
        # Before the record is made anew: it would be of other data than the checkpoints.
        check_of_run(folder.checkpoints, saved, state.fingerprint, state.of_run)
    refuse_other_data(folder, recorded_data(facts), experiment.identity)
    refuse_changed_data(
        folder.path, recorded_split(facts), plain(describe_split(experiment.labels))
    )
    refuse_other_weights(folder.facts, facts, origin)
    write_files(folder.files, experiment.identity)
    write_text(folder.recipe, experiment.recipe.to_toml())
    write_split(folder.split, experiment.labels.split)
    write_facts(folder.facts, experiment, command, experiment.weight_notes, origin)


def _score(
    experiment: Experiment, state: TrainingState, selection: Selection | None
) -> ScoredPredictor:
    """Score the last predictor and, where one was selected before it, that one."""
    began = time.perf_counter()
    held_out, reported = experiment.labels.held_out, experiment.reported
    predictor, step, rule = state.predictor(), experiment.recipe.train.steps, "last checkpoint"
    last = selected = evaluate(experiment.inference(predictor), reported)
    if held_out:
        assert selection is not None
        rule = f"best on {counted(len(held_out), 'held-out labelled training image')}"
        if selection.best_step < step:
            step = selection.best_step
            predictor = copy.deepcopy(predictor)
            predictor.load_state_dict(ranks.from_first(lambda: selection.best(state.facts())))
            selected = evaluate(experiment.inference(predictor), reported)
    objects = evaluate_objects(experiment.inference(predictor), reported)
    seconds = time.perf_counter() - began
    return ScoredPredictor(predictor, step, rule, selected, last, objects, seconds)


def _record_end(
    experiment: Experiment, state: TrainingState, scored: ScoredPredictor, origin: str
) -> Result:
    """Write the predictor, the result, the last scalars and the picture sheets."""
    folder, recipe = experiment.folder, experiment.recipe
    _export(folder, scored, experiment, state.fingerprint)
    _track(recipe, state, scored.selected)
    write_detections(folder.detections, scored.objects)
    result = result_of_run(experiment, state, scored, origin)
    write_counts(folder.counts, scored.selected, result.weights_sha256)
    draw_sheet(
        folder.pictures / "sheet.png",
        experiment.inference(scored.predictor),
        experiment.reported,
        scored.selected,
        state.method,
        count=recipe.eval.pictures,
    )
    steps, seed = recipe.train.steps, recipe.train.seed
    draw_sample_sheet(folder.pictures / "samples.png", state.method, step=steps, seed=seed)
    write_result(folder.result, result)  # last: it says that all is there
    return result


def _track(recipe: Recipe, state: TrainingState, scored: Evaluation) -> None:
    """The final scores for TensorBoard."""
    from semisup.pictures.figures import confusion_figure

    step = recipe.train.steps
    values = {f"score/{k}": v for k, v in scored.summary().items() if isinstance(v, float)}
    per_class = {f"score_iou/{name}": iou for name, iou in scored.iou().items() if iou is not None}
    with contextlib.closing(state.tracker(step, step)) as tracker:
        tracker.final(step, values | per_class)
        tracker.figure("confusion", confusion_figure(scored.confusion, scored.classes), step)
        tracker.hyperparameters(describing(recipe), {"score/miou": scored.scores.miou})


def _export(
    folder: RunFolder, scored: ScoredPredictor, experiment: Experiment, recipe_hash: str
) -> None:
    """The chosen predictor with its normalisation, for `predict`, `evaluate`, other programs."""
    state = scored.predictor.state_dict()
    state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    # One entry: safetensors writes several in an order that changes from process to process.
    facts = json.dumps(
        {
            "recipe": recipe_hash,
            "step": scored.step,
            "images": plain(experiment.images),
        }
    )
    content = save(state, metadata={"semisup": facts})
    write_atomically(folder.predictor, lambda file: file.write(content))
