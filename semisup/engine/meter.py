"""Means of scalars between log points, and the clock of a run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from semisup.engine.watch import Record
from semisup.ops.ranks import mean_over_ranks


class Meter:
    """Means of scalars between log points, summed on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Add one step's scalars."""
        for name, value in scalars.items():
            known = self._sums.get(name)
            wide = value.float()
            self._sums[name] = wide if known is None else known + wide
        self._count += 1

    def take(self) -> dict[str, float]:
        """The means so far, over all ranks, and start anew. Synchronises, once."""
        if not self._sums:
            return {}
        sums = mean_over_ranks(torch.stack(list(self._sums.values())).double()).tolist()
        means = {name: value / self._count for name, value in zip(self._sums, sums, strict=True)}
        self._sums, self._count = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """Sums so far, of this rank."""
        return {"sums": {k: v.cpu() for k, v in self._sums.items()}, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._sums, self._count = dict(state["sums"]), int(state["count"])


def mean_state(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One state for the states of several ranks, with the same means over all of them."""
    names = states[0]["sums"]
    sums = {name: sum(state["sums"][name] for state in states) / len(states) for name in names}
    return {"sums": sums, "count": states[0]["count"]}


class Clock:
    """Throughput and time left. Pauses (evaluations) do not count.

    Args:
        start: step at which this process began.
        steps: length of the run.
        images: training images a step.
    """

    def __init__(self, start: int, steps: int, images: int) -> None:
        self._steps = steps
        self._images = images
        self._begin = self._last = time.perf_counter()
        self._lap = self._begin
        self._start = self._last_step = start

    def record(self, done: int, scalars: Mapping[str, float]) -> Record:
        """What the time since the last record tells."""
        now = time.perf_counter()
        rate = (done - self._last_step) / max(now - self._last, 1e-9)
        overall = (done - self._start) / max(now - self._begin, 1e-9)
        self._last, self._last_step = now, done
        left = (self._steps - done) / overall if overall else math.inf
        return Record(done, self._steps, scalars, rate * self._images, left)

    def pause(self) -> _Pause:
        """A `with` block that the clock does not see."""
        return _Pause(self)

    def skip(self, seconds: float) -> None:
        """Forget some seconds."""
        self._begin += seconds
        self._last += seconds
        self._lap += seconds

    def lap(self) -> float:
        """Seconds since the last call, without pauses."""
        now = time.perf_counter()
        passed, self._lap = now - self._lap, now
        return passed


class _Pause:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._from = 0.0

    def __enter__(self) -> None:
        self._from = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._clock.skip(time.perf_counter() - self._from)
