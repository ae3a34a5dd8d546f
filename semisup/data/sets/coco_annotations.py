"""The annotations of MS COCO: a JSON of images, categories and objects, and the masks in it.

An object has polygons, or runs of a mask (RLE), plain or packed. What polygons cover is computed by
pycocotools, so that a mask here is the one that its evaluation sees.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semisup.data.base import Objects
from semisup.errors import DataError

EXTRA = "pip install 'semisup[coco]'"
"""What brings pycocotools."""


BACKGROUND = "background"
"""The class of a pixel that is of no object."""

MOST_CATEGORIES = 254
"""Beside background and void, in a mask of 8 bits."""

MOST_PIXELS = 1 << 30
"""Of an image: what a file states is compared with it before masks of that size are made."""

MOST_EXACT = 1 << 53
"""Whole numbers beyond it are not kept by programs to which all numbers are floats."""

FURTHEST = 100_000
"""Pixels from the origin that a corner may lie; lines are drawn up to there, seen or not."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of an annotation file.

    Attributes:
        number: its id there.
        file: its name.
        size: height and width as stated.
        objects: its annotations as JSON: as bytes they are light enough to be kept for all images.
    """

    number: int
    file: str
    size: tuple[int, int]
    objects: bytes


@dataclass(frozen=True, slots=True)
class CocoFile:
    """An annotation file.

    Attributes:
        path: where it lies.
        images: in the order of the file.
        categories: id -> name, in the order of the ids.
    """

    path: Path
    images: tuple[CocoImage, ...]
    categories: Mapping[int, str]


def mask_tools() -> Any:
    """pycocotools' module of masks.

    Raises:
        DataError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise DataError(
            f"masks of COCO are read with pycocotools, which is not installed: {EXTRA}"
        ) from error
    return mask


def read_coco(path: Path) -> CocoFile:
    """The content of `instances_*.json`.

    Raises:
        DataError: the file is missing, no JSON, or lacks what is needed; names it.
    """
    content = _read_json(path)
    try:
        categories = {n: _name(one) for n, one in _by_id(content, "categories").items()}
        listed = _by_id(content, "images")
        objects: dict[int, list[Any]] = {number: [] for number in listed}
        for one in content["annotations"]:
            objects[_number(one["image_id"])].append(_needed(one, categories))
        images = [_image(number, one, objects[number]) for number, one in listed.items()]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{path}: is no file of COCO's instances ({type(error).__name__}: "
            f"{_line(error)}); it needs images (id, file_name, height, width), categories (id, "
            "name) and annotations of them (image_id, category_id, bbox, segmentation)"
        ) from None
    if not images or not categories:
        raise DataError(f"{path}: lists no {'category' if images else 'image'}; get it again")
    names = [BACKGROUND, *categories.values()]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice or len(categories) > MOST_CATEGORIES:
        what = f"'{twice}' is the name of two" if twice else f"{len(categories)} are more"
        raise DataError(
            f"{path}: {what} categories{'' if twice else f' than the {MOST_CATEGORIES} of a mask'};"
            " take a file with fewer, of names of their own"
        )
    return CocoFile(path, tuple(images), dict(sorted(categories.items())))


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:80]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror}); unpack COCO's annotations there"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({_line(error)}); get it again") from None


def _by_id(content: Mapping[str, Any], key: str) -> dict[int, Any]:
    """Images or categories by their ids, in the order of the file."""
    found: dict[int, Any] = {}
    for one in content[key]:
        number = _number(one["id"])
        if number in found:
            raise ValueError(f"two {key} have the id {number}")
        found[number] = one
    return found


def _number(value: Any) -> int:
    """A whole number that JSON keeps exactly."""
    number = int(value)
    if isinstance(value, bool) or number != float(value) or abs(number) > MOST_EXACT:
        raise ValueError(f"{value!r} is no whole number")
    return number


def _measure(value: Any, what: str) -> float:
    """A length or area, in pixels."""
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{what} {value!r}")
    return number


def _name(stated: Mapping[str, Any]) -> str:
    """Of a category: in one line."""
    name = stated["name"]
    if not isinstance(name, str) or not name.strip() or len(name.splitlines()) > 1:
        raise ValueError(f"{name!r} is no name of a category")
    name.encode()  # half a surrogate pair could never be written again
    return name


