"""Recipes, shrunk, on a few real images: each starts, trains and is scored."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from support.real_data import fill, on_few, shrunk

from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.recipe import Recipe
from semisup.runs.paths import Paths
from semisup.runs.run import run_recipe

RECIPES = [
    name
    for name in shipped_recipes()
    if name.startswith("camvid/") or (name.startswith("voc/") and "supervised" in name)
]
"""All of CamVid; of VOC those that need neither tags nor a list of one's own."""

OF_LISTS = [
    "ade20k/fixmatch_dpt_316",
    "cityscapes/cps_deeplab_v3plus_resnet101_186",
    "cityscapes/cutmix_seg_deeplab_v2_1-8",
    "cityscapes/fixmatch_deeplab_v3plus_resnet101_186",
    "cityscapes/mean_teacher_deeplab_v3plus_resnet101_186",
    "cityscapes/unimatch_deeplab_v3plus_resnet101_186",
    "coco/fixmatch_dpt_232",
    "nyudv2/supervised_lraspp_small",
    "voc/cps_deeplab_v3plus_resnet50_blended_1323",
    "voc/cutmix_seg_deeplab_v2_1-8",
    "voc/fixmatch_deeplab_v3plus_resnet101_92",
    "voc/fixmatch_dpt_92",
    "voc/mean_teacher_deeplab_v3plus_resnet101_blended_1323",
    "voc/unimatch_deeplab_v3plus_resnet101_u2pl_662",
]
"""One of each set, consistency method and network: the others differ in masks and steps alone."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that all sets are put into."""
    return tmp_path_factory.mktemp("few")


def stages(recipe: Recipe) -> list[Recipe]:
    """The recipe, and those that it starts from."""
    return [recipe, *(stages(recipe.first) if recipe.first is not None else [])]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RECIPES, *OF_LISTS])
def test_it_takes_two_steps_on_real_images(
    name: str, few: Path, tmp_path: Path, shared_data: Path
) -> None:
    fill(few, shared_data)
    paths = Paths(few, tmp_path)
    recipe = load_recipe(name, on_few(name, shrunk(name), paths, tmp_path / "list.txt"))
    done = run_recipe(recipe, paths, torch.device("cpu"))
    assert done.result.recipe == name
    assert done.result.checkpoint.step == 2
    assert done.result.protocol["images"] == (45 if recipe.data.name == "coco" else 2)
    assert sum(map(sum, done.result.confusion)) > 0
    lines = (done.folder / "scalars.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [v for line in lines for k, v in json.loads(line).items() if k.startswith("loss")]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    assert len([*tmp_path.rglob("result.json")]) == len(stages(recipe))
