"""Elastic deformation: smooth, alike for image, mask and weights, and none where it is off."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.data.views import elastic
from semisup.data.views.cropping import Axis, View, cut_out
from semisup.data.views.elastic import displacement_field, draw_displacements
from semisup.data.views.weak import WeakView
from semisup.errors import RecipeError
from semisup.types import IGNORE


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(height: int, width: int, channels: int = 3, top: int = 255) -> Tensor:
    coarse = torch.rand(1, channels, 5, 6, generator=generator(1))
    picture = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)[0]
    return (picture * top).round().to(torch.uint8 if top == 255 else torch.uint16)


def shifted(down: float, right: float) -> Tensor:
    """The same displacement everywhere."""
    return torch.tensor([down, right], dtype=torch.float64)[:, None, None].expand(2, 3, 3)


def whole(image: Tensor, mask: Tensor | None = None, **options: object) -> View:
    rows, columns = (Axis(0, size, size) for size in image.shape[-2:])
    return cut_out(image, mask, rows, columns, crop=None, flip=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(9, 9), (64, 50), (1, 7), (2, 3)])
def test_the_field_is_torchs_bicubic_interpolation(height: int, width: int) -> None:
    points = draw_displacements(10.0, generator(0))
    expected = F.interpolate(points[None], (height, width), mode="bicubic", align_corners=True)[0]
    torch.testing.assert_close(displacement_field(points, height, width), expected)


def test_displacements_have_the_deviation_that_is_asked_for() -> None:
    drawn = torch.stack([draw_displacements(10.0, generator(seed)) for seed in range(300)])
    assert drawn.shape == (300, 2, 3, 3)
    assert abs(float(drawn.mean())) < 0.5
    assert float(drawn.std()) == pytest.approx(10.0, rel=0.05)


def test_a_field_of_zeros_changes_no_bit() -> None:
    image = smooth(40, 50)
    view = whole(image, image[0].clone(), displacements=shifted(0, 0))
    assert view.mask is not None
    assert torch.equal(view.image, image)
    assert torch.equal(view.mask, image[0])


@pytest.mark.parametrize(("down", "right"), [(3, -5), (-7, 0), (60, 45), (0.5, 0.25)])
def test_a_shift_fetches_from_there_and_mirrors_beyond_the_picture(
    down: float, right: float
) -> None:
    image = smooth(20, 30)
    view = whole(image, image[0].clone(), displacements=shifted(down, right))
    assert view.mask is not None
    rows, columns = torch.arange(20) + down, torch.arange(30) + right
    symmetric = F.grid_sample(
        image.double()[None],
        torch.stack(
            [
                ((columns + 0.5) * 2 / 30 - 1).expand(20, 30),
                ((rows + 0.5) * 2 / 20 - 1)[:, None].expand(20, 30),
            ],
            dim=-1,
        )[None].double(),
        padding_mode="reflection",
        align_corners=False,
    )[0]
    assert float((view.image - symmetric).abs().max()) < 0.51
    if down == int(down):
        assert torch.equal(view.image[0], view.mask)
    assert view.valid.all()


def test_a_crop_is_bent_by_what_lies_beyond_it() -> None:
    image = smooth(40, 50)
    rows, columns = Axis(10, 12, 12), Axis(20, 16, 16)
    view = cut_out(
        image, None, rows, columns, crop=(12, 16), flip=False, displacements=shifted(-4, 6)
    )
    assert torch.equal(view.image, image[:, 6:18, 26:42])


def disc(size: int) -> Tensor:
    place = torch.arange(size) - (size - 1) / 2
    return (place[:, None] ** 2 + place**2 < (0.3 * size) ** 2).byte()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("top", [255, 65535])
def test_image_mask_and_weights_are_bent_alike(scale: float, channels: int, top: int) -> None:
    mask = disc(96)
    image = mask[None].expand(channels, -1, -1).to(torch.int32) * top
    image = image.to(torch.uint8 if top == 255 else torch.uint16)
    draw = WeakView((64, 64), (scale, scale), flip=True, elastic=6.0)
    for seed in range(5):
        view = draw(image, mask, generator(seed), 0, (mask == 0).float())
        assert view.mask is not None
        assert view.border is not None
        assert view.image.dtype == image.dtype
        assert view.mask.dtype == torch.uint8
        assert set(view.mask.unique().tolist()) <= {0, 1, IGNORE}
        seen = view.image.float() / top > 0.5
        agree = (seen == (view.mask == 1)) | ~view.valid
        assert float(agree.float().mean()) > 0.985
        background = view.mask == 0
        assert not view.border[~background].any()
        assert float((view.border[background] > 0.5).float().mean()) > 0.97


def test_padding_stays_padding() -> None:
    image, mask = smooth(20, 60), smooth(20, 60)[0].clamp(max=3)
    view = WeakView((32, 32), elastic=8.0)(image, mask, generator(0), 0, torch.ones(20, 60))
    assert view.mask is not None
    assert view.border is not None
    assert torch.equal(view.valid[:, 0], torch.arange(32) < 20)
    assert torch.equal(view.mask == IGNORE, ~view.valid)
    assert not view.image[:, ~view.valid].any()
    assert not view.border[~view.valid].any()


def test_the_bits_depend_on_the_generator_alone_and_not_on_threads() -> None:
    image = smooth(200, 210)
    draw, threads = WeakView((150, 170), (0.7, 1.4), elastic=10.0), torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(draw(image, image[0].clone(), generator(5)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0].image, found[1].image)
    other = draw(image, image[0].clone(), generator(6))
    assert not torch.equal(found[0].image, other.image)


def test_none_is_drawn_where_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(elastic, "draw_displacements")
    image, source, plain = smooth(30, 30), generator(3), generator(3)
    WeakView((20, 20), elastic=0.0)(image, None, source)
    torch.rand(4, generator=plain)
    assert torch.equal(source.get_state(), plain.get_state())


@pytest.mark.parametrize("deviation", [-1.0, float("inf"), float("nan")])
def test_a_deviation_that_is_none_is_refused(deviation: float) -> None:
    with pytest.raises(RecipeError, match="elastic"):
        WeakView((8, 8), elastic=deviation)


def test_a_picture_of_one_pixel_is_bent_too() -> None:
    image = torch.full((1, 1, 1), 7, dtype=torch.uint8)
    view = WeakView((4, 4), elastic=10.0)(image, image[0].clone(), generator(0))
    assert view.mask is not None
    assert view.mask[0, 0] == view.image[0, 0, 0] == 7
