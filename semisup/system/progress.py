"""Progress of long work, for people and for log files.

Both go to standard error: standard output stays clean for results and `--json`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

_QUIET: ContextVar[bool] = ContextVar("_QUIET", default=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show no bar, for the length of a `with` block."""
    before = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(before)


def has_terminal() -> bool:
    """Whether a display may be redrawn in place: on a terminal, from the main thread.

    A terminal holds one such display at a time, and another thread may have its own.
    """
    return sys.stderr.isatty() and threading.current_thread() is threading.main_thread()


def is_first_process() -> bool:
    """Whether this process is the only one of its run, or the first of those torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Go through `items` and show how far the work has come.

    A bar with the time left on a terminal, which is gone when the work is done; nothing on a stream
    that is no terminal, where a bar would fill the log, and nothing from any but the first of the
    processes of a run.

    Args:
        items: what to go through.
        description: what is being done, such as "making scenes".
        total: number of items, where `items` has no length.
    """
    if _QUIET.get() or not has_terminal() or not is_first_process():
        yield from items
        return
    from rich.console import Console  # slow to import; only where there is a terminal
    from rich.progress import track as bar

    console = Console(stderr=True)
    yield from bar(items, description=description, total=total, console=console, transient=True)
