"""What a run asks of its masks before it trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.before_training import (
    MOST_OPENED,
    check_held_out,
    check_labelled,
    check_palettes,
    check_reported,
    doubts_of_some,
)
from semisup.data.labels.splits import make_split
from semisup.data.sets.folder import Folder
from semisup.errors import DataError

SMOOTH = [0, 0, 0, 1, 2, 2, 2] * 12
"""A row that passes from 0 to 2 over a thin seam of 1, each time."""


class Memory(SegmentationData):
    """Masks that hold the given labels, one a pixel; counts which are opened."""

    name = "memory"

    def __init__(self, *held: Sequence[int], classes: tuple[str, ...] = ("ground", "sky")) -> None:
        self.root, self.subset, self.classes = Path("nowhere"), "train", classes
        self.ids = tuple(f"i{number}" for number in range(len(held)))
        self.palette = ((0, 0, 0),) * len(classes)
        self._held, self.opened = held, list[int]()

    def image_path(self, index: int) -> Path:
        return self.root / f"{self.ids[index]}.png"

    def mask_path(self, index: int) -> Path:
        return self.root / "masks" / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        return torch.zeros(3, 1, len(self._held[index]), dtype=torch.uint8)

    def mask(self, index: int) -> Tensor:
        self.opened.append(index)
        return torch.from_numpy(np.array([self._held[index]], np.uint8))


def labelled(data: Memory) -> list[str]:
    return check_labelled(data, make_split(data, "all", 0))


def test_sound_masks_are_opened_once_and_nothing_is_said() -> None:
    data = Memory([0, 1], [0, 255, 1], [0])
    assert labelled(data) == []
    assert sorted(data.opened) == [0, 1, 2]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (Memory([0, 255], [0]), "memory: the 2 masks that are trained on hold only 0"),
        (Memory([255], [255]), "memory: every labelled pixel in the 2 masks that are"),
        (Memory([0], classes=("pet",)), "memory: 'pet' is the only class"),
    ],
    ids=["binary", "void", "one class"],
)
def test_what_nothing_can_be_learnt_from_is_refused(data: Memory, says: str) -> None:
    with pytest.raises(DataError, match=says):
        labelled(data)


def test_a_class_without_a_pixel_is_a_doubt() -> None:
    assert labelled(Memory([0], [0])) == [
        "'sky' has no labelled pixel in the 2 masks that are trained on: all is 'ground', and "
        "there is nothing to tell apart"
    ]


def test_held_out_images_without_a_valid_pixel_are_refused_by_name() -> None:
    data = Memory([255], [255], [0, 1], [255, 0])
    split = make_split(data, "all", 0)
    with pytest.raises(
        DataError,
        match=r"the 2 held-out images of memory train \('i0' and 'i1'\) have no valid pixel.*"
        r"data\.split_seed or eval\.hold_out",
    ):
        check_held_out(data, split, ("i0", "i1"))
    assert check_held_out(data, split, ("i2", "i3")) == []
    assert check_held_out(data, split, ()) == []
    assert check_held_out(data, split, ("i0", "i2")) == [
        "1 of the 2 held-out images of memory train ('i0') has no valid pixel, which adds nothing "
        "to the choice"
    ]


@pytest.mark.parametrize("held", [[[255]], [[255, 255]] * (MOST_OPENED + 5)])
def test_a_reported_set_of_void_is_refused_however_large_it_is(held: list[list[int]]) -> None:
    with pytest.raises(DataError, match="memory: every labelled pixel in the"):
        check_reported(Memory(*held))


def test_a_reported_set_of_0_and_255_is_refused() -> None:
    with pytest.raises(DataError, match="hold only 0 and 255"):
        check_reported(Memory([0], [0, 255]))


def test_reported_masks_are_opened_until_all_classes_have_been_seen() -> None:
    data = Memory([0], [255], [1], *[[0]] * 500)
    assert check_reported(data) == []
    assert data.opened == [0, 1, 2]


def test_no_class_of_a_large_reported_set_is_called_absent_that_was_not_looked_for() -> None:
    data = Memory(*[[0]] * MOST_OPENED, [1])
    assert check_reported(data) == []
    assert len(data.opened) == MOST_OPENED
    data = Memory(*[[0]] * MOST_OPENED)
    assert check_reported(data) == [
        f"'sky' has no labelled pixel in the {MOST_OPENED} masks of train: all is 'ground', and "
        "there is nothing to tell apart"
    ]


def test_masks_that_are_shown_are_asked_too_and_none_is_refused() -> None:
    data = Memory([0, 255], [0], [0, 1])
    (text,) = doubts_of_some(data, ["i0", "i1"])
    assert text.startswith("the 2 masks that are shown hold only 0 and 255")
    assert doubts_of_some(data, ["i1"]) == []
    assert doubts_of_some(data, []) == []


def test_palettes_of_trained_and_reported_masks_are_compared(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    (tmp_path / "classes.txt").write_text("ground\nsky\n")
    labels = np.eye(4, dtype=np.uint8)
    for name, palette in {
        "t0": [0, 0, 0, 9, 9, 200],
        "t1": [0, 0, 0, 200, 9, 9],
        "v0": [0, 0, 0, 9, 9, 200],
        "v1": [200, 9, 9, 0, 0, 0],
    }.items():
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        mask = Image.fromarray(labels)
        mask.putpalette(palette)
        mask.save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "val.txt").write_text("v0\n")
    (tmp_path / "test.txt").write_text("v1\n")
    data, val, test = (Folder(tmp_path, name) for name in ("all", "val", "test"))
    assert check_palettes(data, ["t0"], val) == []
    (text,) = check_palettes(data, ["t0", "t1"], val)
    assert f"t0.png and {tmp_path}/masks/t1.png give label 1 two colours" in text
    (text,) = check_palettes(data, ["t0"], test)
    assert f"t0.png and {tmp_path}/masks/v1.png give label 0 two colours" in text


def test_smooth_seams_are_told_from_what_is_opened_anyway() -> None:
    data = Memory(*[SMOOTH] * 4, classes=("ground", "tree", "sky"))
    assert "all of the 4 masks" in check_labelled(data, make_split(data, "all", 0))[0]
    (told,) = doubts_of_some(data, data.ids[:3])
    assert "all of the 3 masks that are shown" in told
    assert not check_reported(data)  # one mask holds all classes: no further one is opened
    others = Memory(*[SMOOTH] * 4, classes=("ground", "tree", "sky", "sea"))
    assert any("all of the 4 masks of train" in text for text in check_reported(others))
