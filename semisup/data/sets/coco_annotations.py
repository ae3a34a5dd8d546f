"""The masks in annotations of MS COCO: an object has polygons, or runs of a mask (RLE).

Runs are plain or packed. What polygons cover is computed by pycocotools, so that a mask here is the
one that its evaluation sees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from semisup.data.base import Objects
from semisup.data.sets.coco_index import line_of, whole_number
from semisup.errors import DataError

EXTRA = "pip install 'semisup[coco]'"
"""What brings pycocotools."""

FURTHEST = 100_000
"""Pixels from the origin that a corner may lie; lines are drawn up to there, seen or not."""

LEAST_SHARED = 0.1
"""Of the union of an object's box and that of its corners, each a pixel wider on every side."""

MOST_UNSEEN = 9
"""Area in pixels that an object may state whose outline covers none."""

Stated = Sequence[Mapping[str, Any]]
"""The annotations of an image, as `CocoIndex.annotations` has them."""


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


def objects_of(
    stated: Stated, size: tuple[int, int], label_of: Mapping[int, int], where: str
) -> Objects:
    """The objects of an image, in the order of the file.

    Args:
        stated: its annotations.
        size: its height and width.
        label_of: category id -> label; what is in no label is left out.
        where: file and image, for errors.

    Raises:
        DataError: as of `runs_of`.
    """
    kept = [one for one in stated if one["category_id"] in label_of]
    masks = torch.zeros(len(kept), *size, dtype=torch.uint8)
    for into, runs in zip(masks, runs_of(kept, size, where), strict=True):
        into.copy_(torch.from_numpy(filled(runs, size)))
    return Objects(
        labels=torch.tensor([label_of[one["category_id"]] for one in kept], dtype=torch.int64),
        masks=masks,
        boxes=torch.tensor([one["bbox"] for one in kept], dtype=torch.float64).view(-1, 4),
        areas=torch.tensor([one["area"] for one in kept], dtype=torch.float64),
        crowd=torch.tensor([one["iscrowd"] for one in kept], dtype=torch.bool),
    )


def drawing_order(stated: Stated) -> list[int]:
    """The objects as they are drawn: crowds, then the largest first; equal ones as they come."""
    keys = [(not one["iscrowd"], -one["area"]) for one in stated]
    return sorted(range(len(keys)), key=keys.__getitem__)


def runs_of(stated: Stated, size: tuple[int, int], where: str) -> Iterator[list[int]]:
    """What polygons or runs cover, one after the other, as runs of all pixels.

    Lengths down the columns: of zeros, of ones and so on.

    Raises:
        DataError: an outline that cannot be read, or contradicts the image, its box or its area;
            names the file and the image.
    """
    tools = mask_tools()
    for one in stated:
        try:
            runs = _runs(tools, one, size)
        except Exception as error:  # whatever pycocotools says of what is no outline
            raise DataError(
                f"{where} has an outline that cannot be used ({type(error).__name__}: "
                f"{line_of(error)}); correct it"
            ) from None
        yield runs


def paint(columns: np.ndarray, runs: list[int], value: int) -> None:
    """Give the ones of some runs a value in an image whose columns lie one after the other."""
    at = 0
    for zeros, ones in zip(runs[::2], runs[1::2], strict=False):
        at += zeros
        columns[at : at + ones] = value
        at += ones


def filled(runs: list[int], size: tuple[int, int]) -> np.ndarray:
    """The mask of some runs, uint8 HW."""
    height, width = size
    columns = np.zeros(height * width, np.uint8)
    paint(columns, runs, 1)
    return columns.reshape(width, height).T


def covered(polygon: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """The pixels of a polygon by COCO's rule, uint8 HW.

    Args:
        polygon: x, y, x, y, ... in pixels.
        size: (height, width).

    Raises:
        DataError: pycocotools is not installed.
    """
    tools = mask_tools()
    packed = tools.merge(tools.frPyObjects([list(polygon)], *size))["counts"]
    return filled(_unpacked(packed.decode("ascii")), size)


def _runs(tools: Any, one: Mapping[str, Any], size: tuple[int, int]) -> list[int]:
    outline = one["segmentation"]
    if isinstance(outline, list):
        polygons = [_polygon(corners) for corners in outline]
        if not polygons:
            raise ValueError("it has no polygon")
        _check_place([number for polygon in polygons for number in polygon], one["bbox"], size)
        # Unpacked here: pycocotools' own decoding makes numpy warn.
        packed = tools.merge(tools.frPyObjects(polygons, *size))["counts"]
        runs = _unpacked(packed.decode("ascii"))
    else:
        runs = _stated_runs(outline, size)
    if min(runs, default=0) < 0 or sum(runs) != math.prod(size):
        raise ValueError("its runs do not add up to the pixels of the image")
    if one["area"] > MOST_UNSEEN and not any(runs[1::2]):
        raise ValueError(f"it covers no pixel, and its area is said to be {one['area']:g}")
    return runs


def _check_place(corners: list[float], box: list[float], size: tuple[int, int]) -> None:
    """Refuse polygons beside the image, and a box that is not about them.

    What the official files have passes: corners on the border, boxes without height.
    """
    xs, ys = corners[::2], corners[1::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    height, width = size
    if left > width or top > height or right < 0 or bottom < 0:
        raise ValueError("it lies outside of the image")
    x, y, wide, high = box
    shared_width = min(right, x + wide) - max(left, x) + 2
    shared_height = min(bottom, y + high) - max(top, y) + 2
    shared = max(0, shared_width) * max(0, shared_height)
    both = (right - left + 2) * (bottom - top + 2) + (wide + 2) * (high + 2) - shared
    if shared < LEAST_SHARED * both:
        raise ValueError(f"it lies elsewhere than its bbox {box}")


def _stated_runs(outline: Any, size: tuple[int, int]) -> list[int]:
    """Lengths of runs down the columns, the first of zeros; plain or packed."""
    if [whole_number(side) for side in outline["size"]] != list(size):
        raise ValueError(f"size {outline['size']!r} is not that of the image")
    counts = outline["counts"]
    return [whole_number(n) for n in counts] if isinstance(counts, list) else _unpacked(str(counts))


def _polygon(sides: Any) -> list[float]:
    """A polygon of three corners or more."""
    if isinstance(sides, str):
        raise TypeError("a polygon is a list of numbers")
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
