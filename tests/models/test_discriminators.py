from __future__ import annotations

import pytest
import torch
from torch import nn

from semisup.errors import RecipeError
from semisup.models.discriminators import FullyConvolutionalDiscriminator


def test_parameter_count() -> None:
    with torch.device("meta"):
        model = FullyConvolutionalDiscriminator(21)
    assert sum(p.numel() for p in model.parameters()) == 2_783_169


def test_logits_before_and_after_the_resize() -> None:
    with torch.device("meta"):
        model = FullyConvolutionalDiscriminator(21)
        maps = torch.empty(2, 21, 321, 321)
        assert model.layers(maps).shape == (2, 1, 10, 10)
        assert model(maps).shape == (2, 1, 321, 321)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 70), (64, 47)])
def test_output_has_the_size_of_the_input_and_every_parameter_learns(
    height: int, width: int
) -> None:
    torch.manual_seed(0)
    model = FullyConvolutionalDiscriminator(3, width=4)
    maps = torch.rand(2, 3, height, width).softmax(dim=1).requires_grad_()
    logits = model(maps)
    assert logits.shape == (2, 1, height, width)
    (logits * torch.randn_like(logits)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert maps.grad is not None
    assert maps.grad.any()


def test_logits_are_not_squashed() -> None:
    model = FullyConvolutionalDiscriminator(3, width=4)
    nn.init.constant_(model.layers[-1].bias, -50.0)
    with torch.no_grad():
        assert model(torch.rand(1, 3, 32, 40)).max() < -40


def test_leaky_relu_between_the_convolutions() -> None:
    layers = FullyConvolutionalDiscriminator(3, width=4).layers
    slopes = [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.2] * 4
    assert isinstance(layers[-1], nn.Conv2d)


@pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31), (1, 1)])
def test_smaller_maps_are_refused(height: int, width: int) -> None:
    model = FullyConvolutionalDiscriminator(3, width=4)
    with pytest.raises(RecipeError, match=f"at least 32 x 32 pixels, not {height} x {width}"):
        model(torch.rand(1, 3, height, width))


def test_state_dict_keys() -> None:
    with torch.device("meta"):
        keys = set(FullyConvolutionalDiscriminator(3).state_dict())
    assert keys == {f"layers.{i}.{what}" for i in (0, 2, 4, 6, 8) for what in ("weight", "bias")}
