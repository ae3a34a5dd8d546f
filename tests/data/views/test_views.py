"""Views: image and mask see the same geometry, colours do what torchvision's functions do."""

from __future__ import annotations

import colorsys
import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from semisup.data.views.cropping import View
from semisup.data.views.strong import BLUR_SIGMA, STRONG_PARAMETERS, apply_strong, draw_strong
from semisup.data.views.weak import WeakView
from semisup.errors import RecipeError
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD, ImageFormat, normalise
from semisup.types import IGNORE

NEUTRAL = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """An image whose first channel is its own mask (labels 0..254)."""
    image = torch.randint(0, 255, (3, height, width), generator=generator(seed)).byte()
    return image, image[0].clone()


def check_padding(view: View) -> None:
    assert view.mask is not None
    assert view.image.dtype == view.mask.dtype == torch.uint8
    assert view.valid.dtype == torch.bool
    assert view.image.shape[1:] == view.mask.shape == view.valid.shape
    # The mask of the source has no void pixel, so void is padding and nothing else.
    assert torch.equal(view.mask == IGNORE, ~view.valid)
    assert not view.image[:, ~view.valid].any()


def test_without_scaling_the_view_is_a_piece_of_the_picture() -> None:
    draw = random.Random(0)
    flips = 0
    for trial in range(300):
        height, width = draw.choice([1, 2, 5, 17, 40]), draw.choice([1, 3, 8, 33])
        crop = (draw.choice([1, 4, 16, 50]), draw.choice([1, 5, 20, 41]))
        image, mask = noise(height, width, trial)
        view = WeakView(crop, flip=True)(image, mask, generator(trial))
        assert view.image.shape == (3, *crop)
        check_padding(view)
        assert view.mask is not None
        assert torch.equal(view.image[0][view.valid], view.mask[view.valid])
        piece = (min(height, crop[0]), min(width, crop[1]))
        assert int(view.valid.sum()) == piece[0] * piece[1]
        flipped = bool(torch.rand(4, generator=generator(trial))[3] < 0.5)
        flips += flipped
        found = view.image.flip(-1) if flipped else view.image
        windows = image.unfold(1, piece[0], 1).unfold(2, piece[1], 1)
        same = windows == found[:, None, None, : piece[0], : piece[1]]
        assert same.flatten(3).all(3).all(0).any(), "not a window of the picture"
    assert 110 < flips < 190


def test_every_window_is_as_likely() -> None:
    image = torch.arange(5, dtype=torch.uint8).expand(3, 1, 5)
    counts = torch.zeros(4)
    for seed in range(800):
        counts[WeakView((1, 2))(image, None, generator(seed)).image[0, 0, 0].long()] += 1
    assert counts.min() > 150  # mean 200, deviation 12
    assert counts.max() < 250


def ramp(height: int, width: int, step: int) -> tuple[Tensor, Tensor]:
    row = torch.arange(width) * step
    image = row.expand(3, height, width).byte()
    return image, image[0]


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.4, 0.7, 1.0, 1.3, 2.0, 3.0, 4.7])
def test_image_and_mask_agree_under_scaling(scale: float) -> None:
    # On a ramp, linear interpolation is exact and the nearest source pixel is at most half a
    # pixel away: a mask that is shifted by half a pixel more does not pass.
    step = 4
    for flip in (False, True):
        for seed in range(8):
            image, mask = ramp(7, 60, step)
            view = WeakView((6, 12), (scale, scale), flip)(image, mask, generator(seed))
            check_padding(view)
            assert view.mask is not None
            seen = view.valid.sum(1)[0]
            start = int(view.valid[0].long().argmax())
            # The resampling filter is cut off at the ends of the window.
            inner = slice(start + 1, start + int(seen) - 1)
            apart = view.image[0, 0, inner].int() - view.mask[0, inner].int()
            assert apart.abs().max() <= step / 2 + 1, apart


def test_scaling_by_three_keeps_the_centres() -> None:
    image, mask = ramp(9, 60, 4)
    view = WeakView(None, (1 / 3, 1 / 3))(image, mask, generator(0))
    assert view.mask is not None
    expected = torch.arange(1, 60, 3).mul(4).byte().expand(3, 20)
    assert torch.equal(view.mask, expected)
    assert torch.equal(view.image[0, :, 1:-1], expected[:, 1:-1])


