"""Classes left out of any data set: the same run as with masks that were rewritten by hand."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.coco import make_coco
from support.indoor import save
from support.runs import CPU, IDS, make_set, relabelled
from torch import Tensor

from semisup import catalog
from semisup.catalog import DATASETS, METHODS, create_dataset
from semisup.data.base import SegmentationData
from semisup.data.sets.ade20k import CLASSES as ADE20K
from semisup.data.sets.camvid_classes import CLASSES as CAMVID
from semisup.data.sets.folder import Folder
from semisup.data.sets.indoor.classes import NYU_40, SUN_37
from semisup.errors import RecipeError, RunError
from semisup.evaluation.protocol import protocol_line
from semisup.recipe.load import build_recipe, load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import check_background, open_data
from semisup.runs.paths import Paths
from semisup.runs.reopen import evaluate_run, open_run
from semisup.runs.result import FinishedRun, read_result
from semisup.runs.run import run_recipe

Make = Callable[[Path], None]


class Plugged(Folder):
    """A data set of somebody's own."""

    name = "plugged"
    default_split = "all"


def as_folder(root: Path) -> None:
    make_set(root)


def as_voc(root: Path) -> None:
    """The set of `make_set` in the layout of VOC, with VOC's first three classes."""
    make_set(root / "made")
    tree = root / "VOCdevkit" / "VOC2012"
    shutil.move(root / "made" / "masks", tree / "SegmentationClass")
    (tree / "JPEGImages").mkdir()
    for path in (root / "made" / "images").iterdir():
        Image.open(path).save(tree / "JPEGImages" / f"{path.stem}.jpg")
    (tree / "ImageSets" / "Segmentation").mkdir(parents=True)
    for subset in IDS:
        shutil.move(root / "made" / f"{subset}.txt", tree / "ImageSets" / "Segmentation")


def as_camvid(root: Path) -> None:
    """The set of `make_set` in SegNet's layout of CamVid, with its first three classes."""
    make_set(root / "made")
    for part, ids in {**IDS, "test": ["v0"]}.items():
        lines = []
        for name in ids:
            for source, folder in (("images", part), ("masks", f"{part}annot")):
                (root / folder).mkdir(exist_ok=True)
                shutil.copy(root / "made" / source / f"{name}.png", root / folder)
            lines.append(f"/a/{part}/{name}.png /a/{part}annot/{name}.png\n")
        (root / f"{part}.txt").write_text("".join(lines))


def as_cityscapes(root: Path) -> None:
    """The set of `make_set` in the layout of Cityscapes, with its first three classes."""
    make_set(root / "made")
    table = np.array([7, 8, 11], np.uint8)
    for part, ids in IDS.items():
        images, masks = (root / kind / part / "ulm" for kind in ("leftImg8bit", "gtFine"))
        for folder in (images, masks):
            folder.mkdir(parents=True)
        for name in ids:
            source = root / "made" / "images" / f"{name}.png"
            shutil.copy(source, images / f"ulm_{name}_leftImg8bit.png")
            labels = np.asarray(Image.open(root / "made" / "masks" / f"{name}.png"))
            Image.fromarray(table[labels]).save(masks / f"ulm_{name}_gtFine_labelIds.png")


def as_ade20k(root: Path) -> None:
    """The set of `make_set` in the layout of ADE20K, with its first three classes."""
    make_set(root / "made")
    for part, subset in {"train": "training", "val": "validation"}.items():
        images, masks = (root / kind / subset for kind in ("images", "annotations"))
        for folder in (images, masks):
            folder.mkdir(parents=True)
        for name in IDS[part]:
            Image.open(root / "made" / "images" / f"{name}.png").save(images / f"{name}.jpg")
            labels = np.asarray(Image.open(root / "made" / "masks" / f"{name}.png"))
            Image.fromarray(labels + np.uint8(1)).save(masks / f"{name}.png")


def as_nyudv2(root: Path) -> None:
    """The set of `make_set` in folders of NYU Depth v2, with its first three classes."""
    make_set(root / "made")
    for part, subset in {"train": "train", "val": "test"}.items():
        (root / f"{subset}.txt").write_text("".join(f"{name}\n" for name in IDS[part]))
        for name in IDS[part]:
            for source, folder, shift in (("images", "image", 0), ("masks", "label40", 1)):
                values = np.asarray(Image.open(root / "made" / source / f"{name}.png"))
                save(root / folder / f"{name}.png", values + np.uint8(shift))


