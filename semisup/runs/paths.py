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
        overrides: whether `data_root` is taken even where a recipe states a folder of its own.
    """

    data_root: Path = Path("data")
    out: Path = Path("runs")
    overrides: bool = False

    def data_of(self, recipe: Recipe) -> Path:
        """The folder in which a recipe's data set is looked for."""
        stated = recipe.data.root and not self.overrides
        return Path(recipe.data.root if stated else self.data_root).expanduser()

    def run_folder(self, recipe: Recipe) -> Path:
        """`<out>/<recipe>/<digest>-s<seed>`."""
        return self.out / recipe.name / f"{recipe.digest()}-s{recipe.train.seed}"
