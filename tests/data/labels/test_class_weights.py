"""Weights of classes by their closed forms, on masks that are counted on paper."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.labels.class_weights import (
    SHIPPED,
    class_weights,
    count_pixels,
    enet,
    median_frequency,
)
from semisup.data.sets.camvid import CamVid
from semisup.data.sets.camvid_classes import CLASSES
from semisup.errors import RecipeError
from semisup.settings import TrainSettings
from semisup.types import IGNORE

VOID = IGNORE
MASKS = {
    "a": [[0, 0, 0, 1], [0, 0, 0, 1]],  # 6 and 2 of 8
    "b": [[0, 0, 2, VOID], [0, 0, 2, VOID]],  # 4 and 2 of 6 valid
    "c": [[0, 0, 0, 0], [0, 0, 0, 0]],  # 8 of 8
    "unlabelled": [[3, 3, 3, 3], [3, 3, 3, 3]],
}


class Counted(SegmentationData):
    """Four classes, of which no trained mask holds the last."""

    name = "counted"

    def __init__(self) -> None:
        self.root, self.subset, self.ids = Path("memory"), "train", tuple(MASKS)
        self.classes = ("sky", "tree", "car", "dog")
        self.palette = ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3))
        self.opened: list[str] = []

    def image_path(self, index: int) -> Path:
        return self.root / self.ids[index]

    mask_path = image_path

    def image(self, index: int) -> Tensor:
        raise AssertionError("no image is needed")

    def mask(self, index: int) -> Tensor:
        self.opened.append(self.ids[index])
        return torch.tensor(MASKS[self.ids[index]], dtype=torch.uint8)


TRAINED = ("a", "b", "c")


def test_pixels_of_each_class_and_around_it() -> None:
    data = Counted()
    assert count_pixels(data, TRAINED) == ([18, 2, 2, 0], [22, 8, 6, 0])
    assert data.opened == list(TRAINED)


def test_median_frequency_by_hand() -> None:
    """Shares are 18/22, 2/8 and 2/6, whose median is 1/3; the class without a pixel has 1."""
    weights = class_weights("median_frequency", Counted(), TRAINED)
    assert weights is not None
    assert weights.dtype == torch.float32
    expected = [22 / 18 / 3, 4 / 3, 1.0, 1.0]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_a_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    assert median_frequency([1, 3], [4, 4]) == pytest.approx([2.0, 2 / 3])


def test_enet_by_hand() -> None:
    weights = class_weights("enet", Counted(), TRAINED)
    shares = [18 / 22, 2 / 22, 2 / 22, 0]
    torch.testing.assert_close(
        weights, torch.tensor([1 / math.log(1.02 + share) for share in shares])
    )
    assert enet([5], [5]) == pytest.approx([1 / math.log(2.02)])
    assert enet([0, 1], [0, 1])[0] == pytest.approx(50.498, abs=1e-3)


def test_a_list_is_taken_as_it_is_and_opens_no_mask() -> None:
    data = Counted()
    torch.testing.assert_close(
        class_weights((0.5, 1.0, 2.0, 0.0), data, TRAINED), torch.tensor([0.5, 1.0, 2.0, 0.0])
    )
    assert class_weights("none", data, TRAINED) is None
    assert data.opened == []


def test_masks_without_a_valid_pixel_give_finite_weights() -> None:
    assert median_frequency([0, 0], [0, 0]) == [1.0, 1.0]
    assert all(math.isfinite(weight) for weight in enet([0, 0], [0, 0]))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_list_of_another_length_names_the_classes(count: int) -> None:
    with pytest.raises(RecipeError, match=r"\d numbers.*4 classes: sky, tree, car, dog") as error:
        class_weights((1.0,) * count, Counted(), TRAINED)
    assert "\n" not in str(error.value)


def test_weights_of_which_none_is_above_0_are_refused() -> None:
    with pytest.raises(RecipeError, match="all 0, so that nothing would be learnt"):
        class_weights((0.0, 0.0, 0.0, 0.0), Counted(), TRAINED)


class CamVidLike(Counted):
    """CamVid's classes in the order of their names."""

    def __init__(self, *more: str) -> None:
        super().__init__()
        self.classes = (*sorted(SHIPPED["segnet_camvid"]), *more)
        self.palette = tuple((n, n, n) for n in range(len(self.classes)))


def test_the_constants_of_a_release_go_by_the_names_of_the_classes() -> None:
    data = CamVidLike()
    weights = class_weights("segnet_camvid", data, TRAINED)
    assert weights is not None
    found = dict(zip(data.classes, weights.tolist(), strict=True))
    assert found == pytest.approx(SHIPPED["segnet_camvid"])
    assert (found["sky"], found["sign"]) == pytest.approx((0.2595, 9.6446))
    assert data.opened == []
    assert set(SHIPPED["segnet_camvid"]) == set(CLASSES)


@pytest.mark.parametrize("data", [Counted(), CamVidLike("void"), CamVidLike("a", "b")])
def test_the_constants_of_a_release_are_refused_for_other_classes(data: Counted) -> None:
    with pytest.raises(
        RecipeError, match=r'"segnet_camvid" is for the 11 classes sky.*Take'
    ) as one:
        class_weights("segnet_camvid", data, TRAINED)
    assert "\n" not in str(one.value)


def test_the_constants_of_a_release_are_refused_where_a_class_is_left_out() -> None:
    data = CamVidLike()
    data.classes = data.classes[:-1]
    with pytest.raises(RecipeError, match="is for the 11 classes"):
        class_weights("segnet_camvid", data, TRAINED)


def test_every_shipped_choice_is_one_of_a_recipe() -> None:
    for rule in SHIPPED:
        assert TrainSettings(steps=1, class_weights=rule).class_weights == rule


@pytest.mark.slow
def test_segnets_constants_beside_the_rule_on_the_released_masks(shared_data: Path) -> None:
    """What docs/recipes.md says of them: all but the sign's are within a fifth of the rule."""
    data = CamVid(shared_data / "camvid_jpg", "train")
    counted = class_weights("median_frequency", data, data.ids)
    shipped = class_weights("segnet_camvid", data, data.ids)
    assert counted is not None
    assert shipped is not None
    ratio = dict(zip(data.classes, (counted / shipped).tolist(), strict=True))
    assert ratio.pop("sign") == pytest.approx(0.40, abs=0.005)
    assert all(1.02 < value < 1.21 for value in ratio.values())
    assert float(counted.median()) == pytest.approx(1.0)
