"""What is wrong with an adversarial game, and what only seems to be."""

from __future__ import annotations

import math

import pytest
from support.health import FAILURES, HEALTHY, STEPS, USUAL, courses, warnings_of

from semisup.monitoring.health.checks_of_games import GRACE
from semisup.monitoring.health.health import Health

GRADUAL = ("blind", "all real", "nearly all real", "all generated", "collapsed")


@pytest.mark.parametrize("name", GRADUAL)
def test_a_side_that_never_learns_is_warned_of_right_after_the_grace(name: str) -> None:
    values, expected = FAILURES[name]
    [(step, text)] = warnings_of(Health(), courses(HEALTHY | values, {}, 0))
    assert step == GRACE == 200
    assert expected in text


def test_a_game_that_is_switched_off_is_no_fault() -> None:
    names = ("loss_generator", "d_real", "d_fake", "d_accuracy", "sample_diversity")
    off = HEALTHY | dict.fromkeys(names, 0.0)
    assert warnings_of(Health(), courses(off, {}, 0)) == []


def test_accuracy_is_needed_for_a_winner() -> None:
    """A mean alone does not say how many pixels are on which side."""
    for name in ("won", "blind"):
        values = {k: v for k, v in FAILURES[name][0].items() if k != "d_accuracy"}
        assert warnings_of(Health(), courses(values, {}, 0)) == []


def test_a_discriminator_that_is_right_more_often_than_not_is_not_blind() -> None:
    """Its mean outputs may be next to each other all the same."""
    values = {"d_real": 0.512, "d_fake": 0.508}
    assert warnings_of(Health(), courses(values | {"d_accuracy": 0.7}, {}, 0)) == []
    assert len(warnings_of(Health(), courses(values | {"d_accuracy": 0.515}, {}, 0))) == 1


def test_a_gap_that_is_hardly_larger_than_ever_is_no_improvement() -> None:
    course = [
        (step, {"d_real": 0.5 + 0.002 * 1.05 ** (step // USUAL), "d_fake": 0.5, "d_accuracy": 0.5})
        for step in range(USUAL, 500, USUAL)
    ]
    [(_, text)] = warnings_of(Health(), course)
    assert "is blind" in text


def test_what_learns_slowly_improves() -> None:
    health = Health()
    for step in range(USUAL, STEPS // 4, USUAL):
        learnt = 1 - math.exp(-step / 4000)
        game = {"d_real": 0.5 + 0.2 * learnt, "d_fake": 0.5 - 0.15 * learnt, "d_accuracy": 0.5}
        assert health.check(step, STEPS, game) == []


# What it tells by


def soft_warnings(**values: float) -> list[tuple[int, str]]:
    course = courses(HEALTHY | values, {}, 0, start=STEPS * 2 // 3, until=STEPS)
    return warnings_of(Health(), course)


def test_a_discriminator_that_tells_soft_from_hard_is_warned_of_late_in_the_run() -> None:
    """The finished `quickstart/adversarial`: of the gap of 0.235, 0.222 is softness."""
    [(step, text)] = soft_warnings(d_real=0.615, d_fake=0.38, d_hard=0.602, d_accuracy=0.87)
    assert step == STEPS * 3 // 4 + USUAL
    assert "tells soft predictions from hard ones, not wrong from right" in text
    assert "(d_real 0.615, d_hard 0.602, d_fake 0.38)" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("d_real", "d_hard", "d_fake", "warned"),
    [
        (0.7, 0.4, 0.35, 0),  # errors are what it sees
        (0.7, 0.62, 0.35, 0),  # 0.77 of the gap
        (0.7, 0.64, 0.35, 1),  # 0.83 of it
        (0.7, 0.72, 0.35, 1),  # the argmax is more real than ground truth
        (0.54, 0.54, 0.46, 0),  # it sees nothing yet
        (0.7, 0.2, 0.35, 0),  # hard maps are the fakes to it
    ],
)
def test_only_a_gap_that_is_mostly_softness_is_a_fault(
    d_real: float, d_hard: float, d_fake: float, warned: int
) -> None:
    assert len(soft_warnings(d_real=d_real, d_hard=d_hard, d_fake=d_fake)) == warned


def test_softness_is_no_fault_early_in_the_run() -> None:
    values = HEALTHY | {"d_real": 0.7, "d_fake": 0.35, "d_hard": 0.7}
    assert warnings_of(Health(), courses(values, {}, 0, until=STEPS * 3 // 4)) == []
