"""MS COCO: objects of 80 classes in everyday scenes, each with its own outline.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, https://arxiv.org/abs/1405.0312.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from semisup.data.base import ObjectBox, Objects, SegmentationData
from semisup.data.formats.lists import choose_subset, find_folder, unique
from semisup.data.formats.pictures import read_rgb, voc_palette
from semisup.data.sets.coco_annotations import (
    BACKGROUND,
    CocoImage,
    mask_tools,
    objects_of,
    read_coco,
)
from semisup.data.without_classes import check_names, classes_made_void
from semisup.errors import DataError, RecipeError
from semisup.system.files import is_file
from semisup.types import IGNORE

_PLACES = ("coco", "COCO", ".")

LARGE = 1 << 24
"""Pixels above which a stated size is compared with the image before masks are drawn."""


class Coco(SegmentationData):
    """MS COCO's instances: 118,287 train and 5,000 val images of 2017; 80 classes and background.

    Masks of classes are drawn from the objects: regions of crowds first, as void; then the objects
    by their area, the smallest last, so that what lies in front is seen; of equal area in the order
    of the file. Classes are numbered in the order of their category ids, whose gaps are closed.
    Masks are computed by pycocotools (the extra `coco`).

    Args:
        root: folder with annotations and the folders of images, or with coco, which has them.
        subset: "train" or "val": annotations/instances_<subset><year>.json.
        year: of the release: 2017, or 2014.
        classes: classes to keep, "background" among them; the pixels of all others become void, and
            their objects are none. None keeps all.

    Raises:
        DataError: the files are not there or damaged, or pycocotools is not installed.
        RecipeError: a name in `classes` that the file does not have.
    """

    name = "coco"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        year: Literal[2014, 2017] = 2017,
        classes: tuple[str, ...] | None = None,
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
        content = read_coco(self._annotations())
        self._images: tuple[CocoImage, ...] = content.images
        self.ids = unique((Path(one.file).stem for one in content.images), content.path)
        self._names = (BACKGROUND, *content.categories.values())
        numbers = dict(zip(self._names, (0, *content.categories), strict=True))
        self.classes = _kept(classes, self._names)
        palette = dict(zip(self._names, voc_palette(len(self._names)), strict=True))
        self.palette = tuple(palette[name] for name in self.classes)
        self._numbers = tuple(numbers[name] for name in self.classes)
        self._label_of = {
            number: self.classes.index(name) if name in self.classes else IGNORE
            for name, number in numbers.items()
            if name != BACKGROUND
        }

    def _annotations(self) -> Path:
        return self.root / "annotations" / f"instances_{self.subset}{self._year}.json"

    @property
    def stored_classes(self) -> tuple[str, ...]:
        """All names, those that are not kept among them."""
        return self._names

    def image_path(self, index: int) -> Path:
        """<subset><year>/<file name>."""
        return self.root / f"{self.subset}{self._year}" / self._images[index].file

    def mask_path(self, index: int) -> Path:
        """The annotation file, which has the objects of all images."""
        return self._annotations()

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    @property
    def has_objects(self) -> bool:
        """True."""
        return True

    def objects(self, index: int) -> Objects:
        """The objects of the kept classes in image `index`, in the order of the file."""
        objects = self._all_objects(index)
        return objects.where(objects.labels != IGNORE)

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, drawn from its objects.

        Raises:
            DataError: the annotation file is gone, or an outline cannot be read.
        """
        objects = self._all_objects(index)
        height, width = self._images[index].size
        # An image of nothing but background is void where background is not kept.
        ground = 0 if self.classes[0] == BACKGROUND else IGNORE
        mask = torch.full((height, width), ground, dtype=torch.uint8)
        for number in drawing_order(objects):
            label = IGNORE if objects.crowd[number] else int(objects.labels[number])
            mask.masked_fill_(objects.masks[number] == 1, label)
        return mask

    def object_numbers(self, index: int) -> Tensor:
        """As `SegmentationData`; an object beyond the 254th is of the same number as the first.

        What lies in a region of many objects, which is void in the mask, is of none.
        """
        objects = self._all_objects(index)
        numbers = torch.zeros(self._images[index].size, dtype=torch.uint8)
        for position, number in enumerate(drawing_order(objects)):
            own = 0 if objects.crowd[number] else position % (IGNORE - 1) + 1
            numbers.masked_fill_(objects.masks[number] == 1, own)
        return numbers

    def object_boxes(self, index: int) -> list[ObjectBox]:
        """As `SegmentationData`, without regions of many objects."""
        objects = self.objects(index)
        kept = objects.where(~objects.crowd)
        return [
            ObjectBox(label, x, y, x + width, y + height)
            for label, (x, y, width, height) in zip(
                kept.labels.tolist(), kept.boxes.tolist(), strict=True
            )
        ]

    def _all_objects(self, index: int) -> Objects:
        """Those of classes that are not kept too, as `IGNORE`."""
        path = self.mask_path(index)
        if not is_file(path):
            raise DataError(f"{path} is missing; unpack COCO's annotations there")
        if math.prod(self._images[index].size) > LARGE:
            self._check_size(index)
        return objects_of(self._images[index], self._label_of, path)

    def _check_size(self, index: int) -> None:
        """Refuse a stated size that is not the image's: masks of it could fill the memory."""
        height, width = self._images[index].size
        image = self.image(index)
        if image.shape[-2:] != (height, width):
            raise DataError(
                f"{self.mask_path(index)}: image '{self.ids[index]}' is said to be {height}x{width}"
                f", and is {image.shape[-2]}x{image.shape[-1]} (height x width); correct it"
            )

    def image_number(self, index: int) -> int:
        """The id in the annotation file."""
        return self._images[index].number

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Those of the annotation file; 0 for background."""
        return self._numbers

    def facts(self) -> dict[str, object]:
        """The year, the rule by which masks are drawn, and the classes that are not kept."""
        return {
            "year": self._year,
            "masks": "objects by area, the smallest last; crowds void",
            **classes_made_void(self._names, self.classes),
        }


def drawing_order(objects: Objects) -> list[int]:
    """The objects as they are drawn: crowds, then the largest first; equal ones as they come."""
    keys = [
        (not crowd, -area)
        for crowd, area in zip(objects.crowd.tolist(), objects.areas.tolist(), strict=True)
    ]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _kept(keep: tuple[str, ...] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    """The classes to keep, in the order of the file."""
    if keep is None:
        return names
    check_names(keep, "classes", names)
    if len(keep) < 2:
        raise RecipeError('classes: name two or more to keep, such as ["background", "person"]')
    return tuple(name for name in names if name in keep)
