"""The protocol block of a result: how its scores were measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from semisup.settings import EvalSettings
from semisup.system.words import counted, names

if TYPE_CHECKING:  # a recorded result is read without it
    from semisup.data.base import SegmentationData


def protocol(
    settings: EvalSettings,
    data: SegmentationData,
    ids: Sequence[str],
    *,
    pretraining: str,
    selection: str,
    precision: str,
    training_masks: str = "",
) -> dict[str, Any]:
    """Everything that a score depends on beside the weights.

    Results whose protocols differ must not stand in one table.

    Args:
        pretraining: what the weights started from, such as a file with its hash, or "none".
        selection: how the checkpoint was chosen.
        precision: of the forward passes.
        training_masks: folder and hash of the masks that were trained on in place of the data
            set's own; empty: its own.
    """
    crf = settings.dense_crf()
    sliding = {"window": list(settings.window), "overlap": settings.overlap}
    sampled = {"samples": settings.samples, "samples_seed": settings.samples_seed}
    return {
        "data": data.name,
        "subset": data.subset,
        "images": len(ids),
        "ids_sha256": ids_sha256(ids),
        "classes": list(data.classes),
        "scored_size": "original",
        "void": "left out by ground truth",
        "absent_classes": settings.absent,
        "mode": settings.mode,
        **(sliding if settings.mode == "slide" else {}),
        "scales": list(settings.scales),
        "flip": settings.flip,
        **(sampled if settings.samples else {}),
        "crf": None if crf is None else asdict(crf),
        "precision": precision,
        "pretraining": pretraining,
        "selection": selection,
        **({"training_masks": training_masks} if training_masks else {}),
        **data.facts(),
    }


def ids_sha256(ids: Sequence[str]) -> str:
    """SHA-256 over the sorted ids, a newline between two."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def classes_of(block: Mapping[str, Any]) -> tuple[str, ...]:
    """The K class names of a protocol block."""
    return tuple(block["classes"])


def counts_absent_as_zero(block: Mapping[str, Any]) -> bool:
    """Whether a class that is nowhere counts as 0 by a protocol block; else it is left out."""
    return bool(block.get("absent_classes") == "zero")


def pretraining_of(block: Mapping[str, Any]) -> str:
    """What the weights started from, as a protocol block states it."""
    return str(block["pretraining"])


def protocol_line(block: dict[str, Any]) -> str:
    """The protocol block in one line for people."""
    mode = block["mode"]
    if mode == "slide":
        high, wide = block["window"]
        mode = f"sliding window {high}x{wide}"
    else:
        mode = "whole image"
    scales = ", ".join(f"{scale:g}" for scale in block["scales"])
    parts = [
        f"{block['data']} {block['subset']}",
        f"{counted(block['images'], 'image')} (ids {block['ids_sha256'][:8]})",
        counted(len(block["classes"]), "class", "classes"),
        f"scored at {block['scored_size']} size",
        mode,
        f"scale {scales}",
        "flip" if block["flip"] else "no flip",
        *_samples_of(block),
        _crf_line(block["crf"]),
        f"absent classes {block['absent_classes']}",
        f"pretraining {block['pretraining']}",
        block["selection"],
    ]
    if block.get("classes_made_void"):
        parts.append(f"{names(block['classes_made_void'])} made void")
    if block.get("training_masks"):
        parts.append(f"trained on the masks of {block['training_masks']}")
    return ", ".join(parts)


def _samples_of(block: dict[str, Any]) -> list[str]:
    if not block.get("samples"):
        return []
    return [f"mean of {block['samples']} samples with dropout (seed {block['samples_seed']})"]


def _crf_line(crf: dict[str, Any] | None) -> str:
    if crf is None:
        return "no CRF"
    return (
        f"{'exact ' if crf['exact'] else ''}CRF ({crf['iterations']} iterations, smoothness "
        f"{crf['smoothness_weight']:g} within {crf['smoothness_sigma']:g} px, appearance "
        f"{crf['appearance_weight']:g} within {crf['appearance_sigma']:g} px and "
        f"{crf['colour_sigma']:g} levels)"
    )


def training_masks_of(block: Mapping[str, Any]) -> str:
    """The folder of the masks that were trained on, as a protocol states it; empty: none."""
    return str(block.get("training_masks", ""))
