"""Checkpoints: whole or not there, and loaded without executing code."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from semisup.errors import CheckpointError, RunError
from semisup.system.files import check_sums, write_atomically

FORMAT = 1
"""Raised when the meaning of a checkpoint's content changes."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`, atomically."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU.

    Raises:
        CheckpointError: missing, damaged, of another program, or of another format.
        RunError: it may not be read.
    """
    try:
        check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's about pickles that are not ours
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path}: there is no such file.") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"checkpoint {path}: holds more than tensors and plain values, so it is not ours; "
            "nothing in it was executed. Delete it."
        ) from None
    except PermissionError as error:  # a good file: no other is to be taken in its place
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check its rights.") from None
    except Exception as error:  # damage shows in nearly every way there is
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"checkpoint {path}: is damaged ({reason}). Delete it; the one before is used then."
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: was not written by this version of semisup. Delete it, or choose "
            "another --out."
        )
    return state


def saved_path(folder: Path, kind: str, step: int) -> Path:
    """`<kind>-<step, 8 digits or more>.pt`."""
    return folder / f"{kind}-{step:08d}.pt"


def saved_steps(folder: Path, kind: str) -> list[int]:
    """Steps of the files of a kind, in order; files of other names are left alone."""
    name = re.compile(rf"{kind}-(\d{{8}}|[1-9]\d{{8,}})\.pt")
    found = (name.fullmatch(path.name) for path in folder.glob(f"{kind}-*.pt"))
    return sorted(int(match[1]) for match in found if match)


class Checkpoints:
    """The checkpoints of one run: `step-<8 digits or more>.pt`, the newest `keep` of them
    (0: all of them).

    The previous one is deleted only once the next is whole.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the checkpoint taken after `step` steps, then drop the oldest."""
        path = saved_path(self.folder, "step", step)
        save_state(path, {"step": step, **state})
        for old in self.paths()[: -self.keep] if self.keep else []:
            old.unlink()
        return path

    def paths(self) -> list[Path]:
        """All checkpoints, oldest first."""
        return [saved_path(self.folder, "step", n) for n in saved_steps(self.folder, "step")]

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole; None for a run that has none.

        Raises:
            CheckpointError: there are some, but none can be read.
        """
        error: CheckpointError | None = None
        for path in reversed(self.paths()):
            try:
                return load_state(path)
            except CheckpointError as damaged:
                error = error or damaged
        if error is not None:
            raise error
        return None
