"""SUN RGB-D, from its toolbox and from exported labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.indoor import REMOTE, SEQUENCES, labels_of, make_sun_exported, make_sun_toolbox, save

from semisup.data.formats.pictures import read_rgb
from semisup.data.sets.indoor.classes import SUN_37
from semisup.data.sets.indoor.sunrgbd import SunRgbd
from semisup.errors import DataError


def test_the_toolbox_has_the_images_of_the_lists(sun_toolbox_root: Path) -> None:
    pytest.importorskip("h5py")
    data = SunRgbd(sun_toolbox_root)
    assert data.ids == (SEQUENCES[1], SEQUENCES[0])
    assert SunRgbd(sun_toolbox_root, "test").ids == SEQUENCES[2:]
    assert data.image_path(0) == data.root / "SUNRGBD" / SEQUENCES[1] / "image" / "1.jpg"
    assert data.facts() == {"layout": "toolbox"}
    # The label map is the one in the image's place in SUNRGBDMeta, not in that of the list.
    assert data.mask(0)[:, 0].tolist() == [255, 0, 0, 0, 0, 35]
    assert data.mask(1)[:, 0].tolist() == [255, 0, 0, 0, 0, 36]
    assert SUN_37[36] == "bag"


def test_the_axes_of_a_label_map_are_rows_and_columns(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    cells = [np.arange(48, dtype=np.uint16).reshape(6, 8) % 38 for _ in SEQUENCES]
    make_sun_toolbox(tmp_path, cells=cells)
    mask = SunRgbd(tmp_path).mask(0)
    assert mask[0].tolist() == [255, *range(7)]
    assert mask[:, 0].tolist() == [255, 7, 15, 23, 31, 1]


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64"])
def test_label_maps_of_whole_numbers_are_read_whatever_their_type(
    tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("h5py")
    make_sun_toolbox(tmp_path, cells=[labels_of(2, 37).astype(kind)] * 4)
    assert SunRgbd(tmp_path).mask(0)[:, 0].tolist() == [255, 1, 1, 1, 1, 36]


def test_paths_of_the_list_may_end_in_a_slash(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    lists = {
        "alltrain": [f"{REMOTE}/{SEQUENCES[0]}/"],
        "alltest": [f"{REMOTE}//{name}" for name in SEQUENCES[1:]],
    }
    make_sun_toolbox(tmp_path, split=lists)
    assert SunRgbd(tmp_path).ids == SEQUENCES[:1]


@pytest.mark.parametrize("first", [1, 5051])
def test_exported_labels_of_train_stand_behind_those_of_test(tmp_path: Path, first: int) -> None:
    folder = make_sun_exported(tmp_path, first=first)
    data, tested = SunRgbd(tmp_path), SunRgbd(tmp_path, "test")
    assert data.ids == ("img-005051", "img-005052", "img-005053")
    assert tested.ids == ("img-000001", "img-000002")
    assert data.facts() == {"layout": "exported"}
    for index in range(3):
        name = f"img-{first + index:06d}.jpg"
        assert torch.equal(data.image(index), read_rgb(folder / "SUNRGBD-train_images" / name))
        assert data.mask(index)[1].tolist() == [index] * 8
    assert tested.mask(1)[1].tolist() == [21] * 8


def test_numbers_of_images_that_cannot_be_are_refused(tmp_path: Path) -> None:
    folder = make_sun_exported(tmp_path)
    train, tested = (folder / f"SUNRGBD-{part}_images" for part in ("train", "test"))
    (train / "img-000003.jpg").rename(train / "img-005286.jpg")
    line = f"{train} has images numbered from 1 to 5286, and those of train are 5,285, numbered"
    with pytest.raises(DataError, match=re.escape(line)):
        SunRgbd(tmp_path)
    (tested / "img-000002.jpg").rename(tested / "img-005051.jpg")
    with pytest.raises(DataError, match="those of test are 5,050, numbered from 1"):
        SunRgbd(tmp_path, "test")
    (train / "img-005286.jpg").rename(train / "3.jpg")
    with pytest.raises(DataError, match=r"3\.jpg is not named as in img-000001\.jpg"):
        SunRgbd(tmp_path)


def test_an_exported_label_that_is_no_class_is_refused(sun_exported_root: Path) -> None:
    data = SunRgbd(sun_exported_root)
    save(data.mask_path(0), labels_of(1, 38))
    line = f"{data.mask_path(0)} holds label 38 in the mask of 'img-005051', and labels are 0"
    with pytest.raises(DataError, match=re.escape(line)):
        data.mask(0)
