"""Work that is done side by side."""

from __future__ import annotations

import threading
import time

import pytest

from semisup.system.threads import in_threads


def test_what_is_made_side_by_side_comes_in_order() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 * (number == 0))
        return number

    assert list(in_threads(slow_first, range(20))) == list(range(20))


def test_items_that_wait_for_each_other_are_at_work_at_once() -> None:
    both = threading.Barrier(2, timeout=5)
    assert sorted(in_threads(lambda _: both.wait(), range(2))) == [0, 1]


def test_the_first_item_that_fails_ends_the_work() -> None:
    done = []

    def fail_at_three(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        time.sleep(0.001)
        done.append(number)
        return number

    found = in_threads(fail_at_three, range(5000))
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(found)
    assert len(done) < 5000
