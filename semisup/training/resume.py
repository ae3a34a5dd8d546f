"""Continue a run from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.errors import CheckpointError
from semisup.monitoring.health.health import Health
from semisup.monitoring.meter import Meter, mean_state
from semisup.system.device import restore_random_state, seed_rank
from semisup.system.distributed import from_first, rank, world
from semisup.training.state import TrainingState


def resume(run: TrainingState, meter: Meter, health: Health) -> tuple[int, int]:
    """Load the newest checkpoint, if there is one.

    Returns:
        The steps done, and after which of them the predictor was last scored.
    """
    state = from_first(run.checkpoints.latest)
    if state is None:
        return 0, 0
    check_of_run(run.checkpoints.folder, state, run.fingerprint, run.of_run)
    try:
        run.method.load_state_dict(state["method"])
        run.updates.load_state_dict(state["updates"])
        if run.average is not None:
            run.average.load_state_dict(state["average"])
        if run.checkup is not None and "checkup" in state:  # not in a run that was not watched
            run.checkup.load_state_dict(state["checkup"])
        _resume_rank(run, meter, state["ranks"], int(state["step"]))
        if "health" in state:  # not in older checkpoints
            health.load_state_dict(state["health"])
        if run.pseudo_labels is not None and "pseudo_labels" in state:
            run.pseudo_labels.load_state_dict(state["pseudo_labels"])
        run.seconds = float(state["seconds"])
        run.processes = list(state["processes"])
        return int(state["step"]), int(state["checked"])
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{run.checkpoints.folder}: the checkpoint is of another version of the networks or "
            f"optimisers ({reason}). Choose another --out, or delete the run's folder."
        ) from None


def check_of_run(
    folder: Path, state: Mapping[str, Any], fingerprint: str, of_run: str = ""
) -> None:
    """Refuse the checkpoint of another recipe, or of another run of the recipe.

    Args:
        folder: of the checkpoints.
        state: of one of them.
        fingerprint: digest of the recipe.
        of_run: as in `TrainingState`; empty: not compared.

    Raises:
        CheckpointError: says of what it is.
    """
    if state.get("recipe") != fingerprint:
        raise CheckpointError(
            f"{folder}: holds checkpoints of another recipe ({state.get('recipe')}, not "
            f"{fingerprint}). Delete them, or choose another --out."
        )
    if of_run and state.get("run", of_run) != of_run:
        raise CheckpointError(
            f"{folder}: holds checkpoints of another run of this recipe, by another seed or on "
            "other data. Delete them, or choose another --out."
        )


def _resume_rank(
    run: TrainingState, meter: Meter, saved: Sequence[dict[str, Any]], step: int
) -> None:
    """What every rank has of its own; a rank that the run did not have before starts afresh."""
    sums = [own["meter"] for own in saved]
    meter.load_state_dict(sums[rank()] if len(saved) == world() else mean_state(sums))
    if rank() < len(saved):
        restore_random_state(saved[rank()]["random"], run.device)
    else:
        seed_rank(run.settings.seed, step)
