"""Open what a run has left: to predict, to score it in another way, to look at its networks."""

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
from semisup.evaluation.protocol import protocol
from semisup.methods.base import Method
from semisup.recipe.load import load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import build_method, open_data, open_reported
from semisup.runs.folder import RunFolder
from semisup.runs.paths import Place
from semisup.runs.plugins import check_loaded
from semisup.runs.result import read_result, write_result
from semisup.system import distributed as ranks
from semisup.system.device import device_name, git_state, resolve_precision, settle_on, versions
from semisup.system.torch_errors import translated_errors
from semisup.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class OpenRun:
    """A finished run, ready to predict.

    Attributes:
        folder: where it lies.
        recipe: its resolved recipe.
        predictor: the chosen predictor, on the device.
        result: content of its result file.
        forced: classes to segment regardless of what the classifier finds; empty: those it finds.
    """

    folder: Path
    recipe: Recipe
    predictor: nn.Module
    result: dict[str, Any]
    forced: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""
        return tuple(self.result["protocol"]["classes"])

    @property
    def palette(self) -> tuple[Colour, ...]:
        """K colours."""
        return tuple((r, g, b) for r, g, b in self.result["palette"])

    def identity(self) -> dict[str, Any]:
        """What a prediction of this run depends on beside the image."""
        return {
            "recipe": self.recipe.name,
            "recipe_hash": self.result["recipe_hash"],
            "seed": self.result["seed"],
            "step": self.result["checkpoint"]["step"],
            "eval": self.recipe.eval.model_dump(mode="json"),
            **({"forced": list(self.forced)} if self.forced else {}),
        }

    def forcing(self, names: Sequence[str]) -> OpenRun:
        """The same run, which from now on segments just these classes, whatever it identifies.

        Raises:
            RecipeError: it does not segment class by class, or a name is none of its classes.
        """
        predictor = check_by_class(self.predictor, "--classes")
        known = self.classes[1:]
        for name in names:
            if name not in known:
                raise RecipeError(f"--classes: no class is called '{name}'.{suggest(name, known)}")
        predictor.force_classes([self.classes.index(name) for name in names])
        return replace(self, forced=tuple(sorted(set(names))))

    def inference(self, device: torch.device) -> Inference:
        """The predictor under the run's own protocol."""
        precision = resolve_precision(self.recipe.train.precision, device)
        return Inference(self.predictor, self.recipe.eval, device, precision)


