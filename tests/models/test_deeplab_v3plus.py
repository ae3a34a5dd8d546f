from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

from semisup.errors import RecipeError
from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.deeplab_v3plus import DeepLabV3Plus


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
