"""Warnings in plain words about a training that goes wrong, from its logged scalars alone.

Adversarial games fail silently: the losses stay finite, and the scores are poor in the end. But how
they fail shows in a few scalars, whose names the methods have in common:

    d_real, d_fake         the discriminator's mean probability of being real, for real and for
                           generated input (see `losses.gan.standing`)
    d_hard                 the same probability for the one-hot argmax of the predictions, which
                           has their errors and not their softness: where it is near d_real, the
                           discriminator tells soft from hard, which d_accuracy cannot show
    d_accuracy             share of both that it classifies rightly
    sample_diversity       how much generated images differ, over how much real ones do
    self_taught_share      share of the unlabelled pixels or images that have a pseudo-label
    self_taught_accuracy   share of the pseudo-labels that are right
    labelled_accuracy      share of all labelled pixels that are predicted rightly, which is less if
                           all is well
    trusted_share          share of these that would get a pseudo-label
                           (`monitoring.pseudo_labels` has all)
    teacher_agreement      share of the pixels of one view at which teacher and student agree
    strong_agreement       share of the taught pixels at which the student agrees on a strong view
    loss_*                 any loss
    gradient_norm/<player>, update_ratio/<player>, weight_growth/<player>, lr/<player>
                           of every player (see `Updates.reports`)

A check whose scalars are missing is left out; no method has to be known. The scalars are on the
host when a log point is written, so checking them costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from semisup.monitoring.health.checks_of_consistency import check_consistency
from semisup.monitoring.health.checks_of_games import GameChecks
from semisup.monitoring.health.checks_of_optimisation import OptimisationChecks
from semisup.monitoring.health.checks_of_pseudo_labels import check_pseudo_labels
from semisup.monitoring.health.course import SPAN, Course, Finding

_SAID = {
    "d_accuracy": "discriminator right at {:.0%}",
    "sample_diversity": "generated images {:.0%} as diverse as real ones",
    "self_taught_share": "{:.0%} accepted as pseudo-labels",
    "confident_share": "{:.0%} predicted with confidence",
    "self_taught_accuracy": "{:.0%} of the pseudo-labels right",
    "teacher_agreement": "teacher and student agree at {:.0%}",
    "agreement": "the networks agree at {:.0%}",
}
"""What a scalar says of a run that is well; shares and accuracies, in percent."""


class Health:
    """The checks of a run and how long each condition has lasted. Its state belongs into the
    checkpoint.

    Args:
        options: the method's numbers by name, for what is on purpose: a self-taught term that is
            off (`self_taught_weight` 0), has not begun (`self_taught_start`) or is to take all
            (`confidence_threshold` 0).
    """

    def __init__(self, options: Mapping[str, float] | None = None) -> None:
        self._options = dict(options or {})
        self._last = 0
        self._courses: dict[str, Course] = {}
        self._games = GameChecks()
        self._optimisation = OptimisationChecks()
        self._standing: list[str] = []

    def check(self, step: int, steps: int, scalars: Mapping[str, float]) -> list[str]:
        """Warnings to issue at a log point: almost always none.

        A warning is issued once a condition has held for `PATIENCE` log points and `SPAN` steps; it
        is repeated only after the condition has been absent for as long.

        Args:
            step: steps done.
            steps: length of the run.
            scalars: what was logged.

        Returns:
            One text for each warning: condition, since when, the values that show it, a remedy.
        """
        warnings = []
        self._standing = []
        for finding in self._findings(step, steps, scalars):
            course = self._courses.setdefault(finding.key, Course())
            if course.add(finding, self._last, step):
                since = f"since step {course.since}" if course.since else "since the start"
                warnings.append(
                    f"{finding.condition} {since} ({finding.evidence}). {finding.remedy}"
                )
            if course.warned:
                self._standing.append(finding.condition.rstrip(",:"))
        self._last = step
        return warnings

    def words(self, scalars: Mapping[str, float]) -> str:
        """How the run stood at the last check, in one line.

        Args:
            scalars: what was given to it.

        Returns:
            "healthy: " and what the scalars say, or the conditions that were warned of and have
            not been absent for long enough since.
        """
        if self._standing:
            return "warning: " + "; ".join(self._standing)
        said = [text.format(scalars[name]) for name, text in _SAID.items() if scalars.get(name)]
        if self._last < SPAN:
            return f"too early to tell: conditions must last {SPAN} steps"
        return "healthy: " + (", ".join(said) or "losses and weights move as they should")

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far, as plain numbers."""
        return {
            "last": self._last,
            "courses": {key: asdict(course) for key, course in self._courses.items()},
            "records": dict(self._games.records),
            "rates": dict(self._optimisation.rates),
            "lows": dict(self._optimisation.lows),
            "firsts": dict(self._optimisation.firsts),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` left off.

        Raises:
            KeyError: the state is of another version.
        """
        self._last = state["last"]
        courses = state["courses"]
        self._courses = {key: Course.from_state(course) for key, course in courses.items()}
        self._games.records = dict(state["records"])
        self._optimisation.rates = dict(state["rates"])
        self._optimisation.lows = dict(state["lows"])
        self._optimisation.firsts = dict(state["firsts"])

    def _findings(self, step: int, steps: int, scalars: Mapping[str, float]) -> Iterator[Finding]:
        """Those of all checks whose scalars are there, always in the same order."""
        yield from self._games.check(step, steps, scalars)
        yield from check_pseudo_labels(step, steps, scalars, self._options)
        yield from check_consistency(step, steps, scalars, self._options)
        yield from self._optimisation.check(step, scalars)
