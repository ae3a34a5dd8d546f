from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.unet import UNet, legal_size, mirror_pad


@pytest.mark.parametrize(
    ("channels", "classes", "parameters"),
    [(1, 2, 31_030_658), (3, 11, 31_032_395), (3, 21, 31_033_045)],
)
def test_parameter_count(channels: int, classes: int, parameters: int) -> None:
    with torch.device("meta"):
        model = UNet(classes, in_channels=channels)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_twenty_three_convolutions() -> None:
    with torch.device("meta"):
        layers = list(UNet(2).modules())
    assert sum(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for layer in layers) == 23


@pytest.mark.parametrize("side", [188, 204, 572])
def test_legal_sizes_are_accepted(side: int) -> None:
    assert legal_size(side) == side
    with torch.device("meta"):
        model = UNet(2, in_channels=1, width=2, padding="valid")
        logits = model.decode(model.encode(torch.empty(1, 1, side, 188)))
    assert logits.shape == (1, 2, side - 184, 4)


@pytest.mark.parametrize(("side", "legal"), [(187, 188), (190, 204), (256, 268), (1, 188)])
def test_other_sizes_are_refused_with_the_next_legal_one(side: int, legal: int) -> None:
    with torch.device("meta"):
        model = UNet(2, in_channels=1, width=2, padding="valid")
        with pytest.raises(ValueError, match=f"not {side}: give {legal}"):
            model.encode(torch.empty(1, 1, 188, side))


def test_sizes_inside_the_network_of_the_figure() -> None:
    up: list[int] = []
    with torch.device("meta"):
        model = UNet(2, in_channels=1, padding="valid")
        for layer in model.up:
            layer.register_forward_hook(lambda *call: up.append(call[-1].shape[-1]))
        features = model.encode(torch.empty(1, 1, 572, 572))
        model.decode(features)
    assert [(m.shape[1], m.shape[-1]) for m in features] == [
        (64, 568),
        (128, 280),
        (256, 136),
        (512, 64),
        (1024, 28),
    ]
    assert up == [56, 104, 200, 392]


def test_skips_are_cropped_around_their_centre() -> None:
    # One level that passes its skip through: the crop of 572's finest skip is 88 per side.
    with torch.device("meta"):
        model = UNet(1, in_channels=1, width=1, padding="valid")
    seen: list[Tensor] = []
    model.merge[-1].register_forward_pre_hook(lambda _, call: seen.append(call[0]))
    with torch.no_grad():
        model = model.to_empty(device="cpu")
        for p in model.parameters():
            nn.init.zeros_(p)
        features = model.encode(torch.zeros(1, 1, 572, 572))
        rows = torch.arange(568.0)
        features[0] = (1000 * rows[:, None] + rows)[None, None]
        model.decode(features)
    skip = seen[0][0, 0]
    assert skip.shape == (392, 392)
    assert (skip[0, 0], skip[-1, -1]) == (88_088, 479_479)


@pytest.mark.parametrize(("height", "width"), [(16, 17), (40, 56), (100, 300)])
def test_mirror_padding_is_that_of_numpy(height: int, width: int) -> None:
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    padded = mirror_pad(image)
    amounts = [(0, 0), (0, 0)]
    for side, whole in zip((height, width), padded.shape[-2:], strict=True):
        assert legal_size(whole) == whole
        assert 0 <= whole - 184 - side < 16 or whole == 188
        amounts.append((92, whole - side - 92))
    assert np.array_equal(padded.numpy(), np.pad(image.numpy(), amounts, mode="reflect"))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (30, 1)])
def test_a_single_row_or_column_is_repeated(height: int, width: int) -> None:
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    padded = mirror_pad(image)
    if height == 1:
        assert torch.equal(padded, padded[..., :1, :].expand_as(padded))
    if width == 1:
        assert torch.equal(padded, padded[..., :1].expand_as(padded))
    whole = UNet(3, width=2, padding="valid").eval()
    assert whole(image).shape == (2, 3, height, width)
    assert whole.forward_window(image, slice(0, height), slice(0, width)).shape[-2] == height


