"""What holds for every data set, over a table of tiny trees in the official layouts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from semisup.catalog import DATASETS, create_dataset
from semisup.contracts import datasets as contract
from semisup.contracts.base import Check
from semisup.data.base import SegmentationData
from semisup.data.loading.cache import CachedData
from semisup.errors import DataError


@dataclass(frozen=True)
class Tree:
    """A tiny tree.

    Attributes:
        name: of the data set.
        fixture: makes the tree and gives its root.
        options: of the data set.
    """

    name: str
    fixture: str
    options: dict[str, Any] = field(default_factory=dict)


TREES = {
    "ade20k": Tree("ade20k", "ade20k_root"),
    "camvid": Tree("camvid", "segnet_root"),
    "cityscapes": Tree("cityscapes", "cityscapes_root"),
    "cityscapes, objects": Tree("cityscapes", "instances_root", {"classes": "objects"}),
    "cityscapes, polygons": Tree("cityscapes", "polygons_root"),
    "cityscapes, without cars": Tree("cityscapes", "cityscapes_root", {"ignore_classes": ["car"]}),
    "coco": Tree("coco", "coco_root"),
    "coco, few classes": Tree("coco", "coco_root", {"classes": ["background", "cat"]}),
    "coco, stuff": Tree("coco", "stuff_root", {"classes": "stuff"}),
    "coco, without cars": Tree("coco", "coco_root", {"ignore_classes": ["car"]}),
    "folder": Tree("folder", "folder_root"),
    "isbi2012": Tree("isbi2012", "isbi_root", {"held_out": 4}),
    "nyudv2": Tree("nyudv2", "nyu_archive_root"),
    "nyudv2, 13 classes without the frame": Tree(
        "nyudv2", "nyu_archive_root", {"label_set": 13, "cut_frame": True}
    ),
    "nyudv2, folders": Tree("nyudv2", "nyu_folders_root"),
    "scenes": Tree("scenes", "tmp_path", {"train": 2, "val": 1, "test": 1, "size": (48, 64)}),
    "stack": Tree("stack", "stack_root", {"held_out": 4}),
    "sunrgbd": Tree("sunrgbd", "sun_toolbox_root"),
    "sunrgbd, exported": Tree("sunrgbd", "sun_exported_root"),
    "voc": Tree("voc", "voc_root"),
    "voc, few classes": Tree("voc", "voc_root", {"classes": ["background", "person"]}),
    "voc, without dogs": Tree("voc", "voc_root", {"ignore_classes": ["dog", "background"]}),
    "camvid, without sky": Tree("camvid", "segnet_root", {"ignore_classes": ["sky"]}),
}
Open = Callable[[str], SegmentationData]


@pytest.fixture(params=TREES)
def opened(request: pytest.FixtureRequest) -> Open:
    """Subset -> the data set of one tree."""
    tree = TREES[request.param]
    root = request.getfixturevalue(tree.fixture)
    return lambda subset: create_dataset(tree.name, root, subset, **tree.options)


@pytest.fixture
def data(opened: Open) -> SegmentationData:
    return opened("train")


def test_every_data_set_has_a_tree() -> None:
    assert {tree.name for tree in TREES.values()} == set(DATASETS)


@pytest.fixture
def subject(opened: Open, data: SegmentationData) -> contract.DatasetSubject:
    return contract.DatasetSubject(data.name, opened, data.train_subset, data.eval_subset)


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.title)
def test_the_contract(
    check: Check[contract.DatasetSubject], subject: contract.DatasetSubject
) -> None:
    check.run(subject)


def test_every_tree_is_small_enough_to_be_read_whole(data: SegmentationData) -> None:
    assert len(data) <= contract.CHECKED


def test_a_pair_of_two_sizes_is_refused_by_file_and_size(
    data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width = data.mask(0).shape
    narrow = data.mask(0)[:, 1:]
    monkeypatch.setattr(data, "mask", lambda index: narrow)
    expected = (
        f"{data.mask_path(0)}: the mask is {height}x{width - 1} but image '{data.ids[0]}' is "
        f"{height}x{width} (height x width); make them the same size"
    )
    with pytest.raises(DataError, match=re.escape(expected)):
        data.pair(0)


def test_an_image_is_read_without_its_mask(data: SegmentationData) -> None:
    if data.image_path(0) == data.mask_path(0):
        pytest.skip("one file has both: the contract asks whether the mask is opened")
    expected = data.image(0)
    data.mask_path(0).unlink()
    assert torch.equal(data.image(0), expected)


@pytest.mark.parametrize("part", ["image", "mask"])
def test_a_missing_file_is_named(data: SegmentationData, part: str) -> None:
    path: Path = getattr(data, f"{part}_path")(0)
    path.unlink()
    path = getattr(data, f"{part}_path")(0)  # of several places where it may be the first
    with pytest.raises(DataError, match=path.name):
        getattr(data, part)(0)


def test_a_cache_answers_as_the_data_set_does(data: SegmentationData) -> None:
    cached = CachedData(data, 1)
    for index, name in enumerate(data.ids):
        assert cached.index(name) == index
        for _ in range(2):
            assert torch.equal(cached.image(index), data.image(index))
            assert torch.equal(cached.mask(index), data.mask(index))
        assert all(map(torch.equal, cached.pair(index), data.pair(index)))
    assert (cached.classes, cached.palette, cached.facts()) == (
        data.classes,
        data.palette,
        data.facts(),
    )
