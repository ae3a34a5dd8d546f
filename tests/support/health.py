"""Courses of scalars, healthy and failing, and the warnings that they give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from semisup.monitoring.health.course import PATIENCE, SPAN
from semisup.monitoring.health.health import Health
from semisup.settings import TrainSettings

Values = Mapping[str, float]

USUAL = TrainSettings(steps=1).log_every
STEPS = 20_000
LEAD = 4
"""Healthy log points before an onset, where no more are needed."""

HEALTHY = {
    "loss_segmentation": 0.6,
    "loss_generator": 0.9,
    "loss_discriminator": 0.6,
    "d_real": 0.7,
    "d_fake": 0.35,
    "d_accuracy": 0.75,
    "sample_diversity": 0.8,
    "self_taught_share": 0.4,
    "self_taught_accuracy": 0.9,
    "labelled_accuracy": 0.85,
    "lr/segmenter": 1e-3,
    "lr/generator": 2e-4,
    "gradient_norm/segmenter": 0.8,
    "gradient_norm/generator": 0.4,
    "update_ratio/segmenter": 1e-3,
    "update_ratio/generator": 2e-3,
    "weight_growth/segmenter": 1.02,
    "weight_growth/generator": 1.1,
}

FAILURES: dict[str, tuple[Values, str]] = {
    "won": ({"d_accuracy": 0.985, "d_real": 0.99, "d_fake": 0.03}, "discriminator has won"),
    "blind": ({"d_accuracy": 0.51, "d_real": 0.512, "d_fake": 0.508}, "discriminator is blind"),
    "swapped": ({"d_accuracy": 0.2, "d_real": 0.3, "d_fake": 0.7}, "outputs are swapped"),
    "partly swapped": ({"d_accuracy": 0.5, "d_real": 0.45, "d_fake": 0.55}, "outputs are swapped"),
    "all real": ({"d_accuracy": 0.5, "d_real": 0.99, "d_fake": 0.985}, "one answer"),
    "all generated": ({"d_accuracy": 0.5, "d_real": 0.015, "d_fake": 0.01}, "one answer"),
    "nearly all real": ({"d_accuracy": 0.5, "d_real": 0.955, "d_fake": 0.99}, "one answer"),
    "collapsed": ({"sample_diversity": 0.05}, "have collapsed"),
    "all the same": ({"sample_diversity": 0.0}, "have collapsed"),
    "no gradient": ({"gradient_norm/generator": 0.0}, "'generator' stands still"),
    "no change": ({"update_ratio/segmenter": 1e-12}, "'segmenter' stands still"),
    "fp16 skips": (
        {"update_ratio/segmenter": 0.0, "gradient_norm/segmenter": math.inf},
        "'segmenter' stands still",
    ),
    "large steps": ({"update_ratio/generator": 0.15}, "'generator' runs away"),
    "large weights": ({"weight_growth/generator": 60.0}, "'generator' runs away"),
    "risen": ({"loss_generator": 90.0}, "loss_generator has run away"),
    "wrong": ({"self_taught_accuracy": 0.6}, "more often wrong"),
}


def courses(
    before: Values,
    after: Values,
    onset: int,
    *,
    every: int = USUAL,
    start: int = 0,
    until: int | None = None,
) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, means of the window) of a run whose scalars change with step `onset`.

    What is measured at the log point alone, and not averaged, has changed at once.

    Args:
        every: steps from one log point to the next.
        start: the log points up to this step are left out.
        until: the last step; None: long after the onset.
    """
    first = start - start % every + every
    for step in range(first, (onset + 1500 if until is None else until) + 1, every):
        share = min(1.0, max(0.0, (step - onset) / every))
        yield (
            step,
            {
                name: _of_window(name, value, after.get(name, value), share)
                for name, value in before.items()
            },
        )


def _of_window(name: str, value: float, changed: float, share: float) -> float:
    if "/" in name or share in (0.0, 1.0):
        return changed if share > 0 else value
    return (1 - share) * value + share * changed


def around(onset: int, every: int) -> dict[str, int]:
    """The part of a course in which the warning of a failure is issued, as options of `courses`.

    Before the onset nothing can change, and behind it only until it has lasted for `SPAN` steps and
    `PATIENCE` log points; a little more shows what comes too late.
    """
    start, until = onset - LEAD * every, onset + max(SPAN, PATIENCE * every) + 2 * every
    return {"every": every, "start": max(0, start), "until": until}


def spells(*spells: tuple[Values, int], every: int = USUAL) -> list[tuple[int, Values]]:
    """(step, scalars) of a run of several spells, each of so many log points."""
    values = [scalars for scalars, points in spells for _ in range(points)]
    return [(every * number, scalars) for number, scalars in enumerate(values, start=1)]


def warnings_of(
    health: Health, course: Iterable[tuple[int, Values]], steps: int = STEPS
) -> list[tuple[int, str]]:
    """(step, text) of each warning."""
    return [(step, text) for step, values in course for text in health.check(step, steps, values)]
