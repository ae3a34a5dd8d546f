"""`update(player, loss)`: the only road from a loss to a weight.

One optimiser a player. Gradients go to the player's own parameters alone
(`backward(inputs=...)`), so no method has to toggle `requires_grad`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError, RunError
from semisup.models.base import ParameterGroup
from semisup.settings import OptimSettings
from semisup.system.device import Precision
from semisup.system.distributed import Gradients, lowest_over_ranks
from semisup.training.optimisers import make_optimisers
from semisup.training.schedules import rate_factor
from semisup.types import Progress


class Updates:
    """One optimiser step per player and training step.

    With `accumulate` = A, `update` is called A times a step for each player; the gradients are
    averaged and the weights move at the last call. A mean over valid pixels is then averaged over
    A batches rather than taken over all their pixels at once. Where several processes train, the
    gradients are averaged over them too, at the last call only.

    Args:
        players: player -> parameter groups, from `Method.players`.
        optim: player -> its `[optim.*]` table; exactly the same names.
        precision: fp16 brings one loss scaler a player.
        accumulate: batches for one step.
        clip: largest gradient norm of a player; 0 clips nothing.

    Raises:
        RecipeError: an `[optim.*]` table is missing or names no player; a player holds weights that
            are frozen.
    """

    def __init__(
        self,
        players: Mapping[str, Sequence[ParameterGroup]],
        optim: Mapping[str, OptimSettings],
        *,
        precision: Precision = "float32",
        accumulate: int = 1,
        clip: float = 0.0,
    ) -> None:
        self._optimisers = make_optimisers(players, optim)
        self._optim = dict(optim)
        self._parameters = {
            player: [p for group in groups for p in group.params]
            for player, groups in players.items()
        }
        self._gradients = {player: Gradients(held) for player, held in self._parameters.items()}
        self._scalers = {
            player: torch.amp.GradScaler(enabled=precision == "fp16") for player in players
        }
        self._accumulate = accumulate
        self._clip = clip
        self._progress = Progress(0, 1)
        self._micro = 0
        self._measure = False
        self._stepped: set[str] = set()
        self._first_bad: dict[str, Tensor] = {}
        self._norms: dict[str, Tensor] = {}
        self._ratios: dict[str, Tensor] = {}
        self._growth: dict[str, Tensor] = {}
        self._start = {player: _norm(held) for player, held in self._parameters.items()}

    def begin(self, progress: Progress, micro: int = 0, *, measure: bool = False) -> None:
        """Announce batch `micro` of step `progress.step`.

        Args:
            progress: where the run stands; sets the learning rates.
            micro: which of the `accumulate` batches follows.
            measure: whether gradient norms, update ratios and growth are wanted of this step (they
                cost some passes over the weights, and a copy of them).
        """
        self._progress, self._micro, self._measure = progress, micro, measure
        self._stepped = set()
        if micro == 0:
            if measure:  # of a player that is not updated now, nothing is known of this step
                self._norms, self._ratios, self._growth = {}, {}, {}
            for player, optimiser in self._optimisers.items():
                factor = rate_factor(self._optim[player], progress)
                for group in optimiser.param_groups:
                    group["lr"] = self._optim[player].lr * group["lr_scale"] * factor

    def __call__(self, player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        """One optimiser step that lowers `loss` in the parameters of `player` and in no others."""
        parameters = self._parameters[player]
        self._note_call(player)
        self._note_finite(player, loss.detach())
        scaler = self._scalers[player]
        more_follow = self._micro < self._accumulate - 1
        with torch.autocast(loss.device.type, enabled=False):
            scaled = scaler.scale(loss / self._accumulate)
            self._gradients[player].backward(scaled, more_follow=more_follow, keep_graph=keep_graph)
        if more_follow:
            return
        optimiser = self._optimisers[player]
        if self._clip or self._measure:
            scaler.unscale_(optimiser)
            self._norms[player] = self._limit(parameters)
        before = [p.detach().clone() for p in parameters] if self._measure else None
        scaler.step(optimiser)
        scaler.update()
        if before is not None:
            self._note_change(player, before)
        optimiser.zero_grad(set_to_none=True)
        # autocast keeps its casts of the weights until the end of the step: the next forward of
        # this player would still see the old ones.
        torch.clear_autocast_cache()

    def _limit(self, parameters: list[nn.Parameter]) -> Tensor:
        """Norm of the gradients, clipped if asked for."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self._clip:
            nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)
        return norm

    @torch.no_grad()
    def _note_change(self, player: str, before: Sequence[Tensor]) -> None:
        """Remember, on the device, how far the weights moved, now and since the start."""
        now = self._parameters[player]
        change = _norm([p - old for p, old in zip(now, before, strict=True)])
        self._ratios[player] = _over(change, _norm(before))
        self._growth[player] = _over(_norm(now), self._start[player])

    def _note_call(self, player: str) -> None:
        """Refuse what has no meaning: gradients of several updates, accumulated in one place.

        Raises:
            RecipeError: the method updates the player more than once a step, and steps have several
                batches.
        """
        if player in self._stepped and self._accumulate > 1:
            raise RecipeError(
                f"the method updates '{player}' more than once a step, which train.accumulate = "
                f"{self._accumulate} cannot average. Set train.accumulate to 1, or the method's "
                "updates to 1."
            )
        self._stepped.add(player)

    def _note_finite(self, player: str, loss: Tensor) -> None:
        """Remember, on the device, the first step whose loss was not finite."""
        never = torch.iinfo(torch.int64).max
        now = torch.where(torch.isfinite(loss), never, self._progress.step)
        known = self._first_bad.get(player)
        self._first_bad[player] = now if known is None else torch.minimum(known, now)

    def check_finite(self) -> None:
        """Raise if a loss was not finite, on any rank. Synchronises: call at log points only.

        Raises:
            RunError: names the first player and its first bad step.
        """
        never = torch.iinfo(torch.int64).max
        bad = {player: int(lowest_over_ranks(first)) for player, first in self._first_bad.items()}
        if not bad or min(bad.values()) == never:
            return
        player = min(bad, key=lambda name: bad[name])
        # A loss passes through other players' networks, whose weights may be what has overflowed.
        others = [f"optim.{name}.lr" for name in self._optim if name != player]
        raise RunError(
            f"the loss of '{player}' is not finite since step {bad[player]}; any checkpoint "
            f"is from before it. Lower optim.{player}.lr or set train.clip."
            + (f" The cause may as well be {' or '.join(others)}." if others else "")
        )

    def check_weights(self, step: int) -> None:
        """Raise if a weight is not finite: a gradient may overflow where the loss does not.

        Raises:
            RunError: names the player.
        """
        for player, parameters in self._parameters.items():
            if not torch.isfinite(nn.utils.get_total_norm(p.detach() for p in parameters)):
                raise RunError(
                    f"the weights of '{player}' are not finite after step {step}; any "
                    f"checkpoint is from before it. Lower optim.{player}.lr or set train.clip."
                )

    def reports(self) -> dict[str, Tensor]:
        """Learning rate and, where measured, what the last update of each player did.

        `update_ratio` is the norm of the change of the player's weights over the norm of the
        weights before it: about 1e-3 where it learns well. `weight_growth` is the norm of the
        weights over that at the start of the run: about 1, and far more where the learning rate is
        far too high. There the ratio alone looks well: once the weights are large it is small.
        """
        rates = {
            f"lr/{player}": torch.tensor(
                self._optim[player].lr * rate_factor(self._optim[player], self._progress),
                dtype=torch.float64,
            )
            for player in self._optimisers
        }
        measured = {
            "gradient_norm": self._norms,
            "update_ratio": self._ratios,
            "weight_growth": self._growth,
        }
        return rates | {
            f"{name}/{player}": value
            for name, values in measured.items()
            for player, value in values.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """State of optimisers and scalers. Between steps, so no gradient is under way."""
        return {
            "optimisers": {k: v.state_dict() for k, v in self._optimisers.items()},
            "scalers": {k: v.state_dict() for k, v in self._scalers.items()},
            "start": dict(self._start),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        for player, optimiser in self._optimisers.items():
            optimiser.load_state_dict(state["optimisers"][player])
            self._scalers[player].load_state_dict(state["scalers"][player])
        for player, norm in state.get("start", {}).items():  # not in older checkpoints
            self._start[player] = norm.to(self._start[player].device)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """Norm of all of them together, 0-d."""
    return nn.utils.get_total_norm([tensor.detach() for tensor in tensors])


def _over(norm: Tensor, other: Tensor) -> Tensor:
    """Their ratio; 0 where the other is 0, as that of weights that all begin with 0."""
    return torch.where(other > 0, norm / other, 0.0)
