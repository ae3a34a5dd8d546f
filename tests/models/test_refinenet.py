"""What is special to RefineNet: its counts, the port's forward pass, and its backbone's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50, resnet101

from semisup.errors import RecipeError
from semisup.models.refinenet import ChainedPooling, RefineNet, ResidualUnit


@pytest.mark.parametrize(
    ("backbone", "count"),
    [("resnet50", 99_060_309), ("resnet101", 118_052_437), ("resnet152", 133_696_085)],
)
def test_parameters(backbone: str, count: int) -> None:
    with torch.device("meta"):
        model = RefineNet(21, backbone=backbone)
    assert sum(p.numel() for p in model.parameters()) == count
    assert sum(p.numel() for p in model.classifier.parameters()) == 21 * (256 * 9 + 1)


@pytest.mark.parametrize(
    ("size", "expected"), [((400, 400), (100, 100)), ((375, 500), (94, 125)), ((32, 33), (8, 9))]
)
def test_scores_have_a_quarter_of_the_size_rounded_up(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    with torch.device("meta"):
        model = RefineNet(2, backbone="resnet50", width=8).eval()
        features = model.encode(torch.empty(2, 3, *size))
        logits = model.decode(features)
    assert [f.shape[1] for f in features] == [256, 512, 1024, 2048]
    assert logits.shape == (2, 2, *expected)


def port(model: RefineNet, image: Tensor) -> Tensor:
    """DrSleep/refinenet-pytorch: `RefineNet.forward`, `RCUBlock` and `CRPBlock`, in eval mode."""

    def rcu(units: Any, x: Tensor) -> Tensor:
        for unit in units:
            residual = x
            x = unit.conv1(torch.relu(x))
            x = unit.conv2(torch.relu(x))
            x = x + residual
        return x

    def crp(pooling: ChainedPooling, x: Tensor) -> Tensor:
        top = x
        for conv in pooling.convs:
            top = conv(F.max_pool2d(top, kernel_size=5, stride=1, padding=2))
            x = top + x
        return x

    def raised(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)

    net: Any = model.backbone
    x = net.maxpool(net.relu(net.bn1(net.conv1(image))))
    l1 = net.layer1(x)
    l2 = net.layer2(l1)
    l3 = net.layer3(l2)
    l4 = net.layer4(l3)
    one, *others = model.blocks
    x = rcu(one.adapt, one.reduce(l4))
    x = rcu(one.output, crp(one.pooling, torch.relu(x)))
    for block, maps in zip(others, (l3, l2, l1), strict=True):
        x = raised(block.join_below(x), maps)
        x = block.join(rcu(block.adapt, block.reduce(maps))) + x
        x = rcu(block.output, crp(block.pooling, torch.relu(x)))
    logits: Tensor = model.classifier(x)
    return logits


@pytest.mark.parametrize("size", [(64, 96), (45, 33)])
def test_it_is_the_port(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = RefineNet(3, backbone="resnet50", width=6).eval()
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        scores = port(model, image)
        torch.testing.assert_close(model.decode(model.encode(image)), scores)
        whole = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        torch.testing.assert_close(model(image), whole)


def test_the_first_relu_of_a_unit_leaves_its_input_alone() -> None:
    torch.manual_seed(0)
    unit = ResidualUnit(4)
    assert unit.conv1.bias is not None
    assert unit.conv2.bias is None
    nn.init.zeros_(unit.conv2.weight)
    maps = torch.randn(1, 4, 5, 5)
    before = maps.clone()
    with torch.no_grad():
        assert torch.equal(unit(maps), before), "negative values pass"
    assert torch.equal(maps, before)


def test_a_chain_of_four_poolings_sees_eight_pixels_around() -> None:
    pooling = ChainedPooling(1, 4).double()
    for conv in pooling.convs:
        nn.init.zeros_(conv.weight)
        nn.init.ones_(conv.weight[:, :, 1:2, 1:2])
    maps = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    maps[0, 0, 10, 10] = 1.0
    with torch.no_grad():
        rows = pooling(maps)[0, 0, 10]
    # the value itself, and each of the four poolings two pixels further than the one before
    assert rows.tolist() == [max(0, 5 - (abs(place - 10) + 1) // 2) for place in range(21)]


def test_dropout_on_the_two_coarsest_maps_and_before_the_classifier() -> None:
    model = RefineNet(2, backbone="resnet50", width=4).train()
    assert model.dropout.p == 0.5
    shapes: list[tuple[int, ...]] = []
    model.dropout.register_forward_hook(lambda module, args, out: shapes.append(out.shape[1:]))
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 64))
    assert shapes == [(1024, 4, 4), (2048, 2, 2), (4, 16, 16)]


def test_the_head_learns_ten_times_faster() -> None:
    with torch.device("meta"):
        model = RefineNet(2, backbone="resnet50", width=4)
    backbone, head = model.parameter_groups()
    assert (backbone.name, backbone.lr_scale) == ("backbone", 1.0)
    assert (head.name, head.lr_scale) == ("head", 10.0)
    assert sum(p.numel() for p in backbone.params) == 23_508_032


@pytest.mark.parametrize(("name", "network"), [("resnet50", resnet50), ("resnet101", resnet101)])
def test_torchvisions_weights_fill_the_backbone(name: str, network: Any) -> None:
    with torch.device("meta"):
        model = RefineNet(2, backbone=name, width=4)
        state = model.adapt_weights(network().state_dict())
    own = model.state_dict()
    assert {key for key in state if key not in own} == {"fc.weight", "fc.bias"}
    assert {key for key in own if key not in state and key.startswith("backbone.")} == set()
    assert all(own[key].shape == value.shape for key, value in state.items() if key in own)


@pytest.mark.parametrize(("name", "network"), [("resnet50", resnet50), ("resnet101", resnet101)])
def test_the_backbone_starts_as_torchvisions(name: str, network: Any) -> None:
    torch.manual_seed(0)
    model = RefineNet(2, backbone=name, width=4)
    torch.manual_seed(0)
    state = {key: value for key, value in network().state_dict().items() if key[:3] != "fc."}
    own = model.backbone.state_dict()
    assert list(own) == list(state)
    assert all(torch.equal(own[key], value) for key, value in state.items())


def test_frozen_statistics_stay_and_normalise_in_training_too() -> None:
    """As guosheng/refinenet: the given moments, whatever the batch, and scales that are trained."""
    torch.manual_seed(0)
    model = RefineNet(2, backbone="resnet50", width=4, frozen_statistics=True)
    norms = [layer for layer in model.backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.running_var, 20.0, 30.0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    image = torch.randn(1, 3, 64, 64)  # the release trains on one image at a time
    with torch.no_grad():
        trained = model.train().backbone.stages(image)[-1].pooled
        assert torch.equal(trained, model.eval().backbone.stages(image)[-1].pooled)
    model.train()(image).sum().backward()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert len(norms) == 53
    assert all(norm.weight.grad is not None and norm.weight.requires_grad for norm in norms)
    assert model.dropout.training
    assert not any(norm.training for norm in norms)
    counted = sum(len(group.params) for group in model.parameter_groups())
    assert counted == len(list(model.parameters()))


def test_statistics_follow_the_batches_unless_they_are_frozen() -> None:
    model = RefineNet(2, backbone="resnet50", width=4)
    assert all(layer.training for layer in model.modules())
    model.encode(torch.randn(2, 3, 64, 64))
    assert float(model.backbone.bn1.running_var.std()) > 0


def test_unknown_backbones_and_no_width_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"no backbone 'resnet51'\. Did you mean 'resnet50'"):
        RefineNet(2, backbone="resnet51")
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        RefineNet(2, width=0)
