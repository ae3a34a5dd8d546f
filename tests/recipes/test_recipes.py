"""What holds for every shipped recipe: a new one needs no new test here."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from semisup.catalog import DATASETS, MODELS
from semisup.data.formats.trees import folder_of
from semisup.data.weak_labels.costs import read_costs
from semisup.data.weak_labels.scribbles import Scribbles
from semisup.data.weak_labels.writing import write_weak_labels
from semisup.methods.base import Method
from semisup.models.decouplednet import DecoupledNet
from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import dump_toml
from semisup.runs.assemble import build_method, open_data
from semisup.runs.paths import Paths
from semisup.runs.run import run_recipe
from semisup.training.optimisers import make_optimisers

pytestmark = pytest.mark.usefixtures("no_confusion_is_drawn")

RECIPES = shipped_recipes()
every_recipe = pytest.mark.parametrize("name", RECIPES)

TINY = [
    "data.train=16",
    "data.val=3",
    "data.test=1",
    "data.size=[48, 64]",
    "data.crop=[32, 32]",
    "data.labelled_batch=2",
    "data.unlabelled_batch=2",
    "data.weak_batch=2",
    "data.workers=0",
    "model.weights=",
    "train.steps=2",
    "eval.hold_out=0",
    "eval.pictures=1",
]
"""Changes that make any recipe of `scenes` a matter of seconds."""

NARROW = {
    "model": {"unet": ["width=4"], "decouplednet": ["width=16", "decoder_width=16"]},
    "method": {
        **{name: ["discriminator_width=4"] for name in ("adversarial", "adversarial_luc")},
        **{name: ["discriminator_width=4"] for name in ("s4gan", "s4gan_multi_label")},
        **{name: ["generator_width=4"] for name in ("gan_segmentation", "gan_segmentation_weak")},
    },
}
"""Options that leave of a network what it does: `test_it_can_be_trusted` builds the stated one."""


def tiny(name: str) -> Recipe:
    """The recipe with these changes, in each of its stages."""
    stated = load_recipe(name)
    changes = list(TINY)
    smallest = {
        "decouplednet": 96,
        "adversarial_luc": 72,
    }  # their smallest crops
    side = smallest.get(stated.method.name, smallest.get(stated.model.name, 32))
    changes[changes.index("data.crop=[32, 32]")] = f"data.crop=[{side}, {side}]"
    for table, chosen in (("model", stated.model.name), ("method", stated.method.name)):
        changes += [f"{table}.{option}" for option in NARROW[table].get(chosen, ())]
    if stated.method.name != "fixmatch":  # beside its baseline takes twice as long: one does
        changes.append("baseline.recipe=")
    if stated.first is not None:
        changes.append(f"init.set={json.dumps([*stated.init.changes, *changes])}")
    return load_recipe(name, changes)


def without_weights(recipe: Recipe) -> Recipe:
    """The recipe from fresh weights: a shipped one may name a file that is not here."""
    return replace(recipe, model=recipe.model.model_copy(update={"weights": ""}))


def test_there_are_recipes() -> None:
    assert "quickstart" in RECIPES
    assert len(RECIPES) >= 4


@functools.cache
def loaded(name: str) -> Recipe:
    """A recipe, loaded once for all tests of this file."""
    return load_recipe(name)


@every_recipe
def test_it_can_be_trusted(name: str, tmp_path: Path) -> None:
    """One test: to load a recipe takes longer than to look at it."""
    recipe = loaded(name)
    assert recipe.name == name
    first = RECIPES[name].read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"# \S.{20,}", first), "the first line is what `semisup list recipes` shows"

    path = tmp_path / "resolved.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    again = load_recipe(str(path))
    assert again.digest() == recipe.digest()
    assert again.resolved() == recipe.resolved()
    shown = dump_toml(recipe.resolved(), notes=recipe.sources)
    assert tomllib.loads(shown) == tomllib.loads(recipe.to_toml())

    reported = recipe.eval.subset or DATASETS[recipe.data.name].eval_subset
    trained = recipe.data.subset or DATASETS[recipe.data.name].train_subset
    assert reported != trained, "it would report on what it was trained on"

    crop = (375, 500) if recipe.data.crop == "whole" else recipe.data.crop
    players, sizes = built(recipe, crop)
    assert recipe.optim.keys() == players
    assert sizes == {crop}


@pytest.mark.parametrize("network", MODELS)
def test_every_network_has_a_recipe(network: str) -> None:
    assert any(loaded(name).model.name == network for name in RECIPES)


def test_no_two_recipes_say_the_same() -> None:
    """They would be one run in two places."""
    digests = [loaded(name).digest() for name in RECIPES]
    assert len(set(digests)) == len(digests)


_PLAYERS: dict[str, set[str]] = {}
_SIZES: dict[str, set[tuple[int, int]]] = {}
"""What was built before: recipes of one family differ in their masks alone."""


def built(recipe: Recipe, crop: tuple[int, int]) -> tuple[set[str], set[tuple[int, int]]]:
    """The players of a recipe's method, each with an optimiser, and the sizes that it gives.

    On the meta device: no memory, no arithmetic.
    """
    recipe = without_weights(recipe)
    tables = recipe.resolved()
    method_key = json.dumps([tables[k] for k in ("model", "method", "optim")], sort_keys=True)
    size_key = json.dumps([tables["model"], crop], sort_keys=True)
    if method_key not in _PLAYERS or size_key not in _SIZES:
        with torch.device("meta"):
            method, _ = build_method(recipe, 5)
            make_optimisers(method.players(), recipe.optim)
        _PLAYERS[method_key] = {*method.players()}
        if size_key not in _SIZES:
            _SIZES[size_key] = output_sizes(method, 2, crop)
    return _PLAYERS[method_key], _SIZES[size_key]


def output_sizes(method: Method, batch: int, crop: tuple[int, int]) -> set[tuple[int, int]]:
    """Height and width of what a training step's forward pass gives.

    Without batch norms, which change no size and take the meta device longer than all the rest.
    """
    still = mock.patch.object(_BatchNorm, "forward", lambda _, features: features)
    with torch.device("meta"), still:
        image = torch.empty(batch, 3, *crop)
        if method.segmenter.static_part is not method.segmenter:  # boxes are found behind it
            assert method.segmenter.encode(image)
            return {crop}
        if isinstance(method.segmenter, DecoupledNet):
            method.segmenter.classifier.encode(image)
        maps = method.segmenter.training_logits(image)
    return {(logits.shape[-2], logits.shape[-1]) for logits in maps}


SCENES = [name for name in RECIPES if name.startswith(("quickstart", "scenes/"))]
"""By name: nothing is loaded while pytest collects."""


def test_recipes_that_need_no_data_are_called_so() -> None:
    assert [name for name in RECIPES if loaded(name).data.name == "scenes"] == SCENES


@pytest.mark.parametrize("name", SCENES)
def test_it_takes_two_steps_and_ends_in_a_result(
    name: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes = tmp_path_factory.getbasetemp() / "scenes"  # made once for all of them
    scenes.mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    recipe = tiny(name)
    if recipe.data.weak_masks:
        folder, data = folder_of(recipe.data.weak_masks, ""), open_data(recipe, Paths(scenes))
        write_weak_labels(folder, data, Scribbles(), seed=0, costs=read_costs())
    done = run_recipe(recipe, Paths(scenes, tmp_path), torch.device("cpu"))
    assert done.fresh
    assert done.result.recipe == name
    assert done.result.checkpoint.step == 2
    assert done.result.protocol["images"] == 3
    assert 0.0 <= done.result.scores.selected.miou <= 1.0
    assert sum(map(sum, done.result.confusion)) > 0
    for file in ("recipe.toml", "run.json", "result.json", "scalars.jsonl", "pictures/sheet.png"):
        assert (done.folder / file).is_file(), file
    again = run_recipe(recipe, Paths(scenes, tmp_path), torch.device("cpu"))
    assert not again.fresh
    assert again.result == done.result
