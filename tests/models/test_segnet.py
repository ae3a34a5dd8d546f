"""What is special to SegNet and its relatives: counts, sizes, switches, where dropout is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support.networks import shuffled
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import vgg16, vgg16_bn

from semisup.errors import RecipeError
from semisup.models.base import Segmenter
from semisup.models.layers import dropout_active
from semisup.models.segnet import MEAN, STD, BayesianSegNet, SegNet, SegNetBasic, _raw_values
from semisup.models.weights import load_weights, read_weights
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD, normalise
from semisup.system.device import deterministic


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("network", "classes", "count"),
    [
        (SegNet, 11, 29_449_355),
        (SegNet, 12, 29_449_932),
        (SegNet, 21, 29_455_125),
        (SegNet, 37, 29_464_357),
        (BayesianSegNet, 11, 29_449_355),
        (BayesianSegNet, 21, 29_455_125),
        (SegNetBasic, 11, 1_416_587),
        (SegNetBasic, 21, 1_417_237),
    ],
)
def test_parameters_of_the_release(network: type[Segmenter], classes: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(network(classes)) == count


@pytest.mark.parametrize(
    ("network", "height", "width", "gmac"),
    [(SegNet, 360, 480, 106.71), (SegNet, 360, 640, 142.28), (SegNetBasic, 360, 480, 59.19)],
)
def test_multiply_adds(network: type[Segmenter], height: int, width: int, gmac: float) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network(11).eval()(torch.empty(1, 3, height, width))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, abs=5e-3)


SIZES = [(360, 480), (180, 240), (90, 120), (45, 60), (23, 30), (12, 15)]
"""Of the maps of an image of 360 x 480, as in the release."""


@pytest.mark.parametrize(("network", "depth"), [(SegNet, 5), (SegNetBasic, 4)])
def test_sizes_inside(network: type[Segmenter], depth: int) -> None:
    up: list[tuple[int, ...]] = []
    with torch.device("meta"):
        model = network(11)
        for block in model.decoder:
            block.register_forward_pre_hook(lambda _, call: up.append(tuple(call[0].shape[-2:])))
        features = model.encode(torch.empty(1, 3, 360, 480))
        model.decode(features)
    assert [tuple(m.shape[-2:]) for m in features[:depth]] == SIZES[1 : depth + 1]
    assert [m.shape for m in features[depth:]] == [m.shape for m in features[:depth]]
    assert up == SIZES[:depth][::-1]


def test_widths_of_the_decoder() -> None:
    with torch.device("meta"):
        model = SegNet(11)
    found = [
        [(m.in_channels, m.out_channels) for m in stage.modules() if isinstance(m, nn.Conv2d)]
        for stage in model.decoder
    ]
    assert found == [
        [(512, 512)] * 3,
        [(512, 512), (512, 512), (512, 256)],
        [(256, 256), (256, 256), (256, 128)],
        [(128, 128), (128, 64)],
        [(64, 64)],
    ]
    assert (model.classifier.kernel_size, model.classifier.in_channels) == ((3, 3), 64)


def pool_by_loop(maps: Tensor) -> tuple[Tensor, list[tuple[int, int, int]]]:
    """Maxima of the 2 x 2 windows of `maps` (1CHW), rounded up, and where they were: c, y, x."""
    channels, height, width = maps.shape[1:]
    rows, columns = -(-height // 2), -(-width // 2)
    pooled = torch.empty(1, channels, rows, columns)
    places = []
    for c, row, column in itertools.product(range(channels), range(rows), range(columns)):
        window = maps[0, c, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        down, right = divmod(int(window.argmax()), window.shape[1])
        places.append((c, 2 * row + down, 2 * column + right))
        pooled[0, c, row, column] = window[down, right]
    return pooled, places


def unpool_by_loop(maps: Tensor, places: list[tuple[int, int, int]], size: torch.Size) -> Tensor:
    """Values of `maps` (1Chw) at `places` of maps of `size`, zeros elsewhere."""
    raised = torch.zeros(1, maps.shape[1], *size)
    for value, (c, y, x) in zip(maps.flatten(), places, strict=True):
        raised[0, c, y, x] = value
    return raised


def convolve(maps: Tensor, layers: nn.Module, *, relu: bool) -> Tensor:
    """`maps` through the convolutions of `layers`, each with its norm, as Caffe spells it out."""
    convolutions = [m for m in layers.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in layers.modules() if isinstance(m, nn.BatchNorm2d)]
    for conv, norm in zip(convolutions, norms, strict=True):
        maps = F.conv2d(maps, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2)
        mean, variance, scale, shift = (
            v[:, None, None] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        maps = (maps - mean) / (variance + norm.eps).sqrt() * scale + shift
        maps = maps.clamp(min=0) if relu else maps
    return maps


@torch.no_grad()
def transcribed(model: SegNet | SegNetBasic, image: Tensor) -> Tensor:
    """Logits of `image` (1CHW, even sides), with loops that pool and unpool."""
    basic = isinstance(model, SegNetBasic)
    if basic:
        squares = image.square().sum(dim=1, keepdim=True)  # three channels are in one window of 5
        maps, encoder = image / (1 + 1e-4 / 5 * squares) ** 0.75, list(model.encoder)
    else:
        numbers = (0, 7, 14, 24, 34, 44)
        maps = image
        encoder = [model.backbone.features[a:b] for a, b in itertools.pairwise(numbers)]
    stack = []
    for block in encoder:
        maps = convolve(maps, block, relu=True)
        pooled, places = pool_by_loop(maps)
        stack.append((places, maps.shape[-2:]))
        maps = pooled
    for block in model.decoder:
        maps = convolve(unpool_by_loop(maps, *stack.pop()), block, relu=not basic)
    classifier = model.classifier
    padding = classifier.kernel_size[0] // 2
    return F.conv2d(maps, classifier.weight, classifier.bias, padding=padding)


@pytest.mark.parametrize(("network", "height"), [(SegNet, 10), (SegNetBasic, 18)])
def test_forward_is_that_of_a_transcription(network: type[Segmenter], height: int) -> None:
    """Sides of 5 and 9 inside: a switch at the wrong width would put values elsewhere."""
    torch.manual_seed(0)
    model = shuffled(network(5))
    image = torch.randn(1, 3, height, 14)
    expected = transcribed(model, image)
    with torch.no_grad():
        torch.testing.assert_close(model(image), expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 0


def test_odd_images_are_padded_by_a_pixel() -> None:
    torch.manual_seed(0)
    model = shuffled(SegNetBasic(3))
    image = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        padded = model(F.pad(image, (0, 1, 0, 1)))
        assert torch.equal(model(image), padded[..., :33, :47])


def test_the_decoder_of_basic_has_no_relu_and_that_of_segnet_has() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        basic, whole = SegNetBasic(3).eval(), SegNet(3).eval()
        assert float(basic.embed(basic.encode(image)).min()) < 0
        assert float(whole.embed(whole.encode(image)).min()) == 0
    blocks = [m for m in basic.decoder.modules() if not isinstance(m, nn.Sequential)]
    assert not any(isinstance(m, nn.ReLU) for m in blocks)


def test_local_response_normalisation_changes_normalised_images_by_next_to_nothing() -> None:
    white = torch.tensor([2.249, 2.429, 2.640]).reshape(1, 3, 1, 1)
    changed = SegNetBasic(2).normalise(white)
    assert 0 < float((1 - changed / white).max()) < 3e-4
    raw = SegNetBasic(2).normalise(torch.full((1, 3, 1, 1), 255.0))
    assert float(raw.max()) == pytest.approx(255 / (1 + 1e-4 / 5 * 3 * 255**2) ** 0.75, rel=1e-5)


def test_raw_values_are_those_that_were_normalised() -> None:
    """The release's first convolution sees x / (1 + 1e-4 / 5 sum x^2)^0.75 of 0 to 255."""
    assert (MEAN, STD) == (IMAGENET_MEAN, IMAGENET_STD)
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, 32, 34), dtype=torch.uint8)
    image = normalise(pixels)
    model = SegNetBasic(2, raw_values=True).eval()
    raw = pixels.float()
    expected = raw / (1 + 1e-4 / 5 * raw.square().sum(1, keepdim=True)) ** 0.75
    seen: list[Tensor] = []
    model.encoder[0].register_forward_hook(lambda module, arguments, out: seen.append(arguments[0]))
    with torch.no_grad():
        model(image)
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-4)
    assert list(model.state_dict()) == list(SegNetBasic(2).state_dict())


