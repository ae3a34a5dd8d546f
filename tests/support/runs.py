"""A tiny data set of three classes, a recipe on it, and views of a run."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from semisup.monitoring.view import Silent
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe

CPU = torch.device("cpu")
CLASSES = ("ground", "sky", "tree")
IDS = {"train": [f"t{n}" for n in range(6)], "val": ["v0", "v1", "v2"]}


def make_set(root: Path) -> None:
    """6 training and 3 validation images of three classes."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for subset, ids in IDS.items():
        (root / f"{subset}.txt").write_text("".join(f"{name}\n" for name in ids))
        for name in ids:
            labels = generator.integers(0, 3, (4, 5)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
            shades = labels[..., None] * 80 + generator.integers(0, 60, (32, 40, 3))
            Image.fromarray(shades.astype(np.uint8)).save(root / "images" / f"{name}.png")
            Image.fromarray(labels).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES))


TABLES: dict[str, Any] = {
    "data": {
        "name": "folder",
        "split": "1/2",
        "crop": [32, 32],
        "labelled_batch": 1,
        "workers": 0,
    },
    "model": {"name": "unet", "width": 2},
    "method": {"name": "supervised"},
    "optim": {"segmenter": {"lr": 1e-2}},
    "train": {"steps": 2, "log_every": 1, "checkpoint_every": 1},
    "eval": {"pictures": 0, "boundary": False},
}
"""The tiny recipe on `make_set`."""


def recipe_of(**train: Any) -> Recipe:
    return build_recipe("tiny", TABLES | {"train": TABLES["train"] | train})


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.folders: list[Path] = []

    def opened(self, recipe: str, folder: Path) -> None:
        self.folders.append(folder)

    def note(self, text: str) -> None:
        self.notes.append(text)


class Stopping(Silent):
    """Stops the run after a step that is logged."""

    def __init__(self, step: int = 1) -> None:
        self._step = step

    def logged(self, record: Any) -> None:
        if record.step == self._step:
            os.kill(os.getpid(), signal.SIGTERM)


def mend(path: Path) -> None:
    """Other labels in a file of the very size that it had."""
    before = path.read_bytes()
    labels = np.array(Image.open(path))
    Image.fromarray(labels[:, ::-1].copy()).save(path)
    content = path.read_bytes()[: len(before)]
    path.write_bytes(content + bytes(len(before) - len(content)))
    assert path.stat().st_size == len(before)
    assert path.read_bytes() != before


def relabelled(data: Path, to: Path, classes: tuple[str, ...], labels: tuple[int, ...]) -> Path:
    """A copy under other names, with `labels[k]` in place of label k."""
    shutil.copytree(data, to)
    (to / "classes.txt").write_text("\n".join(classes))
    table = np.array([*labels, *range(len(labels), 256)], np.uint8)
    for path in (to / "masks").iterdir():
        Image.fromarray(table[np.array(Image.open(path))]).save(path)
    return to
