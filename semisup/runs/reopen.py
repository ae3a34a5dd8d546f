"""Open a run: to predict, to score it in another way or on other data, to inspect its networks."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from semisup.data.base import Colour, SegmentationData
from semisup.errors import CheckpointError, RecipeError, RunError, suggest
from semisup.evaluation.class_by_class import check_by_class
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.inference import Inference
from semisup.evaluation.objects import ObjectEvaluation, evaluate_objects
from semisup.evaluation.predict import Predictor
from semisup.methods.base import Method
from semisup.models.layers import channels_last_of
from semisup.models.weights import weights_sha256
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.recipe.load import load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.baseline.counts import write_counts
from semisup.runs.data.parts import check_predictor, check_step, run_digest
from semisup.runs.data.scored import ScoredSet, find_data, open_scored, open_submission
from semisup.runs.experiment import Experiment
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.plugins import changed_plugins, check_loaded
from semisup.runs.record import (
    chosen_step,
    read_facts,
    recipe_in,
    record_of_stopped,
    recorded_data,
    recorded_plugins,
    result_of_evaluation,
    scores_of_objects,
    write_detections,
)
from semisup.runs.result import (
    DataRecord,
    FinishedRun,
    Result,
    RunRecord,
    SetRecord,
    read_result,
    write_result,
)
from semisup.system import distributed as ranks
from semisup.system.device import settle_on
from semisup.system.torch_errors import translated_errors
from semisup.training.checkpoint import Checkpoints, load_state, saved_path, saved_steps

_OF_TRAINING = ("eval.hold_out", "eval.every", "eval.watch")
"""Keys of [eval] by which a training chose its predictor."""


@dataclass(frozen=True)
class OpenRun:
    """A run, ready to predict and to be scored again.

    Attributes:
        experiment: its recipe on this machine.
        network: the chosen predictor, on the device, in eval mode.
        run: what is known of it, with the step that the network is of.
        result: all that its result file states; None for a run that is not finished.
        weights: hash of the network's weights.
        changes: of the protocol, with which it was opened.
        step: of the checkpoint that was named; None: the chosen predictor.
        forced: classes to segment regardless of what the classifier finds; empty: those it finds.
    """

    experiment: Experiment
    network: nn.Module
    run: RunRecord
    result: Result | None = None
    weights: str = ""
    changes: tuple[str, ...] = ()
    step: int | None = None
    forced: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.experiment.folder.path

    @property
    def recipe(self) -> Recipe:
        """Its recipe, with the changed protocol where it was opened with one."""
        return self.experiment.recipe

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""
        return self.run.classes

    @property
    def palette(self) -> tuple[Colour, ...]:
        """K colours."""
        return self.run.palette

    def identity(self) -> dict[str, Any]:
        """What a prediction of this run depends on beside the image."""
        return {
            "recipe": self.recipe.name,
            "recipe_hash": self.run.recipe_hash,
            "seed": self.run.seed,
            "step": self.run.checkpoint.step,
            "weights": self.weights,
            "eval": self.recipe.eval.model_dump(mode="json"),
            **({"forced": list(self.forced)} if self.forced else {}),
        }

    def forcing(self, names: Sequence[str]) -> OpenRun:
        """The same run, which from now on segments just these classes, whatever it identifies.

        Raises:
            RecipeError: it does not segment class by class, or a name is none of its classes.
        """
        network = check_by_class(self.network, "classes to segment (--classes)")
        known = self.classes[1:]
        for name in names:
            if name not in known:
                raise RecipeError(
                    f"classes to segment (--classes): none is called '{name}'."
                    f"{suggest(name, known)}"
                )
        network.force_classes([self.classes.index(name) for name in names])
        return replace(self, forced=tuple(sorted(set(names))))

    @property
    def images(self) -> ImageFormat:
        """What the values of the images are, and how the network sees them normalised."""
        return self.experiment.images

    @property
    def applies_exif(self) -> bool:
        """Whether photographs are turned as their EXIF says: not where `data.exif` ignored it."""
        return self.recipe.data_options.get("exif") != "ignore"

    def inference(self) -> Inference:
        """The network under the run's own protocol."""
        return self.experiment.inference(self.network)

    def scored_set(self, subset: str = "", changes: Sequence[str] = ()) -> ScoredSet:
        """What it is scored on; see `open_scored`."""
        own = self.experiment
        return open_scored(own.folder, own.recipe, self.run, own.paths, subset, changes)

    def submission_set(self, subset: str) -> SegmentationData:
        """A subset of its own data set, of which no mask is read; see `open_submission`."""
        own = self.experiment
        return open_submission(own.folder, own.recipe, self.run, own.paths, subset)

    def predictor(self) -> Predictor:
        """What labels images in memory by the run's own protocol."""
        return Predictor(self.inference(), self.classes, self.palette, apply_exif=self.applies_exif)


