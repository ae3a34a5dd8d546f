"""Runs on every kind of weak label, with a term on the images themselves and without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from support.runs import CPU
from support.stopped import COMPARED, stopped

from semisup.catalog import create_dataset
from semisup.data.labels.tags import tags_from_masks, write_tags
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.weak_labels.costs import read_costs
from semisup.data.weak_labels.writing import KINDS, write_weak_labels
from semisup.errors import RecipeError
from semisup.losses.weak.terms import WEIGHTS, Regulariser, Term
from semisup.monitoring.tags import tag_of
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import (
    build_method,
    open_data,
    regulariser_of,
    split_labels,
    stream_builder,
)
from semisup.runs.paths import Paths
from semisup.runs.run import run_recipe
from semisup.studies.groups import groups_of
from semisup.studies.kept import read_folder
from semisup.types import IGNORE

SMALL: dict[str, Any] = {"train": 6, "val": 1, "test": 1, "size": [48, 64]}
FEW: dict[str, dict[str, int]] = {kind: {} for kind in KINDS} | {"points": {"radius": 1}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, a folder of each kind of weak label, and tags."""
    place = tmp_path_factory.mktemp("weak")
    scenes = create_dataset("scenes", place / "data", "train", **SMALL)
    assert isinstance(scenes, Scenes)
    for name, cls in KINDS.items():
        kind = cls(**FEW[name])
        write_weak_labels(place / name, scenes, kind, seed=0, costs=read_costs())
    write_tags(place / "tags.txt", tags_from_masks(scenes))
    return place


def recipe_of(root: Path, **changes: Mapping[str, Any]) -> Recipe:
    base: dict[str, dict[str, Any]] = {
        "data": {
            "name": "scenes",
            "root": str(root / "data"),
            **SMALL,
            "split": "all",
            "crop": [24, 24],
            "labelled_batch": 2,
            "workers": 0,
        },
        "model": {"name": "unet", "width": 2, "batch_norm": True},
        "method": {"name": "supervised"},
        "optim": {"segmenter": {"kind": "adamw", "lr": 5e-3}},
        "train": {"steps": 4, "log_every": 1, "checkpoint_every": 2, "seed": 3},
        "eval": {"pictures": 0, "boundary": False},
    }
    return build_recipe("weak", {k: {**v, **changes.get(k, {})} for k, v in base.items()})


def curves(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "scalars.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [line for line in found if "loss_segmentation" in line]


WITH: dict[str, tuple[str, Term]] = {
    "points": ("fixmatch", "tree_energy"),
    "scribbles": ("mean_teacher", "gated_crf"),
    "boxes": ("supervised", "dense_crf"),
    "refined_boxes": ("supervised", "gated_crf"),
    "blocks": ("cutmix_seg", "normalised_cut"),
    "coarse": ("unimatch", "gated_crf"),
}
"""Kind of weak label -> a method that learns from it, and a term beside it."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_weak_label_is_learnt_from(kind: str, root: Path, tmp_path: Path) -> None:
    """By the methods' ordinary supervised loss, in crops of which some have no label."""
    name, term = WITH[kind]
    recipe = recipe_of(
        root,
        data={"masks": f"folder:{root / kind}", "split": "1/2", "unlabelled_batch": 2},
        method={"name": name},
        train={"regulariser": term, "accumulate": 2, "steps": 2},
    )
    lines = curves(run_recipe(recipe, Paths(root, tmp_path), CPU).folder)
    assert [line["loss_regulariser"] > 0 for line in lines] == [True] * 2
    assert all(0 < line["loss_segmentation"] < 10 for line in lines)
    assert tag_of("loss_regulariser") == "loss/regulariser"


def test_a_run_that_was_stopped_ends_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        root,
        data={"split": "1/3", "weak_masks": f"folder:{root / 'scribbles'}", "weak_batch": 2},
        method={"name": "partial_cross_entropy"},
        train={"regulariser": "tree_energy"},
    )
    whole = run_recipe(recipe, Paths(root, tmp_path / "whole"), CPU)
    twice = Paths(root, tmp_path / "twice")
    stopped(recipe, twice)
    again = run_recipe(recipe, twice, CPU)
    for name in COMPARED:
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


def test_labels_drawn_as_they_are_read_train_as_those_that_were_written(
    root: Path, tmp_path: Path
) -> None:
    """To the same bits, and the result of either is found again."""
    digests, folders = set[str](), []
    for name, spec in (("drawn", "scribbles"), ("written", f"folder:{root / 'scribbles'}")):
        recipe = recipe_of(root, data={"masks": spec, "split": "1/2"}, train={"steps": 2})
        place = Paths(root, tmp_path / name)
        done = run_recipe(recipe, place, CPU)
        folders.append(done.folder)
        digests.add(recipe.digest())
        assert not run_recipe(recipe, place, CPU).fresh
    drawn, written = folders
    assert (drawn / "scalars.jsonl").read_bytes() == (written / "scalars.jsonl").read_bytes()
    one, other = (load_file(place / "predictor.safetensors") for place in folders)
    assert all(torch.equal(one[key], other[key]) for key in one.keys() | other.keys())
    masks = json.loads((drawn / "result.json").read_text())["split"]["masks"]
    assert masks["source"] == "scribbles:length=0.6,width=3"
    assert len(digests) == 2


