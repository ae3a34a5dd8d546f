"""Ctrl-C and SIGTERM: finish the step, save, then stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GivenUp(Exception):  # noqa: N818 - what was asked for is no error
    """Raised to break off an evaluation, which has nothing to save, when a signal arrives."""


class StopSignal:
    """Notes a signal while its `with` block runs; a second Ctrl-C stops at once.

    Python calls handlers of signals in the main thread alone: in another thread none is noted.

    Attributes:
        received: the signal's number, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._at_once = False

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A `with` block that a signal ends at once: its work can be done again.

        Raises:
            GivenUp: a signal came, before or in the block.
        """
        if self.received is not None:
            raise GivenUp
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    @property
    def exit_code(self) -> int:
        """128 + signal: 130 for SIGINT, 143 for SIGTERM, which another process may have had."""
        return 128 + (self.received or signal.SIGTERM)

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None: it was not set from Python, but by the program that Python runs in.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        if self._at_once:
            self._at_once = False
            raise GivenUp
