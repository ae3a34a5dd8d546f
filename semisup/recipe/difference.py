"""What a recipe changes of another: the shipped one of its name, or the defaults."""

from __future__ import annotations

from typing import Any

from semisup.errors import RecipeError
from semisup.recipe.load import build_recipe, load_recipe, shipped_recipes
from semisup.recipe.places import PLACES, without_watching
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import flatten


def changed_keys(recipe: Recipe) -> dict[str, Any]:
    """Dotted key -> value of what differs from the shipped recipe of the same name.

    Of a recipe of one's own, what differs from the defaults of its data set, model and method.
    Where data lie, workers, the seed and scores that are only watched count in neither.
    """
    usual = without_watching(flatten(_usual(recipe).resolved()))
    return {
        key: value
        for key, value in without_watching(flatten(recipe.resolved())).items()
        if key not in PLACES and (key not in usual or usual[key] != value)
    }


def describing(recipe: Recipe) -> dict[str, str | int]:
    """What tells a run from others in four columns, the same ones of every run.

    TensorBoard takes its columns from one run alone, and shows five beside the score at most.
    """
    told = ("data.name", "data.split", "model.name", "method.name")
    changed = {key: value for key, value in changed_keys(recipe).items() if key not in told}
    return {
        "changes": ", ".join(f"{key}={value}" for key, value in changed.items()) or "none",
        "method and model": f"{recipe.method.name} {recipe.model.name}",
        "seed": recipe.train.seed,
        "split": f"{recipe.data.name} {recipe.data.split}",
    }


def _usual(recipe: Recipe) -> Recipe:
    """What the recipe is compared with; itself where no other can be made."""
    try:
        if recipe.name in shipped_recipes():
            return load_recipe(recipe.name)
        tables = {
            **{t: {"name": getattr(recipe, t).name} for t in ("data", "model", "method")},
            "train": {"steps": recipe.train.steps},
        }
        return build_recipe(recipe.name, tables)
    except RecipeError:  # an option without a default, or a recipe that is no longer shipped so
        return recipe
