from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet101

from semisup.errors import RecipeError
from semisup.models.backbones.resnet import ResNetFeatures
from semisup.models.deeplab_v2 import DeepLabV2
from tests.support.resnets import State, randomised, resnet_stages


def build(classes: int = 4, **options: Any) -> DeepLabV2:
    with torch.device("meta"):
        return DeepLabV2(classes, **options)


def numbers(model: nn.Module, *, trained: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize(
    ("classes", "expected", "trained"),
    [
        (7, 43_016_284, 42_910_940),
        (11, 43_311_212, 43_205_868),
        (19, 43_901_068, 43_795_724),
        (21, 44_048_532, 43_943_188),
    ],
)
def test_parameter_counts(classes: int, expected: int, trained: int) -> None:
    """Of AdvSemiSeg, which allocates four classifiers."""
    model = build(classes)
    assert numbers(model) == expected
    assert numbers(model, trained=True) == trained
    assert sum(b.numel() for key, b in model.named_buffers() if "running" in key) == 105_344


def test_parameter_counts_of_what_acts_and_on_a_smaller_backbone() -> None:
    two = build(21, branches=2)
    assert (numbers(two), numbers(two, trained=True)) == (43_274_346, 43_169_002)
    assert numbers(build(21, backbone="resnet50")) == 25_056_404  # of ST++


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((180, 240), 31.32),
        ((321, 321), 73.834),
        pytest.param((360, 480), 123.26, marks=pytest.mark.slow),
        pytest.param((512, 512), 185.61, marks=pytest.mark.slow),
    ],
)
def test_multiply_adds_of_two_branches(size: tuple[int, int], expected: float) -> None:
    model = build(21, branches=2).eval()
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, *size))
    assert counter.get_total_flops() / 2e9 == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("side", "expected"), [(321, 41), (320, 41), (33, 5)])
def test_sizes(side: int, expected: int) -> None:
    model = build()
    (deepest,) = model.encode(torch.empty(2, 3, side, side, device="meta"))
    assert deepest.shape == (2, 2048, expected, expected)
    assert model.decode([deepest]).shape == (2, 4, expected, expected)


def test_strides_and_dilations_are_those_of_the_code() -> None:
    backbone = build().backbone
    assert {block.conv2.stride for block in backbone.layer2} == {(1, 1)}
    assert [block.conv1.stride for block in backbone.layer2] == [(2, 2), *[(1, 1)] * 3]
    assert [block.conv2.dilation for block in backbone.layer3] == [(2, 2)] * 23
    assert [block.conv2.dilation for block in backbone.layer4] == [(4, 4)] * 3


def their_state() -> State:
    """A file of AdvSemiSeg with its own names, with the blocks of a ResNet-50, 4 classes."""
    with torch.device("meta"):
        whole = nn.Module()
        for name, layer in ResNetFeatures().named_children():
            setattr(whole, name, layer)
        whole.layer5 = nn.Module()
        whole.layer5.conv2d_list = nn.ModuleList(nn.Conv2d(2048, 4, 3) for _ in range(4))
    return randomised(whole.state_dict())


def their_logits(state: State, image: Tensor, acting: int) -> Tensor:
    strides, dilations = (1, 2, 1, 1), ([1], [1], [2], [4])
    deepest = resnet_stages(state, image, strides=strides, dilations=dilations, caffe=True)[-1]
    scores = [
        F.conv2d(
            deepest,
            state[f"layer5.conv2d_list.{number}.weight"],
            state[f"layer5.conv2d_list.{number}.bias"],
            padding=rate,
            dilation=rate,
        )
        for number, rate in enumerate((6, 12, 18, 24)[:acting])
    ]
    return F.interpolate(
        sum(scores, torch.zeros(())), list(image.shape[-2:]), mode="bilinear", align_corners=True
    )


@pytest.mark.parametrize("branches", [2, 4])
def test_a_file_of_advsemiseg_gives_its_logits(branches: int) -> None:
    state = their_state()
    model = build(backbone="resnet50", branches=branches).eval()
    adapted = model.adapt_weights(dict(state))
    own = model.state_dict()
    beyond = adapted.keys() - own.keys()
    assert len(beyond) == 2 * (4 - branches)
    model.load_state_dict({key: adapted[key] for key in own}, assign=True)
    image = torch.randn(1, 3, 96, 73, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = model(image), their_logits(state, image, branches)
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_torchvisions_resnet_fits() -> None:
    model = build()
    with torch.device("meta"):
        state = model.adapt_weights(resnet101().state_dict())
    own = model.state_dict()
    backbone = {key for key in own if key.startswith("backbone.")}
    assert backbone == state.keys() & own.keys()
    assert all(state[key].shape == own[key].shape for key in backbone)


def test_batch_norms_keep_their_scales_and_follow_their_statistics() -> None:
    torch.manual_seed(0)
    model = DeepLabV2(3, backbone="resnet50").train()
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(not p.requires_grad for layer in norms for p in layer.parameters())
    model(torch.randn(1, 3, 33, 33)).square().mean().backward()
    assert all(layer.running_mean is not None and layer.running_mean.any() for layer in norms)
    without = [key for key, p in model.named_parameters() if p.grad is None]
    assert len(without) == 2 * len(norms)


def test_classifiers_learn_ten_times_faster_and_norms_not_at_all() -> None:
    model = build()
    backbone, classifiers = model.parameter_groups()
    assert (backbone.name, backbone.lr_scale) == ("backbone", 1.0)
    assert (classifiers.name, classifiers.lr_scale) == ("classifiers", 10.0)
    assert all(p.requires_grad for p in (*backbone.params, *classifiers.params))
    assert sum(p.numel() for p in classifiers.params) == 4 * (2048 * 9 * 4 + 4)


def test_initial_classifiers() -> None:
    torch.manual_seed(0)
    model = DeepLabV2(21, backbone="resnet50")
    for layer in model.classifiers:
        assert isinstance(layer, nn.Conv2d)
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
        assert layer.bias is not None
        assert not layer.bias.any()


@pytest.mark.parametrize("branches", [0, 1, 3, 5])
def test_other_numbers_of_branches_are_refused(branches: Any) -> None:
    with pytest.raises(RecipeError, match=f"branches 2 or 4, not {branches}"):
        build(branches=branches)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"no backbone 'resnet10'\. Did you mean 'resnet101'"):
        build(backbone="resnet10")
