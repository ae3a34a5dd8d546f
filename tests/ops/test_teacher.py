from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from semisup.ops.teacher import Teacher, ramped_decay
from semisup.types import Progress

STEPS = 100


class Network(nn.Module):
    """Each kind of what a network holds; `kept` is a float buffer that is no running statistic."""

    kept: Tensor

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)
        self.low_precision = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
        self.register_buffer("kept", torch.zeros(4))
        set_all(self, value)

    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = self.dropout(self.norm(self.layer(image)))
        return maps


def set_all(network: nn.Module, value: float) -> None:
    for tensor in [*network.parameters(), *network.buffers()]:
        tensor.detach().fill_(value)


def at(step: int) -> Progress:
    return Progress(step, STEPS)


def trained(network: nn.Module, teacher: Teacher[nn.Module], steps: range) -> None:
    """Gradient steps on noise that depends on the step alone, each followed by the teacher."""
    for step in steps:
        image = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(step))
        network(image).square().mean().backward()
        with torch.no_grad():
            for p in network.parameters():
                if p.grad is not None:
                    p -= 0.1 * p.grad
                    p.grad = None
        teacher.follow(network, at(step))


def bounded() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 1, 1))
    for layer in (network[0], network[2]):
        parametrizations.spectral_norm(layer)
    return network


def weight_normalised() -> nn.Sequential:
    return nn.Sequential(parametrizations.weight_norm(nn.Conv2d(2, 6, 3)), nn.BatchNorm2d(6))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "every kind": Network,
    "spectral norm": bounded,
    "weight norm": weight_normalised,
}
every_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def assert_equal(found: nn.Module, expected: nn.Module) -> None:
    theirs = expected.state_dict()
    assert found.state_dict().keys() == theirs.keys()
    for name, value in found.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_weights_and_statistics_are_a_mean_and_other_buffers_copies() -> None:
    source, decay = Network(), 0.75
    teacher, expected = Teacher(source, decay), 0.0
    for step, value in enumerate((8.0, 16.0, 6.0, 40.0, 2.0, 12.0)):
        set_all(source, value)
        teacher.follow(source, at(step))
        kept = min(step / (step + 1), decay)
        expected = kept * expected + (1 - kept) * value
        network = teacher.network
        for tensor in (*network.layer.parameters(), network.norm.weight, network.norm.running_var):
            torch.testing.assert_close(tensor, torch.full_like(tensor, expected))
        torch.testing.assert_close(network.norm.running_mean, torch.full((3,), expected))
        assert network.low_precision.tolist() == pytest.approx([expected] * 2, rel=0.02)
        assert int(network.norm.num_batches_tracked) == value
        assert network.kept.tolist() == [value] * 4
    assert source.layer.weight.unique().tolist() == [12.0]


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (1, 0.5), (99, 0.99), (10_000, 0.99)])
def test_decay_of_a_step(step: int, expected: float) -> None:
    assert ramped_decay(step, 0.99) == pytest.approx(expected)


def test_the_first_step_copies_and_a_decay_of_0_always_does() -> None:
    torch.manual_seed(0)
    late, always = Teacher(Network(), 0.999), Teacher(Network(), 0.0)
    source = Network()
    for p in source.parameters():
        nn.init.normal_(p)
    late.follow(source, at(0))
    always.follow(source, at(50))
    assert_equal(late.network, source)
    assert_equal(always.network, source)


def test_it_follows_where_a_step_ends_and_only_there() -> None:
    source = Network(1.0)
    teacher = Teacher(source, 0.5)
    set_all(source, 3.0)
    before = copy.deepcopy(teacher)
    teacher.follow(source, replace(at(5), ends_step=False))
    assert_equal(teacher, before)
    teacher.follow(source, at(5))
    assert teacher.network.layer.weight.unique().tolist() == [2.0]


def test_it_is_always_in_eval_mode() -> None:
    source = Network(1.0).train()
    method = nn.ModuleDict({"student": source, "teacher": Teacher(source, 0.9)})
    for mode in (True, False, True):
        method.train(mode)
        assert not any(module.training for module in method["teacher"].modules())
        assert method["student"].training is mode
    image = torch.randn(2, 2, 3, 3)
    before = copy.deepcopy(method["teacher"])
    assert torch.equal(method["teacher"](image), method["teacher"](image))
    assert_equal(method["teacher"], before)
    assert method["student"].training


def test_no_gradient_reaches_it_or_passes_it() -> None:
    source = Network(1.0)
    teacher = Teacher(source, 0.9)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in source.parameters())
    image = torch.randn(2, 2, 3, 3, requires_grad=True)
    assert not teacher(image).requires_grad
    teacher.follow(source, at(1))
    assert all(p.grad is None and p.grad_fn is None for p in teacher.parameters())


