"""Where data and runs lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from semisup.recipe.recipe import Recipe


@dataclass(frozen=True)
class Paths:
    """Folders of data and runs on this machine.

    Attributes:
        data_root: folder of the data sets, for recipes that state none.
        out: folder of the runs.
    """

    data_root: Path = Path("data")
    out: Path = Path("runs")

    def run_folder(self, recipe: Recipe) -> Path:
        """`<out>/<recipe>/<digest>-s<seed>`."""
        return self.out / recipe.name / f"{recipe.digest()}-s{recipe.train.seed}"
