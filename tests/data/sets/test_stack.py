from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semisup.contracts.datasets import DatasetSubject, images_and_masks_fit
from semisup.data.image_formats import fitted
from semisup.data.labels.splits import make_split
from semisup.data.sets.folder import Folder
from semisup.data.sets.stack import Stack
from semisup.errors import DataError, RecipeError
from semisup.ops.pixels import GREY, RGB
from semisup.types import IGNORE


def shade(path: Path, value: int, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    """Twelve slices whose shade is their number, and masks of 0 and 255."""
    for number in range(12):
        shade(tmp_path / "image" / f"{number}.png", number)
        shade(tmp_path / "label" / f"{number}.png", 255 * (number % 2))
    return tmp_path


OPTIONS = {
    "image_folder": "image",
    "mask_folder": "label",
    "classes": ["membrane", "cell"],
    "values": {0: "membrane", 255: "cell"},
    "held_out": 4,
}


def stack(root: Path, subset: str = "train", **options: object) -> Stack:
    return Stack(root, subset, **(OPTIONS | options))  # type: ignore[arg-type]


def test_slices_are_in_the_order_of_their_numbers(grey: Path) -> None:
    assert stack(grey, "all").ids == tuple(map(str, range(12)))


def test_the_last_slices_are_held_out(grey: Path) -> None:
    assert stack(grey).ids == tuple(map(str, range(8)))
    assert stack(grey, "val").ids == tuple(map(str, range(8, 12)))
    assert stack(grey, held_out=0).ids == stack(grey, "all").ids


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, ["4"]), (2, ["2", "6"]), (3, ["1", "4", "6"]), (8, None), (0, None)]
)
def test_annotated_slices_are_spread_evenly(
    grey: Path, count: int, chosen: list[str] | None
) -> None:
    data = stack(grey, annotated=count)
    expected = list(data.ids) if chosen is None else chosen
    assert list(data.masked_ids) == expected
    assert list(make_split(data, "masked", 0).labelled) == sorted(expected)
    assert len(stack(grey, "val", annotated=count).masked_ids) == 4


def test_a_slice_without_a_mask_is_not_annotated(stack_root: Path) -> None:
    (stack_root / "masks" / "slice3.png").unlink()
    data = Stack(stack_root, held_out=4)
    assert "slice3" not in data.masked_ids
    assert len(data.masked_ids) == 7
    images_and_masks_fit(DatasetSubject("stack", lambda _: data, "train", "val"))
    with pytest.raises(DataError, match=r"slice3.png is missing: slice 'slice3' is not annotated"):
        data.mask(3)


def test_values_are_classes(grey: Path) -> None:
    data = stack(grey)
    assert [int(data.mask(index).unique()) for index in (0, 1)] == [0, 1]
    assert data.classes == ("membrane", "cell")
    only = stack(grey, values={255: "cell"}, void=0)
    assert int(only.mask(0).unique()) == IGNORE


@pytest.mark.parametrize(
    ("subset", "first", "last", "shades"),
    [
        ("train", 2, 5, [2, 3, 4]),
        ("train", -2, 2, [2, 1, 0, 1]),
        ("train", 7, 10, [7, 8, 9]),  # the images of held-out slices, for whom they lie around
        ("val", -1, 2, [7, 8, 9]),
        ("val", 2, 6, [10, 11, 10, 9]),
    ],
)
def test_slices_around(grey: Path, subset: str, first: int, last: int, shades: list[int]) -> None:
    volume = stack(grey, subset).context(first, last)
    assert volume.shape == (1, last - first, 6, 8)
    assert volume[0, :, 0, 0].tolist() == shades


def test_slices_around_open_no_mask(grey: Path) -> None:
    shutil.rmtree(grey / "label")
    (grey / "label").mkdir()
    assert stack(grey, "val").context(0, 4).shape[1] == 4


def test_a_slice_of_another_size_is_named(grey: Path) -> None:
    shade(grey / "image" / "5.png", 5, (6, 9))
    with pytest.raises(DataError, match=r"5\.png: is 6x9, and 4\.png is 6x8"):
        stack(grey).context(4, 7)


