"""A network that follows another one as the moving average of its weights.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
https://arxiv.org/abs/1703.01780.
"""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from semisup.types import Progress

Network = TypeVar("Network", bound=nn.Module)

RUNNING_STATISTICS = ("running_mean", "running_var")
"""Last part of the names of the buffers that are averaged like weights."""


class Teacher(nn.Module, Generic[Network]):
    """A frozen copy of a network that follows it as an exponential moving average.

    It stays in eval mode, whatever `train` is called with, and no gradient reaches it: its
    parameters require none, and `forward` builds no graph.

    parameter of the copy <- d * parameter of the copy + (1 - d) * parameter of the source

    Buffers: running means and variances of normalisation layers are averaged like parameters, since
    those of the last weights do not fit the mean of many. All other buffers are copied from the
    source: a counter has no mean, and the mean of a spectral norm's unit vectors is no unit vector.
    docs/decisions/0015-statistics-of-an-average.md has what both rules scored.

    Args:
        source: the network to follow, copied as it is now.
        decay: reached at step decay / (1 - decay), see `ramped_decay`; in [0, 1], where 1 is the
            plain mean of all steps.
        ramped: whether the decay rises from 0; or it is `decay` from the first step on.
        statistics: whether buffers follow too; or they stay the copy's own, which moves them where
            it is put into training mode.

    Raises:
        ValueError: of the decay, with which there is no average.

    Attributes:
        network: the copy.
        decay: as given.
    """

    network: Network

    def __init__(
        self, source: Network, decay: float, *, ramped: bool = True, statistics: bool = True
    ) -> None:
        super().__init__()
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay must be between 0 and 1, not {decay}")
        if decay == 1.0 and not ramped:
            raise ValueError("a decay of 1 from the start never moves the teacher: lower it")
        self.decay, self.ramped, self.statistics = decay, ramped, statistics
        self.network = copy.deepcopy(source).requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Teacher[Network]:
        """Nothing changes: a teacher is always in eval mode."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the copy answers, without a graph."""
        return self.network(*inputs, **options)

    @torch.no_grad()
    def follow(self, source: nn.Module, progress: Progress) -> None:
        """Move towards `source` after an optimiser step.

        Nothing happens after a batch that ends no step: the source has not moved then.

        Args:
            source: the network that the copy was made of, or one of the same kind.
            progress: the step just taken.
        """
        if not progress.ends_step:
            return
        decay = ramped_decay(progress.step, self.decay) if self.ramped else self.decay
        own, theirs = self._buffers_of(self.network), self._buffers_of(source)
        assert own.keys() == theirs.keys(), "not the same network"
        statistics = [name for name in own if name.endswith(RUNNING_STATISTICS)]
        _move(
            [*self.network.parameters(), *(own[name] for name in statistics)],
            [*source.parameters(), *(theirs[name] for name in statistics)],
            decay,
        )
        for name in own.keys() - set(statistics):
            own[name].copy_(theirs[name])

    def _buffers_of(self, network: nn.Module) -> dict[str, Tensor]:
        """Those that follow."""
        return dict(network.named_buffers()) if self.statistics else {}


def ramped_decay(step: int, decay: float) -> float:
    """The decay at `step`: a plain mean of the first steps, then `decay`.

    min(1 - 1 / (step + 1), decay): the start, of which nothing should be kept, is forgotten at
    once, as step 0 copies the source.

    Args:
        step: the optimiser step just taken, from 0.
        decay: reached at step decay / (1 - decay), in [0, 1].
    """
    return min(1.0 - 1.0 / (step + 1), decay)


def _move(average: list[Tensor], source: list[Tensor], decay: float) -> None:
    assert [a.shape for a in average] == [s.shape for s in source], "not the same network"
    if average:  # one kernel for many tensors; torch refuses an empty list
        torch._foreach_lerp_(average, source, 1.0 - decay)
