"""A checked recipe: its tables, its digest, its TOML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semisup.models.torchvision_weights import TORCHVISION
from semisup.recipe.places import PLACES, without_watching
from semisup.recipe.toml import dump_toml, flatten
from semisup.settings import (
    BaselineSettings,
    DataSettings,
    EvalSettings,
    InitSettings,
    MethodSettings,
    ModelSettings,
    OptimSettings,
    TrainSettings,
)
from semisup.system.files import is_file

INIT = "init"
"""The value of data.masks and data.weak_masks that takes the pseudo-masks of the first stage."""


@dataclass(frozen=True)
class Recipe:
    """A checked recipe with every default filled in.

    Attributes:
        name: what the run's folder is called.
        init: what the weights start from.
        baseline: what the run is compared with.
        first: the recipe that `init` names, with what is handed on to it; None where there is none.
        sources: dotted key -> where its value came from.
    """

    name: str
    data: DataSettings
    model: ModelSettings
    method: MethodSettings
    optim: dict[str, OptimSettings]
    train: TrainSettings
    eval: EvalSettings
    data_options: dict[str, Any]
    model_options: dict[str, Any]
    method_options: dict[str, Any]
    sources: Mapping[str, str]
    init: InitSettings = field(default_factory=InitSettings)
    first: Recipe | None = None
    baseline: BaselineSettings = field(default_factory=BaselineSettings)

    @property
    def split_seed(self) -> int:
        """The seed that the labelled images are drawn with."""
        stated = self.data.split_seed
        return self.train.seed if stated == "same" else stated

    @property
    def pseudo_masks(self) -> tuple[str, ...]:
        """The keys that take the pseudo-masks of the first stage."""
        keys = {"data.masks": self.data.masks, "data.weak_masks": self.data.weak_masks}
        return tuple(key for key, spec in keys.items() if spec.strip() == INIT)

    def resolved(self) -> dict[str, Any]:
        """All tables as plain values: what a run is recorded by."""
        init = self.init.model_dump(by_alias=True)
        tables: dict[str, Any] = {
            **({"init": init} if self.init.recipe else {}),
            **({"baseline": self.baseline.model_dump()} if self.baseline.recipe else {}),
            "data": self.data.model_dump() | self.data_options,
            "model": self.model.model_dump() | self.model_options,
            "method": self.method.model_dump() | self.method_options,
            "optim": {player: table.model_dump() for player, table in self.optim.items()},
            "train": self.train.model_dump(),
            "eval": self.eval.model_dump(),
        }
        plain: dict[str, Any] = json.loads(json.dumps(tables))
        return plain

    def digest(self) -> str:
        """10 hexadecimal digits that tell this recipe from others, whatever the seed.

        The folder of the data and the number of workers do not count, nor do scores that are only
        watched (`without_watching`); of initial weights and of
        lists of labelled images and of tags the content counts, not the path; of torchvision's
        weights that word. Of a recipe that it starts from its own digest counts.
        """
        settings = without_watching(flatten(self.resolved()))
        flat = {k: v for k, v in settings.items() if k not in PLACES}
        flat["data.ignore_classes"] = sorted(flat["data.ignore_classes"])
        for key, name in (
            ("model.weights", self.model.weights),
            ("data.split", _named_file(self.data.split)),
            ("data.tagged", _named_file(self.data.tagged)),
            ("data.tags", _named_file(self.data.tags)),
        ):
            if name and name != TORCHVISION and is_file(Path(name)):
                with Path(name).open("rb") as file:
                    flat[key] = hashlib.file_digest(file, "sha256").hexdigest()
        if self.first is not None:
            flat = {k: v for k, v in flat.items() if not k.startswith("init.")}
            flat |= {"init": self.first.digest(), "init.seed": self.init.seed}
            if not self.init.weights:
                flat["init.weights"] = False
            if self.pseudo_masks:
                flat["init.threshold"] = self.init.threshold
        text = json.dumps(flat, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_toml(self) -> str:
        """The resolved recipe as a recipe file that loads to the same recipe."""
        return dump_toml(self.resolved())


def _named_file(spec: str) -> str:
    """The path in "file:PATH"; empty for any other way of saying it."""
    spec = spec.strip()
    return spec.removeprefix("file:") if spec.startswith("file:") else ""
