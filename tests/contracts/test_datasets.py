"""Whether the contract of data sets finds what is broken, and says so in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.training import Patches
from torch import Tensor

from semisup.contracts.base import run_checks
from semisup.contracts.datasets import CHECKS, DatasetSubject
from semisup.data.base import SegmentationData
from semisup.errors import DataError


class Sound(Patches):
    """Made in memory, and as strict as files."""

    name = "sound"

    def __init__(self, subset: str) -> None:
        if subset not in ("train", "val"):
            raise DataError(f"no subset '{subset}'")
        super().__init__([(6, 8)] * 3, subset=subset)

    def image(self, index: int) -> Tensor:
        if "missing" in str(self.image_path(index)):
            raise DataError(f"{self.image_path(index)} is missing")
        return super().image(index)

    def mask(self, index: int) -> Tensor:
        if "missing" in str(self.mask_path(index)):
            raise DataError(f"{self.mask_path(index)} is missing")
        return super().mask(index)


def failed(cls: Callable[[str], SegmentationData], name: str = "sound") -> dict[str, str]:
    found = run_checks(CHECKS, DatasetSubject(name, cls, "train", "val"))
    return {finding.title: finding.problem for finding in found if finding.problem}


def test_the_data_set_that_the_broken_ones_are_made_of_is_sound() -> None:
    assert failed(Sound) == {}


class Repeated(Sound):
    def __init__(self, subset: str) -> None:
        super().__init__(subset)
        self.ids = ("a", "a", "b")


class SameImages(Sound):
    def __init__(self, subset: str) -> None:
        super().__init__(subset)
        self.ids = ("a", "b", "c")


class FewColours(Sound):
    def __init__(self, subset: str) -> None:
        super().__init__(subset)
        self.palette = self.palette[:-1]


class FloatImages(Sound):
    def image(self, index: int) -> Tensor:
        return super().image(index) / 255


class UnknownLabels(Sound):
    def mask(self, index: int) -> Tensor:
        return torch.full((6, 8), 7, dtype=torch.uint8)


class OpensTheMask(Sound):
    def image(self, index: int) -> Tensor:
        return super().image(index) + 0 * self.mask(index)


class Careless(Sound):
    def mask(self, index: int) -> Tensor:
        if "missing" in str(self.mask_path(index)):
            Path("nowhere/at/all").read_bytes()
        return super().mask(index)


class AnySubset(Sound):
    def __init__(self, subset: str) -> None:
        super().__init__(subset if subset == "val" else "train")


class HoldsAFunction(Sound):
    def __init__(self, subset: str) -> None:
        super().__init__(subset)
        self.read = lambda path: path


@pytest.mark.parametrize(
    ("cls", "title", "words"),
    [
        (Repeated, "ids are unique and have an index", "an id stands twice"),
        (SameImages, "training and reported images are apart", "'a' is in 'train' and 'val'"),
        (FewColours, "each class has a name and a colour", "3 classes and 2 colours"),
        (
            FloatImages,
            "images and masks fit",
            "torch.float32 of shape (3, 6, 8), not torch.uint8 3HW",
        ),
        (UnknownLabels, "images and masks fit", "holds label 7, but classes are 0..2"),
        (OpensTheMask, "an image is read without its mask", "`image` opens the mask"),
        (Careless, "a missing file is named", "a missing mask raises FileNotFoundError"),
        (AnySubset, "an unknown subset is refused", "is accepted. Use choose_subset"),
        (HoldsAFunction, "worker processes get an equal copy", "cannot be pickled"),
    ],
)
def test_a_broken_data_set_is_told_what_is_broken(cls: type[Sound], title: str, words: str) -> None:
    assert words in failed(cls)[title]


def test_its_name_is_that_of_the_catalogue() -> None:
    problem = failed(Sound, "mine")["it has the name of the catalogue"]
    assert problem.startswith("its `name` is 'sound', and the catalogue calls it 'mine'.")
