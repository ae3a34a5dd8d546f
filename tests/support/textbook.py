"""A method beside its textbook: some steps of both, on the same batches, in double precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from semisup.methods.base import Method
from semisup.settings import OptimSettings
from semisup.training.updates import Updates
from semisup.types import Batch, Progress
from support.methods import create

CLASSES, SIDE, STEPS, RATE = 3, 32, 5, 0.05

Optimisers = dict[str, torch.optim.Optimizer]
Textbook = Callable[[Any, Batch, Optimisers, Progress], None]
"""One step of a method's networks, by torch's own optimisers."""


def optimisers_of(method: Method) -> Optimisers:
    return {
        player: torch.optim.SGD(
            [{"params": list(g.params), "lr": RATE * g.lr_scale} for g in groups], lr=RATE
        )
        for player, groups in method.players().items()
    }


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def side_by_side(
    name: str,
    build: Callable[..., Any],
    options: dict[str, Any],
    textbook: Textbook,
    batch_of: Callable[[Method, int], Batch],
) -> tuple[Method, Method, dict[str, Tensor]]:
    """The method and its copy that the textbook trained, late in a run, and the state before.

    Args:
        name: of the method, built around segmenters of `build` with `options`.
        textbook: its step.
        batch_of: method and number of the step -> batch, in double precision.
    """
    torch.manual_seed(0)
    fast = create(name, build, CLASSES, (SIDE, SIDE), **options)
    fast.double().train()
    slow = copy.deepcopy(fast)
    optim = {
        player: OptimSettings(kind="sgd", lr=RATE, momentum=0.0, schedule="constant")
        for player in fast.players()
    }
    updates, optimisers = Updates(fast.players(), optim), optimisers_of(slow)
    start = copy.deepcopy(fast.state_dict())
    for step in range(STEPS):
        batch = batch_of(fast, step)
        progress = Progress(90 + step, 100)
        torch.manual_seed(step)
        updates.begin(progress)
        fast.step(batch, progress, updates)
        torch.manual_seed(step)
        textbook(slow, batch, optimisers, progress)
    return fast, slow, start
