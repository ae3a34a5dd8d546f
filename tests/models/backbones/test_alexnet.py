from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import alexnet

from semisup.models.backbones.alexnet import FORMS, AlexNetFeatures


@pytest.mark.parametrize(("form", "count"), [("alexnet", 2_469_696), ("bvlc_alexnet", 2_334_080)])
def test_parameter_count(form: str, count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in AlexNetFeatures(FORMS[form]).parameters()) == count


def test_keys_and_shapes_are_those_of_torchvision() -> None:
    with torch.device("meta"):
        theirs = alexnet().features.state_dict(prefix="features.")
        ours = AlexNetFeatures().state_dict()
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in theirs.items()}


def test_output_is_that_of_torchvision() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        network = alexnet()
    theirs = network.features.to_empty(device="cpu").eval()
    ours = AlexNetFeatures().eval()
    theirs.load_state_dict(ours.features.state_dict())
    image = torch.randn(1, 3, 99, 81)
    with torch.no_grad():
        torch.testing.assert_close(ours(image)[-1], theirs(image))


def test_the_other_form_is_that_of_caffe() -> None:
    """Written out; a response is divided by its neighbours' mean square over five channels."""
    torch.manual_seed(0)
    backbone = AlexNetFeatures(FORMS["bvlc_alexnet"], ceil_mode=True, first_padding=100)
    convolutions = [layer for layer in backbone.features if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        convolutions[0].weight.mul_(30)  # so that the normalisation has something to do
    maps = image = torch.randn(2, 3, 20, 33)
    settings = ((4, 100, 1), (1, 2, 2), (1, 1, 1), (1, 1, 2), (1, 1, 2))
    expected = []
    with torch.no_grad():
        for number, (layer, (stride, padding, groups)) in enumerate(
            zip(convolutions, settings, strict=True)
        ):
            maps = F.conv2d(maps, layer.weight, layer.bias, stride, padding, groups=groups).relu()
            if number in (0, 1, 4):
                maps = F.max_pool2d(maps, 3, 2, ceil_mode=True)
                expected.append(maps)
            if number in (0, 1):
                squares = F.pad(maps.square(), (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
                normal = maps / (1 + 1e-4 / 5 * squares) ** 0.75
                assert not torch.allclose(normal, maps, rtol=1e-3)
                maps = normal
        for ours, theirs in zip(backbone(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_pooled_sizes_of_fcn(form: str) -> None:
    with torch.device("meta"):
        backbone = AlexNetFeatures(FORMS[form], ceil_mode=True, first_padding=100)
        stages = backbone.stages(torch.empty(1, 3, 500, 375))
    assert [tuple(stage.size) for stage in stages] == [(173, 142), (86, 71), (43, 35)]
    assert [tuple(s.pooled.shape[2:]) for s in stages] == [(86, 71), (43, 35), (21, 17)]
    assert tuple(stage.pooled.shape[1] for stage in stages) == backbone.channels
    assert all(stage.indices is None for stage in stages)


def test_start_keeps_the_variance() -> None:
    torch.manual_seed(0)
    backbone = AlexNetFeatures()
    spread = float(backbone.features[6].weight.detach().std())
    assert spread == pytest.approx((2 / (192 * 9)) ** 0.5, rel=0.02)
    assert not any(p.any() for key, p in backbone.named_parameters() if key.endswith("bias"))
