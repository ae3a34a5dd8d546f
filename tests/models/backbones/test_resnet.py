from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet50, resnet101, resnet152

from semisup.errors import RecipeError
from semisup.models.backbones.resnet import (
    DEPTHS,
    ResNet50Features,
    ResNetFeatures,
    adapt_resnet,
    named_resnet,
)
from tests.support.resnets import resnet_stages, shake_norms

STAGES = ("layer1", "layer2", "layer3", "layer4")


def build(depth: Any = 50, **options: Any) -> ResNetFeatures:
    with torch.device("meta"):
        return ResNetFeatures(depth, **options)


def numbers(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def last_dilations(**options: Any) -> list[list[int]]:
    """Of the 3 x 3 convolutions of the last two stages, block by block."""
    model = build(**options)
    return [[block.conv2.dilation[0] for block in stage] for stage in (model.layer3, model.layer4)]


@pytest.mark.parametrize(
    ("depth", "count", "blocks"),
    [
        (50, 23_508_032, [3, 4, 6, 3]),
        (101, 42_500_160, [3, 4, 23, 3]),
        (152, 58_143_808, [3, 8, 36, 3]),
    ],
)
def test_counts_blocks_and_keys(depth: int, count: int, blocks: list[int]) -> None:
    model = build(depth)
    assert numbers(model) == count
    assert [len(getattr(model, stage)) for stage in STAGES] == blocks
    with torch.device("meta"):
        theirs = {50: resnet50, 101: resnet101, 152: resnet152}[depth]().state_dict()
    whole = {key: value.shape for key, value in theirs.items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in model.state_dict().items()} == whole
    assert set(DEPTHS) == {18, 50, 101, 152}


@functools.cache
def count_of(depth: int) -> int:
    return numbers(build(depth))


@pytest.mark.parametrize(
    ("depth", "output_stride"), [(50, 8), (50, 16), (50, 32), (101, 8), (152, 16)]
)
def test_a_deep_stem_and_a_smaller_stride_cost_no_other_parameters(
    depth: int, output_stride: int
) -> None:
    """123,776 is what separates ST++'s published networks from UniMatch's."""
    plain = numbers(build(depth, output_stride=output_stride))
    assert plain == count_of(depth)
    assert numbers(build(depth, output_stride=output_stride, deep_stem=True)) == plain + 123_776


@pytest.mark.parametrize(
    ("options", "third", "fourth"),
    [
        ({}, [1, 1], [1, 1, 1]),
        ({"output_stride": 16}, [1, 1], [1, 2, 2]),
        ({"output_stride": 8}, [1, 2], [2, 4, 4]),
        ({"output_stride": 16, "dilate_first": True}, [1, 1], [2, 2, 2]),
        ({"output_stride": 8, "dilate_first": True}, [2, 2], [4, 4, 4]),
        ({"output_stride": 16, "multi_grid": True}, [1, 1], [2, 4, 8]),
        ({"output_stride": 8, "multi_grid": True}, [1, 2], [4, 8, 16]),
        ({"output_stride": 32, "multi_grid": True}, [1, 1], [1, 2, 4]),
    ],
)
@pytest.mark.parametrize("deep_stem", [False, True])
def test_dilations(
    options: dict[str, Any], third: list[int], fourth: list[int], deep_stem: bool
) -> None:
    found = last_dilations(deep_stem=deep_stem, **options)
    assert found[0][:2] == third
    assert set(found[0][1:]) == {third[1]}
    assert found[1] == fourth


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_equals_torchvisions_dilated_network(output_stride: int) -> None:
    torch.manual_seed(0)
    ours = ResNetFeatures(output_stride=output_stride).eval()  # type: ignore[arg-type]
    shake_norms(ours)
    replaced = [False, output_stride < 16, output_stride < 32]
    theirs = resnet50(replace_stride_with_dilation=replaced).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    image = torch.randn(1, 3, 65, 50)
    with torch.no_grad():
        found = [stage.pooled for stage in ours.stages(image)]
        maps = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        for stage, map_ in zip(STAGES, found, strict=True):
            maps = getattr(theirs, stage)(maps)
            assert torch.equal(map_, maps)
    assert found[-1].shape[-2:] == (-(-65 // output_stride), -(-50 // output_stride))


@pytest.mark.parametrize(("output_stride", "step"), [(16, 2), (8, 4)])
def test_dilation_sees_the_same_pixels_more_densely(output_stride: Any, step: int) -> None:
    torch.manual_seed(0)
    dense = ResNetFeatures(output_stride=output_stride).eval()
    shake_norms(dense)
    original = ResNetFeatures().eval()
    original.load_state_dict(dense.state_dict())
    image = torch.randn(1, 3, 101, 70)
    with torch.no_grad():
        found, expected = (model.stages(image)[-1].pooled for model in (dense, original))
    size = float(expected.abs().max())
    torch.testing.assert_close(found[..., ::step, ::step] / size, expected / size)


@pytest.mark.parametrize(
    ("options", "strides", "dilations"),
    [
        ({"output_stride": 8, "dilate_first": True}, (1, 2, 1, 1), ([1], [1], [2], [4])),
        ({"output_stride": 16, "multi_grid": True}, (1, 2, 2, 1), ([1], [1], [1], [2, 4, 8])),
        (
            {"output_stride": 8, "dilate_first": True, "caffe": True},
            (1, 2, 1, 1),
            ([1], [1], [2], [4]),
        ),
        ({"caffe": True}, (1, 2, 2, 2), ([1], [1], [1], [1])),
        ({"output_stride": 16, "deep_stem": True}, (1, 2, 2, 1), ([1], [1], [1], [1, 2])),
    ],
    ids=["first dilated", "multi-grid", "caffe", "caffe of stride 32", "deep stem"],
)
def test_equals_a_second_writing(
    options: dict[str, Any], strides: tuple[int, ...], dilations: tuple[list[int], ...]
) -> None:
    torch.manual_seed(0)
    model = ResNetFeatures(**options).eval()
    shake_norms(model)
    image = torch.randn(1, 3, 64, 49)  # even and odd: poolings that round up and down differ
    caffe = options.get("caffe", False)
    with torch.no_grad():
        found = [stage.pooled for stage in model.stages(image)]
        expected = resnet_stages(
            model.state_dict(), image, strides=strides, dilations=dilations, caffe=caffe
        )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_caffes_sizes() -> None:
    """321 -> 41 and 505 -> 64 in AdvSemiSeg; 320 -> 41 too, where rounding down gives 40."""
    for side, caffe, expected in (
        (321, True, 41),
        (505, True, 64),
        (320, True, 41),
        (320, False, 40),
    ):
        model = build(output_stride=8, caffe=caffe)
        image = torch.empty(2, 3, side, side, device="meta")
        assert model.stages(image)[-1].pooled.shape[-1] == expected


@pytest.mark.parametrize("in_channels", [1, 3, 4])
def test_the_backbone_of_three_channels_starts_as_torchvisions(in_channels: int) -> None:
    torch.manual_seed(0)
    ours = ResNet50Features(in_channels=in_channels).state_dict()
    torch.manual_seed(0)
    theirs = resnet50().state_dict()
    differing = {key for key in ours if not torch.equal(ours[key], theirs[key])}
    assert differing == (set() if in_channels == 3 else {"conv1.weight"})
    assert ours["conv1.weight"].shape == (64, in_channels, 7, 7)


@pytest.mark.parametrize("in_channels", [1, 3, 4])
def test_a_deep_stem_keeps_the_variance_as_torchvisions_convolutions_do(in_channels: int) -> None:
    torch.manual_seed(0)
    model = ResNetFeatures(in_channels=in_channels, deep_stem=True)
    assert isinstance(model.conv1, nn.Sequential)
    assert model.conv1[0].weight.shape == (64, in_channels, 3, 3)
    for layer in (*model.conv1, model.layer1[0].conv1, model.layer1[0].downsample[0]):
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] ** 2
            assert float(layer.weight.detach().std()) == pytest.approx(
                (2 / fan_out) ** 0.5, rel=0.05
            )


def test_torchvisions_weights_fit_by_key() -> None:
    with torch.device("meta"):
        theirs = adapt_resnet(resnet50().state_dict(), backbone="backbone.")
    own = {f"backbone.{key}": value.shape for key, value in build().state_dict().items()}
    assert {key for key in theirs if key not in own} == {"fc.weight", "fc.bias"}
    assert all(theirs[key].shape == shape for key, shape in own.items())
    deep = {f"backbone.{key}": v.shape for key, v in build(deep_stem=True).state_dict().items()}
    unfit = {key for key, shape in deep.items() if key not in theirs or theirs[key].shape != shape}
    heads = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.0.conv1.weight")
    other = {key for key in unfit if not key.startswith(heads)}
    assert other == {"backbone.layer1.0.downsample.0.weight"}


def test_the_deep_stem_of_semsegs_files_is_found_under_its_other_names() -> None:
    own = build(deep_stem=True).state_dict()
    names = {
        "conv1.0.": "conv1.",
        "conv1.1.": "bn1.",
        "conv1.3.": "conv2.",
        "conv1.4.": "bn2.",
        "conv1.6.": "conv3.",
        "bn1.": "bn3.",
    }

    def their_name(key: str) -> str:
        for ours, theirs in names.items():
            if key.startswith(ours):
                return theirs + key.removeprefix(ours)
        return key

    file = {their_name(key): value for key, value in own.items()}
    adapted = adapt_resnet(file, backbone="b.")
    assert adapted.keys() == {f"b.{key}" for key in own}
    assert all(adapted[f"b.{key}"] is value for key, value in own.items())


@pytest.mark.parametrize("name", ["resnet18", "resnet", "mobilenet_v2"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"PSPNet has no backbone '{name}'"):
        named_resnet(name, "PSPNet")
