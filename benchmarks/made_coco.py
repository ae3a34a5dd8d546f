"""A made annotation file in COCO's form, in the proportions of the real one; no images.

    python benchmarks/made_coco.py FILE                  # 118,287 images, as of train2017
    python benchmarks/made_coco.py FILE --images 5000

The real file has 7.27 objects an image, 1,021 images of 118,287 without one, one crowd in 82, and
507 bytes an annotation. Polygons are drawn about ellipses; annotations are in no order of images.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import numpy as np

IMAGES = 118_287
OBJECTS = 860_001 / IMAGES
EMPTY = 1_021 / IMAGES
CROWDS = 10_498 / 860_001
HEIGHT, WIDTH = 480, 640
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
CATEGORIES = [number for number in range(1, 91) if number not in GAPS]
SHAPES = 4096
"""Outlines that are made; objects take one of them."""


def write_annotations(path: Path, images: int = IMAGES, seed: int = 0) -> int:
    """Write the file; gives the number of its annotations."""
    generator = np.random.default_rng(seed)
    numbers = np.sort(generator.choice(5 * images, images, replace=False) + 1)
    objects = round(images * OBJECTS)
    full = numbers[generator.random(images) >= EMPTY]
    outlines = [_outline(generator) for _ in range(min(SHAPES, objects))]
    crowds = [_crowd(generator) for _ in range(max(2, min(SHAPES, objects) // 64))]
    with path.open("w", encoding="ascii") as file:
        info = {"description": "made, in COCO's form", "url": "", "version": "1.0", "year": 2017}
        file.write(f'{{"info": {json.dumps(info)}, "licenses": [], "images": [')
        file.writelines(_joined(_image(int(number)) for number in numbers))
        file.write('], "annotations": [')
        owners = generator.choice(full, objects).tolist()
        kinds = generator.choice(CATEGORIES, objects).tolist()
        shapes = generator.integers(0, 1 << 30, objects).tolist()
        is_crowd = (generator.random(objects) < CROWDS).tolist()
        file.writelines(
            _joined(
                (pool := crowds if crowd else outlines)[shape % len(pool)]
                % (owner, kind, 1 + number)
                for number, (owner, kind, shape, crowd) in enumerate(
                    zip(owners, kinds, shapes, is_crowd, strict=True)
                )
            )
        )
        categories = [{"supercategory": "thing", "id": n, "name": f"c{n}"} for n in CATEGORIES]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return objects


def _joined(parts: Iterator[str]) -> Iterator[str]:
    for number, part in enumerate(parts):
        yield f", {part}" if number else part


def _image(number: int) -> str:
    stated = {
        "license": 4,
        "file_name": f"{number:012d}.jpg",
        "coco_url": f"http://images.cocodataset.org/train2017/{number:012d}.jpg",
        "height": HEIGHT,
        "width": WIDTH,
        "date_captured": "2013-11-20 22:56:00",
        "flickr_url": f"http://farm9.staticflickr.com/8292/{number:010d}_e0486b75b8_z.jpg",
        "id": number,
    }
    return json.dumps(stated)


def _outline(generator: np.random.Generator) -> str:
    """An annotation of one polygon, in rare cases two; the ids are to be filled in."""
    polygons = [_polygon(generator) for _ in range(1 + int(generator.random() < 0.1))]
    x, y = np.concatenate([one.reshape(-1, 2) for one in polygons]).T
    area = sum(_area(one) for one in polygons)
    return _stated([one.tolist() for one in polygons], area, (x.min(), y.min(), x.max(), y.max()))


def _polygon(generator: np.random.Generator) -> np.ndarray:
    corners = max(4, round(generator.lognormal(2.71, 0.75)))
    angles = np.sort(generator.random(corners)) * 2 * np.pi
    reach = generator.lognormal(3.2, 0.9, 2).clip(2, (WIDTH / 2, HEIGHT / 2))
    middle = reach + generator.random(2) * ((WIDTH, HEIGHT) - 2 * reach)
    points = middle + reach * np.stack([np.cos(angles), np.sin(angles)], 1)
    return points.clip(0, (WIDTH, HEIGHT)).round(2).reshape(-1)


def _crowd(generator: np.random.Generator) -> str:
    counts = generator.integers(4, 900, 2 * int(generator.integers(40, 300)))
    counts = counts[np.cumsum(counts) < HEIGHT * WIDTH]
    counts = counts[: len(counts) // 2 * 2].tolist()
    runs = {"counts": [*counts, HEIGHT * WIDTH - sum(counts)], "size": [HEIGHT, WIDTH]}
    return _stated(runs, sum(counts[1::2]), (0, 0, WIDTH, HEIGHT), crowd=True)


def _stated(outline: object, area: float, box: tuple[float, ...], *, crowd: bool = False) -> str:
    left, top, right, bottom = map(float, box)
    stated = {
        "segmentation": outline,
        "area": float(area),
        "iscrowd": int(crowd),
        "image_id": "%d",
        "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
        "category_id": "%d",
        "id": "%d",
    }
    return json.dumps(stated).replace('"%d"', "%d")


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.reshape(-1, 2).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def main() -> None:
    options = ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("file", type=Path, help="to write")
    options.add_argument("--images", type=int, default=IMAGES, help="(%(default)s)")
    args = options.parse_args()
    count = write_annotations(args.file, args.images)
    print(f"{args.file}: {args.images:,} images, {count:,} annotations")


if __name__ == "__main__":
    main()