def test_stitched_tiles_equal_one_pass() -> None:
    torch.manual_seed(0)
    model = UNet(2, width=4, padding="valid").double().eval()
    image = torch.randn(1, 3, 40, 56, dtype=torch.float64)
    mirrored = torch.from_numpy(
        np.pad(image.numpy(), [(0, 0), (0, 0), (92, 120), (92, 120)], "reflect")
    )
    stitched = torch.full((1, 2, 60, 80), torch.nan, dtype=torch.float64)
    with torch.no_grad():
        one_pass = model(image)
        for top in range(0, 40, 16):  # pooling repeats every 16 pixels; each tile gives 20 x 20
            for left in range(0, 56, 16):
                tile = mirrored[..., top : top + 204, left : left + 204]
                inner = model.decode(model.encode(tile))
                stitched[..., top : top + 20, left : left + 20] = inner
    assert one_pass.std() > 0
    torch.testing.assert_close(one_pass, stitched[..., :40, :56])


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((40, 56), (0, 40), (0, 56)),
        ((40, 56), (7, 8), (55, 56)),
        ((33, 250), (3, 30), (101, 222)),
        ((210, 20), (190, 210), (1, 2)),
    ],
)
def test_a_window_has_the_logits_of_the_whole_image(
    size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    model = UNet(2, width=2, padding="valid").double().eval()
    image = torch.randn(1, 3, *size, dtype=torch.float64)
    down, across = slice(*rows), slice(*columns)
    with torch.no_grad():
        whole, window = model(image), model.forward_window(image, down, across)
    torch.testing.assert_close(window, whole[..., down, across])


def test_a_window_of_the_padded_network_is_an_image_of_its_own() -> None:
    torch.manual_seed(0)
    model = UNet(2, width=2).eval()
    image = torch.randn(1, 3, 40, 56)
    down, across = slice(5, 30), slice(20, 50)
    with torch.no_grad():
        assert torch.equal(
            model.forward_window(image, down, across), model(image[..., down, across])
        )


def test_dropout_acts_in_the_two_deepest_levels_while_training() -> None:
    torch.manual_seed(0)
    model, plain = UNet(2, width=4, dropout=0.5), UNet(2, width=4)
    plain.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        trained, expected = model.encode(image), plain.encode(image)
        for level in range(3):
            assert torch.equal(trained[level], expected[level])
        kept = trained[3] != 0
        torch.testing.assert_close(trained[3][kept], 2 * expected[3][kept])
        assert 0.3 < float(kept.sum() / (expected[3] != 0).sum()) < 0.7
        assert not torch.equal(trained[4], expected[4])
        assert torch.equal(model.eval()(image), plain.eval()(image))


@pytest.mark.parametrize("share", [-0.1, 1.0, 50.0])
def test_a_dropout_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="dropout must be at least 0 and below 1"):
        UNet(2, width=2, dropout=share)


def test_start_follows_the_paper() -> None:
    torch.manual_seed(0)
    model = UNet(2, width=16)
    incoming = {
        "down.1.0.0": 9 * 16,
        "down.4.1.0": 9 * 256,
        "up.0": 256,
        "merge.0.0.0": 9 * 256,
        "merge.3.1.0": 9 * 16,
    }
    for name, connections in incoming.items():
        layer = model.get_submodule(name)
        assert float(layer.weight.detach().std()) == pytest.approx(
            (2 / connections) ** 0.5, rel=0.05
        )
    assert not any(p.any() for key, p in model.named_parameters() if key.endswith("bias"))


def test_odd_sizes_keep_what_even_sizes_give() -> None:
    # Rounding pooled sizes up and cutting the upsampled map leaves pixels far from the cut alone.
    torch.manual_seed(0)
    model = UNet(2, width=4).double().eval()
    image = torch.randn(1, 3, 256, 16, dtype=torch.float64)
    with torch.no_grad():
        whole, cut = model(image), model(image[..., :255, :])
    torch.testing.assert_close(cut[..., :100, :], whole[..., :100, :])


def test_batch_norm_learns_from_one_image_above_the_smallest_size() -> None:
    model = UNet(2, width=4, batch_norm=True).train()
    assert torch.isfinite(model(torch.randn(1, 3, 17, 17))).all()


def test_unknown_padding_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"no padding 'valed'\. Did you mean 'valid'"):
        UNet(2, padding="valed")  # type: ignore[arg-type]
