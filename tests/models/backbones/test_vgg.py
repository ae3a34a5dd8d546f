from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import vgg16, vgg16_bn

from semisup.models.backbones.vgg import VGG16Features

KEYS = {False: vgg16, True: vgg16_bn}


def test_parameter_count() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in VGG16Features().parameters()) == 14_714_688


@pytest.mark.parametrize("batch_norm", [False, True])
def test_keys_and_shapes_are_those_of_torchvision(batch_norm: bool) -> None:
    with torch.device("meta"):
        theirs = KEYS[batch_norm]().features.state_dict(prefix="features.")
        ours = VGG16Features(batch_norm=batch_norm).state_dict()
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in theirs.items()}


def test_output_is_that_of_torchvision() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        network = vgg16()
    theirs = network.features.to_empty(device="cpu").eval()
    ours = VGG16Features().eval()
    theirs.load_state_dict(ours.features.state_dict())
    image = torch.randn(1, 3, 37, 41)
    with torch.no_grad():
        torch.testing.assert_close(ours(image)[-1], theirs(image))


@pytest.mark.parametrize(
    ("ceil_mode", "heights", "widths"),
    [
        (True, [180, 90, 45, 23, 12], [240, 120, 60, 30, 15]),
        (False, [180, 90, 45, 22, 11], [240, 120, 60, 30, 15]),
    ],
)
def test_pooled_sizes_of_camvid(ceil_mode: bool, heights: list[int], widths: list[int]) -> None:
    with torch.device("meta"):
        maps = VGG16Features(ceil_mode=ceil_mode)(torch.empty(1, 3, 360, 480))
    assert [tuple(m.shape[-2:]) for m in maps] == list(zip(heights, widths, strict=True))
    assert [m.shape[1] for m in maps] == [64, 128, 256, 512, 512]


def test_indices_put_maxima_back_where_they_were() -> None:
    torch.manual_seed(0)
    backbone = VGG16Features(ceil_mode=True)
    before: list[Tensor] = []
    backbone.features[3].register_forward_hook(lambda *call: before.append(call[-1].clone()))
    with torch.no_grad():
        stage = backbone.stages(torch.randn(1, 3, 35, 45))[0]
    assert stage.size == (35, 45)
    back = F.max_unpool2d(stage.pooled, stage.indices, 2, 2, output_size=list(stage.size))
    kept = back != 0
    assert kept.any()
    assert torch.equal(back[kept], before[0][kept])
    assert torch.equal(F.max_pool2d(back, 2, 2, ceil_mode=True), stage.pooled)


def test_start_keeps_the_variance() -> None:
    torch.manual_seed(0)
    backbone = VGG16Features()
    spread = float(backbone.features[10].weight.detach().std())
    assert spread == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert not any(p.any() for key, p in backbone.named_parameters() if key.endswith("bias"))