def _image(number: int, stated: Mapping[str, Any], objects: list[Any]) -> CocoImage:
    size = (_number(stated["height"]), _number(stated["width"]))
    name = str(stated["file_name"])
    no_name = Path(name).name != name or not Path(name).suffix or "\0" in name
    if min(size) < 1 or math.prod(size) > MOST_PIXELS or no_name:
        raise ValueError(f"image {name!r} of {size[0]}x{size[1]}")
    name.encode()
    return CocoImage(number, name, size, json.dumps(objects).encode())


def _needed(stated: Mapping[str, Any], categories: Mapping[int, str]) -> dict[str, Any]:
    """What is used of an annotation, checked but for its outline."""
    category, box = _number(stated["category_id"]), [float(side) for side in stated["bbox"]]
    if category not in categories:
        raise ValueError(f"category_id {category} is none of the categories")
    is_box = isinstance(stated["bbox"], list) and len(box) == 4 and all(map(math.isfinite, box))
    if not is_box or min(box[2:]) < 0:
        raise ValueError(f"bbox {stated['bbox']!r}")
    crowd = stated.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise ValueError(f"iscrowd {crowd!r} is neither 0 nor 1")
    return {
        "category": category,
        "bbox": box,
        "area": _measure(stated.get("area", box[2] * box[3]), "area"),
        "crowd": crowd == 1,
        "segmentation": stated["segmentation"],
    }


def objects_of(image: CocoImage, label_of: Mapping[int, int], path: Path) -> Objects:
    """The objects of an image, in the order of the file.

    Args:
        image: with its annotations.
        label_of: category id -> label; what is in no label is left out.
        path: of the file, for errors.

    Raises:
        DataError: an outline that covers no mask; names the file and the image.
    """
    stated = [one for one in json.loads(image.objects) if one["category"] in label_of]
    tools = mask_tools()
    height, width = image.size
    masks = torch.zeros(len(stated), height, width, dtype=torch.uint8)
    for number, one in enumerate(stated):
        masks[number] = _mask(tools, one["segmentation"], image, path)
    return Objects(
        labels=torch.tensor([label_of[one["category"]] for one in stated], dtype=torch.int64),
        masks=masks,
        boxes=torch.tensor([one["bbox"] for one in stated], dtype=torch.float64).view(-1, 4),
        areas=torch.tensor([one["area"] for one in stated], dtype=torch.float64),
        crowd=torch.tensor([one["crowd"] for one in stated], dtype=torch.bool),
    )


def _mask(tools: Any, outline: Any, image: CocoImage, path: Path) -> Tensor:
    """What polygons or runs cover, uint8 HW."""
    try:
        return _filled(_runs(tools, outline, image.size), image.size)
    except Exception as error:  # whatever pycocotools says of what is no outline
        raise DataError(
            f"{path}: an object of image {image.number} ({image.file}) has an outline that covers "
            f"nothing that can be read ({type(error).__name__}: {_line(error)}); correct it"
        ) from None


def _runs(tools: Any, outline: Any, size: tuple[int, int]) -> list[int]:
    """Lengths of runs down the columns, the first of zeros."""
    if isinstance(outline, list):
        polygons = [_polygon(one) for one in outline]
        packed = tools.merge(tools.frPyObjects(polygons, *size))["counts"]
        return _unpacked(packed.decode("ascii"))
    if [int(side) for side in outline["size"]] != list(size):
        raise ValueError(f"size {outline['size']!r} is not that of the image")
    counts = outline["counts"]
    return [int(n) for n in counts] if isinstance(counts, list) else _unpacked(str(counts))


def _polygon(sides: Any) -> list[float]:
    """A polygon of three corners or more."""
    numbers = [float(side) for side in sides]
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError("a polygon is x, y of three corners or more")
    if not all(abs(number) <= FURTHEST for number in numbers):
        raise ValueError(f"a corner lies further than {FURTHEST:,} pixels away")
    return numbers


def _unpacked(text: str) -> list[int]:
    """Runs out of COCO's text: five bits a letter, the lowest first, bit 6 where more follow.

    From the fourth on, a length is stated as its difference to the last but one.
    """
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("its runs are damaged")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def _filled(lengths: list[int], size: tuple[int, int]) -> Tensor:
    """The mask of some runs, uint8 HW."""
    height, width = size
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise ValueError("its runs do not add up to the pixels of the image")
    values = torch.arange(len(lengths)).remainder(2).to(torch.uint8)
    return values.repeat_interleave(torch.tensor(lengths)).view(width, height).T
