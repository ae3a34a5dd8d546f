"""Runs that learn from masks of some images and from weak masks of others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.runs import CPU
from support.stopped import COMPARED, made_camvid, save, stopped

from semisup.catalog import create_dataset
from semisup.cli.display.results import print_result
from semisup.data.labels.tags import Tags
from semisup.data.sets.masks_in_folder import MasksInFolder, read_masks
from semisup.data.weak_labels.costs import read_costs
from semisup.data.weak_labels.scribbles import Scribbles
from semisup.data.weak_labels.writing import write_weak_labels
from semisup.errors import DataError, RecipeError, RunError
from semisup.recipe.load import build_recipe, load_baseline, load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import build_method, open_data, split_labels, stream_builder
from semisup.runs.paths import Paths
from semisup.runs.result import plain
from semisup.runs.run import run_recipe
from semisup.types import IGNORE


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """CamVid in SegNet's layout, and clicks of all its training images but train0."""
    generator = np.random.default_rng(0)
    made_camvid(tmp_path, generator)
    for name in (f"train{number}" for number in range(1, 6)):
        with Image.open(tmp_path / "CamVid" / "trainannot" / f"{name}.png") as file:
            mask = np.asarray(file)
        known = (generator.random(mask.shape) < 0.1) & (mask < 11)
        save(tmp_path / "clicks" / f"{name}.png", np.where(known, mask, IGNORE))
    return tmp_path


def recipe_of(root: Path, **changes: Mapping[str, Any]) -> Recipe:
    base: dict[str, dict[str, Any]] = {
        "data": {
            "name": "camvid",
            "root": str(root),
            "split": f"file:{root / 'two.txt'}",
            "weak_masks": f"folder:{root / 'clicks'}",
            "crop": [40, 48],
            "scale": [1.0, 1.0],
            "flip": False,
            "labelled_batch": 2,
            "weak_batch": 2,
            "workers": 0,
        },
        "model": {"name": "unet", "width": 2, "batch_norm": True},
        "method": {"name": "partial_cross_entropy"},
        "optim": {"segmenter": {"kind": "adamw", "lr": 5e-3}},
        "train": {"steps": 6, "log_every": 1, "checkpoint_every": 2, "seed": 3},
        "eval": {"pictures": 0, "boundary": False},
    }
    (root / "two.txt").write_text("train0\ntrain1\n")
    return build_recipe("weak", {k: {**v, **changes.get(k, {})} for k, v in base.items()})


@pytest.mark.parametrize("cache", [0, 4])
def test_the_weak_stream_reads_weak_masks_of_images_without_masks(root: Path, cache: int) -> None:
    for name in ("train2", "train5"):  # the masks of weakly labelled images are never opened
        (root / "CamVid" / "trainannot" / f"{name}.png").unlink()
    (root / "clicks" / "train4.png").unlink()
    recipe = recipe_of(root, data={"cache": cache})
    data = open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    assert labels.weak is not None
    assert labels.weak.ids == ("train2", "train3", "train5")
    assert labels.pool.ids == ("train4",), "the rest has no label of any kind"
    method, _ = build_method(recipe, data.num_classes)
    streams = stream_builder(recipe, data, labels, method, CPU)(0)
    seen = set()
    for _ in range(4):
        batch = next(streams["weak"])
        assert batch.labels.keys() == {"partial"}
        partial = batch.labels["partial"]
        assert isinstance(partial, torch.Tensor)
        for name, mask in zip(batch.ids, partial, strict=True):
            with Image.open(root / "clicks" / f"{name}.png") as file:
                assert np.array_equal(mask.numpy(), np.asarray(file)), name
            seen.add(name)
    assert seen == {"train2", "train3", "train5"}
    assert {n for _ in range(2) for n in next(streams["labelled"]).ids} == {"train0", "train1"}


def test_held_out_images_are_read_by_no_stream(root: Path) -> None:
    recipe = recipe_of(root, data={"split": "1/2"}, eval={"hold_out": 1, "every": 3})
    labels = split_labels(recipe, open_data(recipe, Paths(root)))
    assert labels.weak is not None
    assert not set(labels.weak.ids) & {*labels.held_out, *labels.training.labelled}


def test_a_method_that_reads_tags_too_sees_images_with_either(root: Path) -> None:
    (root / "clicks" / "train4.png").unlink()
    recipe = recipe_of(root)
    data = open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    method, _ = build_method(recipe, data.num_classes)
    # Those of train3 are known, and were not chosen: data.tagged says who has some.
    tags = Tags(data.classes, {name: frozenset({2}) for name in data.ids}, "masks")
    kinds = {name: "none" if name == "train3" else "tags" for name in data.ids}
    training = replace(labels.training, tags=tags, labels={**kinds, "train0": "mask"})
    method.reads = replace(method.reads, weak=frozenset({"tags", "partial"}))
    streams = stream_builder(recipe, data, replace(labels, training=training), method, CPU)(0)
    batches = [next(streams["weak"]) for _ in range(5)]
    seen = {}
    for batch in batches:
        assert batch.labels.keys() == {"partial", "tags"}
        for name, partial, row in zip(
            batch.ids, batch.labels["partial"], batch.labels["tags"], strict=True
        ):
            seen[name] = bool((partial != IGNORE).any()), row.nonzero().flatten().tolist()
    both = (True, [0, 2])
    assert seen.pop("train3") == (True, []), "clicks and no tags"
    assert seen.pop("train4") == (False, [0, 2]), "tags alone"
    assert seen == {"train1": both, "train2": both, "train5": both}, "train0 has a mask"