def open_run(folder: Path, device: torch.device, changes: Sequence[str] = ()) -> OpenRun:
    """Open a finished run.

    Args:
        folder: `runs/<recipe>/<hash>-s<seed>`.
        device: where to put the predictor.
        changes: `eval.key=value` changes of the protocol.

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
    directory = RunFolder(folder)
    result = read_result(directory.result)
    if result is None:
        what = "is not finished" if directory.recipe.is_file() else "is no run of semisup"
        raise RunError(f"{folder}: {what}. Start it with 'semisup run RECIPE' and let it end.")
    check_loaded(folder, result)
    recipe = load_recipe(str(directory.recipe), changes)
    num_classes = len(result["protocol"]["classes"])
    unread = recipe.model.model_copy(update={"weights": ""})
    recipe = replace(recipe, name=result["recipe"])
    method, _ = build_method(replace(recipe, model=unread), num_classes)
    predictor = method.predictor()
    try:
        predictor.load_state_dict(load_file(directory.predictor))
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(
            f"{directory.predictor}: does not fit '{recipe.model.name}' ({reason}). Delete "
            f"{directory.result.name} beside it and run again: it is made from the last checkpoint."
        ) from None
    predictor.to(device).eval()
    return OpenRun(folder, recipe, predictor, result)


@dataclass(frozen=True)
class OpenMethod:
    """All networks of a run, finished or not, as its newest checkpoint has them.

    Attributes:
        folder: where it lies.
        recipe: its resolved recipe.
        data: the set that it trains on.
        method: on the device, in eval mode.
        step: steps that it has taken.
        recipe_hash: of the recipe, as the checkpoint states it.
    """

    folder: Path
    recipe: Recipe
    data: SegmentationData
    method: Method
    step: int
    recipe_hash: str


def open_method(folder: Path, place: Place, device: torch.device) -> OpenMethod:
    """Open the newest checkpoint of a run: its generator, its discriminators, all it has.

    Args:
        folder: `runs/<recipe>/<hash>-s<seed>`.
        place: where the data lie.
        device: where to put the method.

    Raises:
        RunError: no run lies there, or it has no checkpoint yet.
        CheckpointError: the checkpoint is damaged or of another version.
    """
    recipe = run_recipe_of(folder)
    directory = RunFolder(folder)
    state = Checkpoints(directory.checkpoints).latest()
    if state is None:
        raise RunError(
            f"{folder}: has no checkpoint yet. Go on with 'semisup run RECIPE'; it writes one "
            "every train.checkpoint_every steps, and where it is stopped."
        )
    data = open_data(recipe, place)
    unread = recipe.model.model_copy(update={"weights": ""})
    method, _ = build_method(replace(recipe, model=unread), data.num_classes)
    try:
        method.load_state_dict(state["method"])
    except (RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{directory.checkpoints}: the checkpoint of step {state['step']} is of another "
            f"version of '{recipe.method.name}' or '{recipe.model.name}' ({reason}). Run it again."
        ) from None
    method.to(device).eval()
    return OpenMethod(folder, recipe, data, method, int(state["step"]), str(state["recipe"]))


def run_recipe_of(folder: Path) -> Recipe:
    """The recipe of a run, finished or not, under the name that it was run by.

    Raises:
        RunError: no run lies there, or its record is damaged.
    """
    directory = RunFolder(folder)
    if not directory.recipe.is_file():
        raise RunError(f"{folder}: is no run of semisup. Start one with 'semisup run RECIPE'.")
    stated = read_result(directory.result) or directory.read_facts() or {}
    check_loaded(folder, stated)
    # Where the record was deleted, the folder of the run still has the last part of the name.
    name = str(stated.get("recipe", folder.absolute().parent.name))
    return replace(load_recipe(str(directory.recipe)), name=name)


def run_data(opened: OpenRun, place: Place, subset: str) -> SegmentationData:
    """A subset of the data set that a run was trained on."""
    return open_reported(opened.recipe, place, subset)


def evaluate_run(
    folder: Path,
    place: Place,
    device: torch.device,
    subset: str = "",
    changes: Sequence[str] = (),
) -> tuple[dict[str, Any], Path]:
    """Score a finished run again.

    Args:
        folder: of the run.
        place: where the data lie.
        device: where to compute.
        subset: which ids; empty: what the recipe reports on.
        changes: `eval.key=value` changes of the protocol.

    Returns:
        The result, and the file in the run's folder that keeps it.

    Raises:
        RecipeError: a change of anything but [eval].
    """
    settle_on(device)
    opened = open_run(folder, device, changes)
    reported = ranks.first_before_others(lambda: open_reported(opened.recipe, place, subset))
    began = time.perf_counter()
    inference = opened.inference(device)
    with translated_errors():
        scored = evaluate(inference, reported)
    rule = opened.result["checkpoint"]["rule"]
    block = protocol(
        opened.recipe.eval,
        reported,
        scored.ids,
        pretraining=opened.result["protocol"]["pretraining"],
        selection=rule,
        precision=inference.precision,
    )
    result = opened.result | {
        "scores": {"selected": scored.summary()},
        "per_class": scored.per_class(),
        "confusion": scored.confusion.tolist(),
        "protocol": block,
        "device": device_name(device),
        "precision": inference.precision,
        "versions": versions(),
        "git": git_state(),
        "time": opened.result["time"] | {"score_seconds": round(time.perf_counter() - began, 1)},
    }
    digest = hashlib.sha256(json.dumps(block, sort_keys=True).encode()).hexdigest()[:8]
    path = folder / f"result-{reported.subset}-{digest}.json"
    ranks.from_first(lambda: write_result(path, result))
    return result, path
