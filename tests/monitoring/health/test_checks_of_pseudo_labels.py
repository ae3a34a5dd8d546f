"""Self-teaching that takes nothing, everything or what is wrong, where it is on and has begun."""

from __future__ import annotations

import pytest
from support.health import (
    FAILURES,
    HEALTHY,
    STEPS,
    USUAL,
    courses,
    spells,
    warnings_of,
)

from semisup.monitoring.health.health import Health


@pytest.mark.parametrize(
    ("share", "part", "expected"), [(0.0, 0.5, "nothing is"), (1.0, 0.75, "everything is")]
)
def test_self_teaching_that_excludes_all_or_nothing_is_warned_of_late_in_the_run(
    share: float, part: float, expected: str
) -> None:
    values = HEALTHY | {"self_taught_share": share}
    early = warnings_of(Health(), courses(values, {}, 0, until=STEPS))
    assert [step for step, _ in early] == [part * STEPS + USUAL]
    assert expected in early[0][1]
    onset = 15_001
    late = warnings_of(Health(), courses(HEALTHY, values, onset, start=onset - 1000))
    assert [expected in text for _, text in late] == [True]
    assert late[0][0] < onset + 200


def test_self_teaching_that_takes_a_little_is_no_fault() -> None:
    for share in (0.001, 0.89):
        course = courses(HEALTHY | {"self_taught_share": share}, {}, 0, until=STEPS)
        assert warnings_of(Health(), course) == []


def late_warnings(values: dict[str, float], **options: float) -> list[tuple[int, str]]:
    """Those of the last third of a run, whose scalars stay as they are."""
    course = courses(HEALTHY | values, {}, 0, start=STEPS * 2 // 3, until=STEPS)
    return warnings_of(Health(options), course)


@pytest.mark.parametrize("share", [0.9, 0.93, 0.999])
def test_a_lasting_share_above_nine_tenths_is_warned_of(share: float) -> None:
    """`quickstart/adversarial` ends at 0.93, where 0.834 of the pixels are right."""
    accuracy = {"labelled_accuracy": 0.834, "self_taught_accuracy": 0.851}
    [(step, text)] = late_warnings({"self_taught_share": share} | accuracy)
    assert step == STEPS * 3 // 4 + USUAL
    assert "nearly everything is self-taught since the start" in text
    assert f"(self_taught_share {share:.3g}, labelled_accuracy 0.834)" in text
    assert "raise it" in text


@pytest.mark.parametrize(
    ("share", "accuracy", "warned"),
    [(0.95, 0.97, 0), (0.95, 0.94, 1), (0.9, 0.95, 0), (0.89, 0.6, 0), (1.0, 0.97, 1)],
)
def test_a_large_share_is_well_where_as_much_is_right(
    share: float, accuracy: float, warned: int
) -> None:
    values = {"labelled_accuracy": accuracy, "self_taught_accuracy": 0.99}
    assert len(late_warnings({"self_taught_share": share} | values)) == warned


def test_a_large_share_that_does_not_last_is_no_fault() -> None:
    """0.95 for 100 steps, then what is usual."""
    high = HEALTHY | {"self_taught_share": 0.95}
    course = spells((HEALTHY, 310), (high, 2), (HEALTHY, 20), (high, 2), (HEALTHY, 4))
    assert warnings_of(Health(), course) == []


def test_a_threshold_of_0_is_meant_to_take_all() -> None:
    for share in (0.95, 1.0):
        assert late_warnings({"self_taught_share": share}, confidence_threshold=0.0) == []
        assert len(late_warnings({"self_taught_share": share}, confidence_threshold=0.2)) == 1


def test_self_teaching_that_is_switched_off_or_begins_late_is_no_fault() -> None:
    course = {"loss_segmentation": 0.5, "loss_self_taught": 0.0, "self_taught_share": 0.0}

    def steps(**options: float) -> list[int]:
        found = warnings_of(Health(options), courses(course, {}, 0, until=STEPS))
        return [step for step, _ in found]

    assert steps(self_taught_weight=0.1) == [STEPS // 2 + USUAL]
    assert steps(self_taught_weight=0.0) == []
    assert steps(self_taught_weight=0.1, self_taught_start=0.75) == [STEPS * 3 // 4 + 150]
    assert steps(self_taught_weight=0.1, self_taught_start=1.0) == []


def test_self_taught_accuracy_is_compared_with_a_half_where_no_other_is_known() -> None:
    course = {"self_taught_share": 0.4, "self_taught_accuracy": 0.55}
    assert warnings_of(Health(), courses(course, {}, 0)) == []
    course["self_taught_accuracy"] = 0.45
    assert len(warnings_of(Health(), courses(course, {}, 0))) == 1
    # Where hardly anything is taught, whole batches are without, and count as all wrong.
    rarely = {"self_taught_share": 0.05, "self_taught_accuracy": 0.1}
    assert warnings_of(Health(), courses(rarely, {}, 0)) == []


def test_measured_accuracy_counts_where_it_is_of_some_weight() -> None:
    def warned(**values: float) -> int:
        course = HEALTHY | FAILURES["wrong"][0] | values
        return len(warnings_of(Health(), courses(course, {}, 0)))

    assert warned(trusted_share=0.3) == 1
    assert warned(trusted_share=0.3, self_taught_share=0.1) == 1  # measured: no mean with zeros
    assert warned(trusted_share=0.3, self_taught_share=0.0) == 0  # not begun
    assert warned(trusted_share=0.02) == 0
    # Nearly everything is trusted, and a few pixels decide which is higher.
    assert warned(trusted_share=0.99, labelled_accuracy=0.605) == 0
    assert warned(trusted_share=0.99, labelled_accuracy=0.615) == 1
