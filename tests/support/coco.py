"""A tiny set in COCO's layout: polygons, runs, a crowd, category ids with gaps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
CATEGORIES = [{"id": 3, "name": "car"}, {"id": 7, "name": "cat"}, {"id": 90, "name": "toothbrush"}]
COUNTS = {"train": 4, "val": 2}


def polygon(x: float, y: float, width: float, height: float) -> list[float]:
    """A rectangle as COCO's annotators drew it."""
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Plain runs of a mask HW, column by column, the first one of zeros."""
    flat = mask.astype(np.uint8).flatten(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *ends.tolist(), flat.size]
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": counts if flat[0] == 0 else [0, *counts]}


def annotation(
    number: int, image: int, category: int, box: Sequence[float], **changes: Any
) -> dict[str, Any]:
    """An object of a rectangle x, y, width, height."""
    x, y, width, height = box
    stated = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [polygon(x, y, width, height)],
    }
    return stated | changes


def objects(image: int, first: int) -> list[dict[str, Any]]:
    """A car, a cat before it, a toothbrush as runs, and a crowd of cats."""
    x = 2 + image % 5
    brush = np.zeros((HEIGHT, WIDTH), bool)
    brush[30:40, 40 + x : 46 + x] = True
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[:6, 40:60] = True
    return [
        annotation(first, image, 3, (x, 8, 30, 20)),
        annotation(first + 1, image, 7, (x + 8, 12, 12, 10)),
        annotation(first + 2, image, 90, (40 + x, 30, 6, 10), segmentation=runs(brush)),
        annotation(first + 3, image, 7, (40, 0, 20, 6), iscrowd=1, segmentation=runs(crowd)),
    ]


def make_coco(root: Path, year: int = 2017) -> Path:
    """The set, whose images show its objects in colours of their own; gives its root."""
    generator = np.random.default_rng(0)
    number = 100
    for subset, count in COUNTS.items():
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": CATEGORIES[::-1]}
        folder = root / f"{subset}{year}"
        folder.mkdir(parents=True)
        for _ in range(count):
            number += 7
            name = f"{number:012d}.jpg"
            content["images"].append(
                {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
            )
            content["annotations"] += objects(number, 10 * number)
            pixels = generator.integers(0, 60, (HEIGHT, WIDTH, 3))
            for shade, (x, y, w, h) in enumerate(
                one["bbox"] for one in content["annotations"] if one["image_id"] == number
            ):
                pixels[y : y + h, x : x + w, shade % 3] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name, quality=95)
        (root / "annotations").mkdir(exist_ok=True)
        path = root / "annotations" / f"instances_{subset}{year}.json"
        path.write_text(json.dumps(content))
    return root


STUFF_LABELS = np.full((HEIGHT, WIDTH), 123)
"""Of a map of COCO-Stuff: grass below, sky above, a car and a cat, and what has no label."""
STUFF_LABELS[:20] = 156
STUFF_LABELS[10:30, 4:34], STUFF_LABELS[12:22, 40:52], STUFF_LABELS[:, 60:] = 2, 16, 255


def make_stuff(root: Path, images: str = "", maps: str = "stuffthingmaps") -> Path:
    """COCO-Stuff's maps with the images of `make_coco`, and no annotations; gives the root.

    Args:
        root: of the data.
        images: the folder below it that has those of images.
        maps: the folder below it that has those of maps.
    """
    generator = np.random.default_rng(0)
    number = 100
    for subset, count in COUNTS.items():
        for place in (images, maps):
            (root / place / f"{subset}2017").mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            number += 7
            name = f"{subset}2017/{number:012d}"
            pixels = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / images / f"{name}.jpg")
            Image.fromarray(STUFF_LABELS.astype(np.uint8)).save(root / maps / f"{name}.png")
    return root


def annotations(root: Path, subset: str = "train", year: int = 2017) -> Path:
    """The annotation file of a set."""
    return root / "annotations" / f"instances_{subset}{year}.json"


def change(root: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Write the annotations of the training set anew, edited."""
    path = annotations(root)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
