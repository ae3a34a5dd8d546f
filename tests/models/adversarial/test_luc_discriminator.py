"""The adversaries of Luc et al. 2016, against tables and windows written out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.adversarial.luc_discriminator import Adversary

POOL = (0, 0)
TABLES: dict[tuple[str, bool], list[tuple[int, int]]] = {
    ("large", False): [(96, 3), (128, 3), (128, 3), POOL, (256, 3), (256, 3), POOL, (512, 3)],
    ("large", True): [(96, 3), (128, 3), (128, 3), POOL, (128, 3), (128, 3), POOL, (256, 3)],
    ("small", False): [(96, 3), (128, 1), POOL, (256, 3), (256, 1), POOL, (512, 3)],
    ("small", True): [(96, 3), (128, 1), POOL, (128, 3), (128, 1), POOL, (256, 3)],
}
"""Channels and kernel of each convolution; the last, to one logit, has the kernel of LAST."""
LAST = {"large": 3, "small": 1}
SIDES = {"large": 34, "small": 18}
KINDS = list(itertools.product(SIDES, (False, True), ("basic", "product", "scaling")))

every_kind = pytest.mark.parametrize(("view", "light", "inputs"), KINDS)
every_view = pytest.mark.parametrize("view", SIDES)


def maps_and_image(
    height: int, width: int, classes: int = 3, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    maps = torch.rand(2, classes, height, width, dtype=dtype).mul(3).softmax(dim=1)
    return maps, torch.rand(2, 3, height, width, dtype=dtype)


# Layers


@pytest.mark.parametrize(
    ("view", "light", "inputs", "count"),
    [
        ("large", False, "basic", 2_338_785),
        ("large", False, "product", 2_382_849),
        ("large", True, "basic", 861_409),
        ("large", True, "product", 905_473),
        ("small", False, "basic", 1_564_513),
        ("small", False, "product", 1_608_577),
        ("small", True, "basic", 482_401),
        ("small", True, "product", 526_465),
    ],
)
def test_parameter_counts_of_the_docstring(view: str, light: bool, inputs: str, count: int) -> None:
    with torch.device("meta"):
        model = Adversary(21, view=view, light=light, inputs=inputs)
    assert sum(p.numel() for p in model.parameters()) == count
    assert f"{count:,}" in (Adversary.__doc__ or "")


@every_kind
@pytest.mark.parametrize("classes", [2, 21])
def test_parameter_counts_by_the_closed_formula(
    view: str, light: bool, inputs: str, classes: int
) -> None:
    """k k C D weights and D biases a layer; two branches of 48 make a first layer of 96."""
    expected = 9 * (3 * classes * 96 if inputs == "product" else (classes + 3) * 48) + 96
    rows = [row for row in TABLES[view, light] if row != POOL] + [(1, LAST[view])]
    for (before, _), (channels, kernel) in itertools.pairwise(rows):
        expected += kernel**2 * before * channels + channels
    with torch.device("meta"):
        model = Adversary(classes, view=view, light=light, inputs=inputs)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize(
    ("view", "light", "inputs"),
    [kind for kind in KINDS if kind[1:] not in ((True, "product"), (True, "scaling"))],
)
def test_the_layers_are_those_of_the_table(view: str, light: bool, inputs: str) -> None:
    torch.manual_seed(0)
    model = Adversary(3, view=view, light=light, inputs=inputs, width=32).double()
    for parameter in model.parameters():  # biases begin at 0, where they would not show
        if parameter.dim() == 1:
            nn.init.normal_(parameter)
    maps, image = maps_and_image(37, 42, dtype=torch.float64)
    convolutions = [m for m in model.layers if isinstance(m, nn.Conv2d)]
    first, *rows = TABLES[view, light]

    def convolved(features: Tensor, layer: nn.Conv2d, channels: int, kernel: int) -> Tensor:
        assert layer.weight.shape[0] == channels
        assert layer.weight.shape[2:] == (kernel, kernel)
        return F.conv2d(features, layer.weight, layer.bias, padding=(kernel - 1) // 2)

    if inputs == "product":
        products = [maps[:, k] * image[:, c] for k in range(3) for c in range(3)]
        assert model.image is None
        features = convolved(torch.stack(products, dim=1), model.maps, *first)
    else:
        assert model.image is not None
        sides = convolved(maps, model.maps, 48, 3), convolved(image, model.image, 48, 3)
        features = torch.cat(sides, dim=1)
    features = features.clamp(min=0)
    for row in rows:
        if row == POOL:
            features = F.max_pool2d(features, 2)
        else:
            features = convolved(features, convolutions.pop(0), *row).clamp(min=0)
    logits = convolved(features, convolutions.pop(0), 1, LAST[view])
    assert convolutions == []
    found = model(maps, image)
    assert found.shape == (2, 37 // 4, 42 // 4)
    assert torch.allclose(found, logits[:, 0], rtol=1e-12, atol=1e-12)


def test_the_width_is_the_unit_of_all_channels() -> None:
    model = Adversary(5, width=8)
    found = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert found == [12, 12, 32, 32, 64, 64, 128, 1]
    light = Adversary(5, light=True, inputs="product", width=5)
    found = [m.out_channels for m in light.modules() if isinstance(m, nn.Conv2d)]
    assert found == [15, 20, 20, 20, 20, 40, 1]
    odd = Adversary(5, width=1)
    assert (odd.maps.out_channels, odd.image.out_channels) == (2, 1)


@pytest.mark.parametrize("width", [0, -8])
def test_no_channels_are_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width must be at least 1, not {width}"):
        Adversary(3, width=width)


def test_first_opinions_are_neither_blind_nor_sure() -> None:
    """Weights that lose the variance would start all logits at 0, where S learns nothing."""
    torch.manual_seed(0)
    maps, image = maps_and_image(64, 64, classes=5)
    for view, light, inputs in KINDS:
        with torch.no_grad():
            logits = Adversary(5, view=view, light=light, inputs=inputs, width=8)(maps, image)
        assert 0.03 < float(logits.square().mean().sqrt()) < 10, (view, light, inputs)


# What a judgement sees


HEIGHT, WIDTH = 38, 42


@torch.no_grad()
def dependence(view: str, inputs: str, lit: str, place: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which pixels of the class maps, or of the image, a logit depends on: two maps, bool.

    A pixel at a time is the only one that is not black. With positive weights it passes every
    ReLU and wins every pooling, so whatever can reach the logit does.

    Returns:
        Where it was tried: all along the rows and columns at the window's edges and through its
        middle; and where the logit depends on the pixel.
    """
    torch.manual_seed(0)
    model = Adversary(1, view=view, inputs=inputs, width=1).double()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    inside = window(view, place)
    rows, columns = (inside.any(dim=dim).nonzero().flatten().tolist() for dim in (1, 0))
    tried = torch.zeros_like(inside)
    tried[[max(rows[0] - 1, 0), rows[0], rows[5], rows[-1], rows[-1] + 1]] = True
    tried[:, [max(columns[0] - 1, 0), columns[0], columns[5], columns[-1], columns[-1] + 1]] = True
    spots = F.one_hot(tried.flatten().nonzero().flatten(), HEIGHT * WIDTH).double()
    spots = spots.view(-1, 1, HEIGHT, WIDTH)
    dark = torch.zeros_like(spots[:1])
    logits = []
    for shown in (*spots.split(64), dark):
        even = torch.ones_like(shown)
        maps, image = (shown, even) if lit == "maps" else (even, shown)
        logits.append(model(maps, image.repeat(1, 3, 1, 1))[:, place[0], place[1]])
    found = torch.cat(logits)
    depends = torch.zeros_like(inside)
    depends[tried] = found[:-1] > found[-1] * (1 + 1e-10)  # rounding is below
    return tried, depends