def plain_view(image: Tensor, mask: Tensor, view: WeakView, draws: list[float]) -> View:
    """What `WeakView` promises, in its simplest form."""
    assert view.crop is not None
    factor = view.scale[0] + draws[0] * (view.scale[1] - view.scale[0])
    windows, sizes = [], []
    for size, crop, position in zip(image.shape[1:], view.crop, draws[1:3], strict=True):
        if size * factor <= crop:
            windows.append(slice(None))
            sizes.append(max(1, round(size * factor)))
        else:
            length = min(size, max(1, round(crop / factor)))
            start = int(position * (size - length + 1))
            windows.append(slice(start, start + length))
            sizes.append(crop)
    rows, columns = windows
    exact = v2.InterpolationMode.NEAREST_EXACT
    seen = v2.functional.resize(image[:, rows, columns].contiguous(), sizes, antialias=True)
    labels = v2.functional.resize(mask[None, rows, columns].contiguous(), sizes, exact)[0]
    padding = (0, view.crop[1] - sizes[1], 0, view.crop[0] - sizes[0])
    valid = F.pad(torch.ones(sizes, dtype=torch.bool), padding)
    parts = F.pad(seen, padding), F.pad(labels, padding, value=IGNORE), valid
    if view.flip and draws[3] < 0.5:
        parts = tuple(part.flip(-1) for part in parts)  # type: ignore[assignment]
    return View(*parts)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_bits_are_those_of_the_plain_view(channels_last: bool) -> None:
    draw = random.Random(3)
    for trial in range(150):
        image, mask = noise(draw.randint(2, 60), draw.randint(2, 60), trial)
        low = draw.uniform(0.3, 1.5)  # 1-pixel results apart, which torch gets wrong
        view = WeakView((draw.randint(2, 50), draw.randint(2, 50)), (low, 2 * low), flip=True)
        if round(2 * low * image.shape[2]) < 4 or round(low * image.shape[2]) < 2:
            continue
        given = image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if channels_last else image
        found = view(given, mask, generator(trial))
        draws = torch.rand(4, generator=generator(trial)).tolist()
        expected = plain_view(image, mask, view, draws)
        assert found.mask is not None
        assert expected.mask is not None
        assert torch.equal(found.image, expected.image)
        assert torch.equal(found.mask, expected.mask)
        assert torch.equal(found.valid, expected.valid)


def test_a_view_leaves_the_picture_alone() -> None:
    for size in (1, 9, 30):
        image, mask = noise(size, size)
        before = image.clone()
        for view in (WeakView(), WeakView((9, 9), flip=True), WeakView((20, 20), (0.5, 2.0))):
            view(image, mask, generator(1))
            assert torch.equal(image, before)
            assert torch.equal(mask, before[0])


def test_any_size_gives_the_crop() -> None:
    draw = random.Random(1)
    for trial in range(300):
        height, width = draw.randint(1, 40), draw.randint(1, 40)
        crop = (draw.randint(1, 40), draw.randint(1, 40))
        low = draw.uniform(0.05, 2.0)
        view = WeakView(crop, (low, low * draw.uniform(1, 4)), flip=True)(
            *noise(height, width, trial), generator(trial)
        )
        assert view.image.shape == (3, *crop)
        assert view.valid.any()
        check_padding(view)


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(2, 1, 0.5), (4, 4, 0.25), (6, 2, 0.5), (1, 1, 0.1), (3, 1, 1 / 3), (6, 3, 0.4), (9, 1, 0.8)],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_result_one_pixel_wide_is_right(
    height: int, width: int, scale: float, channels_last: bool
) -> None:
    # The kernels of torch 2.15 raise or return rubbish for these.
    image, _ = noise(height, width)
    if channels_last:
        image = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    seen = WeakView(None, (scale, scale))(image, None, generator(0)).image
    assert seen.shape[2] == 1
    expected = F.interpolate(image[None].float(), seen.shape[1:], mode="bilinear", antialias=True)
    assert (seen.float() - expected[0]).abs().max() <= 0.51


