"""Open a finished run: to predict, to score it in another way, to inspect its networks."""

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

from semisup.data.base import Colour
from semisup.errors import CheckpointError, RecipeError, RunError, suggest
from semisup.evaluation.class_by_class import check_by_class
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.inference import Inference
from semisup.evaluation.predict import Predictor
from semisup.methods.base import Method
from semisup.recipe.load import load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.experiment import Experiment
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Paths
from semisup.runs.plugins import changed_plugins, check_loaded
from semisup.runs.record import read_facts, recipe_in, recorded_plugins, result_of_evaluation
from semisup.runs.result import FinishedRun, Result, read_result, write_result
from semisup.system import distributed as ranks
from semisup.system.device import settle_on
from semisup.system.torch_errors import translated_errors
from semisup.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class OpenRun:
    """A finished run, ready to predict and to be scored again.

    Attributes:
        experiment: its recipe on this machine.
        network: the chosen predictor, on the device, in eval mode.
        result: all that its result file states.
        forced: classes to segment regardless of what the classifier finds; empty: those it finds.
    """

    experiment: Experiment
    network: nn.Module
    result: Result
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
        return self.result.classes

    @property
    def palette(self) -> tuple[Colour, ...]:
        """K colours."""
        return self.result.palette

    def identity(self) -> dict[str, Any]:
        """What a prediction of this run depends on beside the image."""
        return {
            "recipe": self.recipe.name,
            "recipe_hash": self.result.recipe_hash,
            "seed": self.result.seed,
            "step": self.result.checkpoint.step,
            "eval": self.recipe.eval.model_dump(mode="json"),
            **({"forced": list(self.forced)} if self.forced else {}),
        }

    def forcing(self, names: Sequence[str]) -> OpenRun:
        """The same run, which from now on segments just these classes, whatever it identifies.

        Raises:
            RecipeError: it does not segment class by class, or a name is none of its classes.
        """
        network = check_by_class(self.network, "--classes")
        known = self.classes[1:]
        for name in names:
            if name not in known:
                raise RecipeError(f"--classes: no class is called '{name}'.{suggest(name, known)}")
        network.force_classes([self.classes.index(name) for name in names])
        return replace(self, forced=tuple(sorted(set(names))))

    @property
    def applies_exif(self) -> bool:
        """Whether photographs are turned as their EXIF says: not where `data.exif` ignored it."""
        return self.recipe.data_options.get("exif") != "ignore"

    def inference(self) -> Inference:
        """The network under the run's own protocol."""
        return self.experiment.inference(self.network)

    def predictor(self) -> Predictor:
        """What labels images in memory by the run's own protocol."""
        return Predictor(self.inference(), self.classes, self.palette, apply_exif=self.applies_exif)


def open_run(
    folder: Path,
    device: torch.device,
    changes: Sequence[str] = (),
    *,
    paths: Paths | None = None,
    subset: str = "",
) -> OpenRun:
    """Open a finished run.

    Args:
        folder: `runs/<recipe>/<hash>-s<seed>`.
        device: where to put the network.
        changes: `eval.key=value` changes of the protocol.
        paths: where the data lie, for scoring.
        subset: which ids are scored; empty: what the recipe reports on.

    Raises:
        RunError: no run lies there, or it is not finished.
        CheckpointError: the weights are damaged or of another network.
        RecipeError: a change of anything but [eval].
    """
    for change in changes:
        if not change.startswith("eval."):
            raise RecipeError(
                f"--set {change}: a finished run can be scored in another way but not changed; "
                "only eval.* can be set."
            )
    files = RunFolder(folder)
    result = read_result(files.result)
    if result is None:
        what = "is not finished" if files.recipe.is_file() else "is no run of semisup"
        raise RunError(f"{folder}: {what}. Start it with 'semisup run RECIPE' and let it end.")
    check_loaded(folder, result.plugins)
    recipe = replace(load_recipe(str(files.recipe), changes), name=result.recipe)
    experiment = Experiment(
        recipe,
        paths or Paths(),
        device,
        read_weights=False,
        subset=subset,
        found_in=folder,
        stated_classes=len(result.classes),
    )
    network = experiment.method.predictor()
    try:
        network.load_state_dict(load_file(files.predictor))
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(
            f"{files.predictor}: does not fit '{recipe.model.name}' ({reason}). Delete "
            f"{files.result.name} beside it and run again: it is made from the last checkpoint."
        ) from None
    network.to(device).eval()
    return OpenRun(experiment, network, result)


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


def open_checkpoint(folder: Path, paths: Paths, device: torch.device) -> OpenCheckpoint:
    """Open the newest checkpoint of a run: its generator, its discriminators, all it has.

    Args:
        folder: `runs/<recipe>/<hash>-s<seed>`.
        paths: where the data lie.
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
    experiment = Experiment(recipe, paths, device, read_weights=False, found_in=folder)
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
    paths: Paths,
    device: torch.device,
    subset: str = "",
    changes: Sequence[str] = (),
) -> FinishedRun:
    """Score a finished run again; the result is kept in a file of its own in the run's folder.

    Args:
        folder: of the run.
        paths: where the data lie.
        device: where to compute.
        subset: which ids; empty: what the recipe reports on.
        changes: `eval.key=value` changes of the protocol.

    Raises:
        RecipeError: a change of anything but [eval].
    """
    settle_on(device)
    opened = open_run(folder, device, changes, paths=paths, subset=subset)
    experiment = opened.experiment
    reported = ranks.first_before_others(lambda: experiment.reported)
    began = time.perf_counter()
    with translated_errors():
        scored = evaluate(opened.inference(), reported)
    seconds = time.perf_counter() - began
    result = result_of_evaluation(opened.result, experiment, scored, seconds)
    protocol = json.dumps(result.protocol, sort_keys=True)
    digest = hashlib.sha256(protocol.encode()).hexdigest()[:8]
    path = folder / f"result-{reported.subset}-{digest}.json"
    ranks.from_first(lambda: write_result(path, result))
    return FinishedRun(folder, path, result, fresh=True)


def changed_since(folder: Path) -> list[str]:
    """Which plug-ins of the run in a folder have changed since it was made, each in one line."""
    files = RunFolder(folder)
    result = read_result(files.result)
    recorded = recorded_plugins(read_facts(files.facts)) if result is None else result.plugins
    return [f"{folder}: {change}." for change in changed_plugins(recorded)]
