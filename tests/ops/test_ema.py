from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from semisup.ops.ema import Buffers, ema_decay, ema_update


class Network(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.low_precision = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
        for tensor in [*self.parameters(), *self.buffers()]:
            tensor.detach().fill_(value)


def test_every_parameter_is_averaged_in_place() -> None:
    average, source = Network(2.0), Network(6.0)
    where = [p.data_ptr() for p in average.parameters()]
    ema_update(average, source, 0.75)
    assert [p.data_ptr() for p in average.parameters()] == where
    for p in average.parameters():
        assert torch.equal(p, torch.full_like(p, 3.0))
    for p in source.parameters():
        assert torch.equal(p, torch.full_like(p, 6.0))


@pytest.mark.parametrize(
    ("buffers", "running", "counter"), [("copy", 6.0, 6), ("average", 3.0, 6), ("own", 2.0, 2)]
)
def test_buffers(buffers: Buffers, running: float, counter: int) -> None:
    average, source = Network(2.0), Network(6.0)
    ema_update(average, source, 0.75, buffers=buffers)
    assert average.norm.running_mean is not None
    assert average.norm.running_mean.tolist() == [running] * 3
    assert average.norm.num_batches_tracked is not None
    assert int(average.norm.num_batches_tracked) == counter


def test_copied_buffers_are_no_aliases() -> None:
    average, source = Network(2.0), Network(6.0)
    ema_update(average, source, 0.5)
    source.norm.running_mean.zero_()  # type: ignore[union-attr]
    assert average.norm.running_mean.tolist() == [6.0] * 3  # type: ignore[union-attr]


def test_decay_0_copies_exactly_and_1_keeps_parameters() -> None:
    torch.manual_seed(0)
    source = nn.Linear(50, 50)
    average = nn.Linear(50, 50)
    before = copy.deepcopy(average)
    ema_update(average, source, 1.0)
    assert torch.equal(average.weight, before.weight)
    ema_update(average, source, 0.0)
    assert torch.equal(average.weight, source.weight)


def test_no_gradient_passes() -> None:
    average, source = nn.Linear(2, 2), nn.Linear(2, 2)
    ema_update(average, source, 0.5)
    assert average.weight.requires_grad
    assert average.weight.is_leaf
    average.weight.sum().backward()
    assert source.weight.grad is None


def test_network_without_parameters_or_buffers() -> None:
    ema_update(nn.Identity(), nn.Identity(), 0.5)
    with pytest.raises(AssertionError, match="not the same network"):
        ema_update(nn.Linear(2, 3), nn.Linear(3, 2), 0.5)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (1, 0.5), (99, 0.99), (10_000, 0.99)])
def test_decay_of_a_step(step: int, expected: float) -> None:
    assert ema_decay(step, 0.99) == pytest.approx(expected)


def test_first_steps_are_a_plain_mean() -> None:
    average, source = nn.Linear(1, 1), nn.Linear(1, 1)
    for step, value in enumerate((1.0, 2.0, 6.0)):
        source.weight.data.fill_(value)
        ema_update(average, source, ema_decay(step, 0.999))
    assert average.weight.item() == pytest.approx(3.0)