def as_sunrgbd(root: Path) -> None:
    """The set of `make_set` as SUN RGB-D is exported, with its first three classes."""
    make_set(root / "made")
    for part, subset, first in (("train", "train", 5051), ("val", "test", 1)):
        for number, name in enumerate(IDS[part]):
            image = Image.open(root / "made" / "images" / f"{name}.png")
            mask = np.asarray(Image.open(root / "made" / "masks" / f"{name}.png"))
            save(root / f"SUNRGBD-{subset}_images" / f"img-{1 + number:06d}.jpg", np.array(image))
            label = f"img-{first + number:06d}.png"
            save(root / "sunrgbd_train_test_labels" / label, mask + np.uint8(1))


def as_nothing(root: Path) -> None:
    """Scenes make themselves."""
    root.mkdir()


SETS: dict[str, tuple[Make, dict[str, Any], tuple[str, ...]]] = {
    "ade20k": (as_ade20k, {}, ("wall", *ADE20K[4:])),
    "camvid": (as_camvid, {}, (CAMVID[1], *CAMVID[4:])),
    "cityscapes": (as_cityscapes, {}, ("sidewalk", "car")),
    "coco": (make_coco, {}, ("background", "cat")),
    "folder": (as_folder, {}, ("ground",)),
    "nyudv2": (as_nyudv2, {}, ("floor", *NYU_40[3:])),
    "scenes": (
        as_nothing,
        {"train": 4, "val": 2, "test": 1, "size": (48, 64)},
        ("background", "striped_star"),
    ),
    "stack": (as_folder, {"held_out": len(IDS["val"])}, ("ground",)),
    "sunrgbd": (as_sunrgbd, {}, ("wall", *SUN_37[3:])),
    "voc": (as_voc, {}, ("background",)),
    "plugged": (as_folder, {}, ("sky",)),
}
"""Data set -> what makes it, its options, and the classes to ignore."""

OF_TWO_CLASSES = "isbi2012"
"""Without one of them there is nothing to tell apart; its slices are those of a stack."""

HELD_OUT = {"nyudv2": "test", "sunrgbd": "test"}
"""Data set -> what it calls the subset that is reported on, where that is not val."""


@pytest.fixture
def _plugged(outside: None) -> None:
    catalog.register("plugged", Plugged)


def recipe_on(name: str, ignored: tuple[str, ...] = (), **options: Any) -> Recipe:
    data = {"name": name, "split": "1/2", "crop": [32, 32], "labelled_batch": 2, "workers": 0}
    return build_recipe(
        "tiny",
        {
            "data": {**data, "ignore_classes": ignored, **options},
            "model": {"name": "unet", "width": 2},
            "method": {"name": "supervised"},
            "optim": {"segmenter": {"lr": 1e-2}},
            "train": {"steps": 2, "log_every": 1, "class_weights": "median_frequency"},
            "eval": {"pictures": 0},
        },
    )


def by_hand(sets: list[SegmentationData], ignored: tuple[str, ...], to: Path) -> Path:
    """The pictures of some subsets as a folder, in whose masks `ignored` are 255."""
    for name in ("images", "masks"):
        (to / name).mkdir(parents=True)
    left = [name for name in sets[0].classes if name not in ignored]
    lines = [
        f"{name} {' '.join(map(str, colour))}\n"
        for name, colour in zip(sets[0].classes, sets[0].palette, strict=True)
        if name in left
    ]
    (to / "classes.txt").write_text("".join(lines))
    for data in sets:
        subset = "val" if data.subset == data.eval_subset else data.subset
        (to / f"{subset}.txt").write_text("".join(f"{name}\n" for name in data.ids))
        for index, name in enumerate(data.ids):
            mask = np.full(data.mask(index).shape, 255, np.uint8)
            for label, stored in enumerate(data.classes):
                if stored in left:
                    mask[data.mask(index).numpy() == label] = left.index(stored)
            Image.fromarray(mask).save(to / "masks" / f"{name}.png")
            image = data.image(index).permute(1, 2, 0).numpy()
            Image.fromarray(np.ascontiguousarray(image)).save(to / "images" / f"{name}.png")
    return to


def weights_of(run: FinishedRun) -> dict[str, Tensor]:
    return load_file(run.folder / "predictor.safetensors")


def test_every_data_set_is_asked() -> None:
    assert set(SETS) == {*DATASETS, "plugged"} - {OF_TWO_CLASSES}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.usefixtures("_plugged")
