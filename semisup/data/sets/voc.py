"""Pascal VOC 2012, with the augmented training set of SBD.

Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010.
Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011 (SBD).
"""

from __future__ import annotations

import functools
from pathlib import Path

from torch import Tensor

from semisup.data.formats.class_lists import NAMES, ClassList, read_class_list, warn_of_other_lists
from semisup.data.formats.lists import find_folder, unique
from semisup.data.formats.mask_keys import LabelKey
from semisup.data.formats.pictures import voc_palette
from semisup.data.formats.voc_annotations import read_sbd_mask
from semisup.data.sets.voc_layout import VocTree

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)

_PLACES = ("VOCdevkit/VOC2012", "VOC2012", ".")
_SBD_PLACES = ("benchmark_RELEASE/dataset", "VOCdevkit/benchmark_RELEASE/dataset", "sbd")
_AUGMENTED = ("train_aug", "trainaug")
_MORE_LISTS = ("labels.txt", "label_colors.txt", "class_dict.csv", "classes.csv")
"""What a list of classes is called by further tools; no list of images has one of these names."""


class Voc(VocTree):
    """Pascal VOC 2012: 1,464 train and 1,449 val images, 10,582 train images with SBD.

    The mask of an image is looked for in three places, and the first that has it wins:
    SegmentationClass (the official masks, with void borders), SegmentationClassAug (SBD as PNG,
    no borders), SBD's own `cls/<id>.mat`. In the official layout SegmentationClass holds just the
    2,913 images of train and val, so that all others get SBD's masks. `facts` counts the sources.

    A tree with a list of classes beside JPEGImages, labelmap.txt, class_names.txt or classes.txt as
    CVAT, datumaro and labelme write it, has those classes in place of VOC's, and masks of label ids
    or in the colours of the list.

    Args:
        root: folder with VOCdevkit/VOC2012 or VOC2012, or VOC2012 itself. SBD is looked for in
            benchmark_RELEASE/dataset beside it, in sbd, and in VOC2012/cls.
        subset: a list in ImageSets/Segmentation: "train", "val", "trainval", "train_aug" (also
            found as trainaug). Where there is no list of the augmented set, it is made by its
            rule: VOC train and SBD train and SBD val, without VOC val.
        classes: classes to keep, "background" among them if it is wanted; they are numbered in
            VOC's order and all others become void. None keeps all 21.

    Raises:
        DataError: there is no VOC 2012 under `root`, or no such subset.
        RecipeError: a name in `classes` that VOC does not have.
    """

    name = "voc"

    def __init__(
        self, root: Path | str, subset: str = "train", *, classes: tuple[str, ...] | None = None
    ) -> None:
        folder = find_folder(
            root,
            _PLACES,
            ("JPEGImages", "ImageSets/Segmentation"),
            what="Pascal VOC 2012",
            remedy="or fetch it there with 'semisup data fetch voc' "
            "(VOCtrainval_11-May-2012.tar, host.robots.ox.ac.uk/pascal/VOC/voc2012)",
        )
        places = [Path(root).expanduser() / place for place in _SBD_PLACES]
        self._sbd = next((p for p in [*places, folder] if (p / "cls").is_dir()), None)
        self._list_made = False
        self._own = _own_classes(folder)
        self._key = LabelKey(self._own) if self._own else None
        names = self._own.names if self._own else CLASSES
        palette = self._own.palette if self._own else voc_palette(len(CLASSES))
        super().__init__(folder, subset, names, palette, classes)

    def _read_subset(self) -> tuple[str, ...]:
        if self.subset not in _AUGMENTED:
            return super()._read_subset()
        for name in _AUGMENTED:
            if (self._lists() / f"{name}.txt").is_file():
                return self._read_list(self._lists() / f"{name}.txt")
        if self._sbd is None or not (self._sbd / "train.txt").is_file():
            return super()._read_subset()  # says which lists there are
        self._list_made = True
        train, val = (
            set(self._read_list(self._lists() / f"{part}.txt")) for part in ("train", "val")
        )
        sbd = {i for part in ("train", "val") for i in self._read_list(self._sbd / f"{part}.txt")}
        return unique(sorted((train | sbd) - val), self._sbd)

    @functools.cached_property
    def _mask_folders(self) -> list[tuple[str, Path, str]]:
        """Name, folder and file suffix of the sources of masks; the first has precedence."""
        folders = [
            (n, self.root / n, ".png")
            for n in ("SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG")
        ]
        if self._sbd is not None:
            folders.append(("SBD cls", self._sbd / "cls", ".mat"))
        return folders

    def image_path(self, index: int) -> Path:
        """JPEGImages/<id>.jpg; with any ending where the tree has its own classes."""
        usual = super().image_path(index)
        return self._other_images.get(self.ids[index], usual) if self._own else usual

    @functools.cached_property
    def _other_images(self) -> dict[str, Path]:
        return self._image_files()

    def mask_path(self, index: int) -> Path:
        """The first of the three places that has the mask; the first of all where none has."""
        name = self.ids[index]
        paths = [folder / f"{name}{suffix}" for _, folder, suffix in self._mask_folders]
        return next((path for path in paths if path.exists()), paths[0])

    def _read_mask(self, path: Path) -> Tensor:
        if path.suffix == ".mat":
            return read_sbd_mask(path)
        return self._key.read(path) if self._key else super()._read_mask(path)

    def facts(self) -> dict[str, object]:
        """Classes not kept, how many masks come from where, and whether the list was made here."""
        facts = {**super().facts(), "masks": self._count_sources()}
        if self._own:
            facts["classes_from"] = self._own.path.name
        return {**facts, "list": "made from VOC's and SBD's lists"} if self._list_made else facts

    def _count_sources(self) -> dict[str, int]:
        left, counts = set(self.ids), {}
        for name, folder, suffix in self._mask_folders:
            if folder.is_dir():
                here = left & {path.stem for path in folder.iterdir() if path.suffix == suffix}
                left -= here
                counts[name] = len(here)
        return {name: count for name, count in counts.items() if count}


def _own_classes(folder: Path) -> ClassList | None:
    """The list of classes that a tree brings along; None where it has VOC's."""
    paths = [folder / name for name in (*NAMES, *_MORE_LISTS) if (folder / name).is_file()]
    if not paths:
        return None
    warn_of_other_lists(paths[0])
    return read_class_list(paths[0])
