"""The ids of Cityscapes' pixels, drawn from the polygons that its annotators drew.

The published label ids and instance ids were drawn from these polygons by the rule of an older
Pillow. Today's fills more: with Pillow 13.0 0.5 % of the pixels of an image are others, along the
outlines. So the rule is written down here, and the published files come out to the pixel.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semisup.data.sets.cityscapes_classes import FIRST_OBJECT, LAST_ID, NOT_DRAWN, NUMBERS
from semisup.errors import DataError

Ids = npt.NDArray[np.int32]
"""HW: a label id, or of an object 1000 times that and its number among the objects of its label."""

OF_OBJECTS = 1000
"""From here on an id is of an object."""

MOST_PIXELS = 1 << 26
"""Of an image that a file states; those of Cityscapes have 2**21."""

FURTHEST = 100_000
"""Pixels from the origin that a corner may lie."""

REMEDY = "take the file of gtFine_trainvaltest.zip"

_GROUP = "group"
_MOST_CROSSINGS = 1 << 20
"""Of edges with rows, looked at together."""

_IDS = np.arange(OF_OBJECTS * (LAST_ID + 1))
_LABELS = np.where(_IDS < OF_OBJECTS, _IDS, _IDS // OF_OBJECTS).astype(np.uint8)


class _WrongError(Exception):
    """What is wrong with a file, in words for a line."""


def draw_ids(path: Path) -> Ids:
    """The ids of an image, from its `..._gtFine_polygons.json`; what no polygon covers is 0.

    Polygons are drawn in the order of the file, so that a later one hides what lies below it. Each
    of a label with objects is an object of its own, but for those of "cargroup" and its like,
    several objects that were not told apart, which have the id of the label. Deleted objects and
    licence plates are not drawn.

    Args:
        path: of the file.

    Returns:
        int32 HW, of the size that the file states.

    Raises:
        DataError: the file is missing, no JSON or of another form, has a label that there is not,
            or a polygon that is none; names the file and the object.
    """
    content = _read(path)
    try:
        ids = np.zeros(_size(content), np.int32)
        for value, corners in _objects(content):
            _fill(ids, corners, value)
    except _WrongError as error:
        raise DataError(f"{path}: {error}; {REMEDY}") from None
    return ids


def labels_of(ids: Ids) -> npt.NDArray[np.uint8]:
    """The label id of each pixel: uint8 HW."""
    labels: npt.NDArray[np.uint8] = _LABELS[ids]
    return labels


def _read(path: Path) -> Any:
    if path.is_fifo():  # to open one is to wait for whoever writes into it
        raise DataError(f"{path} is a pipe; {REMEDY}")
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {REMEDY}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        line = next(iter(str(error).splitlines()), "")[:80]
        raise DataError(f"{path} is no JSON ({line}); {REMEDY}") from None


def _size(content: Any) -> tuple[int, int]:
    """Height and width as stated."""
    if not isinstance(content, dict):
        raise _WrongError("is no object of imgHeight, imgWidth and objects")
    sides = []
    for key in ("imgHeight", "imgWidth"):
        side = content.get(key)
        if type(side) is not int or side < 1:
            raise _WrongError(f"{key} is {side!r:.40}, not a number of pixels")
        sides.append(side)
    height, width = sides
    if height * width > MOST_PIXELS:
        raise _WrongError(f"states an image of {height}x{width} pixels (height x width)")
    return height, width


def _objects(content: dict[str, Any]) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
    """The id and the corners (N2: x, y) of each object that is drawn, in the order of the file."""
    objects = content.get("objects")
    if not isinstance(objects, list):
        raise _WrongError("has no list of objects")
    counts = Counter[str]()
    for number, one in enumerate(objects, start=1):
        try:
            drawn = _drawn(one, counts)
        except _WrongError as error:
            raise _WrongError(f"object {number} {error}") from None
        if drawn is not None:
            yield drawn


def _drawn(one: Any, counts: Counter[str]) -> tuple[int, npt.NDArray[np.int32]] | None:
    """Its id and corners; None where it is not drawn.

    Args:
        one: the object.
        counts: of the objects so far, by label.
    """
    if not isinstance(one, dict):
        raise _WrongError("is no object of label and polygon")
    deleted, name = one.get("deleted", 0), one.get("label")
    if deleted not in (0, 1):
        raise _WrongError(f"has {deleted!r:.40} for deleted, which is 0 or 1")
    if deleted:
        return None
    if not isinstance(name, str):
        raise _WrongError(f"has {name!r:.40} for a label, which is a name")
    is_group = name not in NUMBERS and name.endswith(_GROUP)
    label = NUMBERS.get(name.removesuffix(_GROUP) if is_group else name)
    if label is None:
        raise _WrongError(f"has the label {name!r:.40}, which Cityscapes does not have")
    corners = _corners(one.get("polygon"))
    if label == NOT_DRAWN:
        return None
    if label < FIRST_OBJECT or is_group:
        return label, corners
    if counts[name] == OF_OBJECTS:
        raise _WrongError(f"is one more than the {OF_OBJECTS} of '{name}' that ids tell apart")
    counts[name] += 1
    return OF_OBJECTS * label + counts[name] - 1, corners


def _corners(polygon: Any) -> npt.NDArray[np.int32]:
    """N2: x and y, cut to whole pixels as the benchmark's tools cut them."""
    if not isinstance(polygon, list) or len(polygon) < 3:
        raise _WrongError("has no polygon of three corners or more")
    for corner in polygon:
        if not (
            isinstance(corner, list)
            and len(corner) == 2
            and all(type(side) in (int, float) for side in corner)
        ):
            raise _WrongError(f"has a corner {corner!r:.40}, which is no x, y")
        if not all(abs(side) <= FURTHEST for side in corner):  # NaN is not either
            raise _WrongError(f"has a corner {corner!r:.40}, further than {FURTHEST:,} pixels away")
    return np.array(polygon, np.float64).astype(np.int32)


