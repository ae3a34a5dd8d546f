"""MS COCO: everyday scenes, with the outlines of objects, or with things and stuff.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, https://arxiv.org/abs/1405.0312.
Caesar et al., COCO-Stuff: Thing and Stuff Classes in Context, CVPR 2018,
https://arxiv.org/abs/1612.03716.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from semisup.data.base import Problem, SegmentationData, WrappedData
from semisup.data.sets.coco_instances import CocoInstances
from semisup.data.sets.coco_stuff import CocoStuff
from semisup.errors import RecipeError


class Coco(WrappedData):
    """MS COCO: 118,287 train and 5,000 val images of 2017; 80 classes of objects and background.

    Masks of classes are drawn from the objects: regions of crowds first, as void; then the objects
    by their area, the smallest last, so that what lies in front is seen; of equal area in the order
    of the file. Classes are numbered in the order of their category ids, whose gaps are closed.
    Masks are computed by pycocotools (the extra `coco`).

    With COCO-Stuff's classes the masks are its published maps. They tell no objects apart, and
    neither pycocotools nor an annotation file is needed.

    Args:
        root: folder with annotations and the folders of images, or with coco, which has them; for
            "stuff" with the folders of images and of maps.
        subset: "train" or "val": annotations/instances_<subset><year>.json.
        year: of the release: 2017, or 2014.
        classes: classes to keep, "background" among them; the pixels of all others become void, and
            their objects are none. "voc": the 20 of Pascal VOC under its names and in its order;
            objects of the other 60 are drawn as background, so that they hide what lies behind
            them, and are none. "stuff": the 80 things and 91 kinds of stuff of COCO-Stuff, without
            a background. None keeps all of the annotation file.

    Raises:
        DataError: the files are not there, damaged or of another release, or pycocotools is needed
            and not installed.
        RecipeError: a name in `classes` that the file does not have, or "stuff" of 2014.
    """

    name = "coco"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        year: Literal[2014, 2017] = 2017,
        classes: tuple[str, ...] | Literal["voc", "stuff"] | None = None,
    ) -> None:
        super().__init__(_opened(root, subset, year, classes))

    def problems_beside(self, index: int, image: Tensor, mask: Tensor | None) -> list[Problem]:
        """As the annotations have it, of the mask that is given: it is not drawn once more."""
        return self._data.problems_beside(index, image, mask)


def _opened(
    root: Path | str,
    subset: str,
    year: Literal[2014, 2017],
    classes: tuple[str, ...] | Literal["voc", "stuff"] | None,
) -> SegmentationData:
    if classes != "stuff":
        return CocoInstances(root, subset, year=year, classes=classes)
    if year != 2017:
        raise RecipeError(
            f"classes = 'stuff' reads the maps of COCO-Stuff, which are of the images of 2017, and "
            f"year = {year}: leave year out"
        )
    return CocoStuff(root, subset)
