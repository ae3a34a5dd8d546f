"""Files that are read and written side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from semisup.system.cores import usable_cores

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `function` makes of each item, in their order.

    In threads: Pillow decodes outside Python's lock, and nothing has to be sent to them. There are
    more of them than cores, because each also waits for the disk.
    """
    pool = ThreadPoolExecutor(min(8, 4 * usable_cores()))
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt must not wait for the queue
