"""NYU Depth v2: 1,449 labelled frames of rooms, 40 or 13 classes; the colours, without the depth.

Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.id_lists import KnownIds, read_ids
from semisup.data.formats.lists import choose_subset, find_folder
from semisup.data.formats.pictures import read_labels, read_rgb, voc_palette
from semisup.data.formats.trees import files_by_id
from semisup.data.sets.indoor.classes import (
    NYU_13,
    NYU_40,
    relabelled,
    table_of_categories,
    table_of_classes,
    to_13,
)
from semisup.data.sets.indoor.nyu_archive import (
    ARCHIVE,
    NUMBERS,
    REMEDY,
    SIZE,
    SPLITS,
    read_categories,
    read_frame,
    read_splits,
)
from semisup.errors import DataError
from semisup.system.files import exists

INSIDE = (slice(45, 470), slice(40, 600))
"""Rows and columns within the white frame, 425x560: what Gupta et al. and FCN cut out."""

_PLACES = ("nyudv2", "NYUDv2", "nyu_depth_v2", ".")
_IMAGES, _MASKS = ("image", "images"), ("label40", "label", "labels", "masks")
_ENDINGS = (".jpg", ".jpeg", ".png")
_MASK_REMEDY = "take masks with 0 for void and the 40 classes as 1 to 40"


class Nyudv2(SegmentationData):
    """NYU Depth v2: 795 train and 654 test images of 480x640; 0 of the files is void.

    Two layouts are read, the first where both are there; `facts` names it:

    - "archive": nyu_depth_v2_labeled.mat and splits.mat as published. One frame at a time is read
      from it with h5py (the extra `hdf5`), and the 894 categories become the classes.
    - "folders": image/ID.jpg or images/ID.png, label40/ID.png (or label, labels, masks) with 0 to
      40, train.txt and test.txt. 255 is void there too.

    Args:
        root: folder with either layout, or with nyudv2, which has it.
        subset: "train" or "test".
        label_set: 40 classes, or 13 that they are grouped into.
        cut_frame: whether image and mask are cut to the 425x560 within the white frame; else the
            frame stays, labelled as it is in the files, most of it void.

    Attributes:
        ids: the numbers of the frames, from 000001, in the order of the list; in folders the names
            of the files.

    Raises:
        DataError: neither layout is there, there is no such subset, or lists or arrays are damaged
            or contradict one another.
    """

    name = "nyudv2"
    eval_subset = "test"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        label_set: Literal[40, 13] = 40,
        cut_frame: bool = False,
    ) -> None:
        places = [Path(root).expanduser() / place for place in _PLACES]
        self._archived = _has(places, ARCHIVE) or not _has(places, *_IMAGES, *_MASKS)
        holds = (ARCHIVE, SPLITS) if self._archived else _folders(places)
        self.root = find_folder(root, _PLACES, holds, what="NYU Depth v2", remedy=f"and {REMEDY}")
        self.subset = choose_subset(subset, NUMBERS, self.root)
        self.classes = NYU_40 if label_set == 40 else NYU_13
        self.palette = voc_palette(len(self.classes) + 1)[1:]
        table = table_of_categories() if self._archived else table_of_classes(len(NYU_40))
        self._table = table if label_set == 40 else to_13(table)
        self._cut_frame = cut_frame
        self._images, self._masks = (self.root / name for name in holds[:2])
        self._files = {} if self._archived else files_by_id(self._images, _ENDINGS)
        lists = read_splits(self.root) if self._archived else _lists(self.root, self._files)
        self.ids = lists[subset]

    def image_path(self, index: int) -> Path:
        """The archive, or image/ID with the ending that it has there."""
        name, folder = self.ids[index], self._images
        return folder if self._archived else self._files.get(name, folder / f"{name}.jpg")

    def mask_path(self, index: int) -> Path:
        """The archive, or label40/ID.png."""
        return self._images if self._archived else self._masks / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB.

        Raises:
            DataError: as `read_rgb` or `MatlabArrays`, or a file cannot be cut to its frame.
        """
        path = self.image_path(index)
        image = read_frame(path, self.ids[index]) if self._archived else read_rgb(path)
        return self._cut(image, path)

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..K-1 and 255.

        Raises:
            DataError: as `read_labels` or `MatlabArrays`, or a label that NYU Depth v2 does not
                have.
        """
        path, name = self.mask_path(index), self.ids[index]
        labels = read_categories(path, name) if self._archived else read_labels(path).numpy()
        remedy = REMEDY if self._archived else _MASK_REMEDY
        mask = relabelled(labels, self._table, f"the mask of '{name}'", path, remedy)
        return self._cut(mask, path)

    def _cut(self, picture: Tensor, path: Path) -> Tensor:
        if not self._cut_frame:
            return picture
        if picture.shape[-2:] != SIZE:
            height, width = picture.shape[-2:]
            raise DataError(
                f"{path} is {height}x{width}, and within the white frame is a part of "
                f"{SIZE[0]}x{SIZE[1]} (height x width); leave out cut_frame"
            )
        return picture[..., *INSIDE]

    def facts(self) -> dict[str, object]:
        """The layout, and whether the white frame is cut off."""
        return {
            "layout": "archive" if self._archived else "folders",
            "white_frame": "cut off" if self._cut_frame else "kept",
        }


def _has(places: list[Path], *names: str) -> bool:
    return any(exists(place / name) for place in places for name in names)


def _folders(places: list[Path]) -> tuple[str, ...]:
    """The folders of images and masks, and the lists, as they are called here."""
    images, masks = (
        next((name for name in names if _has(places, name)), names[0])
        for names in (_IMAGES, _MASKS)
    )
    return (images, masks, *(f"{part}.txt" for part in NUMBERS))


def _lists(root: Path, files: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """Subset -> ids, of the two lists beside the folders."""
    ids = {
        part: read_ids(root / f"{part}.txt", lambda: KnownIds(files, files.__getitem__))
        for part in NUMBERS
    }
    both = sorted({*ids["train"]} & {*ids["test"]})
    if both:
        raise DataError(
            f"{root / 'test.txt'} lists '{both[0]}', as train.txt does; take it off one of the two"
        )
    return ids
