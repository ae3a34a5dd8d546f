"""A recipe whose masks are the pseudo-masks of its first stage: labelled between the two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.runs import CPU
from support.stopped import COMPARED, stopped

from semisup.data.labels.pseudo_masks import RECORD
from semisup.errors import RecipeError
from semisup.recipe.load import load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import open_data
from semisup.runs.paths import Paths
from semisup.runs.run import run_recipe
from semisup.studies.groups import groups_of
from semisup.studies.kept import read_folder

TEACHER = """
[data]
name = "scenes"
train = 6
val = 1
test = 1
size = [48, 64]
split = "1/3"
split_seed = "same"
crop = [24, 24]
labelled_batch = 2
weak_batch = 2
workers = 0

[model]
name = "unet"
width = 2
batch_norm = true

[method]
name = "supervised"

[optim.segmenter]
kind = "adamw"
lr = 5e-3

[train]
steps = 4
log_every = 1
checkpoint_every = 2

[eval]
pictures = 0
boundary = false
"""
STUDENT = """
extends = "teacher.toml"

[init]
from = "teacher.toml"
weights = false
threshold = 0.0

[data]
split = "masked"
masks = "init"
"""
BOTH = STUDENT.replace('split = "masked"\nmasks', "weak_masks") + (
    '[method]\nname = "partial_cross_entropy"\n'
)


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    for name, text in (("teacher", TEACHER), ("student", STUDENT), ("both", BOTH)):
        (tmp_path / f"{name}.toml").write_text(text)
    third = STUDENT.replace('from = "teacher.toml"', 'from = "student.toml"')
    (tmp_path / "third.toml").write_text(third)
    return tmp_path


def loaded(recipes: Path, name: str, *changes: str) -> Recipe:
    return load_recipe(str(recipes / f"{name}.toml"), changes)


def split_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())["split"]
    return found


def test_the_images_without_a_mask_are_learnt_from_the_first_stage(recipes: Path) -> None:
    paths = Paths(recipes, recipes / "runs")
    recipe = loaded(recipes, "student")
    done = run_recipe(recipe, paths, CPU)
    assert recipe.first is not None
    teacher = paths.run_folder(recipe.first)
    labelled = {path.stem for path in (teacher / "pseudo_masks_0").glob("*.png")}
    data = open_data(recipe, paths, "train")
    lines = (teacher / "split.txt").read_text().splitlines()
    masked = {line.split()[0] for line in lines if line.endswith(" mask")}
    assert len(masked) == 2
    assert labelled == set(data.ids) - masked
    split = split_of(done.folder)
    assert split["labelled"] == 4
    assert split["masks"]["made_by"]["recipe_hash"] == recipe.first.digest()
    assert split["masks"]["made_by"]["threshold"] == 0
    again = run_recipe(recipe, paths, CPU)
    assert not again.fresh
    assert not again.notes


def test_masks_and_pseudo_masks_are_learnt_from_together(recipes: Path) -> None:
    paths = Paths(recipes, recipes / "runs")
    split = split_of(run_recipe(loaded(recipes, "both"), paths, CPU).folder)
    assert (split["labelled"], split["weakly_labelled"]) == (2, 4)


def test_rounds_are_stages_of_stages(recipes: Path) -> None:
    """The third network learns the same images from the second one."""
    paths = Paths(recipes, recipes / "runs")
    recipe = loaded(recipes, "third")
    done = run_recipe(recipe, paths, CPU)
    second = recipe.first
    assert second is not None
    assert split_of(done.folder)["masks"]["made_by"]["recipe_hash"] == second.digest()
    assert split_of(done.folder)["labelled"] == 4


def test_a_run_that_was_stopped_ends_with_the_same_bits(recipes: Path) -> None:
    recipe = loaded(recipes, "student")
    whole = run_recipe(recipe, Paths(recipes, recipes / "whole"), CPU)
    twice = Paths(recipes, recipes / "twice")
    stopped(recipe, twice)
    again = run_recipe(recipe, twice, CPU)
    for name in COMPARED:
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_a_labelling_that_was_cut_is_done_again(recipes: Path) -> None:
    paths = Paths(recipes, recipes / "runs")
    recipe = loaded(recipes, "student")
    assert recipe.first is not None
    run_recipe(recipe.first, paths, CPU)
    run_recipe(recipe, paths, CPU)
    folder = paths.pseudo_masks(recipe)
    kept = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    (folder / RECORD).unlink()
    next(folder.glob("*.png")).unlink()
    other = loaded(recipes, "student", "train.steps=2")
    run_recipe(other, paths, CPU)
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == kept


def test_seeds_with_pseudo_masks_of_their_own_are_one_group(recipes: Path) -> None:
    paths = Paths(recipes, recipes / "runs")
    runs = [
        read_folder(run_recipe(loaded(recipes, "student", f"train.seed={seed}"), paths, CPU).folder)
        for seed in (0, 1)
    ]
    assert len({run.protocol["training_masks"] for run in runs}) == 2
    assert [[run.seed for run in group] for group in groups_of(runs)] == [[0, 1]]


def test_threshold_and_weights_tell_recipes_apart(recipes: Path) -> None:
    plain = loaded(recipes, "student").digest()
    assert loaded(recipes, "student", "init.threshold=0.5").digest() != plain
    assert loaded(recipes, "student", "init.weights=true").digest() != plain


def test_weights_of_another_network_are_not_handed_on(recipes: Path) -> None:
    weights = "model.weights=torchvision"
    other = loaded(recipes, "student", weights, "model.name=lraspp").first
    same = loaded(recipes, "student", weights).first
    assert other is not None
    assert same is not None
    assert (other.model.weights, same.model.weights) == ("", "torchvision")


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("student", "init.from=", "data.masks = 'init' takes the pseudo-masks of a first stage"),
        ("student", "data.masks=", "init.weights = false leaves nothing of the first stage"),
        ("both", "init.from=", "data.weak_masks = 'init' takes the pseudo-masks"),
        ("student", "init.threshold=2", "'init.threshold' = 2"),
    ],
)
def test_a_stage_that_is_not_there_or_not_used_is_told(
    name: str, change: str, expected: str, recipes: Path
) -> None:
    with pytest.raises(RecipeError, match=expected):
        loaded(recipes, name, change)
