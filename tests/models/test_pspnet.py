from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50

from semisup.errors import RecipeError
from semisup.models.backbones.resnet import ResNetFeatures
from semisup.models.pspnet import BINS, PoolingPyramid, PSPNet
from tests.support.resnets import State, normalised, part, randomised, resnet_stages


def build(classes: int = 4, **options: Any) -> PSPNet:
    with torch.device("meta"):
        return PSPNet(classes, **options)


def numbers(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("backbone", "classes", "with_auxiliary", "without"),
    [
        ("resnet50", 21, 49_081_578, 46_716_373),
        ("resnet50", 19, 49_080_038, 46_715_347),
        ("resnet50", 150, 49_180_908, 46_782_550),
        ("resnet101", 21, 68_073_706, 65_708_501),
        ("resnet101", 19, 68_072_166, 65_707_475),
        ("resnet101", 150, 68_173_036, 65_774_678),
    ],
)
def test_parameter_counts(backbone: str, classes: int, with_auxiliary: int, without: int) -> None:
    """Of hszhao/semseg."""
    assert numbers(build(classes, backbone=backbone)) == with_auxiliary
    assert numbers(build(classes, backbone=backbone, auxiliary_weight=0.0)) == without


@pytest.mark.parametrize(
    ("backbone", "expected"), [("resnet50", 46_592_597), ("resnet101", 65_584_725)]
)
def test_parameter_counts_with_a_plain_stem(backbone: str, expected: int) -> None:
    """Of ST++."""
    model = build(21, backbone=backbone, deep_stem=False, auxiliary_weight=0.0)
    assert numbers(model) == expected


@pytest.mark.parametrize(("side", "expected"), [(473, 60), (713, 90), (480, 60), (65, 9), (64, 8)])
def test_sizes(side: int, expected: int) -> None:
    """473 and 713 are of the authors' crops; 480 and 64, which their code refuses, are taken."""
    model = build()
    third, last = model.encode(torch.empty(2, 3, side, side, device="meta"))
    assert third.shape == (2, 1024, expected, expected)
    assert last.shape == (2, 2048, expected, expected)
    assert model.pyramid(last).shape == (2, 4096, expected, expected)


def test_dilations() -> None:
    """Every block of the last two stages is dilated, the first too."""
    model = build(backbone="resnet101")
    for stage, count, dilation in ((model.backbone.layer3, 23, 2), (model.backbone.layer4, 3, 4)):
        assert [block.conv2.dilation for block in stage] == [(dilation, dilation)] * count
        assert {block.conv2.stride for block in stage} == {(1, 1)}


def test_the_bins_cover_every_pixel() -> None:
    torch.manual_seed(0)
    pyramid = PoolingPyramid(3, 2).eval()
    features = torch.randn(1, 3, 13, 17)
    for side, level in zip(BINS, pyramid.levels, strict=True):
        again = features.clone().requires_grad_()
        pooled = level[0](again)
        assert pooled.shape[-2:] == (side, side)
        pooled.sum().backward()
        assert again.grad is not None
        assert (again.grad > 0).all()
    assert torch.equal(pyramid(features)[:, :3], features)


def their_state(classes: int = 4) -> State:
    """A file of the authors' code with its own names, on a ResNet-50."""

    def block(channels: int, width: int, side: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, width, side, bias=False), nn.BatchNorm2d(width)]

    with torch.device("meta"):
        backbone = ResNetFeatures(deep_stem=True)
        assert isinstance(backbone.conv1, nn.Sequential)
        whole = nn.Module()
        whole.layer0 = nn.Sequential(*backbone.conv1, backbone.bn1)
        for number in range(1, 5):
            setattr(whole, f"layer{number}", getattr(backbone, f"layer{number}"))
        whole.ppm = nn.Module()
        whole.ppm.features = nn.ModuleList(
            nn.Sequential(nn.Identity(), *block(2048, 512, 1)) for _ in range(4)
        )
        for name, channels, width in (("cls", 4096, 512), ("aux", 1024, 256)):
            rest = [nn.ReLU(), nn.Dropout2d(), nn.Conv2d(width, classes, 1)]
            setattr(whole, name, nn.Sequential(*block(channels, width, 3), *rest))
    return randomised(whole.state_dict())


