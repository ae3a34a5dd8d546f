"""ADE20K in the form of the Scene Parsing challenge: 150 classes.

Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017; Semantic Understanding of Scenes
through the ADE20K Dataset, IJCV 2019, https://arxiv.org/abs/1608.05442.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.lists import choose_subset, find_folder, unique
from semisup.data.formats.pictures import read_labels, read_rgb, voc_palette
from semisup.data.formats.trees import list_files
from semisup.errors import DataError

CLASSES = (
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane"),
    *("grass", "cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant"),
    *("curtain", "chair", "car", "water", "painting", "sofa", "shelf", "house", "sea"),
    *("mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe"),
    *("lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard"),
    *("chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator"),
    *("grandstand", "path", "stairs", "runway", "case", "pool table", "pillow", "screen door"),
    *("stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower"),
    *("book", "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer"),
    *("swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light"),
    *("truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver"),
    *("airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman"),
    *("bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt"),
    *("canopy", "washer", "plaything", "swimming pool", "stool", "barrel", "basket"),
    *("waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank"),
    *("trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen"),
    *("blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan"),
    *("fan", "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator"),
    *("glass", "clock", "flag"),
)

_PARTS = {"train": "training", "val": "validation"}
_PLACES = ("ADEChallengeData2016", "ade20k", ".")


class Ade20k(SegmentationData):
    """ADE20K, SceneParsing150: 20,210 train and 2,000 val images.

    Label 0 of the files, what is of no class, is void; 1..150 are classes 0..149. The colours are
    those of VOC's rule.

    Args:
        root: folder with images and annotations, or with ADEChallengeData2016, which has them.
        subset: "train" or "val".

    Attributes:
        ids: names of the image files, such as ADE_train_00000001, sorted.

    Raises:
        DataError: the folders are not there, there is no such subset, or it has no image.
    """

    name = "ade20k"

    def __init__(self, root: Path | str, subset: str = "train") -> None:
        self.root = find_folder(
            root,
            _PLACES,
            ("images", "annotations"),
            what="ADE20K",
            remedy="and unpack ADEChallengeData2016.zip there "
            "(data.csail.mit.edu/places/ADEchallenge)",
        )
        self.subset = choose_subset(subset, _PARTS, self.root)
        self._folder = _PARTS[subset]
        images = self.root / "images" / self._folder
        files = list_files(images, (".jpg",)) if images.is_dir() else {}
        names = sorted(path.stem for name, path in files.items() if "/" not in name)
        if not names:
            raise DataError(f"{images} has no *.jpg: unpack the images there")
        self.ids = unique(names, images)
        self.classes = CLASSES
        self.palette = voc_palette(len(CLASSES) + 1)[1:]

    def image_path(self, index: int) -> Path:
        """images/PART/ID.jpg."""
        return self.root / "images" / self._folder / f"{self.ids[index]}.jpg"

    def mask_path(self, index: int) -> Path:
        """annotations/PART/ID.png."""
        return self.root / "annotations" / self._folder / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..149 and 255.

        Raises:
            DataError: as `read_labels`, or a label above 150.
        """
        path = self.mask_path(index)
        labels = read_labels(path)
        if int(labels.max()) > len(CLASSES):
            raise DataError(
                f"{path} holds label {int(labels.max())}, but ADE20K has 0, which is void, to "
                f"{len(CLASSES)}: take the files of ADEChallengeData2016.zip, which are not shifted"
            )
        return labels - 1  # 0 becomes 255: uint8 wraps around
