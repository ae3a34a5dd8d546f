"""Runs with unlabelled images, or masks, from a folder of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.runs import CPU
from support.stopped import COMPARED, made_camvid, save, stopped

from semisup.errors import DataError, RecipeError, RunError
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import build_method, open_data, split_labels, stream_builder
from semisup.runs.paths import Paths
from semisup.runs.reopen import evaluate_run
from semisup.runs.result import plain
from semisup.runs.run import run_recipe


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """CamVid in SegNet's layout, a folder of photographs of differing sizes, and made masks."""
    generator = np.random.default_rng(0)
    made_camvid(tmp_path, generator)
    for number, size in enumerate([(30, 70), (90, 20), (33, 33), (8, 120)]):
        picture = generator.integers(0, 256, (*size, 3))
        save(tmp_path / "photos" / str(number % 2) / f"{number}.jpg", picture)
    for number in range(1, 4):
        save(tmp_path / "made" / f"train{number}.png", generator.integers(0, 3, (40, 48)))
    return tmp_path


def recipe_of(root: Path, method: str = "adversarial", **changes: Mapping[str, Any]) -> Recipe:
    base: dict[str, dict[str, Any]] = {
        "data": {
            "name": "camvid",
            "root": str(root),
            "split": "1/2",
            "unlabelled": f"folder:{root / 'photos'}",
            "crop": [32, 32],
            "labelled_batch": 2,
            "unlabelled_batch": 2,
            "workers": 0,
        },
        "model": {"name": "unet", "width": 2, "batch_norm": True},
        "method": {"name": method},
        "optim": {"segmenter": {"kind": "adamw", "lr": 5e-3}},
        "train": {"steps": 6, "log_every": 1, "checkpoint_every": 2, "seed": 3},
        "eval": {"pictures": 0, "boundary": False},
    }
    if method != "supervised":
        base["method"]["discriminator_width"] = 4
        base["optim"]["discriminator"] = {"kind": "adam", "lr": 1e-4}
    return build_recipe("pool", {k: {**v, **changes.get(k, {})} for k, v in base.items()})


def test_a_run_that_was_stopped_ends_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root, "adversarial")
    whole = run_recipe(recipe, Paths(root, tmp_path / "whole"), CPU)
    twice = Paths(root, tmp_path / "twice")
    stopped(recipe, twice)
    again = run_recipe(recipe, twice, CPU)
    for name in COMPARED:
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    split = plain(whole.result.split)
    assert (split["labelled"], split["unlabelled"]) == (3, 4)
    source = split["unlabelled_from"]
    assert source.keys() == {"source", "files", "sha256", "sha256_of"}
    assert (source["source"], source["files"]) == ("folder:photos", 4)
    assert json.loads((whole.folder / "run.json").read_text())["split"] == split


def test_streams_read_the_folder_alone_and_no_mask_of_it(root: Path) -> None:
    recipe = recipe_of(root, data={"split": "all", "cache": 2})
    data = open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    method, _ = build_method(recipe, data.num_classes)
    streams = stream_builder(recipe, data, labels, method, CPU)(0)
    batches = [next(streams["unlabelled"]) for _ in range(4)]
    assert {name for batch in batches for name in batch.ids} == {
        "0/0.jpg",
        "0/2.jpg",
        "1/1.jpg",
        "1/3.jpg",
    }
    assert all(batch.images.shape[-2:] == (32, 32) for batch in batches)
    assert all("mask" not in batch.labels for batch in batches)
    assert {n for _ in range(5) for n in next(streams["labelled"]).ids} == set(data.ids)


def test_all_works_where_the_rest_is_empty(root: Path, tmp_path: Path) -> None:
    rest = recipe_of(root, data={"split": "all", "unlabelled": "rest"})
    with pytest.raises(RecipeError, match=r'data\.unlabelled to "all" or "folder:PATH"'):
        run_recipe(rest, Paths(root, tmp_path / "runs"), CPU)
    both = recipe_of(
        root,
        data={"split": "all", "unlabelled": "all"},
        train={"steps": 2},
        eval={"hold_out": 1, "every": 1},
    )
    split = plain(run_recipe(both, Paths(root, tmp_path / "runs"), CPU).result.split)
    assert (split["labelled"], split["held_out"], split["unlabelled"]) == (6, 1, 5)
    assert split["unlabelled_from"] == {"source": "all"}


