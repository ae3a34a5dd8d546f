"""Cityscapes, finely annotated: street scenes of 27 cities, 19 classes.

Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016,
https://arxiv.org/abs/1604.01685.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.lists import choose_subset, find_folder, relabel, unique
from semisup.data.formats.pictures import read_labels, read_rgb
from semisup.data.formats.trees import list_files
from semisup.errors import DataError
from semisup.types import IGNORE

# Label id in the files, name, colour: the classes that are scored, in the order of their train ids.
TRAINED = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)

LAST_ID = 33
"""Of the label ids; a licence plate is -1 in their list and is not drawn into a file."""

SUBSETS = {"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")}
_PLACES = ("cityscapes", "Cityscapes", ".")
_IMAGE, _MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"
_OF_TRAINING = "_gtFine_labelTrainIds.png"


class Cityscapes(SegmentationData):
    """Cityscapes, finely annotated: 2,975 train, 500 val and 1,525 test images of 2048 x 1024.

    Label ids become the 19 classes that the benchmark scores when a mask is read; all others are
    void. The masks of train ids, which the benchmark's tools make and which are not in the archive,
    are not needed; where the label ids are not there, they are read in their place. The public
    masks of test have no class.

    Args:
        root: folder with leftImg8bit and gtFine, or with cityscapes, which has them.
        subset: "train", "val", "test" or "trainval".

    Attributes:
        ids: CITY_SEQUENCE_FRAME, sorted.

    Raises:
        DataError: the folders are not there, there is no such subset, or it has no image.
    """

    name = "cityscapes"

    def __init__(self, root: Path | str, subset: str = "train") -> None:
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
        self.classes = tuple(name for _, name, _ in TRAINED)
        self.palette = tuple(colour for _, _, colour in TRAINED)

    def image_path(self, index: int) -> Path:
        """leftImg8bit/PART/CITY/ID_leftImg8bit.png."""
        return self._images[self.ids[index]]

    def mask_path(self, index: int) -> Path:
        """gtFine/PART/CITY/ID_gtFine_labelIds.png; the one of train ids where it alone is there."""
        image = self.image_path(index)
        city = self.root / "gtFine" / image.parent.parent.name / image.parent.name
        path, other = (city / f"{self.ids[index]}{ending}" for ending in (_MASK, _OF_TRAINING))
        return other if not path.exists() and other.exists() else path

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..18 and 255.

        Raises:
            DataError: as `read_labels`, or a label that Cityscapes does not have.
        """
        path = self.mask_path(index)
        labels = read_labels(path)
        table, last = (
            (_OF_IDS, LAST_ID) if path.name.endswith(_MASK) else (_OF_TRAIN_IDS, len(TRAINED) - 1)
        )
        wrong = labels[(labels > last) & (labels != IGNORE)]
        if len(wrong):
            raise DataError(
                f"{path} holds label {int(wrong[0])}, but Cityscapes has 0..{last} there: take the "
                "files of gtFine_trainvaltest.zip"
            )
        return relabel(labels, table)

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


def _table(labels: dict[int, int]) -> Tensor:
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    for label, train in labels.items():
        table[label] = train
    return table


_OF_IDS = _table({label: train for train, (label, _, _) in enumerate(TRAINED)})
_OF_TRAIN_IDS = _table({train: train for train in range(len(TRAINED))})
