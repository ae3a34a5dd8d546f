"""Exponential moving average of a network: the teacher of Mean Teacher and its followers.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
https://arxiv.org/abs/1703.01780.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Buffers = Literal["copy", "average", "own"]
"""What becomes of buffers such as the running statistics of batch normalisation."""


@torch.no_grad()
def ema_update(
    average: nn.Module, source: nn.Module, decay: float, *, buffers: Buffers = "copy"
) -> None:
    """Move the parameters of `average` towards those of `source`, in place.

    parameter of average <- decay * parameter of average + (1 - decay) * parameter of source

    Running statistics are averages already, so "copy", the default, takes the source's, as
    `torch.optim.swa_utils.AveragedModel` does: it suits a teacher in eval mode. "average" averages
    the floating-point ones like parameters. "own" leaves all buffers alone: the first Mean Teacher,
    whose teacher runs in train mode and gathers its own statistics. Integer buffers (counters) are
    copied by both of the others.

    Args:
        average: the averaged network.
        source: a network of the same kind.
        decay: in [0, 1]; 0 copies the source, 1 changes no parameter.
        buffers: what becomes of the buffers.
    """
    _average(list(average.parameters()), list(source.parameters()), decay)
    if buffers == "own":
        return
    pairs = list(zip(average.buffers(), source.buffers(), strict=True))
    averaged = [pair for pair in pairs if buffers == "average" and pair[0].is_floating_point()]
    copied = [pair for pair in pairs if not (buffers == "average" and pair[0].is_floating_point())]
    _average([a for a, _ in averaged], [s for _, s in averaged], decay)
    for a, s in copied:
        a.copy_(s)


def _average(average: list[Tensor], source: list[Tensor], decay: float) -> None:
    assert 0.0 <= decay <= 1.0, decay
    assert [a.shape for a in average] == [s.shape for s in source], "not the same network"
    if average:  # one kernel for many tensors; torch refuses an empty list
        torch._foreach_lerp_(average, source, 1.0 - decay)


def ema_decay(step: int, decay: float) -> float:
    """The decay at `step`: a plain average of the first steps, then `decay`.

    min(1 - 1 / (step + 1), decay): the start, of which nothing should be kept, is forgotten at
    once, as step 0 copies the source.

    Args:
        step: the optimiser step just taken, from 0.
        decay: reached at step decay / (1 - decay), in [0, 1].
    """
    return min(1.0 - 1.0 / (step + 1), decay)
