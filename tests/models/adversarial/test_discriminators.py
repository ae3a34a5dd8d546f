from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.adversarial.discriminators import (
    FullyConvolutionalDiscriminator,
    ImageDiscriminator,
)


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


# One score for a class map and its image


def test_parameter_count_of_the_image_discriminator() -> None:
    with torch.device("meta"):
        model = ImageDiscriminator(21)
    assert sum(p.numel() for p in model.parameters()) == 2_778_561


def test_one_logit_an_image_read_from_the_mean_over_places() -> None:
    with torch.device("meta"):
        model = ImageDiscriminator(21)
        maps, image = torch.empty(2, 21, 321, 321), torch.empty(2, 3, 321, 321)
        assert model.layers(torch.cat([maps, image], dim=1)).shape == (2, 512, 20, 20)
        logits, features = model(maps, image)
    assert logits.shape == (2,)
    assert features.shape == (2, 512)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 40), (64, 31)])
def test_every_parameter_and_the_class_map_get_a_gradient(height: int, width: int) -> None:
    torch.manual_seed(0)
    model = ImageDiscriminator(3, width=4).eval()
    maps = torch.rand(2, 3, height, width).softmax(dim=1).requires_grad_()
    logits, _ = model(maps, torch.rand(2, 3, height, width))
    (logits * torch.randn_like(logits)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert maps.grad is not None
    assert maps.grad.flatten(1).any(dim=1).all()


def test_each_image_is_judged_by_itself() -> None:
    torch.manual_seed(0)
    model = ImageDiscriminator(3, width=4).eval()
    maps, image = torch.rand(3, 3, 16, 24).softmax(dim=1), torch.rand(3, 3, 16, 24)
    with torch.no_grad():
        together, _ = model(maps, image)
        alone = [model(maps[i : i + 1], image[i : i + 1])[0] for i in range(3)]
        swapped, _ = model(maps, image.roll(1, dims=0))
    torch.testing.assert_close(together, torch.cat(alone))
    assert not torch.allclose(together, swapped), "it does not look at the image"


def test_the_logit_is_the_mean_of_those_of_the_places() -> None:
    torch.manual_seed(0)
    model = ImageDiscriminator(3, width=4).eval()
    maps, image = torch.rand(2, 3, 48, 64).softmax(dim=1), torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        places = model.places(maps, image)
        logits, features = model(maps, image)
    assert places.shape == (2, 1, 3, 4)
    torch.testing.assert_close(places.mean(dim=(1, 2, 3)), logits)
    torch.testing.assert_close(model.score(features).squeeze(1), logits)


def test_whole_channels_are_dropped_after_the_first_three_convolutions() -> None:
    layers = [*ImageDiscriminator(3, width=4).layers]
    block = [nn.Conv2d, nn.LeakyReLU, nn.Dropout2d]
    assert [type(layer) for layer in layers] == (4 * block)[:-1]
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout2d)] == [0.5] * 3
    slopes = [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [0.2] * 4


@pytest.mark.parametrize(("height", "width"), [(15, 64), (64, 15), (1, 1)])
def test_smaller_pairs_are_refused(height: int, width: int) -> None:
    model = ImageDiscriminator(3, width=4)
    with pytest.raises(RecipeError, match=f"at least 16 x 16 pixels, not {height} x {width}"):
        model(torch.rand(1, 3, height, width), torch.rand(1, 3, height, width))


def test_a_width_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        ImageDiscriminator(3, width=0)


def test_state_dict_keys_of_the_image_discriminator() -> None:
    with torch.device("meta"):
        keys = set(ImageDiscriminator(3).state_dict())
    names = [*(f"layers.{i}" for i in (0, 3, 6, 9)), "score"]
    assert keys == {f"{name}.{what}" for name in names for what in ("weight", "bias")}


# Spectral normalisation


def bounded(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind(3, width=4, spectral_norm=True).double().train()


def given(kind: type[nn.Module]) -> list[Tensor]:
    maps = torch.rand(2, 3, 32, 32, dtype=torch.float64).softmax(dim=1)
    return [maps] if kind is FullyConvolutionalDiscriminator else [maps, torch.rand_like(maps)]


both = pytest.mark.parametrize("kind", [FullyConvolutionalDiscriminator, ImageDiscriminator])


@both
def test_spectral_norm_bounds_every_layer_and_adds_no_parameter(kind: type[nn.Module]) -> None:
    model, maps = bounded(kind), given(kind)
    for _ in range(60):
        model(*maps)
    layers = [m for m in model.eval().modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    norms = [float(torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2)) for m in layers]
    assert len(layers) == 5
    assert norms == pytest.approx([1.0] * 5, abs=5e-3)
    plain = kind(3, width=4)
    count = sum(p.numel() for p in plain.parameters())
    assert sum(p.numel() for p in model.parameters()) == count
    assert not any("parametrizations" in key for key in plain.state_dict())


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [(FullyConvolutionalDiscriminator, 2_783_169), (ImageDiscriminator, 2_778_561)],
)
def test_parameter_count_with_spectral_norm(kind: type[nn.Module], parameters: int) -> None:
    assert sum(p.numel() for p in kind(21, spectral_norm=True).parameters()) == parameters


@both
def test_its_estimate_moves_in_train_mode_alone(kind: type[nn.Module]) -> None:
    model, maps = bounded(kind), given(kind)
    state = copy.deepcopy(model.state_dict())
    model.eval()(*maps)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    model.train()(*maps)
    after = model.state_dict()
    moved = {key.split(".")[-1] for key in state if not torch.equal(state[key], after[key])}
    assert moved == {"_u", "_v"}


@both
def test_gradients_of_a_pass_do_not_depend_on_later_passes(kind: type[nn.Module]) -> None:
    """One look serves two players, with other looks between: each keeps its own estimate."""
    maps, later = given(kind), given(kind)
    vectors = []
    for passes in (0, 3):
        model = bounded(kind)
        for layer in model.modules():
            if isinstance(layer, nn.Dropout2d):
                layer.p = 0.0
        said = model(*maps)
        for _ in range(passes):
            model(*later)
        loss = (said if isinstance(said, Tensor) else said[0]).square().sum()
        vectors.append(torch.autograd.grad(loss, list(model.parameters())))
    assert all(map(torch.equal, *vectors))