def test_bright_greys_come_out_alike_of_raw_values_alone() -> None:
    greys = torch.tensor([50, 128, 255], dtype=torch.uint8).expand(1, 3, 2, 3)
    raw = SegNetBasic(2).normalise(_raw_values(normalise(greys)))
    assert raw[0, 0, 0].tolist() == pytest.approx([45.0, 76.6, 77.4], abs=0.05)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_raw_values_of_other_channels_are_refused(channels: int) -> None:
    with pytest.raises(RecipeError, match=rf"^model\.raw_values: .*{channels} channels\. Set it"):
        SegNetBasic(2, in_channels=channels, raw_values=True)


class Recorder(nn.Module):
    """Passes maps on and writes down their channels, height and dropout rate."""

    def __init__(self, inner: nn.Module, seen: list[tuple[int, int, float]]) -> None:
        super().__init__()
        self.inner, self.seen = inner, seen

    def forward(self, maps: Tensor) -> Tensor:
        rate = self.inner.p if isinstance(self.inner, nn.Dropout) else 0.0
        self.seen.append((maps.shape[1], maps.shape[2], rate))
        return maps


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: BayesianSegNet(2),
            (
                *((64, 32, 0), (128, 16, 0), (256, 8, 0.5), (512, 4, 0.5), (512, 2, 0.5)),
                *((512, 4, 0.5), (256, 8, 0.5), (128, 16, 0.5), (64, 32, 0), (64, 64, 0)),
            ),
        ),
        (
            lambda: SegNetBasic(2, dropout=0.25),
            (
                *((64, 32, 0), (64, 16, 0), (64, 8, 0.25), (64, 4, 0.25)),
                *((64, 8, 0.25), (64, 16, 0.25), (64, 32, 0), (64, 64, 0)),
            ),
        ),
        (lambda: SegNetBasic(2), tuple((64, s, 0) for s in (32, 16, 8, 4, 8, 16, 32, 64))),
    ],
    ids=["bayesian", "basic with dropout", "basic"],
)
def test_where_dropout_is(
    make: Callable[[], SegNet], expected: tuple[tuple[int, int, float], ...]
) -> None:
    seen: list[tuple[int, int, float]] = []
    with torch.device("meta"):
        model = make()
        model.dropouts = nn.ModuleList(Recorder(inner, seen) for inner in model.dropouts)
        model(torch.empty(1, 3, 64, 64))
    assert tuple(seen) == expected