def test_a_set_without_a_class_is_the_one_whose_masks_were_rewritten(
    name: str, tmp_path: Path
) -> None:
    make, options, ignored = SETS[name]
    make(tmp_path / "data")
    parts = ("train", HELD_OUT.get(name, "val"))
    whole = [create_dataset(name, tmp_path / "data", part, **options) for part in parts]
    by_hand(whole, ignored, tmp_path / "hand")
    for stored in whole:
        part = stored.subset
        data = create_dataset(
            name, tmp_path / "data", part, ignore_classes=list(ignored), **options
        )
        other = create_dataset("folder", tmp_path / "hand", "train" if part == "train" else "val")
        assert (data.classes, data.palette, data.ids) == (other.classes, other.palette, other.ids)
        assert data.stored_classes == stored.classes
        assert data.facts()["classes_made_void"] == [c for c in stored.classes if c in ignored]
        for index in range(len(data)):
            assert all(map(torch.equal, data.pair(index), other.pair(index)))

    runs = Paths(tmp_path / "data", tmp_path / "runs")
    run = run_recipe(recipe_on(name, ignored, **options), runs, CPU)
    same = run_recipe(recipe_on("folder"), Paths(tmp_path / "hand", tmp_path / "hand_runs"), CPU)
    one, other_weights = weights_of(run), weights_of(same)
    assert one.keys() == other_weights.keys()
    assert all(torch.equal(one[key], other_weights[key]) for key in one)
    assert run.result.confusion == same.result.confusion
    assert run.per_class == same.per_class
    assert run.miou == same.miou
    assert set(run.per_class) == set(whole[0].classes) - set(ignored)
    assert run.result.protocol["classes_made_void"] == data.facts()["classes_made_void"]
    assert "made void" in protocol_line(run.result.protocol)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FinishedRun]:
    """A folder, and a run on it without its first class."""
    root = tmp_path_factory.mktemp("ignored")
    make_set(root / "data")
    paths = Paths(root / "data", root / "runs")
    return root / "data", run_recipe(recipe_on("folder", ("ground",)), paths, CPU)


def test_a_run_records_the_classes_that_are_left(done: tuple[Path, FinishedRun]) -> None:
    data, run = done
    stored = Folder(data)
    assert run.result.classes == ("sky", "tree")
    assert run.result.data is not None
    assert run.result.data.reported.classes == ("sky", "tree")
    opened = open_run(run.folder, CPU, paths=Paths(data))
    assert opened.predictor().palette == stored.palette[1:]
    labels = opened.predictor()(stored.image(0))
    assert set(labels.unique().tolist()) <= {0, 1}
    again = run_recipe(recipe_on("folder", ("ground",)), Paths(data, data.parent / "runs"), CPU)
    assert again.folder == run.folder


def test_the_order_of_the_names_makes_no_other_run() -> None:
    one, other = recipe_on("folder", ("sky", "tree")), recipe_on("folder", ("tree", "sky"))
    assert one.digest() == other.digest() != recipe_on("folder", ("sky",)).digest()
    assert one.digest() != recipe_on("folder").digest()


def test_a_run_without_a_class_is_scored_on_a_set_that_has_it(
    done: tuple[Path, FinishedRun], tmp_path: Path
) -> None:
    data, run = done
    same = evaluate_run(run.folder, Paths(data), CPU, data="folder")
    assert same.per_class == run.per_class
    assert same.notes == ()
    all_classes = evaluate_run(
        run.folder, Paths(data), CPU, changes=["data.ignore_classes=[]"], data="folder"
    )
    assert all_classes.per_class == run.per_class
    assert "the run does not know ground, which is void here" in all_classes.notes[0]
    assert all_classes.result.protocol["classes_made_void"] == ["ground"]
    order = relabelled(data, tmp_path / "order", ("tree", "ground", "sky"), (1, 2, 0))
    moved = evaluate_run(run.folder, Paths(order, overrides=True), CPU)
    assert moved.result.confusion == run.result.confusion


def test_a_set_elsewhere_need_not_have_what_is_ignored(
    done: tuple[Path, FinishedRun], tmp_path: Path
) -> None:
    data, run = done
    hand = by_hand([Folder(data, part) for part in IDS], ("ground",), tmp_path / "hand")
    scored = evaluate_run(run.folder, Paths(hand, overrides=True), CPU)
    assert scored.result.confusion == run.result.confusion
    assert scored.per_class == run.per_class
    line = "'ground' in ignore_classes is no class here. Known: sky, tree."
    with pytest.raises(RecipeError, match=re.escape(line)):
        run_recipe(recipe_on("folder", ("ground",)), Paths(hand, tmp_path / "runs"), CPU)


