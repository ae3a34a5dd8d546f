"""What every data set is: ids, images and masks in its own on-disk layout."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor

from semisup.data.formats.orientation import orientation_note
from semisup.data.volumes import Block
from semisup.errors import DataError, RecipeError
from semisup.ops.pixels import RGB, ImageKind
from semisup.types import Colour as Colour

BACKGROUND = "background"
"""Name of the class of all that is no object."""


@dataclass(frozen=True, slots=True)
class Objects:
    """The annotated objects of an image, at its own size; there may be none.

    Attributes:
        labels: N int64, 1..K-1.
        masks: NHW uint8, 1 where a pixel is of the object; objects may overlap.
        boxes: N4 float64, x, y, width, height in pixels, as annotated.
        areas: N float64, in pixels, as annotated.
        crowd: N bool, True for a region of many objects that were not told apart: none to learn
            from, and none that a detection in it is blamed for.
    """

    labels: Tensor
    masks: Tensor
    boxes: Tensor
    areas: Tensor
    crowd: Tensor

    def where(self, kept: Tensor) -> Objects:
        """Those of N bool."""
        return Objects(
            self.labels[kept],
            self.masks[kept],
            self.boxes[kept],
            self.areas[kept],
            self.crowd[kept],
        )


class Problem(NamedTuple):
    """A file that cannot be used, and why, in one line that names the file.

    What is wrong with a whole set of masks is said of the folder of the data set.
    """

    file: Path
    reason: str


class ObjectBox(NamedTuple):
    """Where an annotated object is, in pixels from the upper left corner of the image.

    Attributes:
        label: 0..K-1, or 255 for a class that is left out and for a crowd.
        left: upper left corner.
        top: upper left corner.
        right: one beyond its last column.
        bottom: one beyond its last row.
    """

    label: int
    left: float
    top: float
    right: float
    bottom: float


class SegmentationData(ABC):
    """One subset of a data set on disk.

    Nothing is decoded before it is asked for, and `image` never opens a mask.

    Args:
        root: the folder that holds the data set.
        subset: which list of ids, such as "train" or "val".

    Attributes:
        root: where the files were found.
        subset: as given.
        ids: image ids, in the order of the list.
        classes: K names; position is the label id.
        palette: K colours (R, G, B).
    """

    name: ClassVar[str]
    """Name in the catalogue."""

    train_subset: ClassVar[str] = "train"
    """Subset that a recipe trains on unless it says otherwise."""

    eval_subset: ClassVar[str] = "val"
    """Subset that a recipe reports on unless it says otherwise."""

    default_split: ClassVar[str] = "all"
    """Which images a recipe labels unless it says otherwise; see `make_split`."""

    root: Path
    subset: str
    ids: Sequence[str]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, image_id: str) -> int:
        """Position of an image in `ids`.

        Raises:
            KeyError: no image has this id.
        """
        return self._positions[image_id]

    @functools.cached_property
    def _positions(self) -> dict[str, int]:
        return {image_id: position for position, image_id in enumerate(self.ids)}

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def stored_classes(self) -> tuple[str, ...]:
        """All classes that the files know, in their order: `classes` and those left out."""
        return self.classes

    @property
    def image_kind(self) -> ImageKind:
        """Channels and bits of all images: 8-bit RGB, unless a data set says otherwise."""
        return RGB

    @property
    def as_stored(self) -> SegmentationData:
        """The same images with the label ids of the files: itself, unless they were changed."""
        return self

    @abstractmethod
    def image_path(self, index: int) -> Path:
        """Where image `index` lies."""

    @abstractmethod
    def mask_path(self, index: int) -> Path:
        """Where the mask of image `index` lies (opened by `mask` alone)."""

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """Image `index`: CHW of the type and channels of `image_kind`, such as uint8 3HW, RGB.

        Raises:
            DataError: the file is missing, truncated, no picture or of another kind; names the
                file.
        """

    @abstractmethod
    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..K-1 and 255 for void.

        Raises:
            DataError: the file is missing, no label map, of another size than announced, or holds
                a label that is no class; names the file and the label.
        """

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """Image `index` (CHW) and its mask (uint8 HW), of one size.

        Raises:
            DataError: as of `image` and `mask`, or they differ in size; names the file.
        """
        image, mask = self.image(index), self.mask(index)
        if mask.shape[-2:] != image.shape[-2:]:
            raise DataError(
                f"{self.mask_path(index)}: the mask is {_size(mask)} but image '{self.ids[index]}' "
                f"is {_size(image)} (height x width){orientation_note(self.image_path(index))}; "
                "make them the same size"
            )
        return image, mask

    def has_mask(self, index: int) -> bool:
        """Whether image `index` may be labelled: True, but for images known to have no mask."""
        return True

    @property
    def masked_ids(self) -> tuple[str, ...]:
        """The ids of the images that may be labelled, in the order of `ids`."""
        return tuple(name for index, name in enumerate(self.ids) if self.has_mask(index))

    @property
    def has_objects(self) -> bool:
        """Whether the objects of an image are told apart, so that `objects` has them."""
        return False

    def objects(self, index: int) -> Objects:
        """The objects of image `index`.

        Raises:
            RecipeError: this data set does not tell objects apart.
            DataError: the annotation is missing or damaged.
        """
        raise RecipeError(
            f"{self.name} has masks of classes alone, and no objects are told apart in them: take "
            "a data set that has objects, such as coco"
        )

    def object_numbers(self, index: int) -> Tensor | None:
        """Which object each pixel of image `index` is of: uint8 HW, 0 and 255 where of none.

        None where objects are not told apart.

        Raises:
            DataError: the annotation is damaged.
        """
        return None

    def object_boxes(self, index: int) -> list[ObjectBox]:
        """The boxes of the objects in image `index`, as annotated; no mask is read.

        Raises:
            RecipeError: this data set has none.
            DataError: the annotation is missing or damaged.
        """
        raise RecipeError(
            f"{self.name} has no boxes of objects beside its masks: take those of the masks"
        )

    def sequence(self, index: int) -> str:
        """The recording that image `index` is a frame of, such as "0016E5" or "hamburg_000000".

        Raises:
            RecipeError: this data set does not know which images are frames of one recording.
        """
        raise RecipeError(
            f"{self.name} does not say which images are of one video, so that no sequence can be "
            'chosen: take a share such as "1/8", or a data set of videos, such as camvid'
        )

    def image_number(self, index: int) -> int:
        """The number of image `index` in a file of detections."""
        return index + 1

    @property
    def category_ids(self) -> tuple[int, ...]:
        """K numbers of the classes in a file of detections; the first is of no object."""
        return tuple(range(self.num_classes))

    def object_names(self, index: int) -> list[str]:
        """Class names of all annotated objects in image `index`, read without its mask.

        Those of difficult objects and of classes that are left out are among them.

        Raises:
            RecipeError: this data set has no annotations beside its masks.
            DataError: the annotation is missing or damaged, or names a class that is none.
        """
        raise RecipeError(
            f"{self.name} has masks alone, no annotation of objects to take tags from: write a "
            f"file with 'semisup data tags {self.name} --from masks' and name it, as \"file:PATH\""
        )

    def problems_beside(self, index: int, image: Tensor, mask: Tensor | None) -> list[Problem]:
        """What is wrong with the files of image `index` beside the image and its mask.

        Such as a box beyond the image. `semisup.data.verify` asks it of each image that is sound.
        What is not there is no problem, and a file that cannot be read is one, never an error.

        Args:
            index: of the image.
            image: CHW, as `image` gives it.
            mask: HW, as `mask` gives it; None where the image has none.
        """
        return []

    def masks_without_image(self) -> list[Path]:
        """Masks that lie where those of this subset lie and whose images are not there.

        `semisup.data.verify` names them. Data sets that do not look for them have none.

        Raises:
            DataError: a folder cannot be listed.
        """
        return []

    @property
    def block(self) -> Block | None:
        """What a network for volumes is shown; None where the images are no slices of a volume."""
        return None

    def context(self, first: int, last: int) -> Tensor:
        """Slices `first` to before `last` of the volume, counted from image 0, as CDHW.

        Of the whole volume, in whatever subset a slice is, and mirrored beyond its ends. No mask
        is opened.

        Raises:
            DataError: the images are no slices of a volume, or a slice cannot be used.
        """
        raise DataError(f"{self.name} {self.subset}: its images are no slices of a volume")

    def facts(self) -> dict[str, object]:
        """What of this data set belongs in the protocol block beside its name and subset.

        Such as `{"classes_made_void": [...]}` where some were.
        """
        return {}


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-2]}x{picture.shape[-1]}"