def open_run(
    folder: Path,
    device: torch.device,
    changes: Sequence[str] = (),
    *,
    paths: Paths | None = None,
    step: int | None = None,
) -> OpenRun:
    """Open a finished run, or a checkpoint of any.

    Args:
        folder: `runs/<recipe>/<hash>-s<seed>`.
        device: where to put the network.
        changes: `eval.key=value` changes of the protocol.
        paths: where the data lie; None: where they lay when the run last went on.
        step: of a kept checkpoint, of a run that may not be finished; None: the chosen predictor.

    Raises:
        RunError: no run lies there, it is not finished, or it has no checkpoint of that step.
        CheckpointError: the weights are damaged or of another network.
        RecipeError: a change of anything but [eval].
    """
    for change in changes:
        if not change.startswith("eval."):
            raise RecipeError(
                f"--set {change}: a finished run can be scored in another way but not changed; "
                "only eval.* can be set."
            )
        if change.startswith(_OF_TRAINING):
            raise RecipeError(
                f"--set {change}: a run chose its predictor by this while it was trained. Leave it "
                "out, or take another predictor with --step."
            )
    files = RunFolder(folder)
    result = read_result(files.result)
    if result is None and (step is None or not files.recipe.is_file()):
        raise RunError(_not_finished(files))
    facts = read_facts(files.facts) if result is None else None
    check_loaded(folder, recorded_plugins(facts) if result is None else result.plugins)
    data = recorded_data(facts) if result is None else result.data
    stated = recipe_in(facts or {}) if result is None else result.recipe
    # Where the record was deleted, the folder of the run still has the last part of the name.
    name = stated or folder.absolute().parent.name
    recipe = replace(load_recipe(str(files.recipe), changes), name=name)
    experiment = _reopened(folder, recipe, device, paths, data, result)
    state = None if step is None else _read_step(files, step)
    run = _record(folder, experiment, facts, result, state)
    if state is not None and step is not None:
        of_run = "" if run.data is None else run_digest(run.seed, run.data)
        check_step(_path_of_step(files, step), state, step, _hash_of(facts, result), of_run)
    network = experiment.method.predictor()
    _load_predictor(network, files, recipe.model.name, state)
    weights = weights_sha256(network.state_dict())
    if state is None and result is not None:
        check_predictor(files, result, weights)
    network.to(device).eval()
    if recipe.train.channels_last:  # as in the run: of another layout, sums are rounded otherwise
        network.to(memory_format=channels_last_of(network))
    return OpenRun(experiment, network, run, result, weights, tuple(changes), step)


def _hash_of(facts: dict[str, Any] | None, result: Result | None) -> str:
    """The digest of a run's recipe, as it is recorded; empty where it is not."""
    return str((facts or {}).get("recipe_hash", "")) if result is None else result.recipe_hash


def _reopened(
    folder: Path,
    recipe: Recipe,
    device: torch.device,
    paths: Paths | None,
    data: DataRecord | None,
    result: Result | None = None,
) -> Experiment:
    """The recipe of a run where its data lie, with as many classes as the run has recorded."""
    known = data.reported.classes if data is not None else None
    classes = known if result is None else result.classes
    return Experiment(
        recipe,
        find_data(recipe, data, paths),
        device,
        read_weights=False,
        found_in=folder,
        stated_classes=None if classes is None else len(classes),
        stated_images=RGB_FORMAT if data is None else data.images,
    )


def _not_finished(files: RunFolder) -> str:
    """Why a run cannot be opened, and what can be done."""
    if not files.recipe.is_file():
        return f"{files.path}: is no run of semisup. Start it with 'semisup run RECIPE'."
    kept = _kept_steps(files)
    other = f", or take a checkpoint of it, such as --step {max(kept)}" if kept else ""
    return (
        f"{files.path}: is not finished. Start it with 'semisup run RECIPE' and let it end{other}."
    )


