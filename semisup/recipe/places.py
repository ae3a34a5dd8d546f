"""What of a recipe does not change what is trained; read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLACES = ("data.root", "data.workers", "data.cache", "train.seed", "baseline.recipe", "eval.watch")
"""Keys that do not change what is trained, or are told apart otherwise (the seed)."""


def without_watching(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a recipe without those of scores that are only watched and of terms that are off.

    A run that is scored on a subset of its own while it trains (`eval.watch`) is the same run, to
    the bit, as one that is not. One without a term on the images (`train.regulariser`), or what is
    for labels that are wrong in part (some losses, weights by confidence), is one of a version that
    knew none.

    Args:
        flat: dotted key -> value.
    """
    kept = {key: value for key, value in flat.items() if key != "eval.watch"}
    if not flat.get("train.regulariser"):
        kept = {k: v for k, v in kept.items() if not k.startswith("train.regulariser")}
    if not flat.get("train.confidence_weights"):
        kept.pop("train.confidence_weights", None)
    if flat.get("method.name") == "fixmatch":
        off = [f"method.{term}_weight" for term in ("weak", "absence", "presence")]
        kept = {k: v for k, v in kept.items() if k not in off or v}
    loss = str(flat.get("train.loss", ""))
    for name in ("bootstrap", "symmetric"):
        if not loss.startswith(name):
            kept = {k: v for k, v in kept.items() if not k.startswith(f"train.{name}_")}
    watches_alone = flat.get("eval.watch") and not flat.get("eval.hold_out")
    return kept | {"eval.every": 0} if watches_alone else kept
