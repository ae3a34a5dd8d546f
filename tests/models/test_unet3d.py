from __future__ import annotations

import pytest
import torch
from torch import nn

from semisup.errors import RecipeError
from semisup.models.unet3d import UNet3D, legal_size, mirror_pad


@pytest.mark.parametrize(
    ("channels", "classes", "batch_norm", "parameters"),
    [(3, 3, False, 19_069_955), (3, 3, True, 19_074_627), (1, 2, False, 19_068_162)],
)
def test_parameter_count(channels: int, classes: int, batch_norm: bool, parameters: int) -> None:
    with torch.device("meta"):
        model = UNet3D(classes, in_channels=channels, batch_norm=batch_norm)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_kinds_of_layers() -> None:
    with torch.device("meta"):
        layers = list(UNet3D(3).modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv3d)]
    up = [layer for layer in layers if isinstance(layer, nn.ConvTranspose3d)]
    assert len(convolutions) + len(up) == 18  # 14 of 3 x 3 x 3, three up-convolutions, one of 1
    assert [layer.out_channels for layer in up] == [512, 256, 128]
    assert all(layer.bias is not None for layer in convolutions)
    assert all(layer.bias is None for layer in up)
    assert sum(isinstance(layer, nn.BatchNorm3d) for layer in layers) == 14


def test_sizes_inside_the_network_of_the_figure() -> None:
    with torch.device("meta"):
        model = UNet3D(3, padding="valid")
        features = model.encode(torch.empty(1, 3, 116, 132, 132))
        logits = model.decode(features)
    assert [tuple(maps.shape[1:4]) for maps in features] == [
        (64, 112, 128),
        (128, 52, 60),
        (256, 22, 26),
        (512, 7, 9),
    ]
    assert logits.shape == (1, 3, 28, 44, 44)


@pytest.mark.parametrize("side", [92, 100, 116, 132])
def test_legal_sizes_are_accepted(side: int) -> None:
    assert legal_size(side) == side
    with torch.device("meta"):
        model = UNet3D(2, in_channels=1, width=1, padding="valid")
        logits = model.decode(model.encode(torch.empty(1, 1, 92, side, 92)))
    assert logits.shape == (1, 2, 4, side - 88, 4)


@pytest.mark.parametrize(("side", "legal"), [(91, 92), (93, 100), (128, 132), (1, 92)])
def test_other_sizes_are_refused_with_the_next_legal_one(side: int, legal: int) -> None:
    with torch.device("meta"):
        model = UNet3D(2, in_channels=1, width=1, padding="valid")
        with pytest.raises(ValueError, match=f"not {side}: give {legal}"):
            model.encode(torch.empty(1, 1, 92, 92, side))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 9), (8, 16, 24), (5, 17, 31)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_logits_have_the_size_of_the_volume(shape: tuple[int, ...], padding: str) -> None:
    with torch.device("meta"):
        model = UNet3D(2, in_channels=1, width=1, padding=padding).eval()  # type: ignore[arg-type]
        assert model(torch.empty(2, 1, *shape)).shape == (2, 2, *shape)


def test_mirrored_borders() -> None:
    volume = torch.arange(3.0).view(1, 1, 3, 1, 1)
    padded = mirror_pad(volume)
    assert padded.shape == (1, 1, 92, 92, 92)
    assert padded[0, 0, 42:50, 0, 0].tolist() == [2, 1, 0, 1, 2, 1, 0, 1]
    assert torch.equal(padded, padded[..., :1, :1].expand_as(padded))


def test_an_image_is_a_volume_of_one_slice() -> None:
    model = UNet3D(2, width=1).eval()
    image = torch.randn(2, 3, 9, 12)
    with torch.no_grad():
        assert torch.equal(model(image), model(image[:, :, None])[:, :, 0])
        assert [maps.ndim for maps in model.encode(image)] == [4] * 4


def test_a_slice_is_labelled_by_those_around_it() -> None:
    model = UNet3D(2, in_channels=1, width=1, batch_norm=False)
    volume = torch.randn(1, 1, 8, 8, 8, requires_grad=True)
    model(volume)[:, :, 3].sum().backward()
    assert volume.grad is not None
    reached = volume.grad[0, 0].flatten(1).abs().sum(1) > 0
    assert reached.all()


def test_weights_start_by_their_incoming_connections() -> None:
    torch.manual_seed(0)
    model = UNet3D(3, in_channels=3, width=4)
    layer = model.down[1][0]
    assert float(layer.weight.detach().std()) == pytest.approx((2 / (27 * 8)) ** 0.5, rel=0.1)
    assert not layer.bias.any()


def test_impossible_options() -> None:
    with pytest.raises(RecipeError, match=r"no padding 'vald'\. Did you mean 'valid'"):
        UNet3D(2, padding="vald")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width"):
        UNet3D(2, width=0)