def test_drawn_labels_follow_the_seed_of_the_split(root: Path, tmp_path: Path) -> None:
    data = {"masks": "points", "split_seed": "same"}
    seeds = [recipe_of(root, data=data, train={"steps": 1, "seed": seed}) for seed in (0, 1)]
    runs = [read_folder(run_recipe(seed, Paths(root, tmp_path), CPU).folder) for seed in seeds]
    assert [[run.seed for run in group] for group in groups_of(runs)] == [[0, 1]]
    first, second = (open_data(seed, Paths(root, tmp_path)).mask(0) for seed in seeds)
    assert not torch.equal(first, second)


def test_masks_points_tags_and_nothing_make_one_run(root: Path, tmp_path: Path) -> None:
    """One image has a mask, two have points, one of them and another tags, and two nothing."""
    scenes = create_dataset("scenes", root / "data", "train", **SMALL)
    masked, pointed, both, tagged, *rest = scenes.ids
    for name, ids in (("split", [masked]), ("tagged", [both, tagged])):
        (tmp_path / name).write_text("\n".join(ids) + "\n")
    (tmp_path / "points").mkdir()
    for name in (masked, pointed, both):
        shutil.copy(root / "points" / f"{name}.png", tmp_path / "points")
    recipe = recipe_of(
        root,
        data={
            "split": f"file:{tmp_path / 'split'}",
            "weak_masks": f"folder:{tmp_path / 'points'}",
            "tags": f"file:{root / 'tags.txt'}",
            "tagged": f"file:{tmp_path / 'tagged'}",
            "crop": [48, 64],
            "scale": [1.0, 1.0],
            "labelled_batch": 1,
            "weak_batch": 3,
            "unlabelled_batch": 2,
        },
        method={
            "name": "fixmatch",
            "confidence_threshold": 0.0,
            "weak_weight": 0.5,
            "absence_weight": 0.25,
            "presence_weight": 0.125,
        },
        train={"steps": 2},
    )
    data = open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    assert (labels.training.labelled, labels.pool.ids) == ((masked,), tuple(rest))
    method, _ = build_method(recipe, data.num_classes)
    batch = next(stream_builder(recipe, data, labels, method, CPU)(0)["weak"])
    known = {
        name: (bool((mask != IGNORE).any()), bool(row.any()))
        for name, mask, row in zip(
            batch.ids, batch.labels["partial"], batch.labels["tags"], strict=True
        )
    }
    assert known == {pointed: (True, False), both: (True, True), tagged: (False, True)}
    run = run_recipe(recipe, Paths(root, tmp_path / "runs"), CPU)
    terms = ("segmentation", "segmentation_weak", "absence", "presence", "pseudo")
    for line in curves(run.folder):
        assert all(line[f"loss_{name}"] > 0 for name in terms), line
    split = run.result.split
    assert (split.labelled, split.weakly_labelled, split.unlabelled) == (1, 2, 2)


def test_tags_alone_teach_beside_a_few_masks(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        root,
        train={"steps": 2},
        data={"split": "1/3", "tags": f"file:{root / 'tags.txt'}", "weak_batch": 2},
        method={
            "name": "partial_cross_entropy",
            "weak_weight": 0.0,
            "absence_weight": 1.0,
            "presence_weight": 1.0,
        },
    )
    lines = curves(run_recipe(recipe, Paths(root, tmp_path), CPU).folder)
    assert all(line["loss_absence"] > 0 for line in lines)
    assert all(line["loss_presence"] > 0 for line in lines)
    assert all(line["loss_segmentation_weak"] == 0 for line in lines)


def test_the_weight_of_a_term_is_its_own_unless_a_recipe_says_another(root: Path) -> None:
    method, _ = build_method(recipe_of(root), 5)

    def chosen(**train: Any) -> Regulariser | None:
        return regulariser_of(recipe_of(root, train=train), method, RGB_FORMAT)

    assert chosen() is None
    for kind in get_args(Term):
        assert chosen(regulariser=kind) == Regulariser(kind, WEIGHTS[kind], RGB_FORMAT)
    heavy = chosen(regulariser="gated_crf", regulariser_weight=2.5)
    assert heavy == Regulariser("gated_crf", 2.5, RGB_FORMAT)


def test_a_term_where_it_means_nothing_is_refused(root: Path) -> None:
    recipe = recipe_of(root, train={"regulariser": "gated_crf"})
    classifier: Any = SimpleNamespace(takes_class_weights=False)
    with pytest.raises(RecipeError, match=r"^train\.regulariser: method 'supervised' has no cross"):
        regulariser_of(recipe, classifier, RGB_FORMAT)
    own = ImageFormat((0.5,) * 4, (0.2,) * 4, 8)
    supervised, _ = build_method(recipe_of(root), 5)
    with pytest.raises(RecipeError, match=r"^train\.regulariser compares .* 4 channels of 8 bits"):
        regulariser_of(recipe, supervised, own)


def test_the_term_of_a_step_is_that_of_its_main_maps(root: Path) -> None:
    method, _ = build_method(recipe_of(root), 5)
    method.regulariser = Regulariser("gated_crf", 0.5)
    logits = torch.randn(2, 5, 8, 8)
    image, valid = torch.randn(2, 3, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
    mask = torch.full((2, 8, 8), IGNORE)
    assert method.take_regularised() == {}
    terms = [method.regularised(z, image, mask, valid) for z in (logits, 3 * logits)]
    reported = method.take_regularised()
    torch.testing.assert_close(reported["loss_regulariser"], sum(terms))  # mean, weight 1/2
    assert method.take_regularised() == {}
    assert method.read_regulariser
