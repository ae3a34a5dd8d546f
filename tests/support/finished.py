"""Folders of finished runs, without the training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semisup.recipe.toml import dump_toml, unflatten

PROTOCOL = {
    "data": "scenes",
    "subset": "val",
    "images": 2,
    "ids_sha256": "0" * 64,
    "classes": ["a", "b"],
    "scored_size": "original",
    "void": "left out by ground truth",
    "absent_classes": "excluded",
    "mode": "whole",
    "scales": [1.0],
    "flip": False,
    "crf": None,
    "precision": "float32",
    "pretraining": "none",
    "selection": "last checkpoint",
}


def finished_run(
    place: Path,
    digest: str = "aa",
    seed: int = 0,
    miou: float = 0.5,
    settings: Mapping[str, Any] = {},
    scalars: Sequence[Mapping[str, Any]] = (),
    **changes: Any,
) -> Path:
    """A folder of a run of recipe "r", of a digest, seed, mIoU, settings and changed result.

    The mIoU of the last checkpoint is half of that of the selected one.
    """
    place.mkdir(parents=True)
    values = {"data.split": "1/8", "train.steps": 10, "train.seed": seed, **settings}
    (place / "recipe.toml").write_text(dump_toml(unflatten(values, "r")))
    result = {
        "recipe": "r",
        "recipe_hash": digest,
        "seed": seed,
        "scores": {"selected": {"miou": miou}, "last": {"miou": miou / 2}},
        "split": {"labelled": 25},
        "time": {"train_seconds": 7},
        "device": "cpu",
        "protocol": PROTOCOL,
    }
    (place / "result.json").write_text(json.dumps({**result, **changes}))
    lines = "".join(f"{json.dumps(line)}\n" for line in scalars)
    (place / "scalars.jsonl").write_text(lines)
    return place
