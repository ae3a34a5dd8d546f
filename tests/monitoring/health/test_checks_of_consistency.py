"""A teacher that does not follow, views that destroy the image, and labels that are wrong."""

from __future__ import annotations

import pytest
from support.health import STEPS, Values, spells, warnings_of

from semisup.monitoring.health.health import Health

HEALTHY = {
    "self_taught_share": 0.93,
    "strong_agreement": 0.93,
    "teacher_agreement": 0.95,
    "self_taught_accuracy": 0.95,
    "labelled_accuracy": 0.88,
    "trusted_share": 0.93,
}
FAILURES: dict[str, tuple[Values, str]] = {
    "a teacher that never moves": ({"teacher_agreement": 0.2}, "teacher and student disagree"),
    "views that destroy the image": ({"strong_agreement": 0.3}, "does not predict its targets"),
    "threshold 0 on a poor network": (
        {
            "self_taught_share": 1.0,
            "trusted_share": 1.0,
            "self_taught_accuracy": 0.55,
            "labelled_accuracy": 0.55,
        },
        "a good part of what is taught is wrong",
    ),
}


def course(values: Values, points: int = 40) -> list[tuple[int, Values]]:
    return spells((values, points), every=500)


def test_a_healthy_run_gives_no_warning() -> None:
    assert warnings_of(Health(), course(HEALTHY)) == []


@pytest.mark.parametrize("name", FAILURES)
def test_a_planted_failure_is_said_once_and_late(name: str) -> None:
    changed, words = FAILURES[name]
    options = {"confidence_threshold": 0.0}
    found = warnings_of(Health(options), course({**HEALTHY, **changed}))
    assert len(found) == 1, found
    step, text = found[0]
    assert words in text
    assert 0.5 * STEPS < step <= 0.5 * STEPS + 3 * 500


def test_what_is_not_taught_yet_is_no_failure() -> None:
    early = {**HEALTHY, "self_taught_share": 0.01, "strong_agreement": 0.0, "trusted_share": 0.01}
    assert not any("on the strong view" in text for _, text in warnings_of(Health(), course(early)))


def test_a_game_without_strong_views_is_not_asked() -> None:
    game = {key: HEALTHY[key] for key in ("self_taught_share", "trusted_share")}
    game |= {"self_taught_accuracy": 0.5, "labelled_accuracy": 0.4}
    assert not any("good part" in text for _, text in warnings_of(Health(), course(game)))


@pytest.mark.parametrize("weight", ["unlabelled_weight", "consistency_weight"])
def test_a_term_without_weight_is_not_asked(weight: str) -> None:
    off = dict.fromkeys(("self_taught_share", "strong_agreement", "teacher_agreement"), 0.0)
    assert warnings_of(Health({weight: 0.0}), course(off)) == []


def test_where_nothing_is_sure_no_discriminator_is_blamed() -> None:
    unsure = {**HEALTHY, "self_taught_share": 0.0, "strong_agreement": 0.0, "trusted_share": 0.0}
    ((_, text),) = warnings_of(Health(), course(unsure))
    assert "nothing is self-taught" in text
    assert "discriminator" not in text


@pytest.mark.parametrize("share", [{}, {"confident_share": 0.6}])
@pytest.mark.parametrize("accuracy", [0.4, 0.55, 0.69])
def test_probabilities_that_are_taught_everywhere_are_no_chosen_labels(
    share: Values, accuracy: float
) -> None:
    """No threshold lets wrong ones pass, and there is no rest to be compared with."""
    soft = {key: HEALTHY[key] for key in ("strong_agreement", "teacher_agreement")}
    quality = {"self_taught_accuracy": accuracy, "labelled_accuracy": 0.7, "trusted_share": 1.0}
    found = warnings_of(Health(), course({**soft, **share, **quality, "loss_consistency": 0.01}))
    assert found == []
