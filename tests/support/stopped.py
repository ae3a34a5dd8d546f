"""A made CamVid for short runs, and a run that is stopped in the middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.errors import Interrupted
from semisup.recipe.recipe import Recipe
from semisup.runs.paths import Paths
from semisup.runs.run import run_recipe
from support.runs import CPU, Stopping

COMPARED = ("scalars.jsonl", "predictor.safetensors", "split.txt")


def save(path: Path, values: np.ndarray) -> None:
    """Write values as 8-bit pixels, HW or HW3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def made_camvid(root: Path, generator: np.random.Generator) -> None:
    """CamVid in SegNet's layout: 6 images of 40 x 48 to train on, 2 of val and one of test."""
    camvid = root / "CamVid"
    for part, count in {"train": 6, "val": 2, "test": 1}.items():
        lines = []
        for name in (f"{part}{n}" for n in range(count)):
            save(camvid / part / f"{name}.png", generator.integers(0, 256, (40, 48, 3)))
            save(camvid / f"{part}annot" / f"{name}.png", generator.integers(0, 12, (40, 48)))
            lines.append(f"{part}/{name}.png {part}annot/{name}.png\n")
        (camvid / f"{part}.txt").write_text("".join(lines))


def stopped(recipe: Recipe, place: Paths) -> None:
    """Run a recipe that logs each step, and stop it in the middle."""
    middle, steps = recipe.train.steps // 2, recipe.train.steps
    with pytest.raises(Interrupted, match=f"after step {middle} of {steps}"):
        run_recipe(recipe, place, CPU, view=Stopping(middle))
