"""The objects in Cityscapes' instance ids, 16-bit pictures beside the label ids.

An id of 1000 or more is of an object: 1000 times its label id, and its number among those of its
label. A smaller one is a label id; of a label that has objects it is a group, several objects that
were not told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from semisup.data.base import Objects
from semisup.data.formats.channels import kind_of, read_image
from semisup.data.sets.cityscapes_classes import FIRST_OBJECT, LAST_ID, NUMBERS
from semisup.data.sets.cityscapes_polygons import OF_OBJECTS, REMEDY, Ids
from semisup.errors import DataError
from semisup.ops.pixels import ImageKind
from semisup.system.words import counted
from semisup.types import IGNORE

_KIND = ImageKind(1, 16)
_NAMES = {label: name for name, label in NUMBERS.items()}


def read_ids(path: Path) -> Ids:
    """The instance ids of an image, from its `..._gtFine_instanceIds.png`: int32 HW.

    Raises:
        DataError: the file is missing, damaged or not of 16 bits, or holds an id that is of no
            label, or of an object of a label that has none.
    """
    kind = kind_of(path)
    if kind is not None and kind != _KIND:
        raise DataError(f"{path} is {kind}, and instance ids are grey with 16 bits; {REMEDY}")
    ids: Ids = read_image(path, _KIND)[0].numpy().astype(np.int32)
    for value in _values(ids):
        label = _label(value)
        if label not in _NAMES:
            raise DataError(f"{path} holds instance id {value}, which is of no label; {REMEDY}")
        if value >= OF_OBJECTS and label < FIRST_OBJECT:
            raise DataError(
                f"{path} holds instance id {value}, but label {label}, '{_NAMES[label]}', has no "
                f"objects: those of {FIRST_OBJECT} to {LAST_ID} have; {REMEDY}"
            )
    return ids


def check_same_pixels(
    path: Path, beside: Path, found: Tensor, mask: Tensor, classes: Sequence[str]
) -> None:
    """Refuse instance ids that are not of the mask: both are drawn from the same polygons.

    Args:
        path: of the instance ids.
        beside: of the mask.
        found: uint8 HW, the classes that the instance ids come to.
        mask: uint8 HW.
        classes: K names.

    Raises:
        DataError: they differ in size or in a pixel; names both files and the first such pixel.
    """
    if found.shape != mask.shape:
        raise DataError(
            f"{path} is {_size(found)}, but the mask {beside.name} is {_size(mask)} (height x "
            "width); take both files from one source"
        )
    wrong = found != mask
    count = int(wrong.sum())
    if count:
        row, column = wrong.nonzero()[0].tolist()
        one, other = (_name(labels[row, column], classes) for labels in (found, mask))
        raise DataError(
            f"{path} has {one} in row {row}, column {column}, where the mask {beside.name} has "
            f"{other} ({counted(count, 'such pixel')}); take both files from "
            "gtFine_trainvaltest.zip: masks that were drawn anew differ along outlines"
        )


def objects_in(ids: Ids, label_of: Mapping[int, int]) -> Objects:
    """The objects in instance ids, in their order; a group is a crowd.

    Args:
        ids: HW.
        label_of: label id -> class; what is in no class is left out.
    """
    values = _kept(ids, label_of)
    masks = torch.zeros(len(values), *ids.shape, dtype=torch.uint8)
    boxes = torch.zeros(len(values), 4, dtype=torch.float64)
    places = ndimage.find_objects(_numbered(ids, values), len(values))
    for number, (value, (rows, columns)) in enumerate(zip(values, places, strict=True)):
        masks[number, rows, columns] = torch.from_numpy(ids[rows, columns] == value)
        sides = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        boxes[number] = torch.tensor(sides)
    return Objects(
        labels=torch.tensor([label_of[_label(value)] for value in values], dtype=torch.int64),
        masks=masks,
        boxes=boxes,
        areas=torch.from_numpy(np.bincount(ids.ravel())[values]).double(),
        crowd=torch.tensor([value < OF_OBJECTS for value in values], dtype=torch.bool),
    )


def numbers_in(ids: Ids, label_of: Mapping[int, int]) -> Tensor:
    """Which object each pixel is of, counted over all classes: uint8 HW, 0 where of none.

    Args:
        ids: HW.
        label_of: label id -> class; what is in no class is of none.
    """
    values = [value for value in _kept(ids, label_of) if value >= OF_OBJECTS]
    numbers = _numbered(ids, values)
    return torch.from_numpy(np.where(numbers, (numbers - 1) % (IGNORE - 1) + 1, 0).astype(np.uint8))


def _numbered(ids: Ids, values: Sequence[int]) -> Ids:
    """HW: the place of each id in a list, counted from 1; 0 where it is not in it."""
    table = np.zeros(OF_OBJECTS * (LAST_ID + 1), np.int32)
    table[values] = np.arange(1, len(values) + 1)
    numbers: Ids = table[ids]
    return numbers


def _kept(ids: Ids, label_of: Mapping[int, int]) -> list[int]:
    """The ids of objects and groups in some classes, ascending: groups are the first."""
    return [value for value in _values(ids) if _label(value) in label_of]


def _values(ids: Ids) -> list[int]:
    found: list[int] = np.flatnonzero(np.bincount(ids.ravel())).tolist()
    return found


def _label(value: int) -> int:
    return value // OF_OBJECTS if value >= OF_OBJECTS else value


def _name(label: Tensor, classes: Sequence[str]) -> str:
    return "void" if int(label) == IGNORE else f"'{classes[int(label)]}'"


def _size(picture: Tensor) -> str:
    return f"{picture.shape[0]}x{picture.shape[1]}"
