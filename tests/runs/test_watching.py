"""Scores on a subset of its own while a run trains: a curve, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.runs import CPU, Stopping, make_set, recipe_of

from semisup.catalog import DATASETS
from semisup.errors import DataError, Interrupted, RecipeError
from semisup.recipe.load import build_recipe, load_recipe, shipped_recipes, stated_in
from semisup.recipe.recipe import Recipe
from semisup.runs.paths import Paths
from semisup.runs.result import FinishedRun
from semisup.runs.run import run_recipe

OF_SCENES = [name for name in shipped_recipes() if name.startswith(("scenes/", "quickstart"))]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_set(folder)
    (folder / "extra.txt").write_text("v0\n")
    (folder / "mixed.txt").write_text("v0\nt0\n")
    return folder


def watching(**settings: Any) -> Recipe:
    tables = recipe_of(steps=3).resolved()
    tables["eval"] |= settings
    return build_recipe("tiny", tables)


@pytest.fixture(scope="module")
def unwatched(root: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return run_recipe(watching(), Paths(root, tmp_path_factory.mktemp("runs")), CPU)


def scalars(run: FinishedRun) -> tuple[list[Any], list[Any]]:
    """What was watched, and all else."""
    lines = [json.loads(x) for x in (run.folder / "scalars.jsonl").read_text().splitlines()]
    watched = [line for line in lines if "checkup" in line]
    return watched, [line for line in lines if "checkup" not in line]


def test_a_watched_run_is_the_same_run_with_a_curve(
    root: Path, tmp_path: Path, unwatched: FinishedRun
) -> None:
    run = run_recipe(watching(every=1, watch="extra"), Paths(root, tmp_path), CPU)
    assert run.folder.name == unwatched.folder.name
    predictors = [one.folder / "predictor.safetensors" for one in (run, unwatched)]
    assert predictors[0].read_bytes() == predictors[1].read_bytes()
    watched, others = scalars(run)
    assert [line["step"] for line in watched] == [1, 2, 3]
    assert all(0 <= line["extra/miou"] <= 1 for line in watched)
    assert ([], others) == scalars(unwatched)
    assert run.result.checkpoint.rule == "last checkpoint"
    assert run.result.protocol["subset"] == "val"


def test_a_run_that_was_stopped_unwatched_goes_on_watched(
    root: Path, tmp_path: Path, unwatched: FinishedRun
) -> None:
    paths = Paths(root, tmp_path)
    with pytest.raises(Interrupted):
        run_recipe(watching(), paths, CPU, view=Stopping(2))
    run = run_recipe(watching(every=3, watch="extra"), paths, CPU)
    predictors = [one.folder / "predictor.safetensors" for one in (run, unwatched)]
    assert predictors[0].read_bytes() == predictors[1].read_bytes()
    assert [line["step"] for line in scalars(run)[0]] == [3]


def test_what_chooses_a_checkpoint_is_part_of_the_digest() -> None:
    plain = watching().digest()
    assert watching(every=1, watch="extra").digest() == plain
    assert watching(every=1).digest() != plain
    chosen = [watching(every=n, hold_out=1, watch="extra").digest() for n in (1, 2)]
    assert len({plain, *chosen}) == 3


def test_held_out_images_are_scored_in_place_of_a_watched_subset(
    root: Path, tmp_path: Path
) -> None:
    run = run_recipe(watching(every=3, hold_out=1, watch="mixed"), Paths(root, tmp_path), CPU)
    [line] = scalars(run)[0]
    assert "held_out/miou" in line
    assert "mixed/miou" not in line


def test_no_recipe_watches_what_it_reports() -> None:
    watching = {}
    for name in shipped_recipes():
        stated = stated_in(name)
        if stated.get("eval.watch"):
            reported = stated.get("eval.subset") or DATASETS[stated["data.name"]].eval_subset
            watching[name] = (stated["eval.watch"], reported)
    assert "quickstart" in watching
    assert not [name for name, (watched, reported) in watching.items() if watched == reported]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        (
            {"watch": "extra"},
            RecipeError,
            r"eval\.watch = 'extra' is to be scored .*Set eval\.every",
        ),
        ({"watch": "mixed", "every": 1}, DataError, r"'t0' is in both.*choose another eval\.watch"),
        ({"watch": "val", "every": 1}, RecipeError, r"eval\.watch = 'val' is the set that is rep"),
        ({"watch": "train", "every": 1}, DataError, r"'t0' is in both train and train, "),
        (
            {"watch": "extr", "every": 1},
            DataError,
            "eval.watch: no subset 'extr'.*Did you mean 'extra'",
        ),
    ],
)
def test_a_subset_that_cannot_be_watched(
    settings: dict[str, Any], error: type[Exception], says: str, root: Path, tmp_path: Path
) -> None:
    tables = recipe_of(steps=1).resolved()
    tables["eval"] = settings
    sources = {} if "every" in settings else {"eval.watch": "tiny.toml"}
    with pytest.raises(error, match=says):
        run_recipe(build_recipe("tiny", tables, sources), Paths(root, tmp_path), CPU)


@pytest.mark.parametrize(
    ("changes", "watch", "every"),
    [
        (["data.name=folder"], "", 0),
        (["data.name=folder", "eval.every=7"], "", 7),
        (["data.name=folder", "eval.watch=extra", "eval.every=7"], "extra", 7),
        (["data.name=folder", "eval.hold_out=2"], "", 100),
        (["data.train=100"], "test", 100),
    ],
)
def test_a_subset_of_another_data_set_is_not_watched(
    changes: list[str], watch: str, every: int
) -> None:
    settings = load_recipe("scenes/supervised_things_1-64", changes).eval
    assert (settings.watch, settings.every) == (watch, every)


@pytest.mark.parametrize("name", OF_SCENES)
def test_recipes_on_made_scenes_give_a_curve_on_further_scenes(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.eval.watch == "test"
    assert recipe.eval.subset != "test"
    assert recipe.data.subset != "test"
    assert recipe.eval.hold_out == 0
    assert 4 <= recipe.train.steps // recipe.eval.every <= 10 or recipe.train.steps < 400
    assert load_recipe(name, ["eval.every=0"]).digest() == recipe.digest()
