"""Cityscapes, finely annotated: street scenes of 27 cities, 19 classes.

Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016,
https://arxiv.org/abs/1604.01685.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from semisup.data.base import BACKGROUND, Objects, Problem, SegmentationData
from semisup.data.formats.lists import choose_subset, find_folder, relabel, unique
from semisup.data.formats.pictures import read_labels, read_rgb
from semisup.data.formats.trees import list_files
from semisup.data.sets.cityscapes_classes import FIRST_OBJECT, LAST_ID, TRAINED
from semisup.data.sets.cityscapes_objects import (
    check_same_pixels,
    numbers_in,
    objects_in,
    read_ids,
)
from semisup.data.sets.cityscapes_polygons import REMEDY, Ids, draw_ids, labels_of
from semisup.errors import DataError
from semisup.system.files import exists
from semisup.types import IGNORE

SUBSETS = {"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")}
_PLACES = ("cityscapes", "Cityscapes", ".")
_IMAGE, _MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"
_OF_TRAINING = "_gtFine_labelTrainIds.png"
_OBJECTS, _POLYGONS = "_gtFine_instanceIds.png", "_gtFine_polygons.json"
_ENDINGS = (_MASK, _OF_TRAINING, _POLYGONS, _OBJECTS)


class Cityscapes(SegmentationData):
    """Cityscapes, finely annotated: 2,975 train, 500 val and 1,525 test images of 2048 x 1024.

    Label ids become the 19 classes that the benchmark scores when a mask is read; all others are
    void. The masks of train ids, which the benchmark's tools make and which are not in the archive,
    are not needed; where the label ids are not there, they are read in their place, and where
    neither is, the mask is drawn from the polygons. The public masks of test have no class.

    Objects are those of instance ids, or of polygons where these are not there: persons, riders and
    six kinds of vehicles. A group that was not told apart is a crowd.

    Args:
        root: folder with leftImg8bit and gtFine, or with cityscapes, which has them.
        subset: "train", "val", "test" or "trainval".
        classes: "objects": background and the eight classes that have objects; the other eleven are
            background. A method that learns from objects needs it. None: all 19.

    Attributes:
        ids: CITY_SEQUENCE_FRAME, sorted.

    Raises:
        DataError: the folders are not there, there is no such subset, or it has no image.
    """

    name = "cityscapes"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        classes: Literal["objects"] | None = None,
    ) -> None:
        self.root = find_folder(
            root,
            _PLACES,
            ("leftImg8bit", "gtFine"),
            what="Cityscapes",
            remedy="and unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there "
            "(cityscapes-dataset.com)",
        )
        self.subset = choose_subset(subset, SUBSETS, self.root)
        found = [path for part in SUBSETS[subset] for path in _images_of(self.root, part)]
        self._images = {path.name.removesuffix(_IMAGE): path for path in found}
        names = sorted(path.name.removesuffix(_IMAGE) for path in found)
        self.ids = unique(names, self.root / "leftImg8bit")
        self._with_background = classes == "objects"
        kept = _WITH_BACKGROUND if self._with_background else TRAINED
        self._numbers, self.classes, self.palette = zip(*kept, strict=True)
        self._of_ids = _table({label: self._class_of(label) for label, _, _ in TRAINED})
        self._of_train_ids = _table(
            {train: self._class_of(label) for train, (label, _, _) in enumerate(TRAINED)}
        )

    def _class_of(self, label: int) -> int:
        """The class of a label id that is scored."""
        return self._numbers.index(label) if label in self._numbers else 0

    def image_path(self, index: int) -> Path:
        """leftImg8bit/PART/CITY/ID_leftImg8bit.png."""
        return self._images[self.ids[index]]

    def mask_path(self, index: int) -> Path:
        """gtFine/PART/CITY/ID_gtFine_labelIds.png.

        Where it is not there, the one of train ids or ID_gtFine_polygons.json, if it is.
        """
        return self._first_of(index, (_MASK, _OF_TRAINING, _POLYGONS))

    def _path_of_objects(self, index: int) -> Path:
        """gtFine/PART/CITY/ID_gtFine_instanceIds.png, or the polygons where it is not there."""
        return self._first_of(index, (_OBJECTS, _POLYGONS))

    def _first_of(self, index: int, endings: tuple[str, ...]) -> Path:
        """The first that is there of some files of an image; the first of all where none is."""
        image = self.image_path(index)
        city = self.root / "gtFine" / image.parent.parent.name / image.parent.name
        paths = [city / f"{self.ids[index]}{ending}" for ending in endings]
        return next((path for path in paths if exists(path)), paths[0])

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..K-1 and 255.

        Raises:
            DataError: as `read_labels` or `draw_ids`, or a label that Cityscapes does not have.
        """
        path = self.mask_path(index)
        if path.suffix == ".json":
            return self._classes_in(draw_ids(path))
        labels = read_labels(path)
        of_training = path.name.endswith(_OF_TRAINING)
        table = self._of_train_ids if of_training else self._of_ids
        last = len(TRAINED) - 1 if of_training else LAST_ID
        wrong = labels[(labels > last) & (labels != IGNORE)]
        if len(wrong):
            raise DataError(
                f"{path} holds label {int(wrong[0])}, but Cityscapes has 0..{last} there: take the "
                "files of gtFine_trainvaltest.zip"
            )
        return relabel(labels, table)

    def _classes_in(self, ids: Ids) -> Tensor:
        """The mask of instance ids."""
        return relabel(torch.from_numpy(labels_of(ids)), self._of_ids)

    @functools.cached_property
    def has_objects(self) -> bool:
        """Whether the images have instance ids or polygons.

        Raises:
            DataError: with the classes of objects, some have and others have not.
        """
        bare = [n for n in range(len(self)) if not exists(self._path_of_objects(n))]
        if self._with_background and 0 < len(bare) < len(self):
            raise DataError(
                f"{self._path_of_objects(bare[0])} is missing, and other images have theirs; "
                f"{REMEDY}"
            )
        return len(bare) < len(self)

    def objects(self, index: int) -> Objects:
        """The objects of the scored classes in image `index`, in the order of their instance ids.

        Boxes and areas are those of the masks.

        Raises:
            DataError: as `read_ids` or `draw_ids`, or they are not those of the mask.
        """
        return objects_in(self._ids(index), self._labels_of_objects())

    def object_numbers(self, index: int) -> Tensor | None:
        """As `SegmentationData`; of a group, and where objects are not told apart, there is none.

        An object beyond the 254th is of the same number as the first.
        """
        if not exists(self._path_of_objects(index)):
            return None
        return numbers_in(self._ids(index), self._labels_of_objects())

    def _labels_of_objects(self) -> dict[int, int]:
        """Label id -> class, of the scored classes that have objects."""
        return {label: self._class_of(label) for label, _, _ in TRAINED if label >= FIRST_OBJECT}

    def _ids(self, index: int) -> Ids:
        """The instance ids of an image, if they are of the same pixels as its mask."""
        path = self._path_of_objects(index)
        ids = _read_ids(path)
        if path != self.mask_path(index):
            self._check_same_pixels(index, ids, self.mask(index))
        return ids

    def _check_same_pixels(self, index: int, ids: Ids, mask: Tensor) -> None:
        paths = self._path_of_objects(index), self.mask_path(index)
        check_same_pixels(*paths, self._classes_in(ids), mask, self.classes)

    def problems_beside(self, index: int, image: Tensor, mask: Tensor | None) -> list[Problem]:
        """What is wrong with the instance ids of image `index`, where they are there."""
        path = self._path_of_objects(index)
        if not exists(path) and self._with_background and mask is not None:
            return [Problem(path, f"{path} is missing; {REMEDY}")]
        if not exists(path) or path == self.mask_path(index):
            return []
        try:
            ids = _read_ids(path)
            if mask is not None:
                self._check_same_pixels(index, ids, mask)
        except DataError as error:
            return [Problem(path, str(error))]
        return []

    def masks_without_image(self) -> list[Path]:
        """As `SegmentationData`, of the files in gtFine; one an image, in sorted order."""
        found: dict[str, Path] = {}
        for part in SUBSETS[self.subset]:
            folder = self.root / "gtFine" / part
            files = list_files(folder, (".png", ".json")) if folder.is_dir() else {}
            for name, path in files.items():
                ending = next((one for one in _ENDINGS if name.endswith(one)), None)
                if ending is not None:
                    image = f"{part}/{name.removesuffix(ending)}{_IMAGE}"
                    if not exists(self.root / "leftImg8bit" / image):
                        found.setdefault(image, path)
        return list(found.values())

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The label ids; 0 for background."""
        return self._numbers

    def facts(self) -> dict[str, object]:
        """How many masks are drawn from polygons, and what becomes of the classes left out."""
        drawn = sum(self.mask_path(index).suffix == ".json" for index in range(len(self)))
        return {
            **({"masks_drawn_from_polygons": drawn} if drawn else {}),
            **({"other_classes": BACKGROUND} if self._with_background else {}),
        }

    def sequence(self, index: int) -> str:
        """The recording of image `index`: CITY_SEQUENCE, such as aachen_000000.

        One of most cities is a clip of which one frame is labelled. Bochum, Hamburg, Hanover,
        Krefeld, Moenchengladbach and Strasbourg have long ones, of up to hundreds of images.
        """
        return self.ids[index].rpartition("_")[0]


def _images_of(root: Path, part: str) -> list[Path]:
    folder = root / "leftImg8bit" / part
    files = list_files(folder, (".png",)) if folder.is_dir() else {}
    found = [files[name] for name in files if name.count("/") == 1 and name.endswith(_IMAGE)]
    if not found:
        raise DataError(f"{folder} has no CITY/*{_IMAGE}: unpack the images there")
    return found


def _read_ids(path: Path) -> Ids:
    return draw_ids(path) if path.suffix == ".json" else read_ids(path)


def _table(labels: Mapping[int, int]) -> Tensor:
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    for label, number in labels.items():
        table[label] = number
    return table


_WITH_BACKGROUND = (
    (0, BACKGROUND, (0, 0, 0)),
    *(one for one in TRAINED if one[0] >= FIRST_OBJECT),
)
