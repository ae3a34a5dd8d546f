"""What a run records: the contents of run.json and result.json, for `run` and `evaluate` alike."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from semisup.data.base import Colour, SegmentationData
from semisup.errors import RunError
from semisup.evaluation.evaluate import Evaluation
from semisup.evaluation.objects import ObjectEvaluation
from semisup.evaluation.protocol import protocol
from semisup.models.weights import weights_sha256
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import Labels, weights_name
from semisup.runs.data.identity import SetIdentity
from semisup.runs.experiment import Experiment
from semisup.runs.plugins import describe_plugins
from semisup.runs.result import (
    ChosenCheckpoint,
    DataRecord,
    FilesRecord,
    FinishedRun,
    FirstStage,
    ObjectScores,
    Result,
    RunRecord,
    ScoredPredictors,
    Scores,
    Seconds,
    SplitRecord,
    TagsRecord,
    name_of_masks,
    plain,
)
from semisup.system import distributed as ranks
from semisup.system.device import device_name, git_state, versions
from semisup.system.files import write_text
from semisup.training.state import TrainingState

_RECIPE = "recipe"
_RESUMED = "resumed"
_SPLIT = "split"
_PLUGINS = "plugins"
_DATA = "data"
_PALETTE = "palette"
_ORIGIN = "started_from"
_INIT = "init"
"""Keys of run.json that are read again."""

_DATA_RECORD = TypeAdapter(DataRecord)
_SPLIT_RECORD = TypeAdapter(SplitRecord)
_INIT_RECORD: TypeAdapter[FirstStage | None] = TypeAdapter(FirstStage | None)
_PALETTE_RECORD = TypeAdapter(tuple[Colour, ...])


@dataclass(frozen=True)
class ScoredPredictor:
    """The predictor that a training gave, with its scores.

    Attributes:
        predictor: the chosen one.
        step: steps after which it was taken.
        rule: how it was chosen.
        selected: its evaluation.
        last: evaluation of the predictor after the last step.
        objects: what the chosen one finds; None where none are looked for.
        seconds: that scoring took.
    """

    predictor: nn.Module
    step: int
    rule: str
    selected: Evaluation
    last: Evaluation
    objects: ObjectEvaluation | None
    seconds: float


def write_facts(
    path: Path,
    experiment: Experiment,
    command: Sequence[str],
    notes: Sequence[str],
    origin: str,
) -> None:
    """Write run.json: how a run was started, and below that each time that it went on.

    Args:
        path: of the file.
        experiment: that starts.
        command: how it was started; empty: as this process was.
        notes: what was read of the weights to start from.
        origin: what these are, as `started_from` says.
    """
    facts: dict[str, Any] = {
        _RECIPE: experiment.recipe.name,
        "recipe_hash": experiment.recipe.digest(),
        "seed": experiment.recipe.train.seed,
        "command": list(command) or sys.argv,
        "git": git_state(),
        "versions": versions(),
        "device": device_name(experiment.device),
        "processes": ranks.world(),
        _SPLIT: plain(describe_split(experiment.labels)),
        _DATA: plain(experiment.identity.record),
        _PALETTE: plain(experiment.reported.palette),
        _ORIGIN: origin,
        **({_INIT: plain(describe_first(experiment.first))} if experiment.first else {}),
        **({_PLUGINS: plugins} if (plugins := describe_plugins(experiment.recipe)) else {}),
        "weights": list(notes),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    first = read_facts(path)
    if first is not None:  # a run that goes on keeps the record of how it began
        facts = first | {_RESUMED: [*first.get(_RESUMED, []), facts]}
    write_text(path, json.dumps(facts, indent=1) + "\n")


def read_facts(path: Path) -> dict[str, Any] | None:
    """The content of run.json; None for a run that begins.

    Raises:
        RunError: the file is damaged.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not isinstance(facts.get(_RESUMED, []), list):
        raise RunError(
            f"{path}: cannot be read. Delete it, and the run goes on without the record "
            "of how it was begun."
        )
    return facts


def recorded_split(facts: dict[str, Any] | None) -> Any:
    """The split that run.json states, as plain values; None where there is none."""
    return None if facts is None else facts.get(_SPLIT)


