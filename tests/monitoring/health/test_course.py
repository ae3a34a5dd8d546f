"""When a condition that lasts gives a warning: in time, once, and however dense the log is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import pytest
from support.health import FAILURES, HEALTHY, USUAL, around, courses, spells, warnings_of

from semisup.monitoring.health.course import PATIENCE, SPAN, Course, Finding, values_in_words
from semisup.monitoring.health.health import Health


def warned_at(points: Iterable[tuple[int, bool]], reportable: bool = True) -> list[int]:
    """Steps at which a course of (step, whether the condition is present) gives a warning."""
    course, before, found = Course(), 0, []
    for step, present in points:
        finding = Finding("a", "d_real 0.5" if present else "", "it is", "Do.", reportable)
        if course.add(finding, before, step):
            found.append(step)
        before = step
    return found


def test_a_condition_must_last_for_so_many_log_points_and_steps() -> None:
    assert (PATIENCE, SPAN) == (3, 150)
    assert warned_at([(1000, True), (2000, True), (3000, True), (4000, True)]) == [3000]
    assert warned_at([(n, True) for n in range(1, 400)]) == [150]
    assert warned_at([(n, n > 37) for n in range(1, 400)]) == [187]
    assert warned_at([(50, False), (100, True), (199, True), (200, True)]) == [200]


def test_a_warning_is_cleared_by_as_long_without_the_condition() -> None:
    def again(gap: int) -> list[int]:
        return warned_at([(n, not 400 < n <= 400 + gap) for n in range(10, 1000, 10)])

    assert again(140) == [150]
    assert again(150) == [150, 700]


def test_a_condition_that_is_not_reportable_gives_none() -> None:
    assert warned_at([(n, True) for n in range(10, 1000, 10)], reportable=False) == []


def test_a_course_goes_on_from_its_state() -> None:
    course = Course(present=True, points=2, since=50, warned=True)
    assert Course.from_state(asdict(course)) == course
    with pytest.raises(KeyError):
        Course.from_state({"bad": True, "points": 2, "since": 50, "told": True})


def test_values_are_written_in_one_line() -> None:
    assert values_in_words({"d_real": 0.98765, "d_fake": 1e-9}) == "d_real 0.988, d_fake 1e-09"
    assert values_in_words({}) == ""


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("onset", [400, 1000, 1001, 1024, 1049, 12_001])
def test_a_failure_is_warned_of_once_and_within_200_steps(name: str, onset: int) -> None:
    values, expected = FAILURES[name]
    found = warnings_of(
        Health(), courses(HEALTHY, HEALTHY | values, onset, start=max(0, onset - 1000))
    )
    assert [text for _, text in found if expected not in text] == []
    assert len(found) == 1
    step, text = found[0]
    assert onset + 100 <= step < onset + 200
    since = int(text.split("since step ")[1].split()[0])
    assert onset - USUAL < since <= onset + USUAL
    assert all(f"{key} {value:.3g}" in text for key, value in values.items())
    assert text.endswith(".")
    assert text.count(". ") >= 1  # a remedy


@pytest.mark.parametrize("every", [1, 5, 10, 20, 25, 50])
def test_the_time_to_a_warning_does_not_depend_on_how_dense_the_log_is(every: int) -> None:
    """Every step, with a log point each, is tried of two failures: the others differ in nothing
    that depends on the log."""
    for name in ("won", "blind") if every == 1 else FAILURES:
        for onset in (500, 501, 517):
            bad = HEALTHY | FAILURES[name][0]
            [(step, _)] = warnings_of(
                Health(), courses(HEALTHY, bad, onset, **around(onset, every))
            )
            assert onset + 100 <= step < onset + 200


@pytest.mark.parametrize("name", FAILURES)
def test_it_is_repeated_only_after_it_was_absent_for_as_long(name: str) -> None:
    bad = HEALTHY | FAILURES[name][0]
    course = spells((HEALTHY, 20), (bad, 10), (HEALTHY, 2), (bad, 10), (HEALTHY, 4), (bad, 10))
    assert [step for step, _ in warnings_of(Health(), course)] == [USUAL * 23, USUAL * (46 + 3)]