def test_the_scale_is_that_which_was_asked_for() -> None:
    # A board of 8 px squares: their side in the crop shows the scale.
    board = (torch.arange(400) // 8 % 2).byte()
    for scale in (0.5, 0.75, 1.5, 2.0):
        view = WeakView((40, 160), (scale, scale))(
            board.expand(3, 400, 400), board.expand(400, 400), generator(0)
        )
        assert view.mask is not None
        changes = int((view.mask[0, 1:] != view.mask[0, :-1]).sum())
        assert abs(changes - 160 / (8 * scale)) <= 1
    view = WeakView((40, 40), (0.5, 0.5))(*noise(20, 60), generator(0))
    assert view.valid.sum(0).max() == 10
    assert view.valid.sum(1).max() == 30


def test_scales_fill_their_range() -> None:
    image, mask = noise(100, 100)
    sides = [
        WeakView(None, (0.5, 2.0))(image, mask, generator(seed)).image.shape[1]
        for seed in range(300)
    ]
    assert 50 <= min(sides) < 60
    assert 190 < max(sides) <= 200
    assert 118 < sum(sides) / 300 < 132  # uniform: mean 125, deviation of the mean 2.5


def test_without_a_crop_the_picture_stays_whole() -> None:
    image, mask = noise(13, 7)
    view = WeakView()(image, mask, generator(0))
    assert torch.equal(view.image, image)
    assert view.mask is not None
    assert torch.equal(view.mask, mask)
    assert view.valid.all()
    flipped = WeakView(flip=True)
    views = [flipped(image, mask, generator(seed)).image for seed in range(20)]
    assert any(torch.equal(view, image.flip(-1)) for view in views)
    assert any(torch.equal(view, image) for view in views)


def test_a_huge_picture_costs_what_its_crop_costs() -> None:
    # 10 GB if anything touched all of it; one byte in memory.
    image = torch.full((1,), 7, dtype=torch.uint8).expand(3, 60_000, 60_000)
    mask = torch.full((1,), 3, dtype=torch.uint8).expand(60_000, 60_000)
    view = WeakView((16, 16), (0.5, 2.0), flip=True)(image, mask, generator(0))
    assert (view.image == 7).all()
    assert view.mask is not None
    assert (view.mask == 3).all()


def test_a_view_depends_on_its_generator_alone_and_takes_four_draws() -> None:
    image, mask = noise(30, 20)
    for view in (WeakView((8, 8), (0.5, 2.0), flip=True), WeakView((64, 64)), WeakView()):
        one, other = generator(5), generator(5)
        torch.rand(4, generator=other)
        first = view(image, mask, one)
        assert torch.equal(one.get_state(), other.get_state())
        assert torch.equal(first.image, view(image, None, generator(5)).image)
    assert view(image, None, generator(5)).mask is None


@pytest.mark.parametrize(
    ("crop", "scale", "words"),
    [((0, 5), (1.0, 1.0), "crop"), (None, (0.0, 1.0), "scale"), (None, (2.0, 1.0), "scale")],
)
def test_a_view_that_makes_no_sense(
    crop: tuple[int, int] | None, scale: tuple[float, float], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        WeakView(crop, scale)


def parameters(**changes: float) -> tuple[float, ...]:
    return tuple(changes.get(name, NEUTRAL[i]) for i, name in enumerate(STRONG_PARAMETERS))


def pictures(count: int, height: int = 15, width: int = 21) -> Tensor:
    return torch.rand(count, 3, height, width, generator=generator(9))


def test_neutral_parameters_change_nothing() -> None:
    images = pictures(2)
    assert torch.allclose(apply_strong(images, torch.tensor([NEUTRAL] * 2)), images, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "values", "reference"),
    [
        ("brightness", (0.5, 1.0, 1.5), v2.functional.adjust_brightness),
        ("contrast", (0.5, 0.9, 1.5), v2.functional.adjust_contrast),
        ("saturation", (0.5, 1.1, 1.5), v2.functional.adjust_saturation),
        ("hue", (1 / 3, -1 / 3, 0.0), v2.functional.adjust_hue),
        ("grey", (0.0, 1.0, 1.0), lambda image, flag: v2.functional.rgb_to_grayscale(image, 3)),
        ("sigma", (0.1, 1.0, 2.0), lambda image, s: v2.functional.gaussian_blur(image, 13, s)),
    ],
)
def test_each_change_is_that_of_torchvision(name, values, reference) -> None:  # type: ignore[no-untyped-def]
    # One batch of three values: each image must get its own.
    images = pictures(3)
    rows = torch.tensor([parameters(**{name: value}) for value in values])
    changed = apply_strong(images, rows)
    for image, value, result in zip(images, values, changed, strict=True):
        expected = image if (name, value) == ("grey", 0.0) else reference(image, value)
        assert torch.allclose(result, expected, atol=2e-6), (name, value)


def test_hue_turns_as_far_as_it_says_and_leaves_grey_alone() -> None:
    # Colours of low saturation, so that nothing is clamped.
    colour = 0.4 + 0.2 * torch.rand(3, 500, generator=generator(2))
    for turn in (-0.25, -0.1, 0.05, 0.2, 0.25):
        rows = torch.tensor([parameters(hue=turn)])
        changed = apply_strong(colour.view(1, 3, 500, 1), rows)[0, :, :, 0]
        for before, after in zip(colour.T.tolist(), changed.T.tolist(), strict=True):
            apart = colorsys.rgb_to_hsv(*after)[0] - colorsys.rgb_to_hsv(*before)[0] - turn
            assert abs((apart + 0.5) % 1 - 0.5) < 0.013  # 4.7 degrees
    grey = torch.rand(1, 1, 9, 9, generator=generator(3)).expand(1, 3, 9, 9)
    assert torch.allclose(apply_strong(grey, torch.tensor([parameters(hue=0.25)])), grey, atol=1e-6)


def test_a_batch_is_changed_like_its_images_one_by_one() -> None:
    images = pictures(6)
    rows = torch.stack([draw_strong(generator(seed)) for seed in range(6)])
    together = apply_strong(images, rows)
    alone = torch.cat([apply_strong(images[i : i + 1], rows[i : i + 1]) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert together.min() >= 0
    assert together.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (6, 7), (8, 30)])
def test_small_pictures_are_blurred_too(size: tuple[int, int]) -> None:
    flat = torch.full((2, 3, *size), 0.25)
    rows = torch.tensor([parameters(sigma=2.0)] * 2)
    assert torch.allclose(apply_strong(flat, rows), flat, atol=1e-6)


def test_contrast_does_not_measure_the_padding() -> None:
    images = pictures(2)
    valid = torch.zeros(2, 15, 21, dtype=torch.bool)
    valid[:, :10, :8] = True
    rows = torch.tensor([parameters(contrast=0.5), parameters(contrast=1.4)])
    padded = apply_strong(images * valid[:, None], rows, valid)[..., :10, :8]
    assert torch.allclose(padded, apply_strong(images[..., :10, :8], rows), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_change_in_brightness_contrast_and_blur_alone(channels: int) -> None:
    images = pictures(2)[:, torch.arange(channels) % 3]
    colours = torch.tensor([parameters(saturation=1.5, hue=0.2, grey=1.0)] * 2)
    assert torch.allclose(apply_strong(images, colours), images, atol=1e-6)
    darker = apply_strong(images, torch.tensor([parameters(brightness=0.5)] * 2))
    assert torch.allclose(darker, images / 2, atol=1e-6)
    flatter = apply_strong(images, torch.tensor([parameters(contrast=0.5)] * 2))
    mean = images.mean((1, 2, 3), keepdim=True)
    assert torch.allclose(flatter, (images + mean) / 2, atol=1e-6)
    blurred = apply_strong(images, torch.tensor([parameters(sigma=1.0)] * 2))
    assert torch.allclose(blurred, v2.functional.gaussian_blur(images, 13, 1.0), atol=2e-6)


def test_images_of_16_bits_are_cut_as_those_of_8() -> None:
    """The same window, scale and mirror; within a rounding of the values."""
    image = torch.randint(0, 256, (4, 30, 40), generator=generator(2)).byte()
    deep = (image.int() * 257).to(torch.uint16)
    for number in range(8):
        view = WeakView(crop=(24, 20), scale=(0.5, 2.0))
        small = view(image, None, generator(number)).image
        large = view(deep, None, generator(number)).image
        assert large.dtype == torch.uint16
        assert (large.float() / 257 - small.float()).abs().max() <= 1.0
    plain = WeakView(crop=(24, 20), scale=(1.0, 1.0))(deep, None, generator(0)).image
    assert set(plain.int().unique().tolist()) <= {0, *(257 * n for n in range(256))}


def test_draws_have_the_strength_they_claim() -> None:
    rows = torch.stack([draw_strong(generator(seed)) for seed in range(2000)])
    assert rows.shape == (2000, len(STRONG_PARAMETERS))
    brightness, contrast, saturation, hue, grey, sigma = rows.unbind(1)
    jittered = hue != 0
    assert 0.77 < jittered.float().mean() < 0.83
    for factor in (brightness, contrast, saturation):
        assert torch.equal(factor != 1, jittered)
        assert 0.5 <= factor.min() < 0.51
        assert 1.49 < factor.max() <= 1.5
    assert -0.25 <= hue.min() < -0.245
    assert 0.245 < hue.max() <= 0.25
    assert 0.17 < grey.mean() < 0.23
    blurred = sigma > 0
    assert 0.46 < blurred.float().mean() < 0.54
    assert BLUR_SIGMA[0] <= sigma[blurred].min() < 0.12
    assert 1.98 < sigma.max() <= BLUR_SIGMA[1]
    together = torch.corrcoef(torch.stack([brightness, contrast, saturation, hue, sigma]))
    assert together.fill_diagonal_(0).abs().max() < 0.1


def test_normalise_is_that_of_torchvision() -> None:
    image = torch.randint(0, 256, (2, 3, 5, 4), generator=generator(0)).byte()
    expected = v2.functional.normalize(
        v2.functional.to_dtype(image, torch.float32, scale=True), IMAGENET_MEAN, IMAGENET_STD
    )
    before = image.clone()
    assert torch.allclose(normalise(image), expected, atol=1e-6)
    assert torch.equal(image, before)
    assert torch.allclose(normalise(image[0]), expected[0], atol=1e-6)
    one = normalise(image[:, :1], ImageFormat((0.5,), (0.25,), bits=8))
    assert torch.allclose(one, (image[:, :1].float() / 255 - 0.5) * 4, atol=1e-6)