def recorded_data(facts: dict[str, Any] | None) -> DataRecord | None:
    """The data that run.json states, and where they lay when the run last went on."""
    if facts is None:
        return None
    latest = [entry for entry in facts.get(_RESUMED, []) if isinstance(entry, dict)][-1:]
    for stated in (*latest, facts):
        with contextlib.suppress(ValidationError):
            return _DATA_RECORD.validate_python(stated.get(_DATA))
    return None


def refuse_other_weights(path: Path, facts: dict[str, Any] | None, origin: str) -> None:
    """Refuse to go on with a run whose weights to start from have changed since it was begun.

    The digest of a recipe knows a file by its content, and torchvision's weights by that word
    alone, so that a run finds its folder where they are not fetched yet.

    Args:
        path: of run.json.
        facts: its content; None for a run that begins.
        origin: what the weights are now, as `started_from` says.

    Raises:
        RunError: they are others.
    """
    recorded = (facts or {}).get(_ORIGIN)
    if isinstance(recorded, str) and recorded.split()[-1:] != origin.split()[-1:]:  # the hash
        raise RunError(
            f"{path}: the run was begun from {recorded}, and now it would be from {origin}. Put "
            "that file back, or choose another folder of runs (--out)."
        )


def record_of_stopped(
    folder: Path, experiment: Experiment, facts: dict[str, Any] | None, state: Mapping[str, Any]
) -> RunRecord:
    """What is known of a run that is not finished, from its run.json and a checkpoint.

    Args:
        folder: of the run.
        experiment: its recipe on this machine.
        facts: the content of its run.json.
        state: of the checkpoint.

    Raises:
        RunError: run.json is not there, or lacks what a result states.
    """
    stated, recipe = facts or {}, experiment.recipe
    data = recorded_data(facts)
    try:
        if data is None:
            raise KeyError(_DATA)
        split = _SPLIT_RECORD.validate_python(stated[_SPLIT])
        return RunRecord(
            recipe=recipe.name,
            classes=data.reported.classes,
            palette=_PALETTE_RECORD.validate_python(stated[_PALETTE]),
            pretraining=str(stated[_ORIGIN]),
            training_masks=name_of_masks(split.masks),
            split=split,
            seed=recipe.train.seed,
            checkpoint=chosen_step(int(state["step"]), recipe),
            recipe_hash=str(state["recipe"]),
            processes=list(state.get("processes", ())),
            train_seconds=round(float(state["seconds"]), 1),
            init=_INIT_RECORD.validate_python(stated.get(_INIT)),
            plugins=recorded_plugins(facts),
            data=data,
        )
    except (ValidationError, KeyError, TypeError, ValueError):
        raise RunError(
            f"{folder / 'run.json'}: does not say what the run was begun with. Go on with "
            "'semisup run RECIPE', which writes it."
        ) from None


def chosen_step(step: int, recipe: Recipe) -> ChosenCheckpoint:
    """A checkpoint that was named by hand."""
    return ChosenCheckpoint(f"step {step}, as named", step, recipe.train.steps)


def recorded_plugins(facts: dict[str, Any] | None) -> Any:
    """The plug-ins that run.json states; None where there are none."""
    return None if facts is None else facts.get(_PLUGINS)


def recipe_in(facts: dict[str, Any]) -> str | None:
    """The name of the recipe that run.json states, if it does."""
    name = facts.get(_RECIPE)
    return None if name is None else str(name)


def result_of_run(
    experiment: Experiment, state: TrainingState, scored: ScoredPredictor, started_from: str
) -> Result:
    """The result of a training.

    Args:
        experiment: that was trained.
        state: of the training, after its last step.
        scored: the predictor that it gave.
        started_from: what its weights started from, as read before the training.
    """
    recipe, first = experiment.recipe, experiment.first
    return Result(
        recipe=recipe.name,
        scores=ScoredPredictors(_scores(scored.selected), _scores(scored.last)),
        per_class=scored.selected.per_class(),
        confusion=scored.selected.confusion.tolist(),
        protocol=protocol(
            recipe.eval,
            experiment.reported,
            scored.selected.ids,
            pretraining=started_from,
            selection=scored.rule,
            precision=experiment.precision,
            training_masks=name_of_masks(describe_split(experiment.labels).masks),
        ),
        split=describe_split(experiment.labels),
        palette=tuple(experiment.reported.palette),
        seed=recipe.train.seed,
        init=None if first is None else describe_first(first),
        checkpoint=ChosenCheckpoint(scored.rule, scored.step, recipe.train.steps),
        recipe_hash=state.fingerprint,  # a list that it names may have changed since
        plugins=describe_plugins(recipe) or None,
        git=git_state(),
        versions=versions(),
        device=device_name(experiment.device),
        processes=state.processes,
        precision=experiment.precision,
        time=Seconds(round(state.seconds, 1), round(scored.seconds, 1)),
        data=experiment.identity.record,
        objects=scores_of_objects(scored.objects, experiment.folder.detections),
        weights_sha256=weights_sha256(scored.predictor.state_dict()),
    )


