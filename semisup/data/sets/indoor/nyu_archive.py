"""NYU Depth v2 as published: one archive of all frames, and the lists of its subsets."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semisup.data.formats.matlab.hdf5 import MatlabArrays
from semisup.data.formats.matlab.level5 import read_file, read_numbers
from semisup.data.sets.indoor.classes import CATEGORIES
from semisup.errors import DataError

ARCHIVE, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
REMEDY = f"take {ARCHIVE} and {SPLITS} as published (cs.nyu.edu/~silberman/datasets)"
SIZE = (480, 640)
"""Height and width of all frames."""

NUMBERS = {"train": "trainNdxs", "test": "testNdxs"}
"""Subset -> the variable of splits.mat that has its frames."""


def read_splits(root: Path) -> dict[str, tuple[str, ...]]:
    """Subset -> ids, of splits.mat, whose numbers begin at 1.

    Raises:
        DataError: a file is missing or damaged, the arrays of the archive do not fit one another,
            or a number is of no frame or of two places.
    """
    path, count = root / SPLITS, _count_frames(root / ARCHIVE)
    seen: dict[int, str] = {}
    for variable in NUMBERS.values():
        read = functools.partial(read_numbers, variable=variable)
        for number in read_file(path, read, REMEDY).flatten().tolist():
            if not (1 <= number <= count and number == int(number)):  # NaN is not either
                raise DataError(
                    f"{path} has {number:g} in {variable}, and the frames of {ARCHIVE} are 1 to "
                    f"{count}; {REMEDY}"
                )
            if number in seen:
                raise DataError(
                    f"{path} has frame {number:g} twice, in {seen[number]} and in {variable}; "
                    f"{REMEDY}"
                )
            seen[int(number)] = variable
    lists = {
        part: tuple(f"{number:06d}" for number, where in seen.items() if where == variable)
        for part, variable in NUMBERS.items()
    }
    empty = next((NUMBERS[part] for part, ids in lists.items() if not ids), None)
    if empty is not None:
        raise DataError(f"{path} has no frame in {empty}; {REMEDY}")
    return lists


def _count_frames(path: Path) -> int:
    """How many frames the archive has, if its arrays fit one another."""
    archive = MatlabArrays(path, REMEDY)
    images, labels = archive.shape("images"), archive.shape("labels")
    if images[:-1] != (*SIZE, 3) or labels != (*SIZE, images[-1]):
        raise DataError(
            f"{path} has images of {_product(images)} and labels of {_product(labels)}, not of "
            f"480 x 640 x 3 x N and 480 x 640 x N, in MATLAB's order; {REMEDY}"
        )
    categories = math.prod(archive.shape("names")) if archive.has("names") else CATEGORIES
    if categories != CATEGORIES:
        raise DataError(
            f"{path} names {categories} categories, and the classes are made of {CATEGORIES}; "
            f"{REMEDY}"
        )
    return images[-1]


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def read_frame(path: Path, name: str) -> Tensor:
    """The image of frame `name`: uint8 3HW.

    Raises:
        DataError: as `MatlabArrays`, or the images are not of uint8.
    """
    values = MatlabArrays(path, REMEDY).part("images", int(name) - 1)
    if values.dtype != np.uint8:
        raise DataError(f"{path} has images of {values.dtype}, not of uint8; {REMEDY}")
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def read_categories(path: Path, name: str) -> NDArray[np.generic]:
    """The labels of frame `name` as the annotators gave them: HW, 0 to 894."""
    return MatlabArrays(path, REMEDY).part("labels", int(name) - 1)