@pytest.mark.parametrize("names", ["sky ground tree", "sky tree ground", "sky tree"])
def test_labels_that_have_come_to_stand_for_others_are_noticed(
    names: str, done: tuple[Path, FinishedRun], tmp_path: Path
) -> None:
    """The classes that are left are the same, in the same order."""
    data, run = done
    shutil.copytree(data, tmp_path / "data")
    paths = Paths(tmp_path / "data", tmp_path / "runs")
    again = run_recipe(recipe_on("folder", ("ground",)), paths, CPU)
    assert again.per_class == run.per_class
    (tmp_path / "data" / "classes.txt").write_text("\n".join(names.split()))
    line = "'ground' in ignore_classes" if "ground" not in names else "stood for ground, sky, tree"
    with pytest.raises((RunError, RecipeError), match=line):
        evaluate_run(again.folder, paths, CPU)
    with pytest.raises((RunError, RecipeError), match=line):
        run_recipe(recipe_on("folder", ("ground",)), paths, CPU)


def test_a_set_of_another_kind_keeps_all_its_classes(
    done: tuple[Path, FinishedRun], tmp_path: Path
) -> None:
    _, run = done
    as_voc(tmp_path / "voc")
    tree = tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    (tree / "classes.txt").write_text("ground\nsky\ntree\n")
    paths = Paths(tmp_path / "voc", overrides=True)
    scored = evaluate_run(run.folder, paths, CPU, data="voc")
    assert "the run does not know ground" in scored.notes[0]
    assert scored.result.protocol["classes_made_void"] == ["ground"]


def test_a_class_may_be_left_out_of_a_score_alone(tmp_path: Path) -> None:
    make_set(tmp_path / "data")
    paths = Paths(tmp_path / "data", tmp_path / "runs")
    run = run_recipe(recipe_on("folder"), paths, CPU)
    scored = evaluate_run(run.folder, paths, CPU, changes=['data.ignore_classes=["sky"]'])
    assert scored.per_class["sky"] is None
    assert scored.result.protocol["classes_made_void"] == ["sky"]
    assert scored.result.protocol["classes_not_in_the_set"] == ["sky"]
    confusion = np.array(run.result.confusion)
    confusion[1] = 0
    assert np.array_equal(scored.result.confusion, confusion)
    kept = read_result(run.folder / "result.json")
    assert kept is not None
    assert kept.confusion == run.result.confusion


NEED_BACKGROUND = {
    "cam",
    "decouplednet",
    "decouplednet_classifier",
    "decouplednet_joint",
    "gan_segmentation_weak",
    "mask_rcnn",
    "s4gan_multi_label",
    "wssl",
    "wssl_tags",
}


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_need_a_background_refuse_to_go_without(
    method: str, voc_of_three: SegmentationData, recipe: Recipe
) -> None:
    changed = replace(recipe, method=recipe.method.model_copy(update={"name": method}))
    check_background(changed, voc_of_three)
    without = create_dataset(
        "voc", voc_of_three.root.parents[1], "train", ignore_classes=["background"]
    )
    if method in NEED_BACKGROUND:
        with pytest.raises(RecipeError, match=f"'{method}' takes class 0 for the background, and"):
            check_background(changed, without)
    else:
        check_background(changed, without)


@pytest.fixture
def voc_of_three(tmp_path: Path) -> SegmentationData:
    as_voc(tmp_path / "voc")
    return create_dataset("voc", tmp_path / "voc")


@pytest.fixture
def recipe() -> Recipe:
    return recipe_on("voc")


def test_the_names_are_not_inherited_by_a_recipe_on_another_set(tmp_path: Path) -> None:
    changes = ['data.ignore_classes=["background"]']
    recipe = load_recipe("scenes/supervised_unet_all", changes)
    assert recipe.data.ignore_classes == ("background",)
    (tmp_path / "base.toml").write_text(recipe.to_toml())
    child = tmp_path / "child.toml"
    child.write_text('extends = "base.toml"\n[data]\nname = "camvid"\n')
    assert load_recipe(str(child)).data.ignore_classes == ()
    child.write_text('extends = "base.toml"\n[data]\nseed = 1\n[model]\nname = "fcn8s"\n')
    assert load_recipe(str(child)).data.ignore_classes == ("background",)


def test_masks_of_a_folder_have_the_numbers_of_the_classes_that_are_left(tmp_path: Path) -> None:
    make_set(tmp_path / "data")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.full((32, 40), 1, np.uint8)).save(tmp_path / "masks" / "t0.png")
    recipe = recipe_on("folder", ("ground",), masks=f"folder:{tmp_path / 'masks'}")
    data = open_data(recipe, Paths(tmp_path / "data"))
    assert data.classes[int(data.mask(data.index("t0"))[0, 0])] == "tree"
    assert data.facts()["classes_made_void"] == ["ground"]
