"""What goes wrong in a run, in plain words, from the scalars that were logged and nothing else.

Adversarial games fail silently: the losses stay finite, and the scores are poor in the end. But how
they fail shows in a few scalars, whose names the methods have in common:

    d_real, d_fake         mean probability that the discriminator gives real and made input of
                           being real (see `losses.gan.standing`)
    d_accuracy             share of both that it judges rightly
    sample_diversity       how much made images differ, over how much real ones do
    self_taught_share      share of the unlabelled pixels or images that are taught
    self_taught_accuracy   share of what is taught that is right
    labelled_accuracy      share of all labelled pixels that are right, which is less if all is well
    trusted_share          share of these that would be taught (`monitoring.pseudo_labels` has all)
    loss_*                 any loss
    gradient_norm/<player>, update_ratio/<player>, weight_growth/<player>, lr/<player>
                           of every player (see `Updates.reports`)

Where a name is missing, nothing is said about it; no method has to be known. The scalars are on the
host when a log point is written, so a look at them costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

PATIENCE = 3
"""Log points in a row that a state must last to be told, and to be forgotten."""

SPAN = 150
"""Steps that it must last besides. Where a log point is written every 50 steps, a state is told
before it is 200 steps old, the window in which it began included; in a denser log no sooner.
"""

GRACE = 200
"""Steps at the start in which a discriminator may well be blind, or say the same to everything, and
a generator be grey.
"""

WON_ACCURACY, WON_FAKE = 0.98, 0.05
BLIND = 0.02
"""Largest distance of the accuracy from a half, and of the mean answers from each other."""

GAIN, LEAST_RECORD = 1.25, 0.002
"""The discriminator counts as improving while the gap between its two mean outputs exceeds 1.25
times the largest gap so far, which counts as 0.002 at least; likewise their distance from 0 and 1.
"""

ONE_ANSWER = 0.05
"""Both mean answers are this close to 0, or to 1."""

COLLAPSED, NOTHING_MADE = 0.1, 0.02
"""Fresh generators are grey: 0.18 was measured, and it goes with the root of their width."""

STILL = 1e-9
FADED = 1e-3
"""Share of the highest learning rate so far; below it, nobody wonders that weights stand still."""

RUNAWAY = 0.05
GROWTH = 0.1
"""Weights grow with the root of the steps, whose noise they add up. Allowed is 1 + this x root: 2.2
at step 150. Measured there: 1.03 (AdamW, batch norm), and 18 at a hundred times the learning rate,
where the update ratio was small again, since the weights were large.
"""

NOT_FALLEN = 0.95
"""A segmenter that grows more than half as fast as allowed must have learnt something: its loss is
below this share of that of the first window. Plain descent (sgd) at a rate far too high kills a
network without batch norm in its first steps: growth 1.8 to 2.7 at step 50, then none, and the loss
stays at 0.97. With batch norm it may do no harm: a gradient is orthogonal to weights whose scale
does not matter, so they grow, and the larger they are the smaller is a step. At a hundred times
5e-3 a fresh U-Net learnt the made scenes as well; from weights of ImageNet, growth told of it.
"""

LOSS_RISE, LOSS_FLOOR = 50.0, 0.5
"""A loss may be this many times its lowest mean so far; the floor is the least that this counts."""

EVERYTHING = 0.9999
RARELY = 0.2
"""Share of self-teaching below which whole batches teach nothing, and so have no accuracy."""

FEW = 0.05
"""Trusted share below which the accuracy is that of an image or two."""

WORSE = 0.01
"""What is taught may be right this much less often than the rest: where nearly everything is
taught, both are nearly one number.
"""


@dataclass(frozen=True, slots=True)
class Sign:
    """What one check finds at one log point.

    Attributes:
        key: which state it is about, such as "won" or "still/generator".
        seen: the values that speak for it; empty where all is well.
        what: the state, in words.
        remedy: what to try.
        ripe: False where it is too early in the run to tell of it.
    """

    key: str
    seen: str
    what: str
    remedy: str
    ripe: bool = True


@dataclass
class Course:
    """How long something has been bad, or well.

    Attributes:
        bad: which of the two it is.
        points: log points in a row.
        since: the step before which it was otherwise.
        told: whether a warning is active, that is issued and not yet cleared.
    """

    bad: bool = False
    points: int = 0
    since: int = 0
    told: bool = False

    def add(self, sign: Sign, before: int, step: int) -> bool:
        """Add a log point; returns whether it is now to be told.

        Args:
            sign: of this log point.
            before: step of the log point before it.
            step: of this one.
        """
        bad = bool(sign.seen)
        if bad != self.bad or not self.points:
            self.bad, self.points, self.since = bad, 0, before
        self.points += 1
        lasts = self.points >= PATIENCE and step - self.since >= SPAN
        if not lasts or bad == self.told or (bad and not sign.ripe):
            return False
        self.told = bad
        return bad


class Health:
    """Watches a run. What it remembers belongs into the checkpoint.

    Args:
        options: the method's numbers by name, for what is on purpose: a self-taught term that is
            off (`self_taught_weight` 0) or has not begun (`self_taught_start`).
    """

    def __init__(self, options: Mapping[str, float] | None = None) -> None:
        self._options = dict(options or {})
        self._last = 0
        self._courses: dict[str, Course] = {}
        self._records: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._lows: dict[str, float] = {}
        self._firsts: dict[str, float] = {}

    def look(self, step: int, steps: int, scalars: Mapping[str, float]) -> list[str]:
        """What a log point gives to tell: nothing, almost always.

        A state is told once it has lasted for `PATIENCE` log points and `SPAN` steps, and a second
        time only if it has been well for as long in between.

        Args:
            step: steps done.
            steps: length of the run.
            scalars: what was logged.

        Returns:
            One text for each state: what it is, since when, what was seen, what to try.
        """
        told = []
        for sign in self._signs(step, steps, scalars):
            course = self._courses.setdefault(sign.key, Course())
            if course.add(sign, self._last, step):
                since = f"since step {course.since}" if course.since else "since the start"
                told.append(f"{sign.what} {since} ({sign.seen}). {sign.remedy}")
        self._last = step
        return told

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far, as plain numbers."""
        return {
            "last": self._last,
            "courses": {key: asdict(course) for key, course in self._courses.items()},
            "records": dict(self._records),
            "rates": dict(self._rates),
            "lows": dict(self._lows),
            "firsts": dict(self._firsts),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._last = state["last"]
        self._courses = {key: Course(**course) for key, course in state["courses"].items()}
        self._records = dict(state["records"])
        self._rates = dict(state["rates"])
        self._lows = dict(state["lows"])
        self._firsts = dict(state.get("firsts", {}))  # not in older checkpoints

    def _signs(self, step: int, steps: int, scalars: Mapping[str, float]) -> Iterator[Sign]:
        """Those of all checks whose scalars are there, always in the same order."""
        game = {k: scalars[k] for k in ("d_real", "d_fake", "d_accuracy") if k in scalars}
        # A game that is switched off is reported as zeros.
        if not game or any(game.values()):
            yield from self._of_answers(step, game)
            if "sample_diversity" in scalars:
                yield _of_samples(step, scalars["sample_diversity"])
        yield from self._of_self_teaching(step, steps, scalars)
        measured = ("gradient_norm", "update_ratio", "weight_growth")
        names = (name.partition("/") for name in scalars)
        for player in dict.fromkeys(player for kind, _, player in names if kind in measured):
            yield self._of_standing(player, scalars)
            yield self._of_running(player, step, scalars)
        for name, value in scalars.items():
            if name.startswith("loss_"):
                yield self._of_loss(name, value)

    def _of_answers(self, step: int, game: Mapping[str, float]) -> Iterator[Sign]:
        """The discriminator's: at most one of these is bad at a time."""
        real, fake, accuracy = (game.get(k) for k in ("d_real", "d_fake", "d_accuracy"))
        seen, swapped, alike, gains = _values(game), False, False, False
        if real is not None and fake is not None:
            alike = self._are_alike(real, fake)
            swapped = fake - real > BLIND and not alike
            gains = self._gains("apart", real - fake)
            yield Sign(
                "swapped",
                seen if swapped else "",
                "the discriminator takes made input for real, and real for made,",
                "Its labels are swapped: look at the targets of its loss. If they are right, its "
                "learning rate is too low for the other side's.",
            )
            yield Sign(
                "one answer",
                seen if alike else "",
                "the discriminator gives real and made input one answer",
                "Its labels are constant, or one half of its loss is missing: look at the targets, "
                "and whether both kinds of input reach it.",
                ripe=step >= GRACE,
            )
        if accuracy is not None and fake is not None:
            won = accuracy >= WON_ACCURACY and fake <= WON_FAKE
            yield Sign(
                "won",
                seen if won else "",
                "the discriminator has won",
                "The other side learns nothing from it any more. Lower the discriminator's "
                "learning rate, smooth its labels, or update the other side more often.",
            )
        if accuracy is not None and fake is not None and real is not None:
            blind = abs(accuracy - 0.5) <= BLIND and real - fake < BLIND
            yield Sign(
                "blind",
                seen if blind and not (alike or swapped or gains) else "",
                "the discriminator is blind: it cannot tell real from made input",
                "Either the other side has won, or it learns nothing. Raise the discriminator's "
                "learning rate or its width, or lower the other side's learning rate.",
                ripe=step >= GRACE,
            )

    def _are_alike(self, real: float, fake: float) -> bool:
        """Whether both answers are next to 1, or to 0, and not on their way back.

        K + 1 equal logits, with which a segmenter of many classes begins, say "real" to everything.
        """
        off = {end: max(abs(real - end), abs(fake - end)) for end in (0, 1)}
        leaves = {end: self._gains(f"off {end}", off[end]) for end in off}
        return any(off[end] < ONE_ANSWER and not leaves[end] for end in off)

    def _gains(self, name: str, distance: float) -> bool:
        """Whether a distance is larger than ever: whoever learns slowly learns all the same."""
        gains = distance > GAIN * self._records.get(name, LEAST_RECORD)
        if gains:
            self._records[name] = distance
        return gains

    def _of_self_teaching(
        self, step: int, steps: int, scalars: Mapping[str, float]
    ) -> Iterator[Sign]:
        if self._options.get("self_taught_weight") == 0:
            return
        share, accuracy = scalars.get("self_taught_share"), scalars.get("self_taught_accuracy")
        begun = step - self._options.get("self_taught_start", 0.0) * steps >= SPAN
        if share is not None:
            seen = _values({"self_taught_share": share})
            yield Sign(
                "none taught",
                seen if share == 0 else "",
                "nothing is self-taught",
                "The threshold takes nothing, mostly because the discriminator rejects everything: "
                "lower the threshold or the discriminator's learning rate.",
                ripe=begun and step > 0.5 * steps,
            )
            yield Sign(
                "all taught",
                seen if share >= EVERYTHING else "",
                "everything is self-taught",
                "The threshold chooses nothing: raise it, start later, or make the discriminator "
                "stronger.",
                # While the discriminator learns, it trusts everything: in `quickstart` for as long
                # as half of the run.
                ripe=step > 0.75 * steps,
            )
        if accuracy is not None and _teaches(share, scalars.get("trusted_share")):
            least = scalars.get("labelled_accuracy", 0.5) - WORSE
            names = ("self_taught_accuracy", "labelled_accuracy")
            yield Sign(
                "wrong taught",
                _values({k: scalars[k] for k in names if k in scalars}) if accuracy < least else "",
                "what is self-taught is more often wrong than the rest",
                "The trust is misplaced: raise the threshold, start later, or lower the weight of "
                "the self-taught term.",
            )

    def _of_standing(self, player: str, scalars: Mapping[str, float]) -> Sign:
        names = (f"gradient_norm/{player}", f"update_ratio/{player}")
        norm, ratio = (scalars.get(name, 1.0) for name in names)
        rate = scalars.get(f"lr/{player}", 1.0)
        top = self._rates[player] = max(rate, self._rates.get(player, 0.0))
        still = norm < STILL or (ratio < STILL and rate >= FADED * top)
        return Sign(
            f"still/{player}",
            _values({k: scalars[k] for k in names if k in scalars}) if still else "",
            f"'{player}' stands still",
            "No gradient reaches it, or its learning rate is next to nothing: look at the weights "
            f"of the method's terms and at optim.{player}.lr.",
        )

    def _of_running(self, player: str, step: int, scalars: Mapping[str, float]) -> Sign:
        names = [f"update_ratio/{player}", f"weight_growth/{player}"]
        ratio, growth = (scalars.get(name, 0.0) for name in names)
        allowed = GROWTH * step**0.5
        runs = ratio > RUNAWAY or growth > 1.0 + allowed
        loss = "loss_segmentation"
        if player == "segmenter" and loss in scalars:
            first = self._firsts.setdefault(loss, scalars[loss])
            if growth > 1.0 + 0.5 * allowed and scalars[loss] >= NOT_FALLEN * first:
                names.append(loss)
                runs = True
        return Sign(
            f"runs/{player}",
            _values({k: scalars[k] for k in names if k in scalars}) if runs else "",
            f"'{player}' runs away",
            f"Its learning rate is far too high: divide optim.{player}.lr by ten or more.",
        )

    def _of_loss(self, name: str, value: float) -> Sign:
        low = self._lows.get(name, abs(value))
        self._lows[name] = min(low, abs(value))
        risen = value >= LOSS_RISE * max(low, LOSS_FLOOR)
        return Sign(
            f"risen/{name}",
            f"{_values({name: value})}; it was {low:.3g}" if risen else "",
            f"{name} has run away",
            "Lower the learning rate of the player that pays it, and of the one that plays against "
            "it; train.clip limits single steps.",
        )


def _teaches(share: float | None, trusted: float | None) -> bool:
    """Whether so much is self-taught that its accuracy means something.

    Args:
        share: mean over steps, of unlabelled images; None where it is not known.
        trusted: measured on labelled images; None where it is not.
    """
    if trusted is None:
        return share is None or share >= RARELY
    return trusted >= FEW and share != 0.0  # 0 before self-teaching starts


def _of_samples(step: int, diversity: float) -> Sign:
    return Sign(
        "collapsed",
        _values({"sample_diversity": diversity}) if diversity < COLLAPSED else "",
        "the made images have collapsed: they are all alike",
        "A collapsed generator rarely comes back. Start again with a lower learning rate of both "
        "sides, or with feature matching.",
        ripe=step >= GRACE or diversity < NOTHING_MADE,
    )


def _values(scalars: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in scalars.items())