def window(view: str, place: tuple[int, int]) -> Tensor:
    """The pixels that a place sees: from 15 or 7 before its first on."""
    seen = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    (top, left), side = (4 * i - {"large": 15, "small": 7}[view] for i in place), SIDES[view]
    seen[max(top, 0) : top + side, max(left, 0) : left + side] = True
    return seen


@every_view
@pytest.mark.parametrize("inputs", ["basic", "product"])
@pytest.mark.parametrize("lit", ["maps", "image"])
def test_the_logit_in_the_middle_sees_exactly_the_view(view: str, inputs: str, lit: str) -> None:
    expected = window(view, (4, 5))
    assert int(expected.sum()) == SIDES[view] ** 2
    tried, depends = dependence(view, inputs, lit, (4, 5))
    assert int(tried.sum()) > 5 * (HEIGHT + WIDTH) - 26
    assert torch.equal(depends, expected & tried)


@every_view
def test_the_logit_in_the_corner_sees_what_there_is(view: str) -> None:
    tried, depends = dependence(view, "basic", "maps", (0, 0))
    assert torch.equal(depends, window(view, (0, 0)) & tried)


@every_view
def test_no_gradient_reaches_beyond_the_view(view: str) -> None:
    torch.manual_seed(0)
    model = Adversary(2, view=view, width=4).double()
    inputs = [m.requires_grad_() for m in maps_and_image(HEIGHT, WIDTH, 2, torch.float64)]
    for gradient in torch.autograd.grad(model(*inputs)[0, 4, 5], inputs):
        reached = gradient[0].ne(0).any(dim=0)
        assert reached.any()
        assert not (reached & ~window(view, (4, 5))).any()


@every_view
@pytest.mark.parametrize("place", [(0, 0), (4, 5), (8, 9)])
def test_shares_are_of_what_the_logit_sees(view: str, place: tuple[int, int]) -> None:
    model = Adversary(2, view=view, width=1)
    valid = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.float64, requires_grad=True)
    shares = model.shares(valid)
    assert shares.shape == (1, 9, 10)
    (gradient,) = torch.autograd.grad(shares[0, place[0], place[1]], valid)
    expected = window(view, place).double() / SIDES[view] ** 2
    assert torch.allclose(gradient[0], expected, rtol=1e-12, atol=0)


