"""SUN RGB-D: 10,335 images of rooms from four sensors, 37 classes; the colours, without the depth.

Song et al., SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite, CVPR 2015.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.formats.lists import choose_subset, find_folder, unique
from semisup.data.formats.matlab.hdf5 import MatlabArrays
from semisup.data.formats.pictures import read_labels, read_rgb, voc_palette
from semisup.data.sets.indoor.classes import SUN_37, relabelled, table_of_classes
from semisup.data.sets.indoor.sun_lists import (
    CELLS,
    EXPORT,
    EXPORTED,
    LISTS,
    SEGMENTS,
    SPLIT,
    TOOLBOX,
    read_exported,
    read_toolbox,
)
from semisup.errors import DataError
from semisup.system.files import exists

_PLACES = ("sunrgbd", "SUNRGBD", "SUN-RGBD", ".")


class SunRgbd(SegmentationData):
    """SUN RGB-D: 5,285 train and 5,050 test images; 0 of the files is void.

    Two layouts are read, the first where both are there; `facts` names it:

    - "toolbox": SUNRGBD and SUNRGBDtoolbox as published. One label map at a time is read from
      SUNRGBD2Dseg.mat with h5py (the extra `hdf5`). Ids are folders, such as kv1/NYUdata/NYU0001.
    - "exported": SUNRGBD-train_images and SUNRGBD-test_images with img-000001.jpg, and
      sunrgbd_train_test_labels with img-000001.png, whose first 5,050 are those of test. Ids are
      the names of the labels. The images of train may be numbered from 1, as they are published, or
      from 5,051.

    Args:
        root: folder with either layout, or with sunrgbd, which has it.
        subset: "train" or "test".

    Raises:
        DataError: neither layout is there, there is no such subset, or lists or arrays are damaged
            or contradict one another.
    """

    name = "sunrgbd"
    eval_subset = "test"

    def __init__(self, root: Path | str, subset: str = "train") -> None:
        places = [Path(root).expanduser() / place for place in _PLACES]
        self._exported = not any(exists(place / "SUNRGBDtoolbox") for place in places) and any(
            exists(place / EXPORTED) for place in places
        )
        holds = (_images(subset), EXPORTED) if self._exported else ("SUNRGBD", "SUNRGBDtoolbox")
        choose_subset(subset, LISTS, Path(root))
        remedy = f"and {EXPORT if self._exported else TOOLBOX}"
        self.root = find_folder(root, _PLACES, holds, what="SUN RGB-D", remedy=remedy)
        self.subset = subset
        self.classes = SUN_37
        self.palette = voc_palette(len(SUN_37) + 1)[1:]
        self._table = table_of_classes(len(SUN_37))
        if self._exported:
            self._files = read_exported(self.root / _images(subset), subset)
            self.ids = unique(sorted(self._files), self.root / _images(subset))
        else:
            entries = read_toolbox(self.root, subset)
            self._files = {name: self.root / "SUNRGBD" / e.file for name, e in entries.items()}
            self._cells = [entry.place for entry in entries.values()]
            self.ids = unique(entries, self.root / SPLIT)

    def image_path(self, index: int) -> Path:
        """SUNRGBD/ID/image/NAME.jpg, or SUNRGBD-train_images/img-NUMBER.jpg."""
        return self._files[self.ids[index]]

    def mask_path(self, index: int) -> Path:
        """SUNRGBD2Dseg.mat, or sunrgbd_train_test_labels/ID.png."""
        if self._exported:
            return self.root / EXPORTED / f"{self.ids[index]}.png"
        return self.root / SEGMENTS

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb`."""
        return read_rgb(self.image_path(index))

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..36 and 255.

        Raises:
            DataError: as `read_labels` or `MatlabArrays`, or a label that SUN RGB-D does not have.
        """
        path, what = self.mask_path(index), f"the mask of '{self.ids[index]}'"
        if self._exported:
            labels = read_labels(path).numpy()
            return relabelled(labels, self._table, what, path, EXPORT)
        cell = MatlabArrays(path, TOOLBOX).cell(CELLS, self._cells[index])
        if cell.ndim != 2:
            raise DataError(
                f"{path} has {cell.ndim} axes in {what}, not rows and columns; {TOOLBOX}"
            )
        return relabelled(cell, self._table, what, path, TOOLBOX)

    def facts(self) -> dict[str, object]:
        """The layout."""
        return {"layout": "exported" if self._exported else "toolbox"}


def _images(subset: str) -> str:
    return f"SUNRGBD-{subset}_images"
