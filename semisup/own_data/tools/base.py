"""An exported image with what was drawn on it, whatever tool wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semisup.data.base import Colour
from semisup.data.sets.coco_annotations import covered
from semisup.errors import DataError

Mask = npt.NDArray[np.bool_]

VOID = -1
"""Label of a segment whose pixels are of no class, whether the export names void or not."""

EXTRA = "pip install 'semisup[import]'"


@dataclass(frozen=True)
class Segment:
    """An object or region with a mask.

    Attributes:
        label: position of its class in the list of the export, or `VOID`.
        draw: (height, width) -> its mask, bool HW.
        order: what has the larger one lies on top.
        group: parts of one object have the same; 0: of none.
    """

    label: int
    draw: Callable[[int, int], Mask]
    order: int = 0
    group: int = 0


@dataclass
class Exported:
    """An image of an export.

    Attributes:
        name: its id, a relative path without ending.
        subset: such as "train"; empty: none.
        path: of the picture; None where the export has none.
        size: (height, width) as the export states it; None: it does not.
        segments: with a mask.
        left_out: kind of annotation without a mask -> how many.
    """

    name: str
    subset: str
    path: Path | None
    size: tuple[int, int] | None
    segments: list[Segment]
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Export:
    """What a tool has exported.

    Attributes:
        format: its name.
        classes: as the export names them.
        colours: of the classes, where the export states them.
        images: read one after the other.
    """

    format: str
    classes: Sequence[str]
    colours: Sequence[Colour | None]
    images: Iterator[Exported]


def draw_polygon(points: Sequence[float], height: int, width: int) -> Mask:
    """The pixels of a polygon, by COCO's own rule: bool HW.

    Args:
        points: x, y, x, y, ... in pixels, from the corner of the first one.
        height: of the image.
        width: of the image.

    Raises:
        DataError: pycocotools is not installed, or the polygon has fewer than three points.
    """
    if len(points) < 6:
        raise DataError(f"a polygon has {len(points) // 2} points")
    return covered(points, (height, width)).astype(bool)
