"""Arrays of four bands with 16 bits, as an example of a data set of other images than RGB."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

import semisup
from semisup.data.base import SegmentationData
from semisup.data.formats.channels import read_image
from semisup.data.formats.lists import check_labels, choose_subset, find_folder, unique
from semisup.data.formats.pictures import read_labels, voc_palette
from semisup.ops.pixels import ImageKind

CLASSES = ("ground", "plant", "animal")
SUBSETS = ("train", "val")
FOUR_BANDS = ImageKind(channels=4, bits=16)


class Bands(SegmentationData):
    """`<subset>/<id>.npy` (HW4, uint16) with `<subset>/<id>_labels.png` beside it.

    Args:
        root: the folder that holds train and val.
        subset: "train" or "val".

    Raises:
        DataError: the folders are missing, or there is no such subset.
    """

    name = "bands"
    image_kind = FOUR_BANDS

    def __init__(self, root: Path | str, subset: str = "train") -> None:
        remedy = "to the folder that holds train and val"
        self.root = find_folder(root, (".", "bands"), SUBSETS, what="bands", remedy=remedy)
        self.subset = choose_subset(subset, SUBSETS, self.root)
        self.classes = CLASSES
        self.palette = voc_palette(len(CLASSES))
        folder = self.root / subset
        self.ids = unique(sorted(path.stem for path in folder.glob("*.npy")), folder)

    def image_path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self.root / self.subset / f"{self.ids[index]}.npy"

    def mask_path(self, index: int) -> Path:
        """Where the mask of image `index` lies."""
        return self.root / self.subset / f"{self.ids[index]}_labels.png"

    def image(self, index: int) -> Tensor:
        """Image `index`: uint16 4HW; errors as in `read_image`."""
        return read_image(self.image_path(index), self.image_kind)

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..2 and 255; errors as in `read_labels`."""
        path = self.mask_path(index)
        return check_labels(read_labels(path), len(CLASSES), path)


semisup.register("bands", Bands)