class WrappedData(SegmentationData):
    """A data set that answers as the one in it; a subclass changes some of the answers.

    Args:
        data: the data set in it.
    """

    def __init__(self, data: SegmentationData) -> None:
        self._data = data
        self.root, self.subset, self.ids = data.root, data.subset, data.ids
        self.classes, self.palette = data.classes, data.palette
        # What a data set has as a class, this has for the one that is in it.
        vars(self).update(
            name=data.name,
            train_subset=data.train_subset,
            eval_subset=data.eval_subset,
            default_split=data.default_split,
        )

    @property
    def image_kind(self) -> ImageKind:
        """As the data set has it."""
        return self._data.image_kind

    def image_path(self, index: int) -> Path:
        """As the data set has it."""
        return self._data.image_path(index)

    def mask_path(self, index: int) -> Path:
        """As the data set has it."""
        return self._data.mask_path(index)

    def image(self, index: int) -> Tensor:
        """As the data set has it."""
        return self._data.image(index)

    def mask(self, index: int) -> Tensor:
        """As the data set has it."""
        return self._data.mask(index)

    def has_mask(self, index: int) -> bool:
        """As the data set has it."""
        return self._data.has_mask(index)

    @property
    def block(self) -> Block | None:
        """As the data set has it."""
        return self._data.block

    def context(self, first: int, last: int) -> Tensor:
        """As the data set has it."""
        return self._data.context(first, last)

    @property
    def stored_classes(self) -> tuple[str, ...]:
        """As the data set has it."""
        return self._data.stored_classes

    @property
    def has_objects(self) -> bool:
        """As the data set has it."""
        return self._data.has_objects

    def objects(self, index: int) -> Objects:
        """As the data set has it."""
        return self._data.objects(index)

    def object_numbers(self, index: int) -> Tensor | None:
        """As the data set has it."""
        return self._data.object_numbers(index)

    def object_boxes(self, index: int) -> list[ObjectBox]:
        """As the data set has it."""
        return self._data.object_boxes(index)

    def sequence(self, index: int) -> str:
        """As the data set has it."""
        return self._data.sequence(index)

    def problems_beside(self, index: int, image: Tensor, mask: Tensor | None) -> list[Problem]:
        """As the data set has it, of its own mask: a wrapper may have numbered classes anew."""
        own = self._data.mask(index) if mask is not None else None
        return self._data.problems_beside(index, image, own)

    def masks_without_image(self) -> list[Path]:
        """As the data set has it."""
        return self._data.masks_without_image()

    def image_number(self, index: int) -> int:
        """As the data set has it."""
        return self._data.image_number(index)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """As the data set has it."""
        return self._data.category_ids

    def object_names(self, index: int) -> list[str]:
        """As the data set has it."""
        return self._data.object_names(index)

    def facts(self) -> dict[str, object]:
        """As the data set has it."""
        return self._data.facts()
