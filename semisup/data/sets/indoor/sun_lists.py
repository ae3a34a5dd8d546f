"""Which images SUN RGB-D has, and which label map is whose, in both of its layouts."""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from semisup.data.formats.lists import unique
from semisup.data.formats.matlab.hdf5 import MatlabArrays
from semisup.data.formats.matlab.level5 import read_field_texts, read_file, read_texts
from semisup.data.formats.trees import files_by_id
from semisup.errors import DataError

ALL, TESTED = 10_335, 5_050
"""Images, and those of test. The exported labels number these first, and then those of train."""

SPLIT = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
META = "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat"
SEGMENTS = "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat"
CELLS = "SUNRGBD2Dseg/seglabel"
EXPORTED = "sunrgbd_train_test_labels"

LISTS = {"train": "alltrain", "test": "alltest"}
"""Subset -> the variable of allsplit.mat that has its folders."""

TOOLBOX = "unpack SUNRGBD.zip and SUNRGBDtoolbox.zip as published (rgbd.cs.princeton.edu)"
EXPORT = f"unpack SUNRGBD-train_images.tgz, SUNRGBD-test_images.tgz and {EXPORTED}.tar.gz there"


class Entry(NamedTuple):
    """An image of SUNRGBDMeta: its file below SUNRGBD, and its place in the list."""

    file: str
    place: int


def read_toolbox(root: Path, subset: str) -> dict[str, Entry]:
    """Id -> image, in the order of the list of a subset.

    Raises:
        DataError: a file is missing or damaged, or two contradict one another.
    """
    known = _described(root / META)
    count = math.prod(MatlabArrays(root / SEGMENTS, TOOLBOX).shape(CELLS))
    if count != len(known):
        raise DataError(
            f"{root / SEGMENTS} has {count} label maps, and SUNRGBDMeta.mat {len(known)} images; "
            f"{TOOLBOX}"
        )
    path = root / SPLIT
    lists = {part: _read_list(path, name) for part, name in LISTS.items()}
    both = sorted({*lists["train"]} & {*lists["test"]})
    if both:
        raise DataError(f"{path} has '{both[0]}' in alltrain and in alltest; {TOOLBOX}")
    strange = next((name for name in lists[subset] if name not in known), None)
    if strange is not None:
        raise DataError(
            f"{path} has '{strange}' in {LISTS[subset]}, and SUNRGBDMeta.mat does not; {TOOLBOX}"
        )
    return {name: known[name] for name in lists[subset]}


def _read_list(path: Path, variable: str) -> tuple[str, ...]:
    read = functools.partial(read_texts, variable=variable)
    return unique((_below(text, path) for text in read_file(path, read, TOOLBOX)), path)


def _described(path: Path) -> dict[str, Entry]:
    """Id -> image, of all that SUNRGBDMeta.mat has."""
    read = functools.partial(read_field_texts, variable="SUNRGBDMeta", field="rgbpath")
    files = [_below(text, path) for text in read_file(path, read, TOOLBOX)]
    # .../SEQUENCE/image/NAME.jpg: what the split lists is the folder of the sequence.
    ids = unique((str(PurePosixPath(file).parent.parent) for file in files), path)
    return {
        name: Entry(file, place) for place, (name, file) in enumerate(zip(ids, files, strict=True))
    }


def _below(text: str, path: Path) -> str:
    """The part of a path of the authors' machine that is below SUNRGBD."""
    parts = PurePosixPath(text).parts
    if "SUNRGBD" not in parts or ".." in parts:
        raise DataError(f"{path} has the path {text!r}, which is not below SUNRGBD; {TOOLBOX}")
    return "/".join(parts[parts.index("SUNRGBD") + 1 :])


def read_exported(folder: Path, subset: str) -> dict[str, Path]:
    """Id, the name of the label -> image, of an exported folder of images.

    Raises:
        DataError: an image whose number cannot be one of the subset, or that has none.
    """
    files = files_by_id(folder, (".jpg", ".png"))
    numbers = {_number(path): path for name, path in files.items() if "/" not in name}
    first, last = min(numbers, default=1), max(numbers, default=1)
    from_1 = subset == "test" or first <= TESTED
    count = TESTED if subset == "test" else ALL - TESTED
    if last > (count if from_1 else ALL):
        where = "from 1" if subset == "test" else f"from 1 or from {TESTED + 1}"
        raise DataError(
            f"{folder} has images numbered from {first} to {last}, and those of {subset} are "
            f"{count:,}, numbered {where}; {EXPORT}"
        )
    shift = TESTED if from_1 and subset == "train" else 0
    return {f"img-{number + shift:06d}": path for number, path in numbers.items()}


def _number(path: Path) -> int:
    found = re.fullmatch(r"img-(\d{6})", path.stem)
    if found is None or int(found[1]) == 0:
        raise DataError(f"{path} is not named as in img-000001.jpg; {EXPORT}")
    return int(found[1])
