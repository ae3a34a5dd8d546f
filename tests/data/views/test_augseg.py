"""AugSeg's colours: each operation against Pillow's, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from semisup.data.views.augseg import MOST, NAMES, NONE, RANGES, apply_augseg, draw_augseg
from semisup.data.views.colours import COLOUR_SETS

Change = Callable[[Image.Image], Image.Image]
BY_PILLOW: dict[str, tuple[float, Change]] = {
    "identity": (0.0, lambda picture: picture),
    "autocontrast": (0.0, ImageOps.autocontrast),
    "equalize": (0.0, ImageOps.equalize),
    "contrast": (0.3, lambda picture: ImageEnhance.Contrast(picture).enhance(0.3)),
    "brightness": (0.6, lambda picture: ImageEnhance.Brightness(picture).enhance(0.6)),
    "saturation": (0.2, lambda picture: ImageEnhance.Color(picture).enhance(0.2)),
    "sharpness": (0.4, lambda picture: ImageEnhance.Sharpness(picture).enhance(0.4)),
    "posterize": (4.9, lambda picture: ImageOps.posterize(picture, 4)),
    "solarize": (100.7, lambda picture: ImageOps.solarize(picture, 100)),
    "blur": (1.5, lambda picture: picture.filter(ImageFilter.GaussianBlur(1.5))),
    "hue": (0.5, lambda picture: _opposite(picture)),
}
"""Operation -> an amount, and what Pillow makes of it; by Pillow's own blur up to a few levels."""


def _opposite(picture: Image.Image) -> Image.Image:
    """The opposite hue: half a turn of HSV."""
    hue, saturation, value = picture.convert("HSV").split()
    turned = Image.fromarray(np.asarray(hue) + np.uint8(128))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def picture() -> Image.Image:
    """A smooth picture without its darkest and brightest values."""
    rows, columns = np.mgrid[0:40, 0:56] / 60.0
    planes = [20 + 180 * rows, 30 + 160 * columns, 40 + 100 * (rows + columns) % 150]
    return Image.fromarray(np.stack(planes, 2).astype(np.uint8))


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_that_of_pillow(name: str) -> None:
    amount, change = BY_PILLOW[name]
    row = torch.tensor([[NAMES.index(name), amount, *[NONE, 0.0] * (MOST - 1)]])
    given = as_tensor(picture())
    found = apply_augseg(given, row)
    difference = (found - as_tensor(change(picture()))).abs() * 255
    assert difference.mean() < 1.5
    assert difference.max() <= {"blur": 12, "hue": 6, "equalize": 8}.get(name, 2)
    if name != "identity":
        assert (found - given).abs().max() * 255 > 5


def test_operations_follow_one_another_and_each_image_has_its_own() -> None:
    images = as_tensor(picture()).repeat(3, 1, 1, 1)
    solarize, posterize = (float(NAMES.index(name)) for name in ("solarize", "posterize"))
    rows = torch.tensor(
        [
            [solarize, 100.0, posterize, 4.0, NONE, 0.0],
            [posterize, 4.0, solarize, 100.0, NONE, 0.0],
            [NONE, 0.0, NONE, 0.0, NONE, 0.0],
        ]
    )
    found = apply_augseg(images, rows)
    assert torch.equal(found[2], images[2])
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[:1], apply_augseg(images[:1], rows[:1]))


def test_one_to_three_operations_are_drawn_evenly() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.stack([draw_augseg(generator) for _ in range(6000)]).view(-1, MOST, 2)
    taken = rows[:, :, 0] != NONE
    counts = torch.bincount(taken.sum(1), minlength=4)
    assert counts[0] == 0
    assert ((counts[1:] / 6000 - 1 / 3).abs() < 0.03).all()
    assert taken[:, 0].all(), "the first slots are taken"
    shares = torch.bincount(rows[taken][:, 0].long(), minlength=len(NAMES)) / taken.sum()
    assert ((shares - 1 / len(NAMES)).abs() < 0.012).all()
    for place, name in enumerate(NAMES):
        amounts = rows[(rows[:, :, 0] == place)][:, 1]
        low, high = RANGES.get(name, (0.0, 0.0))
        assert low <= amounts.min() <= low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) <= amounts.max() <= high


@pytest.mark.parametrize("name", COLOUR_SETS)
def test_every_set_gives_images_of_the_same_range_and_size(name: str) -> None:
    colours = COLOUR_SETS["augseg" if name == "augseg" else "unimatch"]
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(8, 3, 24, 20, generator=generator)
    rows = torch.stack([colours.draw(generator) for _ in range(8)])
    found = colours.apply(images, rows, torch.ones(8, 24, 20, dtype=torch.bool))
    assert found.shape == images.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert not torch.equal(found, images)
