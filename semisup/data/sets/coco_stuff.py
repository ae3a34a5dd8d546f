"""COCO-Stuff's maps: a label for every pixel of MS COCO's images of 2017.

Caesar et al., COCO-Stuff: Thing and Stuff Classes in Context, CVPR 2018,
https://arxiv.org/abs/1612.03716.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from semisup.data.base import Objects, SegmentationData
from semisup.data.formats.lists import choose_subset, relabel, unique
from semisup.data.formats.pictures import read_labels, read_rgb, voc_palette
from semisup.data.formats.trees import list_files
from semisup.data.sets.coco_stuff_classes import CLASSES, IDS
from semisup.errors import DataError, RecipeError
from semisup.types import IGNORE

SUBSETS = ("train", "val")
ARCHIVE = "stuffthingmaps_trainval2017.zip"
_PLACES = ("coco", "COCO", ".")
_OF_IMAGES = (".", "images")
_OF_MAPS = ("stuffthingmaps", ARCHIVE.removesuffix(".zip"), "annotations", ".")


class CocoStuff(SegmentationData):
    """MS COCO's images of 2017 with the maps of COCO-Stuff: 80 things and 91 kinds of stuff.

    A label of the maps is an id of COCO-Stuff less one; the gaps between the ids that are used are
    closed, in their order, and 255 is void. The colours are those of VOC's rule.

    Args:
        root: folder with the folders of images and of maps, or with coco, which has them.
        subset: "train" or "val".

    Attributes:
        ids: names of the image files, such as 000000000139, sorted.

    Raises:
        DataError: the folders are not there, or there is no such subset.
    """

    name = "coco"

    def __init__(self, root: Path | str, subset: str) -> None:
        top = Path(root).expanduser()
        self.subset = choose_subset(subset, SUBSETS, top)
        part = f"{subset}2017"
        self.root, self._images = _find_images(top, part)
        files = [name for name in list_files(self._images, (".jpg",)) if "/" not in name]
        names = (name.removesuffix(".jpg") for name in files if name.endswith(".jpg"))
        self.ids = unique(names, self._images)
        self._maps = _find_maps(self.root, part)
        self.classes = CLASSES
        self.palette = voc_palette(len(CLASSES) + 1)[1:]

    def image_path(self, index: int) -> Path:
        """train2017/ID.jpg, in the folder itself or in images."""
        return self._images / f"{self.ids[index]}.jpg"

    def mask_path(self, index: int) -> Path:
        """train2017/ID.png, where the maps are."""
        return self._maps / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..170 and 255.

        Raises:
            DataError: as `read_labels`, or a label that is of no class.
        """
        path = self.mask_path(index)
        labels = read_labels(path)
        mask = relabel(labels, _CLASS_OF)
        wrong = labels[(mask == IGNORE) & (labels != IGNORE)]
        if len(wrong):
            raise DataError(
                f"{path} holds label {int(wrong[0])}, which is of no class of COCO-Stuff: take the "
                f"files of {ARCHIVE}, whose labels are not numbered anew"
            )
        return mask

    def objects(self, index: int) -> Objects:
        """Refused.

        Raises:
            RecipeError: the maps tell no objects apart.
        """
        raise RecipeError(
            "coco with classes = 'stuff' has maps of classes, and no objects are told apart in "
            "them: leave classes out, so that the annotations are read"
        )

    def image_number(self, index: int) -> int:
        """The id of the image, which is the name of its file."""
        name = self.ids[index]
        return int(name) if name.isdecimal() else super().image_number(index)

    def masks_without_image(self) -> list[Path]:
        """As `SegmentationData`, of the files that are named as images are."""
        known, maps = set(self.ids), list_files(self._maps, (".png",))
        return [p for p in maps.values() if p.stem.isdecimal() and p.stem not in known]

    def facts(self) -> dict[str, object]:
        """The year, and where the masks come from."""
        return {"year": 2017, "masks": "maps of COCO-Stuff"}


def _find_images(top: Path, part: str) -> tuple[Path, Path]:
    """The folder of the set, and that of its images."""
    for place in _PLACES:
        for inner in _OF_IMAGES:
            folder = top / place / inner / part
            if next(folder.glob("*.jpg"), None) is not None:
                return top / place, folder
    looked = ", ".join(str(top / place) for place in _PLACES)
    raise DataError(
        f"MS COCO is not there: no {part} or images/{part} with *.jpg in any of {looked}; set the "
        f"data root (--data-root or SEMISUP_DATA), and unpack {part}.zip there (cocodataset.org)"
    )


def _find_maps(root: Path, part: str) -> Path:
    """The folder of the maps."""
    folders = [root / place / part for place in _OF_MAPS]
    for folder in folders:
        if next(folder.glob("*.png"), None) is not None:
            return folder
    looked = ", ".join(str(folder) for folder in folders)
    raise DataError(
        f"{root} has no maps of COCO-Stuff: no *.png in any of {looked}; unpack {ARCHIVE} in "
        f"{root / _OF_MAPS[0]} (github.com/nightrome/cocostuff)"
    )


def _table() -> Tensor:
    """Label of the maps -> class."""
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    table[[number - 1 for number in IDS]] = torch.arange(len(IDS), dtype=torch.uint8)
    return table


_CLASS_OF = _table()