def result_of_evaluation(
    run: RunRecord,
    experiment: Experiment,
    reported: SegmentationData,
    identity: SetIdentity,
    scored: Evaluation,
    seconds: float,
    weights: str,
) -> Result:
    """The result of scoring a run again.

    Args:
        run: what is known of it.
        experiment: as it was reopened, with the protocol by which it was scored.
        reported: what it was scored on.
        identity: of that set.
        scored: its evaluation.
        seconds: that scoring took.
        weights: hash of the predictor that was scored.
    """
    return Result(
        recipe=run.recipe,
        scores=ScoredPredictors(_scores(scored)),
        per_class=scored.per_class(),
        confusion=scored.confusion.tolist(),
        protocol=protocol(
            experiment.recipe.eval,
            reported,
            scored.ids,
            pretraining=run.pretraining,
            selection=run.checkpoint.rule,
            precision=experiment.precision,
            training_masks=run.training_masks,
        ),
        split=run.split,
        palette=run.palette,
        seed=run.seed,
        checkpoint=run.checkpoint,
        recipe_hash=run.recipe_hash,
        git=git_state(),
        versions=versions(),
        device=device_name(experiment.device),
        processes=run.processes,
        precision=experiment.precision,
        time=Seconds(run.train_seconds, round(seconds, 1)),
        init=run.init,
        plugins=run.plugins,
        data=DataRecord(
            identity.record,
            None if run.data is None else run.data.trained,
            experiment.images,
        ),
        weights_sha256=weights,
    )


def scores_of_objects(scored: ObjectEvaluation | None, path: Path) -> ObjectScores | None:
    """What a result states of the objects that were found; None where none are looked for.

    Args:
        scored: the objects.
        path: of the file of detections.
    """
    return None if scored is None else ObjectScores(scored.box, scored.mask, path.name)


def write_detections(path: Path, scored: ObjectEvaluation | None) -> None:
    """Write the objects that were found, as COCO's results; nothing where none are looked for."""
    if scored is not None:
        write_text(path, json.dumps(scored.detections) + "\n")


def _scores(scored: Evaluation) -> Scores:
    return replace(
        Scores(**scored.summary()), miou_interval_95=scored.interval, absent=scored.absent
    )


def describe_split(labels: Labels) -> SplitRecord:
    """Name, hash and counts of a split, for run and result."""
    split, weak = labels.split, labels.weak
    tags = split.tags
    return SplitRecord(
        name=split.name,
        sha256=split.sha256,
        labelled=len(split.labelled),
        unlabelled=len(labels.pool.ids),
        held_out=len(labels.held_out),
        class_counts=split.class_counts,
        tagged=None if tags is None else len(split.weak),
        tags=None if tags is None else TagsRecord(tags.source, tags.sha256),
        unlabelled_from=FilesRecord(**labels.pool.source),
        masks=FilesRecord(**labels.masks) if labels.masks else None,
        weak_masks=None if weak is None else FilesRecord(**weak.source),
        weakly_labelled=None if weak is None else len(weak.ids),
    )


def describe_first(first: FinishedRun) -> FirstStage:
    """The run that another starts from, for the result."""
    result = first.result
    return FirstStage(result.recipe, result.recipe_hash, result.seed, result.split, result.init)


def started_from(experiment: Experiment) -> str:
    """What the weights of the first stage started from; its labels are recorded in its split."""
    if experiment.first is None:
        return weights_name(experiment.recipe)
    before = experiment.first.result.pretraining
    if experiment.recipe.init.weights:
        return before
    own = weights_name(experiment.recipe)
    return own if own == before else f"{own}, pseudo-masks from {before}"
