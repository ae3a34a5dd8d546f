"""Checks of consistency training: whether the teacher follows, and the strong view is of use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semisup.monitoring.health.course import Finding, values_in_words

APART = 0.5
"""Agreement below which two maps have little to do with one another."""

FEW = 0.05
"""Share of the pixels that are taught below which what is said of them means little."""

WRONG = 0.7
"""Accuracy of pseudo-labels below which about a third of what is taught is wrong."""


def check_consistency(
    step: int, steps: int, scalars: Mapping[str, float], options: Mapping[str, float]
) -> Iterator[Finding]:
    """Findings of a log point, as far as its scalars are there.

    Args:
        step: steps done.
        steps: length of the run.
        scalars: what was logged.
        options: the method's numbers: nothing is checked where the weight of its term is 0.
    """
    if is_off(options):
        return
    late = step > 0.5 * steps
    share = scalars.get("self_taught_share", scalars.get("confident_share", 1.0))
    if "teacher_agreement" in scalars:
        yield Finding(
            "teacher apart",
            _below(scalars, "teacher_agreement", APART),
            "teacher and student disagree on the same view",
            "The teacher is no average of the student: check that it follows at every step, or "
            "lower its decay.",
            late,
        )
    if "strong_agreement" in scalars and share >= FEW:
        yield Finding(
            "view destroyed",
            _below(scalars, "strong_agreement", APART),
            "the student does not predict its targets on the strong view",
            "The view has lost what the labels are about: change less in it, or lower the weight "
            "of its term.",
            late,
        )
    labels = "strong_agreement" in scalars and "loss_consistency" not in scalars
    if labels and scalars.get("trusted_share", 0.0) >= APART:
        yield Finding(
            "much wrong taught",
            _below(scalars, "self_taught_accuracy", WRONG),
            "a good part of what is taught is wrong",
            "The threshold lets it pass: raise it, or lower the weight of the term.",
            late,
        )


def is_off(options: Mapping[str, float]) -> bool:
    """Whether the term on unlabelled images has no weight."""
    return 0 in (options.get("unlabelled_weight"), options.get("consistency_weight"))


def _below(scalars: Mapping[str, float], name: str, least: float) -> str:
    """The value in words where it is there and below `least`; else empty."""
    value = scalars.get(name, 1.0)
    return values_in_words({name: value}) if value < least else ""
