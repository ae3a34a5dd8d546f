"""One optimiser a player."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from semisup.errors import RecipeError, suggest
from semisup.models.base import ParameterGroup
from semisup.settings import OptimSettings


def _check_tables(players: Mapping[str, Any], optim: Mapping[str, Any]) -> None:
    for name in optim:
        if name not in players:
            raise RecipeError(
                f"[optim.{name}]: the method has no player '{name}'.{suggest(name, players)}"
            )
    for name in players:
        if name not in optim:
            raise RecipeError(
                f"[optim.{name}] is missing: the method's players are "
                f"{', '.join(sorted(players))}. Add the table with at least lr."
            )


def _check_free(players: Mapping[str, Sequence[ParameterGroup]]) -> None:
    for name, groups in players.items():
        if not all(parameter.requires_grad for group in groups for parameter in group.params):
            raise RecipeError(
                f"'{name}' holds weights that are frozen (requires_grad is off), which no update "
                "can move. Leave them out of the player's parameter groups, or free them."
            )


def make_optimisers(
    players: Mapping[str, Sequence[ParameterGroup]], optim: Mapping[str, OptimSettings]
) -> dict[str, Optimizer]:
    """An optimiser for each player, by its own table; the arguments and errors of `Updates`."""
    _check_tables(players, optim)
    _check_free(players)
    return {player: make_optimiser(optim[player], groups) for player, groups in players.items()}


def make_optimiser(optim: OptimSettings, groups: Sequence[ParameterGroup]) -> Optimizer:
    """torch's optimiser for one player; fused where torch has it (not for RMSprop)."""
    try:
        return _make_optimiser(optim, groups)
    except ValueError as error:  # torch's own check of a combination, such as nesterov's
        raise RecipeError(f"[optim]: {error}.") from None


def _make_optimiser(optim: OptimSettings, groups: Sequence[ParameterGroup]) -> Optimizer:
    params: list[dict[str, Any]] = [
        {
            "params": list(group.params),
            "lr": optim.lr * group.lr_scale,
            "lr_scale": group.lr_scale,
            "weight_decay": optim.weight_decay * group.decay_scale,
        }
        for group in groups
        if group.params
    ]
    if optim.kind == "sgd":
        return SGD(
            params, lr=optim.lr, momentum=optim.momentum, nesterov=optim.nesterov, fused=True
        )
    if optim.kind == "adam":
        return Adam(params, lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=True)
    if optim.kind == "adamw":
        return AdamW(params, lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=True)
    return RMSprop(params, lr=optim.lr, momentum=optim.momentum, alpha=optim.alpha, eps=optim.eps)
