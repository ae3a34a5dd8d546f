"""The ISBI 2012 challenge: neurons in electron micrographs, a volume of 30 slices.

Arganda-Carreras et al., Crowdsourcing the creation of image segmentation algorithms for
connectomics, Frontiers in Neuroanatomy 2015; Cardona et al., PLoS Biology 2010.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from semisup.data.formats.lists import choose_subset, find_folder
from semisup.data.formats.pictures import count_pages, read_page
from semisup.data.sets.slices import SUBSETS, Slices
from semisup.data.volumes import Block
from semisup.errors import DataError
from semisup.ops.pixels import GREY, ImageKind

VOLUME, LABELS = "train-volume.tif", "train-labels.tif"
_REMEDY = "fetch it anew from the challenge"
_PLACES = ("isbi2012", "ISBI2012", ".")
_CELL = 255
"""In the files; a membrane is 0."""


class Isbi2012(Slices):
    """ISBI 2012: train-volume.tif and train-labels.tif, a page for each of 30 slices of 512 x 512.

    Two classes, membrane and cell, and no void. The masks of test-volume.tif are not public: the
    last `held_out` slices are the subset "val", those before them are "train", all are "all".

    Args:
        root: folder with both files, or with isbi2012, which has them.
        subset: "train", "val" or "all".
        held_out: slices at the end of the volume that are reported on.
        annotated: how many of the masks of "train" are used, evenly spread over them; 0: all.
        depth: slices of a block that a network for volumes is shown.
        rotation: as of `Stack`.
        deformation: as of `Stack`.

    Attributes:
        ids: numbers of the pages, from 0.

    Raises:
        DataError: a file is missing or no TIFF, they have different numbers of pages, or no slice
            is left to train on.
        RecipeError: an option is out of its range.
    """

    name = "isbi2012"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        held_out: int = 6,
        annotated: int = 0,
        depth: int = 16,
        rotation: float = 0.0,
        deformation: float = 0.0,
    ) -> None:
        self.root = find_folder(
            root,
            _PLACES,
            (VOLUME, LABELS),
            what="ISBI 2012",
            remedy=f"and put {VOLUME} and {LABELS} of the challenge there",
        )
        self.subset = choose_subset(subset, SUBSETS, self.root)
        self.classes = ("membrane", "cell")
        self.palette = ((0, 0, 0), (255, 255, 255))
        self._volume, self._labels = self.root / VOLUME, self.root / LABELS
        pages, masks = count_pages(self._volume), count_pages(self._labels)
        if pages != masks:
            raise DataError(f"{self._labels} has {masks} pages, and {VOLUME} {pages}: {_REMEDY}")
        self.divide(
            tuple(map(str, range(pages))),
            lambda _: True,
            held_out=held_out,
            annotated=annotated,
            block=Block(depth, rotation, deformation),
        )

    @property
    def image_kind(self) -> ImageKind:
        """8-bit grey."""
        return GREY

    def slice_path(self, name: str) -> Path:
        """train-volume.tif."""
        return self._volume

    def slice_of(self, name: str) -> Tensor:
        """Slice `name`: uint8 1HW; errors as in `read_page`."""
        return read_page(self._volume, int(name))[None]

    def mask_path(self, index: int) -> Path:
        """train-labels.tif."""
        return self._labels

    def mask(self, index: int) -> Tensor:
        """Ground truth of slice `index`: uint8 HW, 0 membrane and 1 cell.

        Raises:
            DataError: as in `read_page`, or a value other than 0 and 255.
        """
        page = self.ids[index]
        labels = read_page(self._labels, int(page))
        wrong = labels[(labels != 0) & (labels != _CELL)]
        if len(wrong):
            raise DataError(
                f"page {page} of {self._labels} holds {int(wrong[0])}, but a membrane is 0 and a "
                f"cell {_CELL}: {_REMEDY}"
            )
        return (labels == _CELL).to(torch.uint8)