def _fill(ids: Ids, corners: npt.NDArray[np.int32], value: int) -> None:
    """Give the pixels of a polygon a value, by the rule of which the published ids are.

    The line through the middles of a row of pixels enters and leaves the polygon: covered are
    the pixels whose middles lie between, or less than half a pixel and up to half a pixel beside.
    Numbers are of single precision there, and so they are here.
    """
    begin, end = (side.astype(np.float32) for side in (corners, np.roll(corners, -1, axis=0)))
    crossed = begin[:, 1] != end[:, 1]
    (x, y), (to_x, to_y) = begin[crossed].T, end[crossed].T
    if not len(x):
        return
    low, high, slope = np.minimum(y, to_y), np.maximum(y, to_y), (to_x - x) / (to_y - y)
    top, bottom = max(0, int(low.min())), min(len(ids), int(high.max()))
    step = max(1, _MOST_CROSSINGS // len(x))
    for first in range(top, bottom, step):
        middles = np.arange(first, min(first + step, bottom), dtype=np.float32)[:, None] + 0.5
        crosses = (low < middles) & (middles < high)
        places = np.where(crosses, (middles - y) * slope + x, np.float32(np.inf))
        places.sort(axis=1)
        pairs = len(x) // 2
        enters, leaves = places[:, : 2 * pairs : 2], places[:, 1 : 2 * pairs : 2]
        rows, spans = np.nonzero(np.isfinite(leaves))
        starts = np.ceil(enters[rows, spans].astype(np.float64) - 0.5).clip(min=0)
        ends = np.floor(leaves[rows, spans].astype(np.float64) + 0.5).clip(min=-1) + 1
        for row, start, stop in zip(
            rows.tolist(), starts.astype(int).tolist(), ends.astype(int).tolist(), strict=True
        ):
            ids[first + row, start:stop] = value
