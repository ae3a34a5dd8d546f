"""A volume as a stack of slices, of which a few are annotated."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from semisup.data.formats.channels import find_kind, read_image
from semisup.data.formats.class_colours import class_colours
from semisup.data.formats.class_lists import NAMES, ClassList, read_class_list
from semisup.data.formats.lists import choose_subset, find_folder
from semisup.data.formats.mask_keys import LabelKey
from semisup.data.formats.pictures import IMAGE_SUFFIXES
from semisup.data.formats.trees import files_by_id
from semisup.data.sets.folder_masks import MaskFiles
from semisup.data.sets.slices import SUBSETS, Slices
from semisup.data.volumes import Block, by_numbers, gap
from semisup.errors import DataError
from semisup.ops.pixels import ImageKind
from semisup.system.files import exists, is_file


class Stack(Slices):
    """A volume as a folder of slices, some of which have a mask: for networks for volumes.

    - images/<slice>.png (.tif, .jpg, ...): one picture a slice, all of one size, in the order of
      the numbers in their names (2 before 10);
    - masks/<slice>.png: as in a `folder`. A slice without one is not annotated;
    - classes.txt, or the option `classes`.

    The last `held_out` slices are the subset "val", which is never trained on; those before them
    are "train". A network for images (BCHW) can be trained on the slices one by one.

    Args:
        root: the folder itself, or the data root that `folder` is in.
        subset: "train", "val" or "all".
        folder: the folder under `root`.
        image_folder: folder of the slices, under `folder`.
        mask_folder: folder of their masks, under `folder`.
        mask_suffix: what the name of a mask has behind that of its slice, such as "_mask".
        classes: names of the classes; empty: those in classes.txt.
        values: value in a mask -> name of its class, such as {0 = "membrane", 255 = "cell"};
            empty: the position in the list of classes.
        void: a value in a mask that is void; 255 is void too, unless it is the value of a class.
        channels: of the slices; None: as most of them have.
        held_out: slices at the end of the stack that are reported on.
        annotated: how many of the masks of "train" are used, evenly spread over them; 0: all.
        depth: slices of a block that a network for volumes is shown; at least 8 for 3D U-Net's
            three poolings. A stack of fewer is mirrored at its ends.
        rotation: largest angle, in degrees, by which training blocks are turned in their plane.
        deformation: standard deviation, in voxels, of the displacements by which training blocks
            are deformed, drawn every 32 voxels and joined by a cubic B-spline; 0: none.

    Raises:
        DataError: a folder or the classes are missing, slices cannot be put in order, or no slice
            is left to train on.
        RecipeError: an option is out of its range.
    """

    name = "stack"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        folder: str = ".",
        image_folder: str = "images",
        mask_folder: str = "masks",
        mask_suffix: str = "",
        classes: Sequence[str] = (),
        values: dict[str | int, str] | None = None,
        void: int | None = None,
        channels: int | None = None,
        held_out: int = 6,
        annotated: int = 0,
        depth: int = 16,
        rotation: float = 0.0,
        deformation: float = 0.0,
    ) -> None:
        self.root = find_folder(
            root,
            (folder,),
            (image_folder, mask_folder),
            what="the stack",
            remedy=f"and lay out {image_folder}/<slice>.png and {mask_folder}/<slice>.png there",
        )
        if (self.root / image_folder).resolve() == (self.root / mask_folder).resolve():
            raise DataError(
                f"{self.root / mask_folder}: holds the slices; give their masks their own folder"
            )
        self.subset = choose_subset(subset, SUBSETS, self.root)
        listed = _classes(self.root, classes)
        self.classes, self.palette = listed.names, listed.palette
        self._key = LabelKey(listed, values, void)
        self._files = _in_order(self.root / image_folder)
        self._masks = MaskFiles(self.root / mask_folder, mask_suffix, self._files)
        self._masks.warn_of_overlooked()
        self._channels = channels
        self.divide(
            tuple(self._files),
            self._masks.has,
            held_out=held_out,
            annotated=annotated,
            block=Block(depth, rotation, deformation),
        )

    @functools.cached_property
    def _kind(self) -> ImageKind:
        return find_kind(tuple(self._files.values()), self._channels)

    @property
    def image_kind(self) -> ImageKind:
        """As most slices are."""
        return self._kind

    def slice_path(self, name: str) -> Path:
        """Where slice `name` lies."""
        return self._files[name]

    def mask_path(self, index: int) -> Path:
        """Where the mask of slice `index` lies or should lie."""
        return self._masks.path(self.ids[index])

    def mask(self, index: int) -> Tensor:
        """Ground truth of slice `index`: uint8 HW, 0..K-1 and 255.

        Raises:
            DataError: there is none, or as in `LabelKey`.
        """
        name, path = self.ids[index], self.mask_path(index)
        if not self._masks.has(name):
            raise DataError(
                f"{path} is missing: slice '{name}' is not annotated; add it, or leave the slice "
                "to be unlabelled"
            )
        return self._key.read(path)

    def slice_of(self, name: str) -> Tensor:
        """Slice `name`: CHW; errors as in `read_image`."""
        return read_image(self._files[name], self.image_kind)

    def facts(self) -> dict[str, object]:
        """Which slices are held out and annotated, of how many a block is, how masks are read."""
        return super().facts() | self._key.facts()


def _classes(root: Path, names: Sequence[str]) -> ClassList:
    if names:
        return ClassList(root, tuple(names), class_colours(names))
    path = next((root / name for name in NAMES if is_file(root / name)), root / NAMES[0])
    if not exists(path):
        raise DataError(
            f"{path} is missing; write one name a line, or state the classes of the stack in "
            "data.classes"
        )
    return read_class_list(path)


def _in_order(folder: Path) -> Mapping[str, Path]:
    """Slice -> its file, in the order of the numbers in their names."""
    found = files_by_id(folder, IMAGE_SUFFIXES)
    ordered = sorted(found, key=lambda name: by_numbers(name + found[name].suffix))
    files = {name: found[name] for name in ordered}
    if not files:
        raise DataError(f"{folder}: holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    apart = gap(list(files))
    if apart is not None:
        warnings.warn(
            f"{folder}: slices may be missing between '{apart[0]}' and '{apart[1]}', which are "
            "taken for neighbours, as the numbers of the others go on in smaller steps",
            stacklevel=2,
        )
    return files
