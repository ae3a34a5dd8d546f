"""Masks of VOC exports: class masks say what a pixel is, object masks only tell objects apart.

datumaro takes the objects where there are any, so that what is void in the class mask, or of a
class but of no object, becomes background.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from semisup.data.base import Colour
from semisup.errors import DataError
from semisup.own_data.tools.base import VOID
from semisup.types import IGNORE

VOID_COLOUR = (224, 224, 192)
"""Of the border in VOC's own masks, entry 255 of their palette."""

_Numbers = npt.NDArray[np.int64]


def regions(
    classes: Path, objects: Path | None, colours: Mapping[int, Colour], count: int
) -> list[tuple[int, int]]:
    """What lies in an image: (label, object), where the label may be `VOID`.

    Background is named where nothing else is.

    Args:
        classes: a mask of SegmentationClass: of colours, of a palette, or of label ids in grey.
        objects: the mask of SegmentationObject; None: there is none, and each class is one region.
        colours: label -> its colour, of the labels that have one.
        count: number of labels.

    Raises:
        DataError: a mask cannot be read, the two differ in size, or a colour is of no class.
    """
    labels, numbers = _read(classes, objects, tuple(sorted(colours.items())), count)
    pairs = np.unique(np.stack([labels.ravel(), numbers.ravel()], 1), axis=0)
    found = [(int(label), int(number)) for label, number in pairs]
    grounds = {label for label, colour in colours.items() if colour == (0, 0, 0)}
    return [pair for pair in found if pair[0] not in grounds] or found[:1]


def region(
    classes: Path,
    objects: Path | None,
    colours: Mapping[int, Colour],
    count: int,
    pair: tuple[int, int],
) -> npt.NDArray[np.bool_]:
    """The pixels of one of the `regions`: bool HW."""
    labels, numbers = _read(classes, objects, tuple(sorted(colours.items())), count)
    mask: npt.NDArray[np.bool_] = (labels == pair[0]) & (numbers == pair[1])
    return mask


@functools.lru_cache(maxsize=2)  # the regions of one image are drawn one after the other
def _read(
    classes: Path, objects: Path | None, colours: tuple[tuple[int, Colour], ...], count: int
) -> tuple[_Numbers, _Numbers]:
    labels = _labels(classes, dict(colours), count)
    numbers = np.zeros_like(labels) if objects is None else _numbers(objects)
    if numbers.shape != labels.shape:
        raise DataError(
            f"{objects} is {numbers.shape[0]}x{numbers.shape[1]}, and {classes} "
            f"{labels.shape[0]}x{labels.shape[1]}; export both anew"
        )
    return labels, numbers


def _labels(path: Path, colours: Mapping[int, Colour], count: int) -> _Numbers:
    """Labels, `VOID` where the mask is void: HW."""
    values, seen = _pixels(path)
    known = {colour: label for label, colour in colours.items()}
    known.setdefault(VOID_COLOUR, VOID)
    found, places = np.unique(values, return_inverse=True)
    ids = []
    for value in found.tolist():
        if not seen:  # label ids in grey
            label: int | None = value if value < count else VOID
            if value >= count and value != IGNORE:
                raise DataError(f"{path}: {value} is no label id, the export names {count} classes")
        else:
            label = known.get(seen[value])
        if label is None:
            raise DataError(
                f"{path}: the colour {seen[value]} is of no class; name it in labelmap.txt, or "
                "correct the mask"
            )
        ids.append(label)
    return np.array(ids, np.int64)[places].reshape(values.shape)


def _numbers(path: Path) -> _Numbers:
    """A number for each object, 0 for none: HW."""
    return _pixels(path)[0]


def _pixels(path: Path) -> tuple[_Numbers, dict[int, Colour]]:
    """Values HW, and the colours that they stand for; none where the picture is grey."""
    try:
        with Image.open(path) as picture:
            mode, table = picture.mode, picture.getpalette()
            grey = mode in ("1", "L", "P") or mode.startswith("I")
            pixels = np.asarray(picture if grey else picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read ({reason}); export it anew") from None
    if not grey:
        values: _Numbers = (pixels.astype(np.int64) * (1 << 16, 1 << 8, 1)).sum(2)
        seen = {one: (one >> 16, one >> 8 & 255, one & 255) for one in np.unique(values).tolist()}
        return values, seen
    values = pixels.astype(np.int64)
    if mode != "P" or table is None:
        return values, {}
    table += [0] * (768 - len(table))
    triples = list(zip(table[0::3], table[1::3], table[2::3], strict=True))
    seen = {one: triples[one] for one in np.unique(values).tolist()}
    if seen.get(IGNORE) == (0, 0, 0):  # a palette may end before the entry of void
        seen[IGNORE] = VOID_COLOUR
    return values, seen
