"""What is special to FC-DenseNet: its counts, the authors' stack, and the memory it can do with."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from semisup.models.fc_densenet import (
    FCDenseNet,
    FCDenseNet56,
    FCDenseNet67,
    FCDenseNet103,
    NormReluConv,
)
from semisup.models.layers import statistics_kept


class Tiny(FCDenseNet):
    """Blocks that all differ, for what holds whatever the numbers are."""

    growth = 3
    layers = (1, 2, 1, 3, 2, 2)


COUNTS = [
    (FCDenseNet56, 1_376_795, 1_397_963),
    (FCDenseNet67, 3_463_243, 3_502_923),
    (FCDenseNet103, 9_322_091, 9_425_163),
]


@pytest.mark.parametrize(("network", "learnable", "with_statistics"), COUNTS)
def test_parameters(network: type[FCDenseNet], learnable: int, with_statistics: int) -> None:
    with torch.device("meta"):
        model, larger = network(11), network(21)
    count = sum(p.numel() for p in model.parameters())
    statistics = [b.numel() for key, b in model.named_buffers() if "running" in key]
    assert count == learnable
    assert count + sum(statistics) == with_statistics
    slope = model.embedding_channels + 1
    assert sum(p.numel() for p in larger.parameters()) == learnable + 10 * slope


@pytest.mark.parametrize(
    ("network", "size", "expected"),
    [
        (FCDenseNet56, (360, 480), 30.70),
        (FCDenseNet56, (224, 224), 8.92),
        (FCDenseNet67, (360, 480), 71.97),
        (FCDenseNet67, (224, 224), 20.90),
        (FCDenseNet103, (360, 480), 69.07),
        (FCDenseNet103, (224, 224), 20.07),
    ],
)
def test_multiply_adds(network: type[FCDenseNet], size: tuple[int, int], expected: float) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network(11).eval()(torch.empty(1, 3, *size))
    assert counter.get_total_flops() / 2e9 == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("network", "layers"), [(FCDenseNet56, 56), (FCDenseNet67, 67), (FCDenseNet103, 103)]
)
def test_the_name_says_how_many_convolutions(network: type[FCDenseNet], layers: int) -> None:
    with torch.device("meta"):
        modules = list(network(11).modules())
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in modules) == layers


def test_channels_of_103_behind_every_block() -> None:
    with torch.device("meta"):
        model = FCDenseNet103(11)
        features = model.encode(torch.empty(2, 3, 360, 480))
    assert [f.shape[1] for f in features] == [112, 192, 304, 464, 656, 15 * 16]
    assert [tuple(f.shape[-2:]) for f in features] == [
        *[(360, 480), (180, 240), (90, 120), (45, 60), (22, 30), (11, 15)]
    ]
    behind = [block.layers[-1].norm.num_features + 16 for block in (model.deepest, *model.up)]
    assert behind == [896, 1088, 816, 576, 384, 256]
    assert model.embedding_channels == 256


def authors(model: FCDenseNet, image: Tensor) -> Tensor:
    """FC-DenseNet.py and layers.py of the authors, line by line, in eval mode."""

    def new_maps(unit: NormReluConv, stack: Tensor) -> Tensor:
        norm, conv = unit.norm, unit.conv
        scale = norm.weight / (norm.running_var + 1e-4).sqrt()
        shift = norm.bias - norm.running_mean * scale
        normalised = stack * scale[:, None, None] + shift[:, None, None]
        return F.conv2d(
            normalised.relu(), conv.weight, conv.bias, padding=conv.weight.shape[-1] // 2
        )

    def dense_block(block: Any, stack: Tensor) -> tuple[Tensor, list[Tensor]]:
        block_to_upsample = []
        for unit in block.layers:
            maps = new_maps(unit, stack)
            block_to_upsample.append(maps)
            stack = torch.cat([stack, maps], 1)
        return stack, block_to_upsample

    def centre(maps: Tensor, height: int, width: int) -> Tensor:
        top, left = (maps.shape[-2] - height) // 2, (maps.shape[-1] - width) // 2
        return maps[..., top : top + height, left : left + width]

    stack = F.conv2d(image, model.first.weight, model.first.bias, padding=1)
    skips = []
    for block, down in zip(model.down, model.transition_down, strict=True):
        stack, _ = dense_block(block, stack)
        skips.append(stack)
        stack = F.max_pool2d(new_maps(down, stack), 2)
    stack, made = dense_block(model.deepest, stack)
    for skip, up, block in zip(reversed(skips), model.transition_up, model.up, strict=True):
        raised = F.conv_transpose2d(torch.cat(made, 1), up.weight, up.bias, stride=2)
        height, width = (min(a, b) for a, b in zip(raised.shape[2:], skip.shape[2:], strict=True))
        joined = torch.cat([centre(raised, height, width), centre(skip, height, width)], 1)
        stack, made = dense_block(block, joined)
    return F.conv2d(stack, model.classifier.weight, model.classifier.bias)


@pytest.mark.parametrize("size", [(64, 64), (45, 97), (32, 63)])
def test_it_is_the_authors(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = Tiny(5).double().eval()
    _randomise_norms(model)
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(image), authors(model, image))


def _randomise_norms(model: nn.Module) -> None:
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.weight.data, norm.running_var):
            assert values is not None
            values.uniform_(0.5, 1.5)
        norm.bias.data.normal_()
        assert norm.running_mean is not None
        norm.running_mean.normal_()


def test_weights_start_as_in_the_code() -> None:
    torch.manual_seed(0)
    model = FCDenseNet56(11)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.bias is not None
            assert not layer.bias.any()
            bound = (6 / (layer.in_channels * layer.kernel_size[0] ** 2)) ** 0.5
            largest = float(layer.weight.detach().abs().max())
            assert bound * 0.95 < largest <= bound


def test_every_convolution_but_first_last_and_transposed_drops_a_fifth() -> None:
    dropouts = [m for m in FCDenseNet56(2).modules() if isinstance(m, nn.Dropout)]
    assert len(dropouts) == 56 - 1 - 5 - 1
    assert {m.p for m in dropouts} == {0.2}
    torch.manual_seed(0)
    unit = FCDenseNet56(2).down[0].layers[0].train()
    share = (unit([torch.randn(2, 48, 40, 40)]) == 0).float().mean()
    assert float(share) == pytest.approx(0.2, abs=0.02)
    with pytest.raises(ValueError, match=r"dropout must be from 0 to below 1, not 1\.5"):
        FCDenseNet56(2, dropout=1.5)


def test_batch_statistics_make_an_image_depend_on_its_batch_in_testing() -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 3, 80, 64)
    ours = Tiny(3).eval()
    theirs = Tiny(3, batch_statistics=True).eval()
    theirs.load_state_dict(ours.state_dict())
    before = copy.deepcopy(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(images)[:2], ours(images[:2]), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(theirs(images)[:2], theirs(images[:2]), rtol=1e-2, atol=1e-2)
        training = Tiny(3, dropout=0.0)
        training.load_state_dict(ours.state_dict())
        torch.testing.assert_close(theirs(images), training.train()(images))
    assert all(torch.equal(before[key], value) for key, value in theirs.state_dict().items())


def twins(**options: Any) -> tuple[FCDenseNet, FCDenseNet]:
    """The same network twice, the second one with `recompute`."""
    torch.manual_seed(0)
    plain = Tiny(3, **options)
    thrifty = Tiny(3, recompute=True, **options)
    thrifty.load_state_dict(plain.state_dict())
    return plain, thrifty


def assert_same(plain: FCDenseNet, thrifty: FCDenseNet) -> None:
    """To the bit: parameters, gradients, running statistics and counters."""
    state = thrifty.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.state_dict().items())
    pairs = list(zip(plain.parameters(), thrifty.parameters(), strict=True))
    assert all(p.grad is not None and q.grad is not None for p, q in pairs)
    assert all(torch.equal(p.grad, q.grad) for p, q in pairs)  # type: ignore[arg-type]


def images(count: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(2, 3, 65, 70, generator=generator) for _ in range(count))


def test_recomputing_trains_to_the_same_bits() -> None:
    networks = twins()
    for network in networks:
        torch.manual_seed(2)  # of dropout
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
        for image in images(3):
            optimiser.zero_grad()
            network(image).square().mean().backward()
            optimiser.step()
    assert_same(*networks)
    assert int(networks[1].down[0].layers[0].norm.num_batches_tracked) == 3


def test_recomputing_accumulates_two_backward_passes_of_one_graph() -> None:
    networks = twins(dropout=0.0)
    for network, image in zip(networks, [next(images(1))] * 2, strict=True):
        logits = network(image)
        logits[:, 0].mean().backward(retain_graph=True)
        logits[:, 1].square().mean().backward()
    assert_same(*networks)


def test_recomputing_repeats_the_mode_of_the_first_pass() -> None:
    networks = twins(dropout=0.0)
    before = {key: value.clone() for key, value in networks[0].state_dict().items()}
    for network, image in zip(networks, [next(images(1))] * 2, strict=True):
        with statistics_kept(network):
            loss = network(image).square().mean()
        network.eval()
        loss.backward()
    assert_same(*networks)
    assert all(torch.equal(before[key], v) for key, v in networks[1].state_dict().items())
    norm = networks[1].down[0].layers[0].norm
    assert (norm.training, norm.track_running_stats, norm.momentum) == (False, True, 0.1)


def test_recomputing_in_eval_mode_has_the_same_gradient() -> None:
    networks = twins()
    for network, image in zip(networks, [next(images(1))] * 2, strict=True):
        network.eval()(image).square().mean().backward()
    assert_same(*networks)


def test_a_graph_through_old_weights_is_refused_when_recomputed_too() -> None:
    _, thrifty = twins()
    loss = thrifty(next(images(1))).square().mean()
    with torch.no_grad():
        for parameter in thrifty.parameters():
            parameter.add_(0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class LiveBytes(TorchDispatchMode):
    """Bytes of the storages made in the `with` block that are still there."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in results if isinstance(results, tuple | list) else [results]:
            if isinstance(result, Tensor):
                storage = result.untyped_storage()
                reference = StorageWeakRef(storage)
                self.made[reference.cdata] = (reference, storage.nbytes())
        return results

    def total(self) -> int:
        return sum(size for reference, size in self.made.values() if not reference.expired())


def kept_for_the_backward_pass(model: nn.Module, image: Tensor) -> int:
    with LiveBytes() as live:
        loss = model(image).sum()
    total = live.total()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    return total


@pytest.mark.parametrize(
    ("network", "least"),
    [
        (FCDenseNet56, 3.3),
        pytest.param(FCDenseNet67, 3.9, marks=pytest.mark.slow),
        pytest.param(FCDenseNet103, 3.9, marks=pytest.mark.slow),
    ],
)
def test_recomputing_takes_a_fraction_of_the_memory(
    network: type[FCDenseNet], least: float
) -> None:
    """On the meta device, where storages have sizes and no memory."""
    with torch.device("meta"):
        image = torch.empty(2, 3, 224, 224)
        plain = kept_for_the_backward_pass(network(11), image)
        thrifty = kept_for_the_backward_pass(network(11, recompute=True), image)
    assert plain > least * thrifty
