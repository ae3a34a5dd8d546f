"""The classes of NYU Depth v2 and SUN RGB-D, and how the annotators' labels become them.

Numbers as in the files, from 1; 0 is of no class. Gupta et al., Perceptual Organization and
Recognition of Indoor Scenes from RGB-D Images, CVPR 2013 (894 categories to 40 classes); Couprie et
al., Indoor Semantic Segmentation using depth information, ICLR 2013 (13 classes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semisup.errors import DataError
from semisup.types import IGNORE

NYU_40 = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror"),
    *("floor mat", "clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel"),
    *("shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp"),
    *("bathtub", "bag", "otherstructure", "otherfurniture", "otherprop"),
)

NYU_13 = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa"),
    *("table", "tv", "wall", "window"),
)

SUN_37 = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror"),
    *("floor_mat", "clothes", "ceiling", "books", "fridge", "tv", "paper", "towel"),
    *("shower_curtain", "box", "whiteboard", "person", "night_stand", "toilet", "sink", "lamp"),
    *("bathtub", "bag"),
)
"""The first 37 of `NYU_40`, as SUN RGB-D spells them."""

CATEGORIES = 894
"""That NYU's annotators named; each is one of the 40 classes."""

_OWN = (
    *(21, 11, 3, 157, 5, 83, 19, 28, 59, 88, 64, 7, 80, 36, 42, 89, 169, 119, 122, 143, 141, 4),
    *(85, 17, 172, 15, 135, 123, 26, 45, 331, 158, 124, 24, 144, 136, 55),
)
"""The category that classes 1 to 37 each consist of."""

_STRUCTURES = (
    *(8, 25, 33, 38, 51, 53, 57, 58, 62, 65, 79, 94, 104, 112, 134, 153, 215, 216, 223, 225),
    *(238, 241, 242, 256, 295, 301, 339, 342, 354, 363, 372, 380, 392, 408, 412, 453, 456, 463),
    *(477, 497, 541, 550, 553, 567, 573, 582, 591, 609, 612, 615, 642, 645, 657, 658, 659, 663),
    *(667, 668, 686, 700, 702, 777, 778, 782, 850, 861, 868, 874),
)
"""Categories of class 38, otherstructure."""

_FURNITURE = (
    *(12, 43, 48, 50, 87, 106, 111, 161, 163, 174, 183, 204, 214, 219, 221, 224, 236, 262, 278),
    *(291, 298, 313, 343, 344, 356, 359, 373, 393, 401, 414, 418, 419, 430, 443, 444, 447, 448),
    *(457, 458, 460, 462, 475, 479, 485, 486, 493, 494, 498, 499, 509, 510, 515, 521, 524, 540),
    *(549, 551, 554, 556, 558, 576, 580, 608, 625, 703, 734, 770, 772, 797, 800, 803, 804, 813),
    *(814, 815, 820, 829, 835, 858, 863, 882, 892),
)
"""Categories of class 39, otherfurniture; all others are class 40, otherprop."""

_40_TO_13 = (
    *(12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5, 7, 3, 2, 6, 11, 7, 7, 7),
    *(7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7),
)

Table = NDArray[np.uint8]
"""Number in a file -> label id; position 0 is void, and 255 void in any table."""


def table_of_classes(number: int) -> Table:
    """The table of files with the labels 0 to `number`."""
    return np.array([IGNORE, *range(number)], np.uint8)


def table_of_categories() -> Table:
    """The table of the 894 categories, to the 40 classes."""
    classes = np.full(CATEGORIES + 1, NYU_40.index("otherprop"), np.uint8)
    classes[list(_OWN)] = np.arange(len(_OWN))
    classes[list(_STRUCTURES)] = NYU_40.index("otherstructure")
    classes[list(_FURNITURE)] = NYU_40.index("otherfurniture")
    classes[0] = IGNORE
    return classes


def to_13(table: Table) -> Table:
    """A table of the 40 classes as one of the 13."""
    coarse = np.full(IGNORE + 1, IGNORE, np.uint8)
    coarse[: len(_40_TO_13)] = np.array(_40_TO_13) - 1
    return coarse[table]


def relabelled(labels: NDArray[Any], table: Table, what: str, path: Path, remedy: str) -> Tensor:
    """Labels as they are stored (HW) as label ids (uint8 HW).

    255 is void too, as tools write it, but not beside 0: a mask that has both was shifted, and its
    0 is a class.

    Args:
        labels: whole numbers of any type.
        table: number -> label id.
        what: of what they are, such as "image '000003'".
        path: of the file, for errors.
        remedy: the end of an error.

    Raises:
        DataError: labels that are not whole or that the table does not have, or 0 and 255.
    """
    if labels.dtype.kind == "f" and not (labels == np.floor(labels)).all():  # NaN is not either
        raise DataError(f"{path} holds labels of {what} that are no whole numbers; {remedy}")
    lowest, highest = (labels.min(), labels.max()) if labels.size else (0, 0)
    has_255 = highest == IGNORE and len(table) <= IGNORE
    if has_255:
        labels = np.where(labels == IGNORE, 0, labels)
        if lowest == 0:
            raise DataError(
                f"{path} holds 0 and {IGNORE} in {what}, two labels for void: if the classes of "
                f"the file begin at 0, add 1 to them; {remedy}"
            )
        highest = labels.max()
    if lowest < 0 or highest >= len(table):
        wrong = lowest if lowest < 0 else highest
        raise DataError(
            f"{path} holds label {wrong:g} in {what}, and labels are 0, which is void, to "
            f"{len(table) - 1}; {remedy}"
        )
    return torch.from_numpy(table[labels.astype(np.int64)])
