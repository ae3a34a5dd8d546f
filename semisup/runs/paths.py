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

    def masks_of(self, recipe: Recipe, key: str) -> str:
        """The value of data.masks or data.weak_masks, with "init" as the folder that it stands for.

        Args:
            recipe: whose.
            key: "data.masks" or "data.weak_masks".
        """
        if key in recipe.pseudo_masks:
            return f"folder:{self.pseudo_masks(recipe)}"
        return recipe.data.masks if key == "data.masks" else recipe.data.weak_masks

    def pseudo_masks(self, recipe: Recipe) -> Path:
        """Where the pseudo-masks lie that the first stage of a recipe makes for it."""
        assert recipe.first is not None
        return self.run_folder(recipe.first) / f"pseudo_masks_{recipe.init.threshold:g}"

    def run_folder(self, recipe: Recipe) -> Path:
        """`<out>/<recipe>/<digest>-s<seed>`."""
        return self.out / recipe.name / f"{recipe.digest()}-s{recipe.train.seed}"
