"""Checks of an adversarial game: its discriminator, and the images that a generator makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semisup.monitoring.health.course import Finding, values_in_words

GRACE = 200
"""Steps at the start in which a discriminator may well be blind, or give the same output for
everything, and a generator's images may be grey.
"""

WON_ACCURACY, WON_FAKE = 0.98, 0.05
BLIND = 0.02
"""Largest distance of the accuracy from a half, and of the two mean outputs from each other."""

GAIN, LEAST_RECORD = 1.25, 0.002
"""The discriminator counts as improving while the gap between its two mean outputs exceeds 1.25
times the largest gap so far (at least 0.002); likewise while their distance from 0 or 1 does.
"""

ONE_ANSWER = 0.05
"""Both mean outputs are this close to 0, or to 1."""

APART, SOFT = 0.1, 0.8
"""Where the two mean outputs are further apart than this, and at least this share of the gap goes
with the prediction's softness, the discriminator tells soft maps from hard ones. Measured in a
finished `quickstart/adversarial`: 0.222 of 0.235.
"""

COLLAPSED, NOTHING_GENERATED = 0.1, 0.02
"""The images of fresh generators are grey: 0.18 was measured, and it goes with the root of their
width.
"""


class GameChecks:
    """Checks of `d_real`, `d_fake`, `d_hard`, `d_accuracy` and `sample_diversity`.

    Attributes:
        records: the largest distance so far by name, for `GAIN`; belongs into the checkpoint.
    """

    def __init__(self) -> None:
        self.records: dict[str, float] = {}

    def check(self, step: int, steps: int, scalars: Mapping[str, float]) -> Iterator[Finding]:
        """Findings of a log point, as far as its scalars are there.

        Args:
            step: steps done.
            steps: length of the run.
            scalars: what was logged.
        """
        game = {k: scalars[k] for k in ("d_real", "d_fake", "d_accuracy") if k in scalars}
        if game and not any(game.values()):  # a game that is switched off is reported as zeros
            return
        yield from self._discriminator(step, game)
        if {"d_real", "d_fake", "d_hard"} <= scalars.keys():
            yield _soft(scalars, step > 0.75 * steps)
        if "sample_diversity" in scalars:
            yield _collapsed(step, scalars["sample_diversity"])

    def _discriminator(self, step: int, game: Mapping[str, float]) -> Iterator[Finding]:
        """Blind is only what is neither swapped nor of one answer, and does not improve."""
        real, fake, accuracy = (game.get(k) for k in ("d_real", "d_fake", "d_accuracy"))
        evidence, doubtful = values_in_words(game), False
        if real is not None and fake is not None:
            alike = self._are_alike(real, fake)
            swapped = fake - real > BLIND and not alike
            improves = self._improves("apart", real - fake)
            doubtful = alike or swapped or improves
            yield _swapped(evidence if swapped else "")
            yield _one_answer(evidence if alike else "", step)
        if accuracy is not None and fake is not None:
            won = accuracy >= WON_ACCURACY and fake <= WON_FAKE
            yield _won(evidence if won else "")
        if accuracy is not None and fake is not None and real is not None:
            blind = abs(accuracy - 0.5) <= BLIND and real - fake < BLIND
            yield _blind(evidence if blind and not doubtful else "", step)

    def _are_alike(self, real: float, fake: float) -> bool:
        """Whether both mean outputs are close to 1, or to 0, and not on their way back.

        K + 1 equal logits, with which a segmenter of many classes begins, call everything real.
        """
        distances = {end: max(abs(real - end), abs(fake - end)) for end in (0, 1)}
        leaving = {end: self._improves(f"off {end}", distances[end]) for end in distances}
        return any(distances[end] < ONE_ANSWER and not leaving[end] for end in distances)

    def _improves(self, name: str, distance: float) -> bool:
        """Whether a distance exceeds its record clearly: slow learning is learning."""
        improves = distance > GAIN * self.records.get(name, LEAST_RECORD)
        if improves:
            self.records[name] = distance
        return improves


def _swapped(evidence: str) -> Finding:
    return Finding(
        "swapped",
        evidence,
        "the discriminator's outputs are swapped: generated input scores as real, real input as "
        "generated,",
        "Its labels are swapped: check the targets of its loss. If they are right, its learning "
        "rate is too low for that of its opponent.",
    )


def _one_answer(evidence: str, step: int) -> Finding:
    return Finding(
        "one answer",
        evidence,
        "the discriminator gives real and generated input one answer",
        "Its labels are constant, or one half of its loss is missing: check the targets, and "
        "whether both kinds of input reach it.",
        reportable=step >= GRACE,
    )


def _won(evidence: str) -> Finding:
    return Finding(
        "won",
        evidence,
        "the discriminator has won",
        "Its opponent learns nothing from it any more. Lower the discriminator's learning rate, "
        "smooth its labels, or update its opponent more often.",
    )


def _blind(evidence: str, step: int) -> Finding:
    return Finding(
        "blind",
        evidence,
        "the discriminator is blind: it cannot tell real from generated input",
        "Either its opponent has won, or it learns nothing. Raise the discriminator's learning "
        "rate or its width, or lower its opponent's learning rate.",
        reportable=step >= GRACE,
    )


def _soft(scalars: Mapping[str, float], reportable: bool) -> Finding:
    real, fake, hard = (scalars[name] for name in ("d_real", "d_fake", "d_hard"))
    soft = real - fake > APART and hard - fake >= SOFT * (real - fake)
    return Finding(
        "soft",
        values_in_words({"d_real": real, "d_hard": hard, "d_fake": fake}) if soft else "",
        "the discriminator tells soft predictions from hard ones, not wrong from right:",
        "The argmax of a prediction passes for ground truth, errors and all, so the map of the "
        "discriminator says little about which pixels are right. Compare self_taught_accuracy with "
        "labelled_accuracy; noise on class maps (method.game.instance_noise) hides the softness.",
        reportable,
    )


def _collapsed(step: int, diversity: float) -> Finding:
    return Finding(
        "collapsed",
        values_in_words({"sample_diversity": diversity}) if diversity < COLLAPSED else "",
        "the generated images have collapsed: they are all alike",
        "A collapsed generator rarely recovers. Start again with lower learning rates of generator "
        "and discriminator, or with feature matching.",
        reportable=step >= GRACE or diversity < NOTHING_GENERATED,
    )
