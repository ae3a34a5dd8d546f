"""What the benchmarks of training steps share: a ladder of habits, and the library's own step."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from semisup.methods.base import Method
from semisup.settings import OptimSettings
from semisup.system.device import autocast
from semisup.training.updates import Updates
from semisup.types import Batch, Progress

LATE = Progress(90, 100)
"""Every term acts by then."""

TEXTBOOK, LIBRARY = "textbook", "semisup"
"""The first and the last way of a ladder."""


class Library:
    """The step of the library: the method and the engine's updates."""

    def __init__(self, method: Method, options: Namespace) -> None:
        self.method, self.options = method, options
        table = OptimSettings(kind="sgd", lr=options.rate, momentum=0.9, schedule="constant")
        self.updates = Updates(method.players(), dict.fromkeys(method.players(), table))

    def __call__(self, batch: Batch) -> None:
        self.updates.begin(LATE)
        with autocast(self.options.precision, batch.labelled.image.device):
            self.method.step(batch, LATE, self.updates)


def ladder(
    habits: Sequence[str],
    scripted: Callable[[frozenset[str]], Any],
    library: Callable[[], Library],
) -> dict[str, Callable[[], Any]]:
    """Name -> what builds the way: the textbook, each habit less, the library."""
    names = [TEXTBOOK, *(f"- {habit}" for habit in habits)]
    ways: dict[str, Callable[[], Any]] = {}
    for given_up, name in enumerate(names):
        kept = frozenset(habits[given_up:])
        ways[name] = lambda kept=kept: scripted(kept)
    ways[LIBRARY] = library
    return ways


def weights_of(method: Method) -> dict[str, Tensor]:
    """Its parameters as they are now."""
    return {key: p.detach().clone() for key, p in method.named_parameters()}


def largest_difference(
    ends: Mapping[str, Mapping[str, Tensor]], start: Mapping[str, Tensor]
) -> float:
    """Largest difference of any weight from the textbook's, as a share of its largest step.

    Args:
        ends: way -> its weights after some steps.
        start: weights before them.

    Raises:
        AssertionError: it is above 1e-6: the ways are not the same step.
    """
    reference = ends[TEXTBOOK]
    moved = max(float((value - start[key]).abs().max()) for key, value in reference.items())
    largest = max(
        float((end[key] - value).abs().max())
        for end in ends.values()
        for key, value in reference.items()
    )
    assert largest < 1e-6 * moved, (largest, moved)
    return largest / moved


def in_format(batch: Batch, memory_format: torch.memory_format) -> Batch:
    """The batch with its images laid out anew, as a loader would have given them."""

    def laid_out(image: Tensor) -> Tensor:
        return image.contiguous(memory_format=memory_format)

    labelled, free = batch.labelled, batch.unlabelled
    views = tuple(laid_out(view) for view in free.views)
    return Batch(
        labelled=replace(labelled, image=laid_out(labelled.image)),
        unlabelled=replace(free, image=laid_out(free.image), views=views),
    )


def check_synchronisations(way: Library, batch: Batch) -> None:
    """One step in which anything that waits for the device is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        way(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    print("semisup: no synchronisation in a step")
