"""Photographs with their masks beside them, as an example of a data set."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

import semisup
from semisup.data.base import SegmentationData
from semisup.data.formats.lists import check_labels, choose_subset, find_folder, unique
from semisup.data.formats.pictures import read_labels, read_rgb, voc_palette

CLASSES = ("ground", "plant", "animal")
SUBSETS = ("train", "val")


class Beside(SegmentationData):
    """`<subset>/<id>.jpg` with `<subset>/<id>_labels.png` beside it: 0..2, 255 for void.

    Args:
        root: the folder that holds train and val.
        subset: "train" or "val".

    Raises:
        DataError: the folders are missing, or there is no such subset.
    """

    name = "beside"

    def __init__(self, root: Path | str, subset: str = "train") -> None:
        remedy = "to the folder that holds train and val"
        self.root = find_folder(root, (".", "beside"), SUBSETS, what="beside", remedy=remedy)
        self.subset = choose_subset(subset, SUBSETS, self.root)
        self.classes = CLASSES
        self.palette = voc_palette(len(CLASSES))
        folder = self.root / subset
        self.ids = unique(sorted(path.stem for path in folder.glob("*.jpg")), folder)

    def image_path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self.subset / f"{self.ids[index]}.jpg"

    def mask_path(self, index: int) -> Path:
        """Where the mask of image `index` lies."""
        return self.root / self.subset / f"{self.ids[index]}_labels.png"

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..2 and 255; errors as in `read_labels`."""
        path = self.mask_path(index)
        return check_labels(read_labels(path), len(CLASSES), path)


semisup.register("beside", Beside)
