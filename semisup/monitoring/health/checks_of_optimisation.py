"""Checks of optimisation: players that stand still or run away, and losses that run away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semisup.monitoring.health.course import Finding, values_in_words

MEASURED = ("gradient_norm", "update_ratio", "weight_growth")
"""Scalars of a player, as `<name>/<player>`."""

STILL = 1e-9
FADED = 1e-3
"""Share of the highest learning rate so far below which weights may stand still."""

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
5e-3 a fresh U-Net learnt the scenes as well; from weights of ImageNet, growth gave a warning.
"""

LOSS_RISE, LOSS_FLOOR = 50.0, 0.5
"""A loss may be this many times its lowest mean so far; the floor is the least that this counts."""


class OptimisationChecks:
    """Checks of `loss_*` and of the scalars of each player. All of them belong into the checkpoint:

    Attributes:
        rates: the highest learning rate so far of each player.
        lows: the lowest mean so far of each loss.
        firsts: the mean of the first window of the segmenter's loss.
    """

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}
        self.lows: dict[str, float] = {}
        self.firsts: dict[str, float] = {}

    def check(self, step: int, scalars: Mapping[str, float]) -> Iterator[Finding]:
        """Findings of a log point, as far as its scalars are there.

        Args:
            step: steps done.
            scalars: what was logged.
        """
        names = (name.partition("/") for name in scalars)
        for player in dict.fromkeys(player for kind, _, player in names if kind in MEASURED):
            yield self._stands_still(player, scalars)
            yield self._runs_away(player, step, scalars)
        for name, value in scalars.items():
            if name.startswith("loss_"):
                yield self._has_risen(name, value)

    def _stands_still(self, player: str, scalars: Mapping[str, float]) -> Finding:
        names = (f"gradient_norm/{player}", f"update_ratio/{player}")
        norm, ratio = (scalars.get(name, 1.0) for name in names)
        rate = scalars.get(f"lr/{player}", 1.0)
        top = self.rates[player] = max(rate, self.rates.get(player, 0.0))
        still = norm < STILL or (ratio < STILL and rate >= FADED * top)
        return Finding(
            f"still/{player}",
            values_in_words({k: scalars[k] for k in names if k in scalars}) if still else "",
            f"'{player}' stands still",
            "No gradient reaches it, or its learning rate is next to nothing: check the weights "
            f"of the method's terms and optim.{player}.lr.",
        )

    def _runs_away(self, player: str, step: int, scalars: Mapping[str, float]) -> Finding:
        names = [f"update_ratio/{player}", f"weight_growth/{player}"]
        ratio, growth = (scalars.get(name, 0.0) for name in names)
        allowed = GROWTH * step**0.5
        runs = ratio > RUNAWAY or growth > 1.0 + allowed
        loss = "loss_segmentation"
        if player == "segmenter" and loss in scalars:
            first = self.firsts.setdefault(loss, scalars[loss])
            if growth > 1.0 + 0.5 * allowed and scalars[loss] >= NOT_FALLEN * first:
                names.append(loss)
                runs = True
        return Finding(
            f"runs/{player}",
            values_in_words({k: scalars[k] for k in names if k in scalars}) if runs else "",
            f"'{player}' runs away",
            f"Its learning rate is far too high: divide optim.{player}.lr by ten or more.",
        )

    def _has_risen(self, name: str, value: float) -> Finding:
        low = self.lows.get(name, abs(value))
        self.lows[name] = min(low, abs(value))
        risen = value >= LOSS_RISE * max(low, LOSS_FLOOR)
        return Finding(
            f"risen/{name}",
            f"{values_in_words({name: value})}; it was {low:.3g}" if risen else "",
            f"{name} has run away",
            "Lower the learning rate of the player that minimises it, and of its opponent; "
            "train.clip limits single steps.",
        )
