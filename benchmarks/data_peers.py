"""What `data.py` compares a data set with: torchvision's class of it, or Pillow without one.

voc         torchvision's VOCSegmentation, for its own lists in a VOCdevkit/VOC2012
cityscapes  torchvision's Cityscapes (mode "fine", target "semantic"), label ids made train ids
coco        torchvision's CocoDetection, masks drawn from its annotations by pycocotools
others      the two files of a pair opened by Pillow, as such scripts do; labels shifted by a table

Each gives what the data set itself gives, which `check_same` looks up before anything is timed.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset
from torchvision import datasets

from semisup.data.base import SegmentationData
from semisup.data.sets.coco import Coco
from semisup.data.sets.voc import Voc
from semisup.types import IGNORE

Pair = tuple[Any, Any]
"""An image and its mask: pictures, or what a preset makes of them."""

Preset = Callable[[Image.Image, Image.Image], Pair]
"""Changes an image and its mask together."""

SHIFTED = [IGNORE, *range(IGNORE)]
"""Label -> one less; 0 is void."""

TABLES = {
    "ade20k": SHIFTED,
    "camvid": [*range(11), *[IGNORE] * 245],
    "nyudv2": [*SHIFTED[:41], *[IGNORE] * 215],
}
"""Data set -> label in its files -> label."""

SETS = ("voc", "camvid", "cityscapes", "coco", "ade20k", "nyudv2")


def untouched(image: Image.Image, mask: Image.Image) -> Pair:
    """No preset: the decoded pictures themselves."""
    return image, mask


def peer_of(data: SegmentationData, preset: Preset = untouched) -> Dataset[Pair]:
    """The images of `data` with their masks, in its order, as a torchvision script reads them."""
    if isinstance(data, Coco):
        return _coco(data, preset)
    if data.name == "cityscapes":
        return _cityscapes(data, preset)
    devkit = data.root.parent
    own = data.subset in ("train", "val", "trainval") and data.root.name == "VOC2012"
    if isinstance(data, Voc) and own and devkit.name == "VOCdevkit":
        return datasets.VOCSegmentation(devkit.parent, image_set=data.subset, transforms=preset)
    return Pairs(data, preset)


def title_of(peer: Dataset[Pair]) -> str:
    """What reads the files."""
    name = type(peer).__name__
    return "Pillow" if name == "Pairs" else f"torchvision's {name}"


def check_same(data: SegmentationData, count: int = 5) -> None:
    """That the images and masks of `data` are those of its peer.

    Raises:
        AssertionError: they are not, so that their times would say nothing.
    """
    peer = peer_of(data)
    for index in range(min(count, len(data))):
        image, mask = peer[index]
        own, labels = data.pair(index)
        where = f"{title_of(peer)} has another {{}} of {data.ids[index]}"
        assert np.array_equal(np.asarray(image), own.permute(1, 2, 0)), where.format("image")
        assert np.array_equal(np.asarray(mask), labels), where.format("mask")


class Pairs(Dataset[Pair]):
    """Reads two files a pair, as torchvision's VOCSegmentation does."""

    def __init__(self, data: SegmentationData, preset: Preset) -> None:
        self._paths = [(data.image_path(i), data.mask_path(i)) for i in range(len(data))]
        self._table = TABLES.get(data.name)
        self._preset = preset

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Pair:
        image, mask = self._paths[index]
        labels = Image.open(mask)
        if self._table is not None:
            labels = labels.point(self._table)
        return self._preset(Image.open(image).convert("RGB"), labels)


def _cityscapes(data: SegmentationData, preset: Preset) -> Dataset[Pair]:
    table = [IGNORE] * 256
    for one in datasets.Cityscapes.classes:
        if 0 <= one.train_id < IGNORE:
            table[one.id] = one.train_id

    def change(image: Image.Image, mask: Image.Image) -> Pair:
        return preset(image, mask.point(table))

    peer = datasets.Cityscapes(
        data.root, data.subset, mode="fine", target_type="semantic", transforms=change
    )
    place = {Path(path): number for number, path in enumerate(peer.images)}
    order = [place[data.image_path(index)] for index in range(len(data))]
    peer.images = [peer.images[number] for number in order]
    peer.targets = [peer.targets[number] for number in order]
    return peer


def _coco(data: Coco, preset: Preset) -> Dataset[Pair]:
    label_of = {number: label for label, number in enumerate(data.category_ids)}

    def change(image: Image.Image, annotations: list[dict[str, Any]]) -> Pair:
        mask = pasted(peer.coco, annotations, image.size[::-1], label_of)
        return preset(image, Image.fromarray(mask))

    images = data.image_path(0).parent
    with contextlib.redirect_stdout(io.StringIO()):
        peer = datasets.CocoDetection(images, str(data.mask_path(0)), transforms=change)
    peer.ids = [data.image_number(index) for index in range(len(data))]
    return peer


def pasted(
    coco: Any,
    annotations: Sequence[dict[str, Any]],
    size: tuple[int, int],
    label_of: dict[int, int] | None = None,
) -> np.ndarray:
    """A mask as scripts make it from pycocotools: the largest object first, crowds as void."""
    mask = np.zeros(size, np.uint8)
    for one in sorted(annotations, key=lambda one: (not one["iscrowd"], -one["area"])):
        label = one["category_id"] if label_of is None else label_of[one["category_id"]]
        mask[coco.annToMask(one) == 1] = IGNORE if one["iscrowd"] else label
    return mask
