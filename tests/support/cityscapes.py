"""A tiny set in Cityscapes' layout: polygons, and the ids that they come to, as published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32
IMAGES = {
    "train": ("aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"),
    "val": ("lindau_000000_000019",),
}
FIRST = IMAGES["train"][0]
LABEL_IDS, INSTANCE_IDS = "labelIds.png", "instanceIds.png"
TRAIN_IDS, POLYGONS = "labelTrainIds.png", "polygons.json"


def rectangle(label: str, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    """An object. It covers rows top to bottom - 1 and columns left to right."""
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {"label": label, "polygon": corners}


def polygons() -> dict[str, Any]:
    """A road; two cars that touch, a person before one of them, and a group of bicycles."""
    return {
        "imgHeight": HEIGHT,
        "imgWidth": WIDTH,
        "objects": [
            rectangle("sky", 0, 0, WIDTH, HEIGHT),
            rectangle("road", 0, 12, WIDTH, HEIGHT),
            rectangle("car", 2, 6, 11, 16),
            rectangle("car", 12, 6, 21, 16),
            rectangle("license plate", 4, 10, 8, 12),
            rectangle("person", 4, 8, 7, 18),
            rectangle("bicyclegroup", 24, 10, 29, 20),
            rectangle("out of roi", 0, 0, WIDTH, 2),
        ],
    }


def ids() -> np.ndarray:
    """The instance ids of `polygons`, HW, by hand."""
    values = np.full((HEIGHT, WIDTH), 23)
    values[12:] = 7
    values[6:16, 2:12], values[6:16, 12:22] = 26000, 26001
    values[8:18, 4:8] = 24000
    values[10:20, 24:30] = 33
    values[:2] = 3
    return values


def labels(values: np.ndarray) -> np.ndarray:
    """The label ids of instance ids."""
    return np.where(values >= 1000, values // 1000, values)


def beside(root: Path, ending: str, name: str = FIRST, part: str = "train") -> Path:
    """A file of an image in gtFine."""
    return root / "cityscapes" / "gtFine" / part / name.split("_")[0] / f"{name}_gtFine_{ending}"


def image(root: Path, name: str = FIRST, part: str = "train") -> Path:
    """The file of an image."""
    folder = root / "cityscapes" / "leftImg8bit" / part / name.split("_")[0]
    return folder / f"{name}_leftImg8bit.png"


def save_ids(path: Path, values: np.ndarray) -> Path:
    """A grey PNG of 16 bits."""
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


def save_labels(path: Path, values: np.ndarray) -> Path:
    """A grey PNG of 8 bits."""
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def make_cityscapes(root: Path) -> Path:
    """The set with all that the archives hold of each image; gives its root."""
    generator = np.random.default_rng(0)
    for part, names in IMAGES.items():
        for name in names:
            path = image(root, name, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            path = beside(root, POLYGONS, name, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(polygons()))
            save_ids(beside(root, INSTANCE_IDS, name, part), ids())
            save_labels(beside(root, LABEL_IDS, name, part), labels(ids()))
    return root


def keep_polygons(root: Path) -> Path:
    """Take away all label ids and instance ids; gives the root."""
    for path in (root / "cityscapes" / "gtFine").rglob("*Ids.png"):
        path.unlink()
    return root


def change(root: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Write the polygons of the first image anew, edited."""
    path = beside(root, POLYGONS)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path
