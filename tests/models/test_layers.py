from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import semisup
from semisup.errors import RecipeError
from semisup.models.layers import dropout_active, in_eval_mode, statistics_kept, unpool
from semisup.system.device import deterministic


def test_it_normalises_by_the_batch_and_remembers_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    images = 5 + 3 * torch.randn(4, 3, 8, 8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with statistics_kept(network):
        made = network(images)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert made.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert torch.equal(made, network(images))
    assert not torch.equal(before["1.running_mean"], network[1].running_mean)
    assert int(network[1].num_batches_tracked) == 1


def test_a_norm_that_never_tracks_stays_so() -> None:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    with statistics_kept(norm):
        norm(torch.randn(2, 4, 3, 3))
    assert not norm.track_running_stats


def test_it_goes_on_tracking_after_an_error() -> None:
    norm = nn.BatchNorm2d(4)
    try:
        with statistics_kept(norm):
            raise KeyError
    except KeyError:
        pass
    assert norm.track_running_stats


@pytest.mark.parametrize("training", [True, False])
def test_eval_mode_ends_with_its_block_after_an_error_too(training: bool) -> None:
    network = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout()).train(training)
    with in_eval_mode(network):
        assert not any(layer.training for layer in network.modules())
    with pytest.raises(KeyError), in_eval_mode(network):
        raise KeyError
    assert all(layer.training is training for layer in network.modules())


def test_dropout_works_in_eval_mode_within_the_block_alone() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Dropout2d(0.5)).eval()
    image = torch.randn(2, 4, 8, 8)
    still = network(image)
    with dropout_active(network):
        assert not torch.equal(network(image), network(image))
        assert not network[0].training
    assert torch.equal(network(image), still)
    assert not any(layer.training for layer in network)


def test_dropout_keeps_the_mode_it_had_after_an_error_too() -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    network[1].eval()
    with pytest.raises(KeyError), dropout_active(network):
        raise KeyError
    assert [layer.training for layer in network] == [True, False]


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 1, 1), nn.Dropout(0.0)])
def test_samples_of_a_network_without_dropout_are_refused(layer: nn.Module) -> None:
    with pytest.raises(RecipeError, match="Sequential has no dropout"):
        dropout_active(nn.Sequential(layer)).__enter__()


@pytest.mark.parametrize(("height", "width"), [(8, 6), (7, 9), (1, 5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_gives_the_same_bits_with_deterministic_algorithms(
    height: int, width: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, height, width).contiguous(memory_format=layout)
    _, switches = F.max_pool2d(image, 2, ceil_mode=True, return_indices=True)
    maps = torch.randn(switches.shape).contiguous(memory_format=layout).requires_grad_()
    weights = torch.randn_like(image)

    def values_and_gradient() -> tuple[Tensor, Tensor]:
        raised = unpool(maps, switches, image.shape[-2:])
        (gradient,) = torch.autograd.grad((raised * weights).sum(), maps)
        return raised, gradient

    expected = values_and_gradient()
    with deterministic(True):
        found = values_and_gradient()
    assert expected[0].shape == image.shape
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


class PooledAndBack(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        pooled, switches = F.max_pool2d(image, 2, ceil_mode=True, return_indices=True)
        return unpool(2 * pooled, switches, image.shape[-2:])


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (1, 5)])
def test_an_exported_unpooling_has_no_operator_that_onnx_lacks(size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size).relu()  # where whole windows are 0, the first place counts
    exported = torch.export.export(PooledAndBack(), (image,))
    called = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert any("scatter" in name for name in called)
    assert not any("unpool" in name for name in called)
    assert torch.equal(exported.module()(image), PooledAndBack()(image))


def test_no_network_unpools_but_by_the_form_that_deterministic_training_has() -> None:
    models = Path(semisup.__file__).parent / "models"
    calls = [path.name for path in models.rglob("*.py") if "F.max_unpool" in path.read_text()]
    assert calls == ["layers.py"]