def test_facts_say_what_was_held_out(grey: Path) -> None:
    assert stack(grey, annotated=3, depth=8).facts() == {
        "held_out_slices": 4,
        "block_depth": 8,
        "annotated_slices": 3,
        "values": {"0": "membrane", "255": "cell"},
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"held_out": 12}, "has 12 slices, and held_out = 12 leaves none"),
        ({"annotated": 9}, "annotated = 9, but 8 of the 8 slices"),
        ({"classes": []}, "classes.txt is missing"),
        ({"image_folder": "images"}, "images is missing"),
    ],
)
def test_what_cannot_be_opened(grey: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        stack(grey, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"held_out": -1}, "held_out = -1"),
        ({"annotated": -3}, "annotated = -3"),
        ({"depth": 0}, "depth = 0"),
        ({"depth": 10**9}, "depth = 1000000000"),
        ({"rotation": 200.0}, "rotation = 200"),
        ({"deformation": -1.0}, "deformation = -1"),
        ({"values": {0: "membran"}}, "Did you mean 'membrane'"),
    ],
)
def test_impossible_options(grey: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        stack(grey, **options)


def test_no_subset_val_without_held_out_slices(grey: Path) -> None:
    with pytest.raises(DataError, match="held_out = 0 leaves no subset 'val'"):
        stack(grey, "val", held_out=0)


def test_two_slices_of_one_name(grey: Path) -> None:
    shade(grey / "image" / "3.tif", 3)
    with pytest.raises(DataError, match="the same id"):
        stack(grey)


@pytest.mark.parametrize("missing", [[3], [1, 2, 9], [5, 8]])
def test_a_gap_in_the_numbers_is_warned_of(grey: Path, missing: list[int]) -> None:
    for number in missing:
        (grey / "image" / f"{number}.png").unlink()
    with pytest.warns(UserWarning, match="slices may be missing between"):
        stack(grey)


@pytest.mark.parametrize(
    "names",
    [
        ["0", "10", "20", "30", "40"],
        ["a", "b", "c", "d", "e"],
        ["x1y1", "x1y5", "x2y1", "x2y5", "x3y1"],
        ["day1", "day2", "night", "slice", "z9"],
        ["007", "008", "009", "010", "011"],
    ],
)
def test_other_ways_to_number_slices_are_no_gap(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        shade(tmp_path / "image" / f"{name}.png", 1)
        shade(tmp_path / "label" / f"{name}.png", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stack(tmp_path, "all").ids == tuple(names)


def test_digits_that_are_no_numbers_are_letters(tmp_path: Path) -> None:
    for name in ("²1", "²10", "²2", "③4", "a٣"):
        shade(tmp_path / "image" / f"{name}.png", 1)
        shade(tmp_path / "label" / f"{name}.png", 0)
    assert stack(tmp_path, "all").ids == ("a٣", "²1", "²2", "²10", "③4")


def test_masks_of_another_name_are_warned_of_or_read(grey: Path) -> None:
    for number in (2, 3):
        mask = grey / "label" / f"{number}.png"
        mask.rename(mask.with_stem(f"{number}_seg"))
    with pytest.warns(UserWarning, match='2 images are unlabelled.*set mask_suffix = "_seg"'):
        assert not stack(grey).has_mask(2)
    with pytest.warns(UserWarning, match="10 images are unlabelled"):
        assert stack(grey, mask_suffix="_seg").has_mask(2)


def test_slices_are_not_their_own_masks(grey: Path) -> None:
    with pytest.raises(DataError, match="holds the slices; give their masks their own folder"):
        stack(grey, mask_folder="image")


def test_images_of_a_folder_are_no_slices(folder_root: Path) -> None:
    data = Folder(folder_root, "all")
    assert data.block is None
    with pytest.raises(DataError, match="no slices of a volume"):
        data.context(0, 1)


def test_wrapped_data_have_the_slices_of_the_data_in_them(grey: Path) -> None:
    data = stack(grey)
    coloured = fitted(data, RGB)
    assert coloured.block == data.block
    assert torch.equal(coloured.context(0, 2), data.context(0, 2).expand(3, -1, -1, -1))


def test_the_real_em_stack(shared_data: Path) -> None:
    root = shared_data / "isbi2012" / "train"
    data = stack(root, held_out=6, annotated=3)
    assert data.ids == tuple(map(str, range(24)))
    assert data.masked_ids == ("4", "12", "20")
    assert data.image_kind == GREY
    assert data.context(22, 26).shape == (1, 4, 512, 512)
    shares = [float((data.mask(index) == 0).float().mean()) for index in (4, 12, 20)]
    assert all(0.15 < share < 0.3 for share in shares)  # membranes
