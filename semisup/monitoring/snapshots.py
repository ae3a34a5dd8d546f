"""Snapshots of a run in training: they leave its state untouched, with the same noise always."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from semisup.methods.base import Method
from semisup.ops.pixels import to_bytes
from semisup.system.device import random_state, restore_random_state

SAMPLES = 16
"""Images of a generator that are shown."""

NOISE_SEED = 0
"""Of their noise, in every run and at every step: what differs is the generator."""


@contextlib.contextmanager
def undisturbed(method: Method, device: torch.device) -> Iterator[None]:
    """A `with` block in eval mode and without gradient, which the training does not notice.

    Neither batch statistics nor dropout move. The generators of random numbers go on where they
    were, even if a method draws from them against its contract.
    """
    before = random_state(device)
    method.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        method.train()
        restore_random_state(before, device)


def make_samples(method: Method) -> Tensor | None:
    """What the method makes of the fixed noise: all of it, in order. The caller sees to eval mode.

    Returns:
        `SAMPLES` images, uint8 B3HW on the CPU; None where the method makes no images.
    """
    images = method.make_samples(SAMPLES, NOISE_SEED)
    if images is None:
        return None
    return to_bytes(images.detach().cpu())


def spread(length: int, count: int) -> list[int]:
    """At most `count` of `length` positions, evenly spread."""
    count = min(length, count)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]