def test_shares_by_hand() -> None:
    """Views from -7, -3, 1 and 5 on, 18 long, of 18 pixels: 11, 15, 17 and 13 of each are there."""
    model = Adversary(2, view="small", width=1)
    rows = torch.tensor([11.0, 15.0, 17.0, 13.0]) / 18
    assert torch.allclose(model.shares(torch.ones(1, 18, 18))[0], torch.outer(rows, rows))
    assert torch.equal(model.shares(torch.zeros(1, 18, 18)), torch.zeros(1, 4, 4))
    top = torch.ones(1, 18, 18)
    top[:, 3:] = 0  # seen by the first three alone: 3, 3 and 2 rows of it
    few = torch.tensor([3.0, 3.0, 2.0, 0.0]) / 18
    assert torch.allclose(model.shares(top)[0], torch.outer(few, rows))


@every_kind
@pytest.mark.parametrize("beyond", [(0, 0), (1, 0), (3, 30)])
def test_any_input_from_the_view_on_gives_a_map_and_every_parameter_learns(
    view: str, light: bool, inputs: str, beyond: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    height, width = (SIDES[view] + more for more in beyond)
    model = Adversary(3, view=view, light=light, inputs=inputs, width=4)
    maps, image = (m.requires_grad_() for m in maps_and_image(height, width))
    logits = model(maps, image)
    assert logits.shape == (2, height // 4, width // 4)
    assert model.shares(image[:, 0]).shape == logits.shape
    (logits * torch.randn_like(logits)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert maps.grad is not None
    assert maps.grad.any()
    assert image.grad is not None
    assert image.grad.any()


@every_view
@pytest.mark.parametrize("less", [(1, 0), (0, 1), (17, 17)])
def test_smaller_maps_are_refused(view: str, less: tuple[int, int]) -> None:
    side = SIDES[view]
    height, width = side - less[0], side - less[1]
    model = Adversary(3, view=view, width=1)
    line = f"at least {side} x {side} pixels, not {height} x {width}: train on larger crops"
    with pytest.raises(RecipeError, match=line):
        model(*maps_and_image(height, width))


def test_logits_are_not_squashed() -> None:
    model = Adversary(3, view="small", width=1)
    nn.init.constant_(model.layers[-1].bias, -50.0)
    with torch.no_grad():
        assert model(*maps_and_image(18, 20)).max() < -30


# Inputs


@pytest.mark.parametrize("inputs", ["basic", "scaling", "product"])
def test_both_class_maps_and_image_count(inputs: str) -> None:
    torch.manual_seed(0)
    model = Adversary(3, view="small", inputs=inputs, width=4)
    maps, image = maps_and_image(18, 18)
    with torch.no_grad():
        one, other_maps = model(maps, image), model(maps.flip(1), image)
        other_image = model(maps, image.flip(1))
    assert not torch.allclose(one, other_maps, rtol=1e-3)
    assert not torch.allclose(one, other_image, rtol=1e-3)


def test_a_black_image_hides_the_maps_of_a_product() -> None:
    torch.manual_seed(0)
    model = Adversary(3, view="small", inputs="product", width=4)
    maps, image = maps_and_image(18, 18)
    with torch.no_grad():
        black = torch.zeros_like(image)
        assert torch.equal(model(maps, black), model(maps.flip(1), black))


# Spectral normalisation


def effective(model: Adversary) -> list[Tensor]:
    return [m.weight.detach().flatten(1) for m in model.modules() if isinstance(m, nn.Conv2d)]


def test_spectral_norm_bounds_the_largest_singular_value_of_every_layer() -> None:
    torch.manual_seed(0)
    model = Adversary(3, view="small", width=4, spectral_norm=True).double().train()
    maps, image = maps_and_image(18, 18, dtype=torch.float64)
    for _ in range(100):
        model(maps, image)
    model.eval()
    norms = torch.stack([torch.linalg.matrix_norm(weight, 2) for weight in effective(model)])
    assert len(norms) == 7
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-3)
    plain = Adversary(3, view="small", width=4)
    assert all(torch.linalg.matrix_norm(weight, 2) > 1.2 for weight in effective(plain)[:-1])


def test_the_estimate_moves_in_train_mode_alone() -> None:
    torch.manual_seed(0)
    model = Adversary(3, view="small", width=4, spectral_norm=True)
    maps, image = maps_and_image(18, 18)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.eval()(maps, image)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    model.train()(maps, image)
    moved = {
        k.split(".")[-1] for k, v in model.state_dict().items() if not torch.equal(state[k], v)
    }
    assert moved == {"_u", "_v"}


# Names


def test_state_dict_keys() -> None:
    with torch.device("meta"):
        large = set(Adversary(3).state_dict())
        small = set(Adversary(3, view="small", inputs="product").state_dict())
    parts = ("weight", "bias")
    layers = {f"layers.{i}.{part}" for i in (1, 3, 6, 8, 11, 13) for part in parts}
    assert large == layers | {f"{m}.{part}" for m in ("maps", "image") for part in parts}
    layers = {f"layers.{i}.{part}" for i in (1, 4, 6, 9, 11) for part in parts}
    assert small == layers | {f"maps.{part}" for part in parts}