def test_fixmatch_teaches_the_void_pixels_of_weak_masks_through_its_other_stream(
    root: Path, tmp_path: Path
) -> None:
    """Clicks are the labels (data.masks), and the same images are the unlabelled ones ("all")."""
    clicks = {"weak_masks": "", "masks": f"folder:{root / 'clicks'}", "split": "masked"}
    method = {"method": {"name": "fixmatch", "confidence_threshold": 0.0, "ramp_up": 0.0}}
    alone = recipe_of(root, data=clicks, **method)
    rest = split_labels(alone, open_data(alone, Paths(root))).pool.ids
    assert rest == ("train0",), "without the key, images with clicks are labelled ones alone"
    recipe = recipe_of(root, data={**clicks, "unlabelled": "all", "unlabelled_batch": 2}, **method)
    data = open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    names = tuple(f"train{number}" for number in range(1, 6))
    assert labels.training.labelled == names
    assert set(names) <= set(labels.pool.ids), "the images with clicks are unlabelled ones too"
    run = run_recipe(recipe, Paths(root, tmp_path / "runs"), CPU)
    lines = (run.folder / "scalars.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    shares = [one["self_taught_share"] for one in told if "self_taught_share" in one]
    losses = [one["loss_segmentation"] for one in told if "loss_segmentation" in one]
    assert min(shares) == pytest.approx(1.0), "all pixels are taught, those without a click too"
    assert min(losses) > 0, "clicks are"


def test_a_run_that_was_stopped_ends_with_the_same_bits(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root)
    whole = run_recipe(recipe, Paths(root, tmp_path / "whole"), CPU)
    twice = Paths(root, tmp_path / "twice")
    stopped(recipe, twice)
    click = root / "clicks" / "train2.png"
    content = click.read_bytes()
    save(click, np.zeros((40, 48)))
    changed = r"other weak masks \(data\.weak_masks\): folder:clicks"
    with pytest.raises(RunError, match=changed):
        run_recipe(recipe, twice, CPU)
    click.write_bytes(content)
    again = run_recipe(recipe, twice, CPU)
    for name in COMPARED:
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    split = plain(whole.result.split)
    assert (split["labelled"], split["weakly_labelled"], split["unlabelled"]) == (2, 4, 0)
    assert (split["weak_masks"]["source"], split["weak_masks"]["files"]) == ("folder:clicks", 5)
    save(click, np.zeros((40, 48)))
    with pytest.raises(RunError, match=changed):
        run_recipe(recipe, twice, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"weak_masks": ""}}, r"data\.weak_masks is not set\. Set it to 'folder:PATH'"),
        ({"method": {"name": "supervised"}}, "'supervised' reads no weak masks"),
        ({"data": {"split": "all"}}, "leaves no image with a weak mask alone"),
    ],
    ids=["not set", "not read", "none left"],
)
def test_what_does_not_fit_is_refused(
    root: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run_recipe(recipe_of(root, **changes), Paths(root, tmp_path / "runs"), CPU)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.full((40, 48), 40), r"clicks/train3\.png holds label 40"),
        (np.zeros((10, 10)), r"clicks/train.\.png: the mask is 10x10 but image 'train"),
        (np.full((40, 48), IGNORE), r"masks of data\.weak_masks is void"),
    ],
    ids=["a label that is no class", "of another size", "void alone"],
)
def test_a_wrong_weak_mask_is_named(
    root: Path, tmp_path: Path, content: np.ndarray, message: str
) -> None:
    for path in sorted((root / "clicks").iterdir()):
        if path.stem != "train2" or (len(np.unique(content)) == 1 and content[0, 0] != 40):
            save(path, content)
    with pytest.raises(DataError, match=message):
        run_recipe(recipe_of(root), Paths(root, tmp_path / "runs"), CPU)


def test_the_line_of_a_result_says_who_is_weakly_labelled(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = run_recipe(recipe_of(root), Paths(root, tmp_path / "runs"), CPU)
    print_result(finished.result, finished.folder)
    said = " ".join(capsys.readouterr().out.split())
    split = finished.result.split
    assert split.weak_masks is not None
    weakly = f"4 weakly labelled from folder:clicks ({str(split.weak_masks.sha256)[:8]})"
    assert f"2 labelled, 0 of them held out, {weakly}, 0 unlabelled" in said


def test_a_baseline_is_not_given_the_weak_masks() -> None:
    changes = ["data.weak_masks=folder:elsewhere", "data.scale=[1.0, 1.0]"]
    baseline = load_baseline(load_recipe("scenes/partial_cross_entropy_things_1-64", changes))
    assert baseline is not None
    assert baseline.method.name == "supervised"
    assert (baseline.data.weak_masks, baseline.data.scale) == ("", (1.0, 1.0))


def test_weak_labels_of_other_scenes_are_refused(tmp_path: Path) -> None:
    options = {"train": 4, "val": 1, "test": 1, "size": (48, 64)}
    others = create_dataset("scenes", tmp_path, "train", seed=1, **options)
    folder = tmp_path / "scribbles"
    write_weak_labels(folder, others, Scribbles(), seed=0, costs=read_costs())
    own = create_dataset("scenes", tmp_path, "train", seed=0, **options)
    with pytest.raises(DataError, match=r"these labels are of seed = 1, but here it is 0: write"):
        MasksInFolder(own, read_masks(f"folder:{folder}"))
    assert len(MasksInFolder(others, read_masks(f"folder:{folder}")).masked_ids) == 4


def test_weak_masks_of_one_class_are_beside_masks_of_the_others(root: Path, tmp_path: Path) -> None:
    for path in (root / "clicks").iterdir():
        with Image.open(path) as file:
            save(path, np.where(np.asarray(file) == IGNORE, IGNORE, 0))
    run = run_recipe(recipe_of(root, train={"steps": 2}), Paths(root, tmp_path / "runs"), CPU)
    assert run.result.split.weakly_labelled == 4
