"""Throughput and time left."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from semisup.monitoring.view import Record


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
        self._stepped = self._begin

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
        self._stepped += seconds

    def step(self) -> float:
        """Seconds since the last call, without pauses; called after the first two steps."""
        now = time.perf_counter()
        passed, self._stepped = now - self._stepped, now
        return passed

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
