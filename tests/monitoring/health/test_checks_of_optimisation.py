"""Players that stand still or run away: two apart, and weights that have grown for nothing."""

from __future__ import annotations

from support.health import FAILURES, HEALTHY, courses, warnings_of

from semisup.monitoring.health.health import Health

GROWN = {"weight_growth/segmenter": 2.2}


def warned_at(health: Health, losses: list[float], **scalars: float) -> list[int]:
    """Steps of the warnings of a course of losses, one window each."""
    course = [
        (50 * number, {"loss_segmentation": loss, **GROWN, **scalars})
        for number, loss in enumerate(losses, start=1)
    ]
    return [step for step, _ in warnings_of(health, course, 2000)]


def test_weights_that_have_grown_must_have_learnt_something() -> None:
    assert warned_at(Health(), [1.1, 1.07, 1.08, 1.07, 1.07]) == [150]
    assert warned_at(Health(), [1.1, 1.0, 0.9, 0.9, 0.9], **{"weight_growth/segmenter": 1.7}) == []
    # Weights that are as they were may stand at one loss, as those that come from another stage.
    assert warned_at(Health(), [0.2] * 5, **{"weight_growth/segmenter": 1.1}) == []
    # A batch norm without decay: growth with the root of the steps, and a loss that levels off.
    health = Health()
    for step in range(50, 20_000, 50):
        growth = (1 + 0.0025 * step) ** 0.5
        scalars = {"loss_segmentation": 0.2, "weight_growth/segmenter": growth}
        assert health.check(step, 20_000, scalars) == []


def test_two_players_are_told_apart() -> None:
    bad = {"update_ratio/generator": 0.0, "update_ratio/segmenter": 0.0}
    found = warnings_of(Health(), courses(HEALTHY, HEALTHY | bad, 1000))
    assert [text.split()[0] for _, text in found] == ["'segmenter'", "'generator'"]


def test_a_supervised_run_has_few_ways_to_go_wrong() -> None:
    own = {k: v for k, v in HEALTHY.items() if "segment" in k}
    for name, (values, _) in FAILURES.items():
        changed = own | {k: v for k, v in values.items() if k in own}
        found = warnings_of(Health(), courses(own, changed, 1000, until=1500))
        assert len(found) == (name in ("no change", "fp16 skips"))