def _kept_steps(files: RunFolder) -> dict[int, str]:
    """Step -> the kind of file that holds its predictor: a checkpoint, or a selected predictor.

    Where there are both, the checkpoint: the weights are the same.
    """
    found = [(step, kind) for kind in ("best", "step") for step in _saved(files, kind)]
    return dict(sorted(dict(found).items()))


def _saved(files: RunFolder, kind: str) -> list[int]:
    return saved_steps(files.checkpoints, kind) if files.checkpoints.is_dir() else []


def _read_step(files: RunFolder, step: int) -> dict[str, Any]:
    """The checkpoint of a step, or the predictor that was the best one after it.

    Raises:
        RunError: it is not kept; says which ones are.
        CheckpointError: it is damaged, or states no predictor.
    """
    kept = _kept_steps(files)
    if step not in kept:
        best = max(_saved(files, "best"), default=None)
        listed = ", ".join(f"{n} (the best)" if n == best else str(n) for n in kept) or "none"
        raise RunError(
            f"{files.path}: has no checkpoint of step {step}. Kept: {listed}; train.keep says how "
            "many are, 0 all."
        )
    path = _path_of_step(files, step)
    state = load_state(path)
    if not isinstance(state.get("predictor"), dict):
        raise CheckpointError(
            f"checkpoint {path}: states no predictor. Go on with 'semisup run RECIPE', and take "
            "one that is written then."
        )
    return {"step": step, **state}


def _path_of_step(files: RunFolder, step: int) -> Path:
    return saved_path(files.checkpoints, _kept_steps(files)[step], step)


def _record(
    folder: Path,
    experiment: Experiment,
    facts: dict[str, Any] | None,
    result: Result | None,
    state: dict[str, Any] | None,
) -> RunRecord:
    """What is known of a run, with the step of `state` where one is given."""
    if result is None:
        assert state is not None
        return record_of_stopped(folder, experiment, facts, state)
    if state is None:
        return result.run
    return replace(result.run, checkpoint=chosen_step(int(state["step"]), experiment.recipe))


def _load_predictor(
    network: nn.Module, files: RunFolder, model: str, state: dict[str, Any] | None
) -> None:
    """Fill the predictor from a checkpoint, or from the file that a finished run has written."""
    try:
        network.load_state_dict(load_file(files.predictor) if state is None else state["predictor"])
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        if state is not None:
            raise CheckpointError(
                f"{files.checkpoints}: the checkpoint of step {state['step']} does not fit "
                f"'{model}' ({reason}). Run it again."
            ) from None
        raise CheckpointError(
            f"{files.predictor}: does not fit '{model}' ({reason}). Delete "
            f"{files.result.name} beside it and run again: it is made from the last checkpoint."
        ) from None


@dataclass(frozen=True)
class OpenCheckpoint:
    """The newest checkpoint of a run, finished or not: all its networks.

    Attributes:
        experiment: the run's recipe on this machine.
        method: on the device, in eval mode.
        step: steps that it has taken.
        recipe_hash: of the recipe, as the checkpoint states it.
    """

    experiment: Experiment
    method: Method
    step: int
    recipe_hash: str


def open_checkpoint(folder: Path, paths: Paths | None, device: torch.device) -> OpenCheckpoint:
    """Open the newest checkpoint of a run: its generator, its discriminators, all it has.

    Args:
        folder: `runs/<recipe>/<hash>-s<seed>`.
        paths: where the data lie; None: where they lay when the run last went on.
        device: where to put the method.

    Raises:
        RunError: no run lies there, or it has no checkpoint yet.
        CheckpointError: the checkpoint is damaged or of another version.
    """
    recipe = run_recipe_of(folder)
    checkpoints = RunFolder(folder).checkpoints
    state = Checkpoints(checkpoints).latest()
    if state is None:
        raise RunError(
            f"{folder}: has no checkpoint yet. Go on with 'semisup run RECIPE'; it writes one "
            "every train.checkpoint_every steps, and where it is stopped."
        )
    data = recorded_data(read_facts(RunFolder(folder).facts))
    experiment = _reopened(folder, recipe, device, paths, data)
    method = experiment.method
    try:
        method.load_state_dict(state["method"])
    except (RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{checkpoints}: the checkpoint of step {state['step']} is of another "
            f"version of '{recipe.method.name}' or '{recipe.model.name}' ({reason}). Run it again."
        ) from None
    method.to(device).eval()
    return OpenCheckpoint(experiment, method, int(state["step"]), str(state["recipe"]))


