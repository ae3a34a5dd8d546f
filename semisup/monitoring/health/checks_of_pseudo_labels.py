"""Checks of self-teaching: how much gets a pseudo-label, and how many of these are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semisup.monitoring.health.checks_of_consistency import is_off
from semisup.monitoring.health.course import SPAN, Finding, values_in_words

EVERYTHING = 0.9999
NEARLY_EVERYTHING = 0.9
"""Share of self-teaching above which a threshold excludes next to nothing. Where less is right than
that, wrong labels are among the accepted ones; where it is known that more is right, all is well.
"""

RARELY = 0.2
"""Share of self-teaching below which whole batches have no pseudo-label, and so no accuracy."""

FEW = 0.05
"""Trusted share below which the accuracy is that of an image or two."""

WORSE = 0.01
"""Pseudo-labels may be right this much less often than all predictions: where nearly everything
gets one, both are nearly one number.
"""


def check_pseudo_labels(
    step: int, steps: int, scalars: Mapping[str, float], options: Mapping[str, float]
) -> Iterator[Finding]:
    """Findings of a log point, as far as its scalars are there.

    Args:
        step: steps done.
        steps: length of the run.
        scalars: what was logged.
        options: the method's numbers: nothing is checked where `self_taught_weight` is 0,
            `self_taught_start` is the share of the run after which self-teaching begins, and where
            `confidence_threshold` is 0 all is to be taught.
    """
    if options.get("self_taught_weight") == 0 or is_off(options):
        return
    share, accuracy = scalars.get("self_taught_share"), scalars.get("self_taught_accuracy")
    begun = step - options.get("self_taught_start", 0.0) * steps >= SPAN
    if share is not None:
        by_student = "strong_agreement" in scalars  # and not by a discriminator
        yield _none_taught(share, begun and step > 0.5 * steps, by_student)
        # An untrained discriminator accepts everything: in quickstart/adversarial for half.
        wanted = options.get("confidence_threshold") == 0  # a threshold of 0 is to take all
        if not by_student:  # a threshold of probabilities may well let nearly all pass
            yield _all_taught(share, scalars, step > 0.75 * steps and not wanted)
    chosen = "loss_consistency" not in scalars  # else the probabilities of all pixels are taught
    if chosen and accuracy is not None and _is_meaningful(share, scalars.get("trusted_share")):
        yield _wrong_taught(accuracy, scalars)


def _none_taught(share: float, reportable: bool, by_student: bool) -> Finding:
    unsure = "The threshold takes nothing, for no prediction is as sure: lower it, or train longer."
    rejected = (
        "The threshold takes nothing, mostly because the discriminator rejects everything: "
        "lower the threshold or the discriminator's learning rate."
    )
    return Finding(
        "none taught",
        values_in_words({"self_taught_share": share}) if share == 0 else "",
        "nothing is self-taught",
        unsure if by_student else rejected,
        reportable,
    )


def _all_taught(share: float, scalars: Mapping[str, float], reportable: bool) -> Finding:
    right = scalars.get("labelled_accuracy", 0.0)
    present = share >= EVERYTHING or (share >= NEARLY_EVERYTHING and share > right)
    names = ("self_taught_share", "labelled_accuracy")
    return Finding(
        "all taught",
        values_in_words({k: scalars[k] for k in names if k in scalars}) if present else "",
        f"{'' if share >= EVERYTHING else 'nearly '}everything is self-taught",
        "The threshold excludes nothing: raise it, start later, or make the discriminator "
        "stronger.",
        reportable,
    )


def _wrong_taught(accuracy: float, scalars: Mapping[str, float]) -> Finding:
    least = scalars.get("labelled_accuracy", 0.5) - WORSE
    names = ("self_taught_accuracy", "labelled_accuracy")
    evidence = values_in_words({k: scalars[k] for k in names if k in scalars})
    return Finding(
        "wrong taught",
        evidence if accuracy < least else "",
        "what is self-taught is more often wrong than the rest",
        "The pseudo-labels are worse than chance would choose them: raise the threshold, start "
        "later, or lower the weight of the self-taught term.",
    )


def _is_meaningful(share: float | None, trusted: float | None) -> bool:
    """Whether there are so many pseudo-labels that their accuracy means something.

    Args:
        share: mean over steps, of unlabelled images; None where it is not known.
        trusted: measured on labelled images; None where it is not.
    """
    if trusted is None:
        return share is None or share >= RARELY
    return trusted >= FEW and share != 0.0  # 0 before self-teaching starts
