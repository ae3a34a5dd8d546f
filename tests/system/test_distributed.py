"""A process that is alone; several are in tests/training/test_several_processes.py."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn

from semisup.errors import DataError, RunError
from semisup.system import distributed as ranks


def test_alone_everything_is_the_identity() -> None:
    values = torch.tensor([1.0, -2.0])
    assert (ranks.world(), ranks.rank(), ranks.is_first()) == (1, 0, True)
    for reduce in (ranks.sum_over_ranks, ranks.mean_over_ranks, ranks.lowest_over_ranks):
        assert reduce(values) is values
    assert [ranks.any_rank(flag) for flag in (False, True)] == [False, True]
    assert ranks.gather("mine") == ["mine"]
    assert ranks.from_first(lambda: 3) == ranks.first_before_others(lambda: 3) == 3
    network = nn.BatchNorm1d(2)
    network.running_mean.fill_(7.0)
    ranks.share_buffers(network)
    assert network.running_mean.tolist() == [7.0, 7.0]


def test_alone_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    for started in (None, "1"):
        if started:
            monkeypatch.setenv("WORLD_SIZE", started)
        with ranks.joined(torch.device("cpu")):
            assert not dist.is_initialized()


def test_an_error_of_the_only_process_is_its_own_to_tell() -> None:
    def fail() -> None:
        raise DataError("list.txt is empty")

    with pytest.raises(DataError) as error:
        ranks.from_first(fail)
    assert not error.value.reported


def test_processes_that_cannot_meet_are_told_how_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(RunError, match=r"cannot reach one another \(.*RANK.*\)\. .* torchrun"),
        ranks.joined(torch.device("cpu")),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"), True),
        (dist.DistBackendError("NCCL error: remote process exited"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_only_a_lost_connection_is_told_as_one(
    error: RuntimeError, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "_join", lambda _: None)
    expected = pytest.raises(RunError, match="another process of this run has ended")
    with (
        expected if lost else pytest.raises(RuntimeError, match="mat1"),
        ranks.joined(torch.device("cpu")),
    ):
        raise error


def test_gradients_reach_the_given_parameters_alone_and_add_up() -> None:
    own, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    gradients = ranks.Gradients([own])
    gradients.backward((own * other * 3).sum(), more_follow=True)
    gradients.backward((own * other).sum())
    assert own.grad is not None
    assert own.grad.tolist() == [4.0, 4.0]
    assert other.grad is None