def run_recipe_of(folder: Path) -> Recipe:
    """The recipe of a run, finished or not, under the name that it was run by.

    Raises:
        RunError: no run lies there, or its record is damaged.
    """
    files = RunFolder(folder)
    if not files.recipe.is_file():
        raise RunError(f"{folder}: is no run of semisup. Start one with 'semisup run RECIPE'.")
    result, facts = read_result(files.result), read_facts(files.facts)
    stated = result.recipe if result is not None else recipe_in(facts or {})
    check_loaded(folder, result.plugins if result is not None else recorded_plugins(facts))
    # Where the record was deleted, the folder of the run still has the last part of the name.
    return replace(load_recipe(str(files.recipe)), name=stated or folder.absolute().parent.name)


def evaluate_run(
    folder: Path,
    paths: Paths | None,
    device: torch.device,
    subset: str = "",
    changes: Sequence[str] = (),
    *,
    data: str = "",
    step: int | None = None,
) -> FinishedRun:
    """Score a run again; the result is kept in a file of its own in the run's folder.

    Args:
        folder: of the run.
        paths: where the data lie; None: where they lay when the run last went on.
        device: where to compute.
        subset: which ids; empty: what the recipe reports on.
        changes: `eval.key=value` changes of the protocol, and `data.key=value` of the name, the
            root and the options of another data set.
        data: name of another data set; empty: the run's own, unless `changes` name one.
        step: of a kept checkpoint, of a run that may not be finished; None: the chosen predictor.

    Raises:
        RecipeError: a change of anything but [eval] and the data set that is scored.
        RunError: the run's own data have changed, or another set has other classes.
    """
    settle_on(device)
    given = [f"data.name={data}"] if data else []
    of_data = [change for change in (*changes, *given) if change.startswith("data.")]
    others = [change for change in changes if not change.startswith("data.")]
    opened = open_run(folder, device, others, paths=paths, step=step)
    scored_set = ranks.first_before_others(lambda: opened.scored_set(subset, of_data))
    began = time.perf_counter()
    with translated_errors():
        scored = evaluate(opened.inference(), scored_set.data, left_out=scored_set.left_out)
        objects = evaluate_objects(opened.inference(), scored_set.data)
    seconds = time.perf_counter() - began
    identity = scored_set.identity
    result = result_of_evaluation(
        opened.run, opened.experiment, scored_set.data, identity, scored, seconds, opened.weights
    )
    own = None if opened.run.data is None else opened.run.data.reported
    path = folder / _result_name(result, own, step)
    kept = path.with_name(path.name.replace("result-", "detections-", 1))
    result = replace(result, objects=scores_of_objects(objects, kept))
    ranks.from_first(lambda: _keep(path, result, kept, objects))
    if opened.result is not None and _is_own(opened.result, result):
        counts = RunFolder(folder).counts
        ranks.from_first(lambda: write_counts(counts, scored, opened.weights))
    return FinishedRun(folder, path, result, fresh=True, notes=scored_set.notes)


def _is_own(own: Result, scored: Result) -> bool:
    """Whether a run was scored again as it was at its end: its counts are those of its result."""
    return (
        scored.protocol == own.protocol
        and scored.weights_sha256 == own.weights_sha256
        and scored.confusion == own.confusion
    )


def _keep(path: Path, result: Result, kept: Path, objects: ObjectEvaluation | None) -> None:
    write_detections(kept, objects)
    write_result(path, result)


def _result_name(result: Result, own: SetRecord | None, step: int | None) -> str:
    """A name of its own for each protocol, set of files and step.

    Of a set that is not the run's own the place counts too: of pictures the files are known by
    their sizes alone, which are equal where they are not packed.
    """
    assert result.data is not None
    scored = result.data.reported
    moved = own is not None and scored == replace(own, root=scored.root, folder=scored.folder)
    place = [] if moved else [scored.root, scored.folder]
    facts = [result.protocol, scored.files_sha256, list(scored.classes), *place]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    at = "" if step is None else f"-step-{step}"
    return f"result-{scored.subset}{at}-{digest}.json"


def changed_since(folder: Path) -> list[str]:
    """Which plug-ins of the run in a folder have changed since it was made, each in one line."""
    files = RunFolder(folder)
    result = read_result(files.result)
    recorded = recorded_plugins(read_facts(files.facts)) if result is None else result.plugins
    return [f"{folder}: {change}." for change in changed_plugins(recorded)]
