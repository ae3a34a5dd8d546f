from __future__ import annotations

import torch

from semisup.ops.pixels import (
    GREY,
    IMAGENET_MEAN,
    IMAGENET_STD,
    RGB,
    RGB_FORMAT,
    ImageFormat,
    ImageKind,
    as_shown,
    normalise,
    normalised_as_shown,
    standardise_,
    to_normalised,
    to_unit,
)


def test_there_and_back() -> None:
    image = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    normalised = to_normalised(image)
    assert torch.allclose(normalised, standardise_(image.clone()))
    assert torch.allclose(to_unit(normalised), image)
    assert normalised[0, 1, 0, 0] == (image[0, 1, 0, 0] - IMAGENET_MEAN[1]) / IMAGENET_STD[1]


def test_the_largest_value_is_1() -> None:
    deep = ImageFormat((0.0,), (1.0,), bits=16)
    values = torch.tensor([[[0, 32768, 65535]]]).to(torch.uint16)
    assert torch.allclose(deep.shares(values), torch.tensor([[[0, 32768 / 65535, 1]]]))
    expected = torch.tensor([0.0, 0.2, 1.0])
    assert torch.equal(RGB_FORMAT.shares(torch.tensor([0, 51, 255]).byte()), expected)
    assert (deep.kind, RGB_FORMAT.kind) == (ImageKind(1, 16), RGB)


def test_kinds_in_words() -> None:
    kinds = (RGB, GREY, ImageKind(1, 16), ImageKind(4, 8))
    words = ["8-bit RGB", "8-bit grey", "1 channel of 16 bits", "4 channels of 8 bits"]
    assert [str(kind) for kind in kinds] == words


def test_rgb_and_grey_are_shown_as_they_are() -> None:
    image = torch.randint(0, 256, (3, 5, 6)).byte()
    assert torch.equal(as_shown(image), image)
    assert torch.equal(as_shown(image[:1], GREY), image[:1].expand(3, -1, -1))


def test_others_are_shown_stretched_and_by_their_first_three_channels() -> None:
    ramp = (1000 + torch.arange(101)).view(1, 1, 101)
    image = torch.cat([ramp, 2 * ramp, ramp.flip(-1), 0 * ramp]).to(torch.uint16)
    shown = as_shown(image, ImageKind(4, 16))
    assert (shown.dtype, tuple(shown.shape)) == (torch.uint8, (3, 1, 101))
    expected = ((torch.arange(101) - 1) / 98 * 255).round().clamp(0, 255).byte()
    assert torch.equal(shown[0, 0], expected)
    assert torch.equal(shown[1], shown[0])
    assert torch.equal(shown[2], shown[0].flip(-1))
    two = as_shown(image[:2], ImageKind(2, 16))
    assert torch.equal(two, shown[:1].expand(3, -1, -1))
    flat = as_shown(torch.full((1, 2, 2), 40000).to(torch.uint16), ImageKind(1, 16))
    assert (flat == 0).all()


def test_normalised_rgb_is_shown_in_its_colours() -> None:
    image = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    assert torch.equal(normalised_as_shown(normalise(image)), image)
    outside = torch.tensor([-9.0, 9.0]).expand(1, 3, 1, 2)
    assert normalised_as_shown(outside)[0, :, 0].tolist() == [[0, 255]] * 3


def test_other_normalised_images_are_shown_within_two_deviations() -> None:
    deep = ImageFormat((0.1,) * 4, (0.01,) * 4, bits=16)
    image = torch.tensor([-3.0, -2.0, 0.0, 2.0]).expand(2, 4, 1, 4)
    assert normalised_as_shown(image, deep).shape == (2, 3, 1, 4)
    assert normalised_as_shown(image, deep)[0, 0, 0].tolist() == [0, 0, 128, 255]
    grey = ImageFormat((0.5,), (0.25,), bits=8)
    assert normalised_as_shown(image[:, :1], grey)[0, :, 0, 2].tolist() == [128] * 3
