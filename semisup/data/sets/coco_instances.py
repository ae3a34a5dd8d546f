"""MS COCO's instances: objects of 80 classes, each with its own outline, in one file of JSON."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from semisup.data.base import BACKGROUND, ObjectBox, Objects, SegmentationData
from semisup.data.formats.lists import choose_subset, find_folder, unique
from semisup.data.formats.pictures import read_rgb, voc_palette
from semisup.data.sets.coco_annotations import (
    Stated,
    drawing_order,
    mask_tools,
    objects_of,
    paint,
    runs_of,
)
from semisup.data.sets.coco_cache import read_index
from semisup.data.sets.coco_index import CocoIndex
from semisup.data.sets.voc import CLASSES as VOC_CLASSES
from semisup.data.without_classes import check_names, classes_made_void
from semisup.errors import DataError, RecipeError
from semisup.types import IGNORE

_PLACES = ("coco", "COCO", ".")

_OTHER_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""VOC's name of a class -> COCO's, where they differ."""

_RELEASE = re.compile(r"COCO_(?:train|val|test)(\d{4})_\d{12}\.")
"""Names of the images of releases before 2017."""

LARGE = 1 << 24
"""Pixels above which a stated size is compared with the image before masks are drawn."""


class CocoInstances(SegmentationData):
    """The images and objects of an annotation file in COCO's form.

    Masks of classes are drawn from the objects: regions of crowds first, as void; then the objects
    by their area, the smallest last, so that what lies in front is seen; of equal area in the order
    of the file. Classes are numbered in the order of their category ids, whose gaps are closed.
    Masks are computed by pycocotools (the extra `coco`).

    Args:
        root: as of `Coco`.
        subset: as of `Coco`.
        year: as of `Coco`.
        classes: as of `Coco`, but for "stuff".

    Raises:
        DataError: the files are not there, damaged or of another release, or pycocotools is not
            installed.
        RecipeError: a name in `classes` that the file does not have.
    """

    name = "coco"

    def __init__(
        self,
        root: Path | str,
        subset: str,
        *,
        year: Literal[2014, 2017],
        classes: tuple[str, ...] | Literal["voc"] | None,
    ) -> None:
        mask_tools()
        self.root = find_folder(
            root,
            _PLACES,
            ("annotations",),
            what="MS COCO",
            remedy="and unpack annotations_trainval2017.zip and the images there (cocodataset.org)",
        )
        self.subset = subset
        self._year = year
        known = [
            path.stem.removeprefix("instances_").removesuffix(str(year))
            for path in (self.root / "annotations").glob(f"instances_*{year}.json")
        ]
        choose_subset(subset, sorted(known), self.root / "annotations")
        self._index = read_index(self._annotations())
        files = self._index.files()
        _check_release(self._index, files[0], year)
        self.ids = unique((name.rpartition(".")[0] for name in files), self._index.path)
        numbers = {name: number for number, name in self._index.categories.items()}
        if classes == "voc":
            numbers = _voc_numbers(numbers)
        self._names = (BACKGROUND, *numbers)
        self.classes = self._names if isinstance(classes, str) else _kept(classes, self._names)
        palette = dict(zip(self._names, voc_palette(len(self._names)), strict=True))
        self.palette = tuple(palette[name] for name in self.classes)
        self._numbers = tuple(numbers.get(name, 0) for name in self.classes)
        labels = {
            number: self.classes.index(n) for n, number in numbers.items() if n in self.classes
        }
        names = {number: name for name, number in numbers.items()}
        self._name_of_kind = [names.get(number, "") for number in self._index.categories]
        self._others = 0 if classes == "voc" else IGNORE
        self._label_of = {n: labels.get(n, self._others) for n in self._index.categories}

    def _annotations(self) -> Path:
        return self.root / "annotations" / f"instances_{self.subset}{self._year}.json"

    @property
    def stored_classes(self) -> tuple[str, ...]:
        """All names, those that are not kept among them."""
        return self._names

    def image_path(self, index: int) -> Path:
        """<subset><year>/<file name>."""
        return self.root / f"{self.subset}{self._year}" / self._index.file(index)

    def mask_path(self, index: int) -> Path:
        """The annotation file, which has the objects of all images."""
        return self._index.path

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    @property
    def has_objects(self) -> bool:
        """True."""
        return True

    def objects(self, index: int) -> Objects:
        """The objects of the kept classes in image `index`, in the order of the file."""
        own = {n: label for n, label in self._label_of.items() if label != self._others}
        stated, size, where = self._stated(index)
        return objects_of(stated, size, own, where)

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, drawn from its objects.

        Raises:
            DataError: the annotation file is gone or has changed, or an outline cannot be used.
        """
        # An image of nothing but background is void where background is not kept.
        ground = 0 if self.classes[0] == BACKGROUND else IGNORE
        stated, size, where = self._stated(index)
        labels = [self._label_of[one["category_id"]] for one in stated]
        values = [
            IGNORE if one["iscrowd"] and label != self._others else label
            for one, label in zip(stated, labels, strict=True)
        ]
        return _drawn(stated, values, size, ground, where)

    def object_numbers(self, index: int) -> Tensor:
        """As `SegmentationData`; an object beyond the 254th is of the same number as the first.

        What lies in a region of many objects, which is void in the mask, is of none, and so is what
        is background in it.
        """
        stated, size, where = self._stated(index)
        values = [0] * len(stated)
        for position, number in enumerate(drawing_order(stated)):
            one = stated[number]
            if not one["iscrowd"] and self._label_of[one["category_id"]] != 0:
                values[number] = position % (IGNORE - 1) + 1
        return _drawn(stated, values, size, 0, where)

    def object_boxes(self, index: int) -> list[ObjectBox]:
        """As `SegmentationData`; no outline is read."""
        boxes = []
        for one in self._index.annotations(index):
            label = self._label_of[one["category_id"]]
            if label != 0:  # of a class that is background here
                x, y, width, height = one["bbox"]
                seen = IGNORE if one["iscrowd"] else label
                boxes.append(ObjectBox(seen, x, y, x + width, y + height))
        return boxes

    def object_names(self, index: int) -> list[str]:
        """Class names of all annotated objects in image `index`, crowds among them.

        They are in memory: no file is opened.
        """
        names = self._name_of_kind
        return [names[kind] for kind in self._index.kinds_of(index) if names[kind]]

    def _stated(self, index: int) -> tuple[Stated, tuple[int, int], str]:
        """The annotations of an image, its size as stated, and what errors say of an object."""
        size = self._index.size(index)
        if math.prod(size) > LARGE:
            self._check_size(index)
        number, name = self.image_number(index), self._index.file(index)
        where = f"{self._index.path}: an object of image {number} ({name})"
        return self._index.annotations(index), size, where

    def _check_size(self, index: int) -> None:
        """Refuse a stated size that is not the image's: masks of it could fill the memory."""
        height, width = self._index.size(index)
        image = self.image(index)
        if image.shape[-2:] != (height, width):
            raise DataError(
                f"{self.mask_path(index)}: image '{self.ids[index]}' is said to be {height}x{width}"
                f", and is {image.shape[-2]}x{image.shape[-1]} (height x width); correct it"
            )

    def image_number(self, index: int) -> int:
        """The id in the annotation file."""
        return int(self._index.numbers[index])

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Those of the annotation file; 0 for background."""
        return self._numbers

    def facts(self) -> dict[str, object]:
        """The year, the rule by which masks are drawn, and what becomes of other classes."""
        others = {} if self._others == IGNORE else {"other_classes": "background"}
        return {
            "year": self._year,
            "masks": "objects by area, the smallest last; crowds void",
            **others,
            **classes_made_void(self._names, self.classes),
        }


def _drawn(
    stated: Stated, values: list[int], size: tuple[int, int], ground: int, where: str
) -> Tensor:
    """What is seen of the objects, each in its value: uint8 HW."""
    height, width = size
    columns = np.full(height * width, ground, np.uint8)
    order = drawing_order(stated)
    for number, runs in zip(order, runs_of([stated[n] for n in order], size, where), strict=True):
        paint(columns, runs, values[number])
    return torch.from_numpy(np.ascontiguousarray(columns.reshape(width, height).T))


def _voc_numbers(numbers: dict[str, int]) -> dict[str, int]:
    """VOC's classes without background -> COCO's ids."""
    own = {name: _OTHER_NAMES.get(name, name) for name in VOC_CLASSES if name != BACKGROUND}
    missing = [name for name in own.values() if name not in numbers]
    if missing:
        raise RecipeError(
            f"classes = 'voc' needs the 20 classes of VOC under COCO's names, and the annotation "
            f"file has no '{missing[0]}'; list the classes to keep instead"
        )
    return {name: numbers[other] for name, other in own.items()}


def _check_release(index: CocoIndex, file: str, year: int) -> None:
    """Refuse the annotations of another year: their images lie elsewhere, under other names."""
    found = _RELEASE.match(file) or re.match(r"COCO (\d{4}) Dataset", index.description)
    if found and int(found[1]) != year:
        raise DataError(
            f"{index.path}: is of COCO's release of {found[1]}, and year = {year} reads images of "
            f"{year}; get the file of {year} or set year = {found[1]}"
        )


def _kept(keep: tuple[str, ...] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """The classes to keep, in the order of the file."""
    if keep is None:
        return names
    check_names(keep, "classes", names)
    if len(keep) < 2:
        raise RecipeError('classes: name two or more to keep, such as ["background", "person"]')
    return tuple(name for name in names if name in keep)
