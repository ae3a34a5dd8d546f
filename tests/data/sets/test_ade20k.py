"""ADE20K in the layout of its challenge."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.data.formats.pictures import read_labels
from semisup.data.sets.ade20k import CLASSES, Ade20k
from semisup.errors import DataError


def test_layout_and_classes(ade20k_root: Path) -> None:
    data = Ade20k(ade20k_root)
    assert data.root == ade20k_root / "ADEChallengeData2016"
    assert data.ids == ("ADE_train_1", "ADE_train_2")
    assert Ade20k(data.root, "val").ids == ("ADE_val_1",)
    assert data.image(0).shape == (3, 6, 8)
    assert data.mask(0)[:, 0].tolist() == [255, 149, 1, 1, 1, 1]
    assert data.mask_path(1) == data.root / "annotations" / "training" / "ADE_train_2.png"


def test_classes_are_those_of_the_challenge() -> None:
    assert len(CLASSES) == len({*CLASSES}) == 150
    known = {0: "wall", 2: "sky", 12: "person", 44: "chest of drawers", 74: "computer"}
    known |= {89: "television receiver", 136: "traffic light", 149: "flag"}
    assert {place: CLASSES[place] for place in known} == known


def test_what_is_no_ade20k_is_said(ade20k_root: Path) -> None:
    folder = ade20k_root / "ADEChallengeData2016"
    with pytest.raises(DataError, match="no subset 'test'"):
        Ade20k(folder, "test")
    data = Ade20k(folder)
    Image.fromarray(np.full((6, 8), 151, np.uint8)).save(data.mask_path(0))
    message = f"{data.mask_path(0)} holds label 151, but ADE20K has 0, which is void, to 150"
    with pytest.raises(DataError, match=re.escape(message)):
        data.mask(0)
    (folder / "images" / "validation" / "._ADE_val_1.jpg").write_bytes(b"")
    assert len(Ade20k(folder, "val")) == 1
    for path in (folder / "images" / "validation").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"validation has no \*.jpg: unpack the images there"):
        Ade20k(folder, "val")
    (folder / "annotations").rename(folder / "labels")
    with pytest.raises(DataError, match="ADE20K is not there: annotations is missing"):
        Ade20k(folder)


@pytest.mark.parametrize(("subset", "count"), [("train", 6), ("val", 9)])
def test_real_images(shared_data: Path, subset: str, count: int) -> None:
    data = Ade20k(shared_data, subset)
    assert len(data) == count
    for index in range(count):
        image, mask = data.pair(index)
        stored = read_labels(data.mask_path(index))
        assert image.shape[1:] == mask.shape
        assert ((stored == 0) == (mask == 255)).all()
        assert (mask[stored > 0] + 1 == stored[stored > 0]).all()
