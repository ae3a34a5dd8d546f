"""What is special to LR-ASPP: its counts, and that it is torchvision's head on our encoder."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v2
from torchvision.models.segmentation import lraspp as peer

from semisup.models.lraspp import LRASPP
from semisup.models.weights import load_weights


@pytest.mark.parametrize(
    ("classes", "count"), [(7, 1_895_022), (11, 1_895_670), (21, 1_897_290), (22, 1_897_452)]
)
def test_parameters(classes: int, count: int) -> None:
    with torch.device("meta"):
        model = LRASPP(classes)
    backbone, head = (sum(p.numel() for p in g.params) for g in model.parameter_groups())
    assert backbone == 1_811_712
    assert backbone + head == count == sum(p.numel() for p in model.parameters())
    running = (key.endswith(("_mean", "_var")) for key, _ in model.named_buffers())
    sizes = (buffer.numel() for buffer in model.buffers())
    assert sum(n for n, counted in zip(sizes, running, strict=True) if counted) == 31_808


@pytest.mark.parametrize(
    ("size", "expected"), [((360, 480), 1.632), ((180, 240), 0.422), ((512, 512), 2.436)]
)
def test_multiply_adds(size: tuple[int, int], expected: float) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        LRASPP(21).eval()(torch.empty(1, 3, *size))
    assert counter.get_total_flops() / 2e9 == pytest.approx(expected, abs=0.0005)


class Backbone(nn.Module):
    """torchvision's own MobileNetV2 with the dilation of output stride 16 written out."""

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2().features[:18]
        self.features[14].conv[1][0].stride = (1, 1)
        for block in self.features[15:18]:
            block.conv[1][0].dilation = block.conv[1][0].padding = (2, 2)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        low = self.features[:7](image)
        return OrderedDict(low=low, high=self.features[7:](low))


@pytest.mark.parametrize("size", [(65, 97), (32, 32)])
def test_it_is_torchvisions(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours = LRASPP(5).double().eval()
    theirs = peer.LRASPP(Backbone(), 32, 320, 5, 128).double().eval()
    state = ours.state_dict()
    theirs.load_state_dict({key.replace("head.", "classifier."): state[key] for key in state})
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image)["out"])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (33, 40)])
def test_the_joined_map_has_the_same_scores(
    size: tuple[int, int], layout: torch.memory_format
) -> None:
    model = LRASPP(5).eval().to(memory_format=layout)
    features = model.encode(torch.randn(2, 3, *size).contiguous(memory_format=layout))
    joined = model.classify(model.embed(features))
    torch.testing.assert_close(model.decode(features), joined, rtol=0, atol=1e-6)


def test_sizes_of_its_maps() -> None:
    with torch.device("meta"):
        model = LRASPP(3)
        low, high = model.encode(torch.empty(2, 3, 225, 100))
        embedding = model.embed([low, high])
    assert low.shape == (2, 32, 29, 13)
    assert high.shape == (2, 320, 15, 7)
    assert embedding.shape == (2, 160, 29, 13)


def test_learns_from_one_image_of_the_smallest_size() -> None:
    torch.manual_seed(0)
    model = LRASPP(2).train()
    model(torch.randn(1, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_head_learns_ten_times_faster() -> None:
    with torch.device("meta"):
        backbone, head = LRASPP(2).parameter_groups()
    assert (backbone.name, backbone.lr_scale) == ("backbone", 1.0)
    assert (head.name, head.lr_scale) == ("head", 10.0)


def test_torchvisions_weights_fill_the_backbone(shared_weights: Path) -> None:
    path = shared_weights / "mobilenet_v2_features.safetensors"
    report = load_weights(LRASPP(21), path)
    assert not report.misfits
    assert all(key.startswith("head.") for key in report.missing)
    assert {key.split(".")[2] for key in report.unused} == {"18"}