def test_dropout_leaves_the_switches_alone() -> None:
    torch.manual_seed(0)
    model = SegNetBasic(2, dropout=0.5).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        still = model.encode(image)
        with dropout_active(model):
            sampled = model.encode(image)
    assert torch.equal(still[4 + 2], sampled[4 + 2])  # of the third pooling, before its dropout
    kept = sampled[2] != 0
    assert not kept.all()
    torch.testing.assert_close(sampled[2][kept], 2 * still[2][kept])


def test_samples_of_bayesian_segnet() -> None:
    torch.manual_seed(0)
    model = BayesianSegNet(3).eval()
    image = torch.randn(1, 3, 32, 32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        alone = model(image)
        with dropout_active(model):
            samples = torch.stack([model(image) for _ in range(4)])
        assert torch.equal(model(image), alone)
    assert (samples.var(dim=0) > 0).any(dim=1).all()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_start() -> None:
    torch.manual_seed(0)
    for model, shift in ((SegNet(3), 0.001), (BayesianSegNet(3), 0.0), (SegNetBasic(3), 0.001)):
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert (layer.bias == shift).all()
                assert (layer.weight == 1).all()
            elif isinstance(layer, nn.Conv2d):
                assert not layer.bias.any()
        deepest = model.decoder[0][0]
        conv = deepest if isinstance(deepest, nn.Conv2d) else deepest[0]
        incoming = conv.in_channels * conv.kernel_size[0] ** 2
        assert float(conv.weight.detach().std()) == pytest.approx((2 / incoming) ** 0.5, rel=0.02)


def test_groups_of_segnet() -> None:
    with torch.device("meta"):
        weights, biases, shifts = SegNet(3).parameter_groups()
    assert [(g.lr_scale, g.decay_scale) for g in (weights, biases, shifts)] == [
        (1.0, 1.0),
        (2.0, 0.0),
        (1.0, 0.0),
    ]
    assert len(biases.params) == 13 + 13  # the decoder has one convolution less, and the scores
    assert len(shifts.params) == 13 + 12
    assert len(weights.params) == len(biases.params) + len(shifts.params)


def test_groups_of_basic() -> None:
    with torch.device("meta"):
        weights, biases = SegNetBasic(3).parameter_groups()
    assert (biases.lr_scale, biases.decay_scale) == (2.0, 0.0)
    assert (len(weights.params), len(biases.params)) == (9 + 2 * 8, 9)


@pytest.mark.parametrize("theirs", [vgg16, vgg16_bn])
def test_torchvisions_convolutions_fit_with_and_without_norms(
    theirs: Callable[[], nn.Module],
) -> None:
    with torch.device("meta"):
        state = theirs().state_dict()
        model = SegNet(3)
        adapted = model.adapt_weights(state)
        own = model.state_dict()
    fitting = {key: value for key, value in adapted.items() if key in own}
    assert all(own[key].shape == value.shape for key, value in fitting.items())
    convolutions = [v for k, v in state.items() if k.startswith("features.") and v.dim() == 4]
    found = [v for v in fitting.values() if v.dim() == 4]
    assert [id(v) for v in found] == [id(v) for v in convolutions]
    assert len(adapted) - len(fitting) == 6  # three layers of the classifier


def test_vgg16_fills_the_convolutions_of_the_encoder(shared_weights: Path) -> None:
    path = shared_weights / "vgg16_features.safetensors"
    model = SegNet(11)
    report = load_weights(model, path)
    assert len(report.loaded) == 26
    assert not report.unused
    assert not report.misfits
    deepest = model.backbone.features[40]
    assert torch.equal(deepest.weight, read_weights(path)["features.28.weight"].float())


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_refuses_rates_that_are_none(rate: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        SegNetBasic(3, dropout=rate)


def test_trains_with_deterministic_algorithms() -> None:
    torch.manual_seed(0)
    model = SegNetBasic(3)
    image = torch.randn(1, 3, 32, 32)
    torch.manual_seed(1)
    expected = model(image)
    with deterministic(True):
        torch.manual_seed(1)
        logits = model(image)
        logits.square().mean().backward()
    assert torch.equal(logits, expected)
    assert all(p.grad is not None for p in model.parameters())
