"""What a recipe changes of another, in a few words."""

from __future__ import annotations

from pathlib import Path

from semisup.recipe.difference import changed_keys, describing
from semisup.recipe.load import load_recipe, with_seed


def test_a_shipped_recipe_changes_nothing_of_itself() -> None:
    assert changed_keys(load_recipe("quickstart")) == {}
    assert describing(with_seed(load_recipe("quickstart"), 3)) == {
        "changes": "none",
        "method and model": "fixmatch unet",
        "seed": 3,
        "split": "scenes 1/64",
    }


def test_changes_of_a_shipped_recipe_are_told() -> None:
    changes = ["train.steps=9", "data.split=1/4", "method.name=supervised", "eval.every=9"]
    recipe = load_recipe("quickstart", changes)
    changed = changed_keys(recipe)
    assert changed == {"data.split": "1/4", "method.name": "supervised", "train.steps": 9}
    assert describing(recipe) == {
        "changes": "train.steps=9",
        "method and model": "supervised unet",
        "seed": 0,
        "split": "scenes 1/4",
    }


def test_a_recipe_of_ones_own_is_told_from_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[data]\nname = "scenes"\n[model]\nname = "unet"\nwidth = 12\n'
        '[method]\nname = "supervised"\n[train]\nsteps = 7\n'
    )
    assert changed_keys(load_recipe(str(path))) == {"model.width": 12}


def test_a_recipe_that_extends_a_shipped_one_has_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "quickstart"\n[train]\nsteps = 7\n')
    recipe = load_recipe(str(path))
    assert "model.width" in changed_keys(recipe)
    assert "train.steps" not in changed_keys(recipe)  # it has no default
