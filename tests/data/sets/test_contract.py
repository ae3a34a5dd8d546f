"""What holds for every data set, over a table of tiny trees in the official layouts."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from semisup.catalog import DATASETS, create_dataset
from semisup.data.base import SegmentationData
from semisup.data.loading.cache import CachedData
from semisup.errors import DataError
from semisup.types import IGNORE


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
    "camvid": Tree("camvid", "segnet_root"),
    "folder": Tree("folder", "folder_root"),
    "scenes": Tree("scenes", "tmp_path", {"train": 2, "val": 1, "test": 1, "size": (48, 64)}),
    "voc": Tree("voc", "voc_root"),
    "voc, few classes": Tree("voc", "voc_root", {"classes": ["background", "person"]}),
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


def test_ids_are_unique_and_have_an_index(data: SegmentationData) -> None:
    assert len(data) == len(data.ids) == len(set(data.ids)) > 0
    assert [data.index(name) for name in data.ids] == list(range(len(data)))
    with pytest.raises(KeyError, match="nobody"):
        data.index("nobody")


def test_its_own_subsets_share_no_image(opened: Open) -> None:
    cls = type(opened("train"))
    assert not {*opened(cls.train_subset).ids} & {*opened(cls.eval_subset).ids}


def test_each_class_has_a_name_and_a_colour(data: SegmentationData) -> None:
    assert len(data.classes) == len(data.palette) == data.num_classes > 0
    assert len(set(data.classes)) == data.num_classes
    assert all(
        len(colour) == 3 and 0 <= min(colour) <= max(colour) <= 255 for colour in data.palette
    )


def test_images_are_bytes_and_masks_labels_of_the_same_size(data: SegmentationData) -> None:
    for index in range(len(data)):
        image, mask = data.image(index), data.mask(index)
        assert image.dtype == mask.dtype == torch.uint8
        assert image.shape == (3, *mask.shape)
        assert all(label < data.num_classes or label == IGNORE for label in mask.unique().tolist())


def test_a_pair_is_an_image_and_its_mask(data: SegmentationData) -> None:
    for index in range(len(data)):
        image, mask = data.pair(index)
        assert torch.equal(image, data.image(index))
        assert torch.equal(mask, data.mask(index))


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
    expected = data.image(0)
    data.mask_path(0).unlink()
    assert torch.equal(data.image(0), expected)


@pytest.mark.parametrize("part", ["image", "mask"])
def test_a_missing_file_is_named(data: SegmentationData, part: str) -> None:
    path: Path = getattr(data, f"{part}_path")(0)
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        getattr(data, part)(0)


def test_an_unknown_subset_is_refused_by_name(opened: Open) -> None:
    with pytest.raises(DataError, match="nothing_of_the_kind"):
        opened("nothing_of_the_kind")


def test_workers_get_an_equal_copy(data: SegmentationData) -> None:
    data.index(data.ids[0])
    copy = pickle.loads(pickle.dumps(data))
    assert copy.ids == data.ids
    assert torch.equal(copy.image(0), data.image(0))
    assert torch.equal(copy.mask(0), data.mask(0))


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
