"""Boxes: a loop that draws them one by one, the authors' distributions, and what is pasted."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from semisup.ops.cutmix import CPS, FRENCH, UNIMATCH, BoxRule, partners, paste, sampled

RULES = {"french": FRENCH, "cps": CPS, "unimatch": UNIMATCH}
SIZE = (24, 40)


def numbers_for(rule: BoxRule, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, rule.numbers, generator=generator)


def by_hand(rule: BoxRule, numbers: list[float]) -> list[list[bool]]:
    """The boxes of one image, pixel by pixel."""
    inside = [[False] * SIZE[1] for _ in range(SIZE[0])]
    if numbers[0] >= rule.chance:
        return inside
    for extent, shape, top, left in zip(*(iter(numbers[1:]),) * 4, strict=True):
        area = rule.area[0] + (rule.area[1] - rule.area[0]) * extent
        if rule.ratio is None:
            height = area**shape
        else:
            low, high = max(area, rule.ratio[0]), min(1 / area, rule.ratio[1])
            height = math.sqrt(area * (low + (high - low) * shape))
        width = area / height
        rows, columns = (
            round(side * length / math.sqrt(rule.boxes))
            for side, length in zip((height, width), SIZE, strict=True)
        )
        first_row = int(top * (SIZE[0] - rows + 1))
        first_column = int(left * (SIZE[1] - columns + 1))
        for row in range(first_row, first_row + rows):
            for column in range(first_column, first_column + columns):
                inside[row][column] ^= True
    return inside


@pytest.mark.parametrize("name", RULES)
def test_boxes_equal_those_of_a_loop(name: str) -> None:
    rule = RULES[name]
    numbers = numbers_for(rule, 20).double()
    drawn = rule.draw(numbers, SIZE)
    assert drawn.shape == (20, *SIZE)
    for one, expected in zip(drawn, numbers.tolist(), strict=True):
        assert one.tolist() == by_hand(rule, expected)


@pytest.mark.parametrize(
    ("name", "mean", "deviation", "rows"),
    [("french", 0.4999, 0.0049, 0.7218), ("cps", 0.2492, 0.0689, 0.6759)],
)
def test_boxes_are_spread_as_the_authors(
    name: str, mean: float, deviation: float, rows: float
) -> None:
    """10,000 draws of mask_gen.py at 64 x 64: area, and the share of rows that a box touches.

    Here 2,000, whose mean area deviates by 0.0016 where the spread is 0.07.
    """
    drawn = RULES[name].draw(numbers_for(RULES[name], 2000), (64, 64))
    area = drawn.float().mean((1, 2))
    assert area.mean().item() == pytest.approx(mean, abs=0.01)
    assert area.std().item() == pytest.approx(deviation, abs=0.005)
    assert drawn.any(2).float().mean().item() == pytest.approx(rows, abs=0.01)


def test_unimatchs_boxes_are_spread_nearly_as_the_authors() -> None:
    """10,000 draws of obtain_cutmix_box at 64 x 64: half have a box, of 0.2 on average.

    Theirs try again until a box fits, which prefers those near the sides' own ratio.
    """
    drawn = UNIMATCH.draw(numbers_for(UNIMATCH, 3000), (64, 64))
    area = drawn.float().mean((1, 2))
    assert (area > 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert area[area > 0].mean().item() == pytest.approx(0.2008, abs=0.02)
    height, width = drawn.any(2).sum(1)[area > 0], drawn.any(1).sum(1)[area > 0]
    ratio = (height / width).log()
    assert ratio.mean().item() == pytest.approx(0.356, abs=0.1)
    assert ratio.std().item() == pytest.approx(0.581, abs=0.1)


def test_a_chance_of_none_and_of_all() -> None:
    numbers = numbers_for(UNIMATCH, 50)
    assert not replace(UNIMATCH, chance=0.0).draw(numbers, SIZE).any()
    assert replace(UNIMATCH, chance=1.0).draw(numbers, SIZE).flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (2, [1, 0]), (3, [2, 0, 1]), (4, [1, 0, 3, 2])]
)
def test_everybody_has_a_partner(count: int, expected: list[int]) -> None:
    images = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    images = images.contiguous(memory_format=torch.channels_last)
    swapped = partners(images)
    assert swapped[:, 0, 0, 0].int().tolist() == expected
    assert swapped.is_contiguous(memory_format=torch.channels_last)
    assert partners(images[:, 0]).shape == (count, 4, 4)


@pytest.mark.parametrize("size", [(24, 40), (6, 10), (3, 5), (5, 7), (1, 1)])
def test_masks_are_sampled_at_the_middle_of_each_cell(size: tuple[int, int]) -> None:
    masks = UNIMATCH.draw(numbers_for(UNIMATCH, 8), SIZE)
    found = sampled(masks, size)
    assert found.dtype == torch.bool
    assert found.shape == (8, *size)
    for row in range(size[0]):
        for column in range(size[1]):
            down = int((row + 0.5) * SIZE[0] / size[0])
            across = int((column + 0.5) * SIZE[1] / size[1])
            assert torch.equal(found[:, row, column], masks[:, down, across])


def test_what_is_pasted_lies_in_the_boxes() -> None:
    boxes = UNIMATCH.draw(numbers_for(UNIMATCH, 4), SIZE)
    inside, outside = torch.randn(4, 3, *SIZE), torch.randn(4, 3, *SIZE)
    mixed = paste(inside, outside, boxes)
    for channel in range(3):
        assert torch.equal(mixed[:, channel][boxes], inside[:, channel][boxes])
        assert torch.equal(mixed[:, channel][~boxes], outside[:, channel][~boxes])
    assert torch.equal(paste(inside[:, 0], outside[:, 0], boxes), mixed[:, 0])
    last = {"memory_format": torch.channels_last}
    assert paste(inside.contiguous(**last), outside.contiguous(**last), boxes).is_contiguous(**last)
