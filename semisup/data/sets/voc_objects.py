"""What Pascal VOC's files of objects say beside an image and its mask, checked against both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from semisup.data.formats.class_colours import is_background
from semisup.data.formats.pictures import read_labels, read_mask_picture, voc_palette
from semisup.data.formats.voc_annotations import Box, read_boxes
from semisup.errors import DataError, suggest
from semisup.system.words import counted
from semisup.types import IGNORE

Labels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

_STRAY = 0.01
"""Share of an object's pixels that may be of another class than the rest, or background.

Both maps of an image come from one annotation, and in those at hand no pixel disagrees; but a few
along an outline, as two ways to draw a polygon leave them, would be no reason to refuse a file.
"""


class StoredMask(NamedTuple):
    """A class mask that objects are compared with.

    Attributes:
        path: of its file.
        labels: HW.
        classes: the name of each label.
    """

    path: Path
    labels: Labels
    classes: Sequence[str]


def fault_of_map(path: Path, size: tuple[int, int], mask: StoredMask | None) -> str | None:
    """What is wrong with a map of objects, in one line; None where nothing is.

    In VOC's own maps 0 is background, 1, 2, ... are objects and 255 is void, in the places where
    the class mask is void. A tool may leave objects out of the map, or make them void in the mask:
    only an object of two classes, or one on background, is wrong. In a map in colours (CVAT's)
    each colour is an object.

    Args:
        path: of the map.
        size: height and width of the image.
        mask: of the same image; None where it has none.
    """
    try:
        objects = _read_map(path)
    except DataError as error:
        return str(error)
    if objects.shape != size:
        return (
            f"{path}: the map of objects is {_size(objects.shape)} but its image is {_size(size)} "
            "(height x width); make them the same size"
        )
    faults = _contradictions(objects, mask) if mask is not None else []
    if not faults:
        return None
    more = f", and {counted(len(faults) - 1, 'more object')} like it" if faults[1:] else ""
    return f"{path}: {faults[0]}{more}; take both files from one source, or remove this one"


def faults_of_boxes(path: Path, size: tuple[int, int], classes: Sequence[str]) -> list[str]:
    """What is wrong with an annotation in XML: it is damaged, or names a class that there is not,
    or a box reaches beyond the image. One line for each of the two.

    A box that begins at 0 is taken as of a tool that counts from 0, as VOC does not.

    Args:
        path: of the annotation.
        size: height and width of the image.
        classes: all names that the data set knows.
    """
    try:
        boxes = read_boxes(path)
    except DataError as error:
        return [str(error)]
    faults: list[tuple[Callable[[Box], bool], Callable[[Box], str]]] = [
        (
            lambda box: box.name not in classes,
            lambda box: (
                f"names the class '{box.name}', which there is not.{suggest(box.name, classes)}"
            ),
        ),
        (
            lambda box: not _inside(box, size),
            lambda box: (
                f"the box of '{box.name}' has columns {box.xmin} to {box.xmax} and rows "
                f"{box.ymin} to {box.ymax}, but the image has {size[1]} and {size[0]}; "
                "mend it, or take the annotation of this image"
            ),
        ),
    ]
    lines = []
    for is_wrong, describe in faults:
        wrong = [box for box in boxes if is_wrong(box)]
        if wrong:
            more = f" ({counted(len(wrong), 'such box', 'such boxes')})" if wrong[1:] else ""
            lines.append(f"{path}: {describe(wrong[0])}{more}")
    return lines


def _inside(box: Box, size: tuple[int, int]) -> bool:
    height, width = size
    return box.xmin >= 0 and box.ymin >= 0 and box.xmax <= width and box.ymax <= height


def _read_map(path: Path) -> Numbers:
    """Which object each pixel is of: HW, 0 and 255 where of none."""
    picture = read_mask_picture(path).picture
    if picture.mode not in ("RGB", "RGBA"):
        return read_labels(path).numpy().astype(np.int64)
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), np.int64), -1, 0)
    colours, objects = np.unique((red << 16) | (green << 8) | blue, return_inverse=True)
    red, green, blue = voc_palette()[IGNORE]
    numbers = np.arange(1, len(colours) + 1)
    numbers += numbers >= IGNORE
    numbers[colours == 0] = 0
    numbers[colours == (red << 16) | (green << 8) | blue] = IGNORE
    return numbers[objects.reshape(picture.height, picture.width)]


def _contradictions(objects: Numbers, mask: StoredMask) -> list[str]:
    labels = IGNORE + 1
    pairs = np.bincount(
        (objects * labels + mask.labels).ravel(), minlength=(int(objects.max()) + 1) * labels
    )
    counts = pairs.reshape(-1, labels)[:, : len(mask.classes)]  # objects x classes, without void
    found = set(np.flatnonzero(counts.any(axis=1)).tolist()) - {0, IGNORE}
    return [fault for number in sorted(found) if (fault := _contradiction(number, counts, mask))]


def _contradiction(number: int, counts: Numbers, mask: StoredMask) -> str | None:
    pixels = {name: int(n) for name, n in zip(mask.classes, counts[number], strict=True) if n}
    most, *others = sorted(pixels, key=lambda name: -pixels[name])
    if not is_background(most) and (
        not others or pixels[others[0]] <= _STRAY * sum(pixels.values())
    ):
        return None
    listed = f"{counted(pixels[most], 'pixel')} of '{most}'"
    listed += f" and {pixels[others[0]]:,} of '{others[0]}'" if others else ""
    why = "an object is no background" if any(map(is_background, pixels)) else "it has one class"
    where = mask.path.parent.name + "/" + mask.path.name
    return f"object {number} has {listed} in {where}, but {why}"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
