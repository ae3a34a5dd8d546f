"""Boxes that a dense CRF refines: what is fixed, what follows the colours, and what is unsure."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from semisup.ops.boxes import Rectangle, segment_boxes
from semisup.ops.crf_settings import CrfSettings
from semisup.types import IGNORE

ALONE = CrfSettings(smoothness_weight=0.0, appearance_weight=0.0)
"""A CRF that hears no neighbour: what is left is what the boxes fix."""

BOX = (4, 6, 24, 26, 3)


def disc(size: int = 32, radius: float = 9.0) -> tuple[Tensor, Tensor]:
    """An orange disc that touches the sides of `BOX` on blue, and where it is."""
    place = torch.arange(size) + 0.5
    inside = (place[:, None] - 16).square() + (place - 14).square() <= radius**2
    colours = torch.tensor([[20, 40, 200], [230, 120, 30]], dtype=torch.uint8)
    return colours[inside.long()].permute(2, 0, 1), inside


def refined(image: Tensor, *boxes: Rectangle, settings: CrfSettings, **options: float) -> Tensor:
    return segment_boxes(image, boxes, settings=settings, **{"middle": 0.2, "sure": 0.5} | options)


def test_a_box_becomes_the_object_that_differs_in_colour_from_what_is_around_it() -> None:
    image, inside = disc()
    found = refined(image, BOX, settings=CrfSettings())
    assert found.dtype == torch.uint8
    assert torch.equal(found, 3 * inside.to(torch.uint8))


def test_the_middle_is_of_its_class_and_what_is_outside_is_background_whatever_they_look_like() -> (
    None
):
    image = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    for settings in (ALONE, CrfSettings(), CrfSettings(appearance_weight=300.0)):
        for middle in (0.0, 0.16, 1.0):
            found = refined(image, BOX, settings=settings, middle=middle)
            half = {0.0: 0.5, 0.16: 4, 1.0: 10}[middle]
            low = torch.tensor([14 - half, 16 - half]).floor().int().tolist()
            length = max(1, int(2 * half))
            rows, columns = (slice(start, start + length) for start in (low[1], low[0]))
            assert (found[rows, columns] == 3).all(), (settings, middle)
            outside = torch.ones(32, 32, dtype=torch.bool)
            outside[6:26, 4:24] = False
            assert (found[outside] == 0).all(), (settings, middle)


def test_between_them_nothing_is_known_without_a_neighbour() -> None:
    image, _ = disc()
    found = refined(image, BOX, settings=ALONE, middle=0.16, sure=0.51)
    band = torch.zeros(32, 32, dtype=torch.bool)
    band[6:26, 4:24] = True
    band[12:20, 10:18] = False
    assert torch.equal(found == IGNORE, band)


def test_more_is_left_without_a_label_the_surer_it_must_be_and_the_rest_is_the_same() -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    settings = CrfSettings(appearance_weight=1.0, smoothness_weight=1.0)
    made = [refined(image, BOX, settings=settings, sure=sure) for sure in (0.0, 0.7, 0.9, 1.0)]
    shares = [float((labels == IGNORE).float().mean()) for labels in made]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[1] < shares[2]
    for labels in made[1:]:
        kept = labels != IGNORE
        assert torch.equal(labels[kept], made[0][kept])


def test_where_boxes_lie_over_one_another_the_smaller_middle_is_on_top_in_any_order() -> None:
    image = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    large, small = (2, 2, 30, 30, 1), (12, 12, 20, 20, 2)
    one = refined(image, large, small, settings=ALONE, middle=1.0)
    other = refined(image, small, large, settings=ALONE, middle=1.0)
    assert torch.equal(one, other)
    expected = torch.zeros(32, 32, dtype=torch.uint8)
    expected[2:30, 2:30] = 1
    expected[12:20, 12:20] = 2
    assert torch.equal(one, expected)


def test_a_class_is_in_its_own_boxes_alone() -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 24, 32), dtype=torch.uint8)
    left, right = (1, 2, 14, 20, 5), (16, 3, 30, 22, 9)
    found = refined(image, left, right, settings=CrfSettings(appearance_weight=5.0), sure=0.0)
    assert set(found[:, :15].unique().tolist()) <= {0, 5}
    assert set(found[:, 15:].unique().tolist()) <= {0, 9}


@pytest.mark.parametrize("box", [(0, 0, 1, 1, 2), (0, 0, 32, 32, 2), (31, 3, 32, 30, 2)])
def test_a_box_of_any_size_keeps_its_class(box: Rectangle) -> None:
    image, _ = disc()
    assert (refined(image, box, settings=CrfSettings(), middle=0.0) == 2).any()


def test_an_image_without_a_box_is_background() -> None:
    image, _ = disc()
    assert (refined(image, settings=CrfSettings()) == 0).all()
