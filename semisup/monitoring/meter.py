"""Means of scalars between log points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from semisup.system.distributed import mean_over_ranks


class Meter:
    """Means of scalars between log points, summed on the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Add one step's scalars."""
        for name, value in scalars.items():
            known = self._sums.get(name)
            wide = value.float()
            self._sums[name] = wide if known is None else known + wide
        self._count += 1

    def take(self) -> dict[str, float]:
        """The means so far, over all ranks, and start anew. Synchronises, once."""
        if not self._sums:
            return {}
        sums = mean_over_ranks(torch.stack(list(self._sums.values())).double()).tolist()
        means = {name: value / self._count for name, value in zip(self._sums, sums, strict=True)}
        self._sums, self._count = {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """Sums so far, of this rank."""
        return {"sums": {k: v.cpu() for k, v in self._sums.items()}, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""
        self._sums, self._count = dict(state["sums"]), int(state["count"])


def mean_state(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One state for the states of several ranks, with the same means over all of them."""
    names = states[0]["sums"]
    sums = {name: sum(state["sums"][name] for state in states) / len(states) for name in names}
    return {"sums": sums, "count": states[0]["count"]}