def test_a_folder_that_has_changed_is_refused(root: Path, tmp_path: Path) -> None:
    recipe, place = recipe_of(root), Paths(root, tmp_path / "runs")
    stopped(recipe, place)
    photograph = root / "photos" / "0" / "0.jpg"
    extra = root / "photos" / "extra.jpg"
    extra.write_bytes(photograph.read_bytes())
    before = (place.run_folder(recipe) / "run.json").read_bytes()
    with pytest.raises(RunError, match=r"unlabelled images .*4 files\), now .*5 files\)\. Put the"):
        run_recipe(recipe, place, CPU)
    assert (place.run_folder(recipe) / "run.json").read_bytes() == before
    extra.unlink()
    assert run_recipe(recipe, place, CPU).fresh
    extra.write_bytes(photograph.read_bytes())
    with pytest.raises(RunError, match="unlabelled images"):
        run_recipe(recipe, place, CPU)
    (root / "photos").rename(root / "gone")
    assert not run_recipe(recipe, place, CPU).fresh


def test_a_damaged_photograph_is_named(root: Path, tmp_path: Path) -> None:
    for path in (root / "photos").rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"photos/./.\.jpg cannot be decoded"):
        run_recipe(recipe_of(root), Paths(root, tmp_path / "runs"), CPU)


def test_the_reported_images_are_refused(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root, data={"unlabelled": f"folder:{root / 'CamVid'}"})
    with pytest.raises(DataError, match=r"val/val0\.png is image 'val0' of subset 'val' of camvid"):
        run_recipe(recipe, Paths(root, tmp_path / "runs"), CPU)


def test_masks_of_a_folder_are_trained_on_and_named(root: Path, tmp_path: Path) -> None:
    for path in (root / "CamVid" / "trainannot").iterdir():
        path.unlink()  # none of them is opened, by the held-out images neither
    changes = {"split": "all", "unlabelled": "rest", "masks": f"folder:{root / 'made'}"}
    recipe = recipe_of(root, data=changes, eval={"hold_out": 1, "every": 3})
    place = Paths(root, tmp_path / "runs")
    stopped(recipe, place)
    mask = root / "made" / "train1.png"
    content = mask.read_bytes()
    save(mask, np.zeros((40, 48)))
    with pytest.raises(RunError, match=r"other masks \(data\.masks\): folder:made \(sha256"):
        run_recipe(recipe, place, CPU)
    mask.write_bytes(content)
    finished = run_recipe(recipe, place, CPU)
    split = plain(finished.result.split)
    assert (split["labelled"], split["unlabelled"], split["held_out"]) == (3, 3, 1)
    assert (split["masks"]["source"], split["masks"]["files"]) == ("folder:made", 3)
    named = f"folder:made ({split['masks']['sha256'][:8]})"
    assert finished.result.training_masks == named
    again = evaluate_run(finished.folder, place, CPU)
    assert again.result.training_masks == named
    assert again.result.scores.selected == finished.result.scores.selected
    save(mask, np.zeros((40, 48)))
    with pytest.raises(RunError, match="masks"):
        run_recipe(recipe, place, CPU)


def test_a_mask_of_another_size_is_named(root: Path, tmp_path: Path) -> None:
    for path in (root / "made").iterdir():
        save(path, np.zeros((10, 10)))
    changes = {"split": "all", "masks": f"folder:{root / 'made'}"}
    with pytest.raises(DataError, match=r"made/train.\.png: the mask is 10x10 but image 'train"):
        run_recipe(recipe_of(root, data=changes), Paths(root, tmp_path / "runs"), CPU)


def test_real_photographs_of_any_size(shared_data: Path, tmp_path: Path) -> None:
    """VOC's photographs beside CamVid's frames; stopped and resumed to the same bits."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    images = shared_data / "voc2012" / "VOCdevkit" / "VOC2012" / "JPEGImages"
    for path in sorted(images.iterdir())[:12]:
        (photographs / path.name).symlink_to(path)
    (tmp_path / "CamVid").mkdir()
    camvid = shared_data / "camvid_jpg"
    for part, count in {"train": 8, "val": 2, "test": 1}.items():
        lines = (camvid / f"{part}.txt").read_text().splitlines()[:count]
        (tmp_path / "CamVid" / f"{part}.txt").write_text("".join(f"{line}\n" for line in lines))
        for name in (part, f"{part}annot"):
            (tmp_path / "CamVid" / name).symlink_to(camvid / name)
    recipe = recipe_of(tmp_path, data={"unlabelled": f"folder:{photographs}"})
    whole = run_recipe(recipe, Paths(tmp_path, tmp_path / "whole"), CPU)
    twice = Paths(tmp_path, tmp_path / "twice")
    stopped(recipe, twice)
    again = run_recipe(recipe, twice, CPU)
    for name in COMPARED:
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert whole.result.split.unlabelled == 12