def test_what_it_is_called_with_reaches_the_network() -> None:
    teacher = Teacher(nn.Bilinear(2, 3, 1), 0.9)
    one, two = torch.randn(4, 2), torch.randn(4, 3)
    assert torch.equal(teacher(one, input2=two), teacher.network(one, two))


@every_network
def test_it_goes_on_from_its_state_to_the_same_bits(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    source = build()
    teacher = Teacher(source, 0.8)
    trained(source, teacher, range(6))
    torch.manual_seed(1)
    resumed_source = build()
    resumed = Teacher(resumed_source, 0.8)
    resumed_source.load_state_dict(source.state_dict())
    resumed.load_state_dict(teacher.state_dict())
    for network, average in ((source, teacher), (resumed_source, resumed)):
        torch.manual_seed(2)  # of dropout
        trained(network, average, range(6, 9))
    assert_equal(resumed, teacher)
    image = torch.randn(2, 2, 5, 5)
    assert torch.equal(resumed(image), teacher(image))


@every_network
def test_a_deep_copy_is_independent(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    source = build()
    teacher = Teacher(source, 0.8)
    twin = copy.deepcopy(teacher)
    before = copy.deepcopy(twin.state_dict())
    trained(source, teacher, range(3))
    assert all(torch.equal(value, before[name]) for name, value in twin.state_dict().items())
    assert not any(module.training for module in twin.train().modules())
    places = [{t.data_ptr() for t in m.state_dict().values()} for m in (source, teacher, twin)]
    assert not any(one & other for one, other in itertools.combinations(places, 2))


def test_the_norm_of_a_bounded_network_stays_the_largest_singular_value() -> None:
    # The mean of unit vectors is shorter than one: divided by the value that they give, the
    # teacher's weights would grow.
    torch.manual_seed(0)
    source = bounded()
    teacher = Teacher(source, 0.9)
    trained(source, teacher, range(20))
    for name, vector in teacher.named_buffers():
        assert vector.norm().item() == pytest.approx(1.0, abs=1e-5), name
    weight = teacher.network[0].weight.flatten(1)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1.0, abs=0.1)


def test_the_memory_format_is_kept() -> None:
    source = Network().to(memory_format=torch.channels_last)
    wide = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    for network in (source, wide):
        teacher = Teacher(network, 0.5)
        where = [p.data_ptr() for p in teacher.parameters()]
        teacher.follow(network, at(3))
        teacher.load_state_dict(copy.deepcopy(teacher.state_dict()))
        assert [p.data_ptr() for p in teacher.parameters()] == where
        strides = [p.stride() for p in teacher.parameters()]
        assert strides == [p.stride() for p in network.parameters()]
    assert teacher.network.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_copy_of_a_compiled_network_computes_as_it_is_written() -> None:
    source = nn.Linear(2, 2)
    source.compile(backend=refuse)
    teacher = Teacher(source, 0.5)
    image = torch.ones(1, 2)
    assert torch.equal(teacher(image), nn.functional.linear(image, source.weight, source.bias))
    teacher.follow(source, at(3))


def refuse(*_: object) -> None:
    raise AssertionError("compiled")


def test_networks_without_anything_and_other_networks() -> None:
    Teacher(nn.Identity(), 0.5).follow(nn.Identity(), at(1))
    for other in (nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Identity()):
        with pytest.raises(AssertionError, match="not the same network"):
            Teacher(nn.Linear(2, 3), 0.5).follow(other, at(1))


@pytest.mark.parametrize("decay", [-0.1, 1.5])
def test_a_decay_is_a_share(decay: float) -> None:
    with pytest.raises(ValueError, match="decay must be between 0 and 1"):
        Teacher(nn.Identity(), decay)


def test_a_teacher_that_could_never_move_is_refused() -> None:
    Teacher(nn.Identity(), 1.0)  # the plain mean of all steps
    with pytest.raises(ValueError, match="never moves the teacher: lower it"):
        Teacher(nn.Identity(), 1.0, ramped=False)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.1), (1, 0.1), (50, 0.1)])
def test_a_decay_that_is_not_ramped_is_the_same_at_every_step(step: int, expected: float) -> None:
    teacher = Teacher(Network(0.0), 0.9, ramped=False)
    teacher.follow(Network(1.0), at(step))
    assert teacher.network.layer.weight.mean().item() == pytest.approx(expected)
    assert teacher.network.norm.running_mean is not None
    assert teacher.network.norm.running_mean.mean().item() == pytest.approx(expected)


def test_without_statistics_weights_alone_follow() -> None:
    teacher = Teacher(Network(0.0), 0.5, statistics=False)
    teacher.follow(Network(1.0), at(50))
    assert all((weight == 0.5).all() for weight in teacher.network.parameters())
    assert all((buffer == 0).all() for buffer in teacher.network.buffers())
    teacher.network.train()
    teacher(torch.ones(2, 2, 3, 3))
    assert teacher.network.norm.num_batches_tracked == 1
