"""What is special to DeconvNet: its size, and a decoder that puts maxima back in their place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.models.backbones.base import PooledStage
from semisup.models.backbones.vgg import VGG16Features
from semisup.models.deconvnet import DeconvDecoder, DeconvNet
from semisup.models.layers import WideDeconvolution
from semisup.system.device import deterministic


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_the_authors_network() -> None:
    with torch.device("meta"):
        assert parameters(DeconvNet(21)) == 251_805_653


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_wide_deconvolution_is_torchs(kernel: int) -> None:
    torch.manual_seed(0)
    ours = WideDeconvolution(5, 4, kernel)
    theirs = nn.ConvTranspose2d(5, 4, kernel)
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(ours(maps), theirs(maps), rtol=1e-5, atol=1e-5)
    ours.to(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(maps), theirs(maps), rtol=1e-5, atol=1e-5)


def deviations(model: DeconvNet) -> dict[str, float]:
    convolutions = nn.Conv2d | nn.ConvTranspose2d
    layers = {k: m for k, m in model.named_modules() if isinstance(m, convolutions)}
    return {name: float(layer.weight.detach().std()) for name, layer in layers.items()}


def test_the_decoder_starts_from_the_authors_gaussian_and_fc6_and_fc7_from_he() -> None:
    """0.01 in every layer of the decoder; torch's own would be 0.0085 for the widest ones."""
    torch.manual_seed(0)
    model = DeconvNet(21, width=64, kernel=3)
    found = deviations(model)
    decoder = {name: value for name, value in found.items() if name.startswith("decoder.")}
    assert len(decoder) == 1 + 13
    assert decoder == {name: pytest.approx(0.01, rel=0.02) for name in decoder}
    assert found["score"] == pytest.approx(0.01, rel=0.1)  # of 1,344 weights
    assert found["fc6.0"] == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)
    assert found["fc7.0"] == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    for part in (model.fc6, model.fc7, model.decoder, model.score):
        biases = [m.bias for m in part.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        assert not any(bias.any() for bias in biases)


def test_biases_of_convolutions_learn_twice_as_fast_without_decay() -> None:
    with torch.device("meta"):
        model = DeconvNet(21, width=8)
    weights, biases = model.parameter_groups()
    assert (weights.lr_scale, weights.decay_scale) == (1.0, 1.0)
    assert (biases.lr_scale, biases.decay_scale) == (2.0, 0.0)
    assert len(biases.params) == 13 + 2 + 1 + 13 + 1  # VGG16, fc6 and fc7, the decoder, scores
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {id(p) for norm in norms for p in norm.parameters()} <= {id(p) for p in weights.params}


def widths(decoder: DeconvDecoder) -> list[list[tuple[int, int]]]:
    return [
        [(m.in_channels, m.out_channels) for m in group.modules() if isinstance(m, nn.Conv2d)]
        for group in decoder.groups
    ]


def test_groups_of_the_authors_decoder() -> None:
    with torch.device("meta"):
        decoder = DeconvDecoder(2048, VGG16Features.channels, 7)
    assert widths(decoder) == [
        [(512, 512)] * 3,
        [(512, 512), (512, 512), (512, 256)],
        [(256, 256), (256, 256), (256, 128)],
        [(128, 128), (128, 64)],
        [(64, 64), (64, 64)],
    ]


def test_skips_append_the_encoders_own_maps() -> None:
    with torch.device("meta"):
        decoder = DeconvDecoder(8, (24, 32, 96, 320), 3, width=64, upsampling="skip")
    first = [group[0] for group in widths(decoder)]
    assert first == [(64 + 96, 64), (64 + 32, 64), (32 + 24, 32), (16, 16)]


def stages_of(image: Tensor, depth: int) -> list[PooledStage]:
    found = []
    for _ in range(depth):
        size = image.shape[-2:]
        image, indices = F.max_pool2d(image, 2, return_indices=True)
        found.append(PooledStage(image, indices, size))
    return found


def test_unpooling_puts_each_maximum_where_it_was() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 4, 7, 9)  # odd: the last row and column are in no window
    (stage,) = stages_of(image, 1)
    decoder = DeconvDecoder(3, (4,), 1, width=4)
    raised = decoder._up(stage.pooled, stage, None)
    assert raised.shape == image.shape
    kept = raised != 0
    assert int(kept.sum()) == stage.pooled.numel()
    assert torch.equal(raised[kept], image[kept])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_step_has_the_same_bits_with_deterministic_algorithms(
    layout: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    stages = stages_of(torch.rand(2, 4, 16, 12).contiguous(memory_format=layout), 1)
    decoder = DeconvDecoder(3, (4,), 1, width=4).to(memory_format=layout)
    features = torch.randn(3, 3, 8, 6).contiguous(memory_format=layout)
    rows = torch.tensor([1, 0, 1])

    def maps_and_gradients() -> list[Tensor]:
        maps = decoder(features, stages, rows)
        return [maps, *torch.autograd.grad(maps.square().mean(), list(decoder.parameters()))]

    expected = maps_and_gradients()
    with deterministic(True):
        found = maps_and_gradients()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_rows_take_the_switches_of_their_own_image() -> None:
    torch.manual_seed(0)
    image = torch.rand(3, 4, 8, 8)
    stages = stages_of(image, 1)
    decoder = DeconvDecoder(5, (4,), 1, width=4).eval()
    rows = torch.tensor([2, 0, 2])
    features = torch.randn(3, 5, 4, 4)
    together = decoder(features, stages, rows)
    for i, row in enumerate(rows.tolist()):
        alone = stages_of(image[row : row + 1], 1)
        expected = decoder(features[i : i + 1], alone)
        torch.testing.assert_close(together[i : i + 1], expected, rtol=1e-5, atol=1e-6)


def test_torchvisions_classifier_fits() -> None:
    with torch.device("meta"):
        model = DeconvNet(3, width=4096)
        state = {
            "features.0.weight": torch.empty(64, 3, 3, 3),
            "features.1.running_mean": torch.empty(64),
            "classifier.0.weight": torch.empty(4096, 25088),
            "classifier.3.weight": torch.empty(4096, 4096),
        }
        own = model.state_dict()
        adapted = model.adapt_weights(state)
    assert {key: own[key].shape for key in adapted} == {k: v.shape for k, v in adapted.items()}


def test_a_finer_image_pads_to_what_fc6_needs() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        features = DeconvNet(3, width=8).encode(torch.empty(1, 3, 40, 230))
    assert [tuple(f.shape[-2:]) for f in features[:5]] == [
        (112, 128),
        (56, 64),
        (28, 32),
        (14, 16),
        (7, 8),
    ]


def test_refuses_widths_and_kernels_of_zero() -> None:
    with pytest.raises(ValueError, match="width must be at least 1"):
        DeconvNet(3, width=0)
    with pytest.raises(ValueError, match="kernel must be at least 1"):
        DeconvNet(3, kernel=0)
