"""That the files in a run's folder are of this run: its record, its result, its checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semisup.errors import CheckpointError, RunError
from semisup.recipe.recipe import Recipe
from semisup.runs.folder import RunFolder
from semisup.runs.result import DataRecord, Result, SetRecord


def run_digest(seed: int, data: DataRecord) -> str:
    """What tells a run from others of the same recipe, in each of its checkpoints.

    Args:
        seed: of its training.
        data: what it trains and reports on; where they lie does not count.
    """
    facts = [seed, *[None if one is None else _facts(one) for one in (data.trained, data.reported)]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _facts(record: SetRecord) -> list[Any]:
    return [record.classes, record.stored_classes, record.ids_sha256, record.files_sha256]


def check_result(path: Path, result: Result, recipe: Recipe) -> None:
    """Refuse a result that another recipe, or another seed, has left in the folder of a run.

    Raises:
        RunError: names both.
    """
    _check_named(path, (result.recipe_hash, result.seed), recipe, result.recipe)


def check_facts(path: Path, facts: Mapping[str, Any] | None, recipe: Recipe) -> None:
    """`check_result`, of what run.json states."""
    stated = facts or {}
    digest, seed = stated.get("recipe_hash"), stated.get("seed")
    if digest is not None and seed is not None:
        _check_named(path, (digest, seed), recipe, str(stated.get("recipe")))


def _check_named(path: Path, stated: tuple[Any, Any], recipe: Recipe, name: str) -> None:
    own = (recipe.digest(), recipe.train.seed)
    if stated != own:
        raise RunError(
            f"{path}: is of the run {name}/{stated[0]}-s{stated[1]}, and lies in the folder of "
            f"{recipe.name}/{own[0]}-s{own[1]}. Put its own back, delete it, or choose another "
            "--out."
        )


def check_predictor(files: RunFolder, result: Result, weights: str) -> None:
    """Refuse a predictor that is not the one of a run's result.

    Args:
        files: of the run.
        result: its result; one that states no hash is not compared.
        weights: hash of the predictor that lies there.

    Raises:
        CheckpointError: it is another.
    """
    if result.weights_sha256 not in ("", weights):
        raise CheckpointError(
            f"{files.predictor}: is not the predictor that {files.result.name} has the scores of. "
            f"Put its own back, or delete {files.result.name} beside it and run again: it is made "
            "from the last checkpoint."
        )


def check_step(
    path: Path, state: Mapping[str, Any], step: int, recipe_hash: str, of_run: str
) -> None:
    """Refuse a checkpoint that another run, or another step, has left in the folder of a run.

    Args:
        path: of the checkpoint.
        state: its content.
        step: that its name states.
        recipe_hash: of the run; empty: not known.
        of_run: its `run_digest`; empty: not known.

    Raises:
        CheckpointError: says what is another.
    """
    stated = {
        "step": (state.get("step"), step),
        "recipe": (state.get("recipe"), recipe_hash),
        "seed or data": (state.get("run"), of_run),
    }
    for what, (theirs, own) in stated.items():
        if theirs and own and theirs != own:
            raise CheckpointError(
                f"checkpoint {path}: is of another {what} than this run's. Put its own back, or "
                "take another --step."
            )
