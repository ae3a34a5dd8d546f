"""Cityscapes in its layout, and the lists of its images that papers go by."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semisup.data.formats.pictures import read_labels
from semisup.data.labels.split_lists import read_kinds
from semisup.data.sets.cityscapes import Cityscapes
from semisup.data.sets.cityscapes_classes import LAST_ID, TRAINED
from semisup.errors import DataError


def test_layout_and_classes(cityscapes_root: Path) -> None:
    data = Cityscapes(cityscapes_root)
    assert data.root == cityscapes_root / "cityscapes"
    assert data.ids == ("aachen_000000_000011", "bochum_000000_000010")
    assert Cityscapes(data.root, "val").ids == ("lindau_000000_000010",)
    assert len(Cityscapes(data.root, "trainval")) == 3
    assert data.num_classes == 19
    assert (data.classes[0], data.classes[18]) == ("road", "bicycle")
    assert (data.palette[0], data.palette[18]) == ((128, 64, 128), (119, 11, 32))
    assert data.image(0).shape == (3, 6, 8)
    mask = data.mask(0)
    assert mask[:, 0].tolist() == [255, 18, 1, 1, 1, 1]
    path = data.mask_path(0)
    assert path == data.root / "gtFine/train/aachen/aachen_000000_000011_gtFine_labelIds.png"


def test_train_ids_are_read_where_they_are_alone(cityscapes_root: Path) -> None:
    data = Cityscapes(cityscapes_root)
    expected, path = data.mask(0), data.mask_path(0)
    other = path.with_name(path.name.replace("labelIds", "labelTrainIds"))
    Image.fromarray(expected.numpy()).save(other)
    assert data.mask_path(0) == path
    path.unlink()
    assert data.mask_path(0) == other
    assert torch.equal(data.mask(0), expected)
    Image.fromarray(np.full((6, 8), 19, np.uint8)).save(other)
    with pytest.raises(DataError, match=re.escape(f"{other} holds label 19, but Cityscapes has 0")):
        data.mask(0)


def test_what_is_no_cityscapes_is_said(cityscapes_root: Path) -> None:
    folder = cityscapes_root / "cityscapes"
    with pytest.raises(DataError, match=r"no subset 'vall' in .* Did you mean 'val'"):
        Cityscapes(folder, "vall")
    with pytest.raises(DataError, match=r"leftImg8bit/test has no CITY.*unpack the images there"):
        Cityscapes(folder, "test")
    (folder / "leftImg8bit" / "val" / "lindau" / "._lindau_leftImg8bit.png").write_bytes(b"")
    assert len(Cityscapes(folder, "val")) == 1
    for path in (folder / "leftImg8bit" / "val" / "lindau").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="leftImg8bit/val has no CITY"):
        Cityscapes(folder, "trainval")
    data = Cityscapes(folder)
    Image.fromarray(np.full((6, 8), 34, np.uint8)).save(data.mask_path(0))
    with pytest.raises(DataError, match=r"labelIds.png holds label 34, but Cityscapes has 0\.\.33"):
        data.mask(0)
    (folder / "gtFine").rename(folder / "gtCoarse")
    with pytest.raises(DataError, match="Cityscapes is not there: gtFine is missing"):
        Cityscapes(folder)


def test_every_label_id_becomes_its_class(cityscapes_root: Path) -> None:
    """Pixel by pixel: 19 of the 34 ids are classes, and so are 255 and all others void."""
    data = Cityscapes(cityscapes_root)
    ids = np.array([[*range(LAST_ID + 1), 255]], np.uint8)
    Image.fromarray(ids).save(data.mask_path(0))
    classes = {label: train for train, (label, _, _) in enumerate(TRAINED)}
    assert data.mask(0)[0].tolist() == [classes.get(int(label), 255) for label in ids[0]]
    assert len(classes) == 19


def test_masks_equal_those_of_the_benchmarks_own_tools(shared_data: Path) -> None:
    data = Cityscapes(shared_data)
    assert len(data) == 5
    compared, seen = 0, Counter[int]()
    for index in range(len(data)):
        path = data.mask_path(index)
        mask = data.mask(index)
        assert mask.shape == data.image(index).shape[1:] == (1024, 2048)
        seen.update(mask.unique().tolist())
        theirs = path.with_name(path.name.replace("labelIds", "labelTrainIds"))
        if theirs.exists():
            assert torch.equal(mask, read_labels(theirs)), path.name
            compared += 1
    assert compared >= 3
    assert seen[0] == seen[2] == 5


LISTS = {
    "LiheYoung+UniMatch/splits/cityscapes/1_16/labeled.txt": 186,
    "LiheYoung+UniMatch/splits/cityscapes/1_30/labeled.txt": 100,
    "Haochen-Wang409+U2PL/data/splits/cityscapes/1488/labeled.txt": 1488,
    "charlesCXK+TorchSemiSeg/DATA/city/config_new/subset_train/train_aug_labeled_1-8.txt": 372,
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_the_literature_are_read_as_they_are(shared_data: Path, name: str) -> None:
    """Three forms: one path, two paths, two paths of another tree; none has our ids."""
    path = shared_data / "lists" / name
    found = re.findall(r"\b([a-z]+_\d{6}_\d{6})(?:_left|\.png)", path.read_text(encoding="utf-8"))
    data = Cityscapes.__new__(Cityscapes)
    data.root, data.subset, data.ids = shared_data / "cityscapes", "train", tuple(found)
    folder = data.root / "leftImg8bit" / "train"
    data._images = {n: folder / n.split("_")[0] / f"{n}_leftImg8bit.png" for n in found}
    kinds, states = read_kinds(data, path)
    assert not states
    assert list(kinds) == found
    assert len(kinds) == LISTS[name]