def their_maps(state: State, image: Tensor) -> list[Tensor]:
    """The main and the auxiliary map in eval mode, at the size of the image."""
    stem = ("conv1.0", "conv1.1", "", "conv1.3", "conv1.4", "", "conv1.6", "bn1")
    body = {k: t for k, t in state.items() if k.startswith("layer")}
    for number, name in enumerate(stem):
        body |= {f"{name}.{k}": t for k, t in part(state, f"layer0.{number}.").items() if name}
    strides, dilations = (1, 2, 1, 1), ([1], [1], [2], [4])
    _, _, third, last = resnet_stages(body, image, strides=strides, dilations=dilations)

    def larger(maps: Tensor, size: torch.Size) -> Tensor:
        return F.interpolate(maps, list(size), mode="bilinear", align_corners=True)

    pyramid = [last]
    for number, side in enumerate((1, 2, 3, 6)):
        key = f"ppm.features.{number}"
        pooled = F.conv2d(F.adaptive_avg_pool2d(last, side), state[f"{key}.1.weight"])
        pyramid.append(larger(normalised(state, f"{key}.2", pooled).relu(), last.shape[-2:]))
    found = []
    for key, maps in (("cls", torch.cat(pyramid, 1)), ("aux", third)):
        maps = F.conv2d(maps, state[f"{key}.0.weight"], padding=1)
        maps = normalised(state, f"{key}.1", maps).relu()
        maps = F.conv2d(maps, state[f"{key}.4.weight"], state[f"{key}.4.bias"])
        found.append(larger(maps, image.shape[-2:]))
    return found


def test_a_file_of_the_authors_gives_its_maps() -> None:
    state = their_state()
    model = build().eval()
    adapted = model.adapt_weights(dict(state))
    assert (
        adapted.keys()
        == model.adapt_weights({f"module.{key}": t for key, t in state.items()}).keys()
    )
    model.load_state_dict(adapted, assign=True)
    image = torch.randn(1, 3, 65, 89, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = their_maps(state, image), model.training_logits(image)
        assert torch.equal(model(image), found[0])
    for ours, theirs in zip(found, expected, strict=True):
        assert float(theirs.std()) > 0.01
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * scale)


def test_torchvisions_resnets_fit_a_plain_stem() -> None:
    model = build(deep_stem=False)
    with torch.device("meta"):
        state = model.adapt_weights(resnet50().state_dict())
    own = model.state_dict()
    backbone = {key for key in own if key.startswith("backbone.")}
    assert backbone == state.keys() & own.keys()
    assert all(state[key].shape == own[key].shape for key in backbone)
    assert state.keys() - own.keys() == {"fc.weight", "fc.bias"}


def test_the_auxiliary_head_is_trained_and_can_be_left_out() -> None:
    image = torch.empty(2, 3, 40, 56, device="meta")
    with_head, without = build(), build(auxiliary_weight=0.0)
    assert with_head.auxiliary_weights == (0.4,)
    assert build(auxiliary_weight=0.2).auxiliary_weights == (0.2,)
    assert [tuple(m.shape) for m in with_head.training_logits(image)] == [(2, 4, 40, 56)] * 2
    assert without.auxiliary_weights == ()
    assert len(without.training_logits(image)) == 1
    assert not any(key.startswith("auxiliary") for key in without.state_dict())


def test_all_but_the_backbone_learns_ten_times_faster() -> None:
    model = build()
    backbone, head = model.parameter_groups()
    assert (backbone.name, backbone.lr_scale) == ("backbone", 1.0)
    assert (head.name, head.lr_scale) == ("head", 10.0)
    assert {id(p) for p in backbone.params} == {id(p) for p in model.backbone.parameters()}
    assert sum(p.numel() for p in head.params) == numbers(model) - numbers(model.backbone)


def test_whole_channels_are_dropped() -> None:
    drops = [layer for layer in build().modules() if isinstance(layer, nn.Dropout2d)]
    assert [layer.p for layer in drops] == [0.1, 0.1]


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(RecipeError, match="auxiliary_weight of at least 0, not"):
        build(auxiliary_weight=weight)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"no backbone 'resnet5'\. Did you mean 'resnet50'"):
        build(backbone="resnet5")
