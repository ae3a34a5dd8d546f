from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v2, resnet50

from semisup.errors import RecipeError
from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.deeplab_v3plus import DeepLabV3Plus
from tests.support.resnets import State, normalised, part, randomised, resnet_stages


def separable_parameters(channels: int, out: int) -> int:
    return 9 * channels + 2 * channels + channels * out + 2 * out


def test_parameter_count() -> None:
    with torch.device("meta"):
        backbone, head = (
            sum(p.numel() for p in group.params) for group in DeepLabV3Plus(21).parameter_groups()
        )
        whole = sum(p.numel() for p in mobilenet_v2().features.parameters())
    assert backbone == whole - (320 * 1280 + 2 * 1280)
    pyramid = (320 * 256 + 512) + 3 * separable_parameters(320, 256) + (320 * 256 + 256)
    decoder = (24 * 48 + 96) + separable_parameters(304, 256) + separable_parameters(256, 256)
    assert head == pyramid + (5 * 256 * 256 + 512) + decoder + (256 * 21 + 21)


@pytest.mark.parametrize(("output_stride", "step"), [(16, 2), (8, 4)])
def test_dilation_sees_the_same_pixels_more_densely(output_stride: int, step: int) -> None:
    torch.manual_seed(0)
    dense = MobileNetV2Features(output_stride=output_stride).double().eval()
    original = mobilenet_v2().features[:18].double().eval()
    original.load_state_dict(dense.features.state_dict())
    image = torch.randn(1, 3, 101, 130, dtype=torch.float64)
    with torch.no_grad():
        low, high = dense(image)
        expected = original(image)
        assert torch.equal(low, original[:4](image))
    assert high.shape[-2:] == (-(-101 // output_stride), -(-130 // output_stride))
    size = float(expected.abs().max())  # far from 1 with untrained weights
    torch.testing.assert_close(high[..., ::step, ::step] / size, expected / size)


@pytest.mark.parametrize(
    ("output_stride", "rates", "side"), [(16, [6, 12, 18], 15), (8, [12, 24, 36], 29)]
)
def test_rates_and_sizes(output_stride: int, rates: list[int], side: int) -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(2, output_stride=output_stride)
        low, high = model.encode(torch.empty(2, 3, 225, 225))
        logits = model.decode([low, high])
    dilations = [
        layer.dilation[0]
        for layer in model.pyramid.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert dilations == rates
    assert (low.shape[1:], high.shape[1:]) == ((24, 57, 57), (320, side, side))
    assert logits.shape == (2, 2, 57, 57)


def test_learns_from_one_image_of_the_smallest_size() -> None:
    model = DeepLabV3Plus(2).train()
    model(torch.randn(1, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_head_learns_ten_times_faster() -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(2)
    backbone, head = model.parameter_groups()
    assert (backbone.name, backbone.lr_scale) == ("backbone", 1.0)
    assert (head.name, head.lr_scale) == ("head", 10.0)
    assert {id(p) for p in backbone.params} == {id(p) for p in model.backbone.parameters()}


def test_the_whole_picture_reaches_every_pixel() -> None:
    torch.manual_seed(0)
    model = DeepLabV3Plus(2).double().eval()
    features = torch.randn(1, 320, 60, 60, dtype=torch.float64)
    features.requires_grad_()
    model.pyramid(features)[0, :, 0, 0].sum().backward()
    assert features.grad is not None
    # (59, 59) lies beyond the largest rate of the atrous branches: only the pooled branch sees it.
    assert features.grad[0, :, 59, 59].any()


def test_unknown_backbone_and_stride_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"'mobilenet_v3'\. Did you mean 'mobilenet_v2'"):
        DeepLabV3Plus(2, backbone="mobilenet_v3")
    with pytest.raises(RecipeError, match="output_stride 8 or 16, not 32"):
        DeepLabV3Plus(2, output_stride=32)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backbone", "deep_stem", "at_21", "output_stride"),
    [
        ("resnet50", True, 40_475_957, 8),  # of UniMatch
        ("resnet50", True, 40_475_957, 16),
        ("resnet101", True, 59_468_085, 16),
        ("resnet50", False, 40_352_181, 16),  # of ST++
        ("resnet101", False, 59_344_309, 8),
    ],
)
def test_parameter_counts_on_resnets(
    backbone: str, deep_stem: bool, at_21: int, output_stride: Any
) -> None:
    for classes in (21, 81):
        with torch.device("meta"):
            model = DeepLabV3Plus(
                classes, backbone=backbone, deep_stem=deep_stem, output_stride=output_stride
            )
        assert sum(p.numel() for p in model.parameters()) == at_21 + 257 * (classes - 21)
    buffers = sum(b.numel() for key, b in model.named_buffers() if "running" in key)
    if deep_stem:
        assert buffers == {"resnet50": 57_696, "resnet101": 109_920}[backbone]


@pytest.mark.parametrize(
    ("backbone", "size", "expected"),
    [
        ("resnet50", (321, 321), 31.715),
        ("resnet101", (180, 240), 16.419),
        pytest.param("resnet50", (360, 480), 50.851, marks=pytest.mark.slow),
        pytest.param("resnet50", (801, 801), 190.998, marks=pytest.mark.slow),
        pytest.param("resnet101", (512, 512), 95.698, marks=pytest.mark.slow),
        pytest.param("resnet101", (801, 801), 240.261, marks=pytest.mark.slow),
    ],
)
def test_multiply_adds_on_resnets(backbone: str, size: tuple[int, int], expected: float) -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(21, backbone=backbone, deep_stem=True).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, *size))
    assert counter.get_total_flops() / 2e9 == pytest.approx(expected, abs=5e-4)


def unimatch_state() -> State:
    """A file of UniMatch with its own names, on a ResNet-50 with a deep stem, 4 classes."""

    def norm(channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels)

    def convolution(channels: int, width: int, side: int) -> nn.Conv2d:
        return nn.Conv2d(channels, width, side, bias=False)

    with torch.device("meta"):
        backbone = DeepLabV3Plus(4, backbone="resnet50", deep_stem=True).backbone
        head = nn.Module()
        for number in range(4):
            side = 3 if number else 1
            layers = nn.Sequential(convolution(2048, 256, side), norm(256))
            setattr(head, f"b{number}", layers)
        head.b4 = nn.Module()
        head.b4.gap = nn.Sequential(nn.Identity(), convolution(2048, 256, 1), norm(256))
        head.project = nn.Sequential(convolution(1280, 256, 1), norm(256))
        whole = nn.Module()
        whole.backbone, whole.head = backbone, head
        whole.reduce = nn.Sequential(convolution(256, 48, 1), norm(48))
        whole.fuse = nn.Sequential(
            convolution(304, 256, 3), norm(256), nn.ReLU(), convolution(256, 256, 3), norm(256)
        )
        whole.classifier = nn.Conv2d(256, 4, 1)
    return randomised(whole.state_dict())


def unimatch_forward(state: State, image: Tensor) -> Tensor:
    def block(key: str, maps: Tensor, dilation: int = 1, norm: str = "", first: int = 0) -> Tensor:
        weight = state[f"{key}.{first}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        maps = F.conv2d(maps, weight, padding=padding, dilation=dilation)
        return normalised(state, f"{key}.{first + 1}", maps).relu()

    def larger(maps: Tensor, size: torch.Size) -> Tensor:
        return F.interpolate(maps, list(size), mode="bilinear", align_corners=True)

    low, _, _, high = resnet_stages(
        part(state, "backbone."),
        image,
        strides=(1, 2, 2, 1),
        dilations=([1], [1], [1], [1, 2]),
    )
    seen = [block(f"head.b{n}", high, rate) for n, rate in enumerate((1, 6, 12, 18))]
    whole = block("head.b4.gap", high.mean((2, 3), keepdim=True), first=1)
    seen.append(larger(whole, high.shape[-2:]))
    context = larger(block("head.project", torch.cat(seen, 1)), low.shape[-2:])
    merged = torch.cat([block("reduce", low), context], 1)
    merged = block("fuse", block("fuse", merged), first=3)
    logits = F.conv2d(merged, state["classifier.weight"], state["classifier.bias"])
    return larger(logits, image.shape[-2:])


def test_a_file_of_unimatch_gives_its_logits() -> None:
    state = unimatch_state()
    with torch.device("meta"):
        model = DeepLabV3Plus(4, backbone="resnet50", deep_stem=True).eval()
    adapted = model.adapt_weights(dict(state))
    wrapped = model.adapt_weights({f"module.{key}": value for key, value in state.items()})
    assert adapted.keys() == wrapped.keys()
    model.load_state_dict(adapted, assign=True)
    image = torch.randn(1, 3, 97, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = unimatch_forward(state, image)
        found = model(image)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_torchvisions_resnets_fit() -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(2, backbone="resnet50")
        state = model.adapt_weights(resnet50().state_dict())
    own = model.state_dict()
    backbone = {key for key in own if key.startswith("backbone.")}
    assert backbone == state.keys() & own.keys()
    assert all(state[key].shape == own[key].shape for key in backbone)
    assert state.keys() - own.keys() == {"fc.weight", "fc.bias"}


def test_dilations_with_a_multi_grid() -> None:
    def of(**options: Any) -> list[int]:
        with torch.device("meta"):
            model = DeepLabV3Plus(2, backbone="resnet50", **options)
        return [block.conv2.dilation[0] for block in model.backbone.layer4]

    assert of() == [1, 2, 2]
    assert of(multi_grid=True) == [2, 4, 8]
    assert of(output_stride=8) == [2, 4, 4]
    assert of(output_stride=8, multi_grid=True) == [4, 8, 16]


@pytest.mark.parametrize("option", ["multi_grid", "deep_stem"])
def test_what_is_of_resnets_is_refused_elsewhere(option: str) -> None:
    with pytest.raises(RecipeError, match=f"has {option} on a ResNet alone.*choose backbone"):
        DeepLabV3Plus(2, **{option: True})  # type: ignore[arg-type]
    with torch.device("meta"):
        DeepLabV3Plus(2, backbone="resnet152", **{option: True})  # type: ignore[arg-type]


def test_on_a_resnet_one_image_in_a_batch_is_refused_by_its_norms() -> None:
    with torch.device("meta"):
        model = DeepLabV3Plus(2, backbone="resnet50").train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model(torch.empty(1, 3, 64, 64, device="meta"))
    assert model(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 2, 64, 64)


def test_the_head_on_a_resnet_starts_from_torchs_own_weights() -> None:
    torch.manual_seed(0)
    model = DeepLabV3Plus(5, backbone="resnet50")
    for layer in model.pyramid.modules():
        if isinstance(layer, nn.Conv2d):
            bound = (layer.in_channels * layer.kernel_size[0] ** 2) ** -0.5
            assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)
    assert model.classifier.bias is not None
    assert model.classifier.bias.any()
    assert not any(isinstance(layer, nn.Dropout) for layer in model.modules())
