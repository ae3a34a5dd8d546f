"""Runs that learn from objects: stopped and gone on with, scored, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.cityscapes import make_cityscapes
from support.coco import make_coco
from support.runs import make_set

from semisup.errors import Interrupted, RecipeError
from semisup.monitoring.view import Silent
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import build_method, prepare_networks
from semisup.runs.paths import Paths
from semisup.runs.reopen import evaluate_run, open_run
from semisup.runs.result import read_result
from semisup.runs.run import run_recipe

pytest.importorskip("pycocotools")

CPU = torch.device("cpu")

TABLES: dict[str, dict[str, Any]] = {
    "data": {
        "name": "coco",
        "crop": [48, 48],
        "scale": [0.8, 1.2],
        "labelled_batch": 2,
        "workers": 0,
    },
    "model": {
        "name": "mask_rcnn",
        "backbone": "mobilenet_v2",
        "min_size": 48,
        "max_size": 64,
        "width": 8,
        "box_width": 16,
        "sampled_boxes": 32,
        "score_threshold": 0.0,
    },
    "method": {"name": "mask_rcnn"},
    "optim": {"segmenter": {"lr": 1e-3}},
    "train": {"steps": 3, "log_every": 1, "checkpoint_every": 1},
    "eval": {"pictures": 1, "boundary": False},
}


def recipe(**tables: dict[str, Any]) -> Recipe:
    return build_recipe("objects", {**TABLES, **tables})


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(make_coco(tmp_path / "data"), tmp_path / "runs")


def test_its_result_has_both_scores_and_the_detections_beside_it(paths: Paths) -> None:
    done = run_recipe(recipe(), paths, CPU)
    objects = done.result.objects
    assert objects is not None
    detections = json.loads((done.folder / objects.detections).read_text())
    assert detections
    assert {one["image_id"] for one in detections} <= {135, 142}
    assert len(astuple(objects.box)) == len(astuple(objects.mask)) == 12
    assert done.result.classes == ("background", "car", "cat", "toothbrush")
    assert 0 <= done.miou <= 1
    assert read_result(done.file) == done.result
    assert (done.folder / "pictures" / "sheet.png").is_file()
    again = evaluate_run(done.folder, paths, CPU)
    assert again.result.objects is not None
    assert again.result.objects.box == objects.box
    assert again.result.objects.mask == objects.mask
    assert (done.folder / again.result.objects.detections).is_file()
    assert again.result.objects.detections != objects.detections
    label_map = open_run(done.folder, CPU).predictor()(torch.zeros(3, 40, 50, dtype=torch.uint8))
    assert label_map.shape[-2:] == (40, 50)


class Stopping(Silent):
    """Stops as a signal would, after a step."""

    def __init__(self, after: int) -> None:
        self._after = after

    def stepped(self, done: int, steps: int) -> None:
        if done == self._after:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2])
def test_stopped_and_gone_on_with_it_has_the_same_bits(
    paths: Paths, tmp_path: Path, after: int
) -> None:
    whole = run_recipe(recipe(), paths, CPU)
    other = Paths(paths.data_root, tmp_path / "stopped")
    with pytest.raises(Interrupted):
        run_recipe(recipe(), other, CPU, view=Stopping(after))
    resumed = run_recipe(recipe(), other, CPU)
    assert resumed.fresh
    one, two = (load_file(run.folder / "predictor.safetensors") for run in (whole, resumed))
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[key]) for key, value in one.items())
    texts = [(run.folder / "scalars.jsonl").read_text() for run in (whole, resumed)]
    assert texts[0] == texts[1]
    detections = [(run.folder / "detections.json").read_bytes() for run in (whole, resumed)]
    assert detections[0] == detections[1]
    assert whole.result.objects == resumed.result.objects
    assert whole.result.confusion == resumed.result.confusion


def model(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **options}


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (
            {"method": {"name": "supervised"}},
            "method 'supervised' cannot train 'mask_rcnn'; set method.name to one of mask_rcnn",
        ),
        ({"model": {"name": "unet", "width": 4}}, "trains model.name = 'mask_rcnn', not a UNet"),
        (
            {"data": {**TABLES["data"], "ignore_classes": ["background"]}},
            "takes class 0 for the background",
        ),
        (
            {"train": {**TABLES["train"], "class_weights": "median_frequency"}},
            "has no cross entropy over the classes",
        ),
        ({"train": {**TABLES["train"], "loss": "dice"}}, "has no cross entropy over the classes"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    paths: Paths, tables: dict[str, Any], says: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        run_recipe(recipe(**tables), paths, CPU)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_without_objects_are_one_line(tmp_path: Path) -> None:
    make_set(tmp_path / "data")
    data = {**TABLES["data"], "name": "folder"}
    with pytest.raises(RecipeError, match="and 'folder' does not tell any apart") as caught:
        run_recipe(recipe(data=data), Paths(tmp_path / "data", tmp_path / "runs"), CPU)
    assert "such as coco" in str(caught.value)
    assert "\n" not in str(caught.value)


STREETS = {**TABLES["data"], "name": "cityscapes", "crop": [24, 32], "scale": [1.0, 1.0]}


def test_objects_of_street_scenes_are_learnt_with_a_background(tmp_path: Path) -> None:
    stated = recipe(data={**STREETS, "classes": "objects"}, train={**TABLES["train"], "steps": 1})
    done = run_recipe(stated, Paths(make_cityscapes(tmp_path / "data"), tmp_path / "runs"), CPU)
    assert done.result.objects is not None
    assert done.result.classes[:3] == ("background", "person", "rider")
    detections = json.loads((done.folder / done.result.objects.detections).read_text())
    assert {one["category_id"] for one in detections} <= {24, 25, 26, 27, 28, 31, 32, 33}


def test_a_road_is_no_background_of_objects(tmp_path: Path) -> None:
    paths = Paths(make_cityscapes(tmp_path / "data"), tmp_path / "runs")
    with pytest.raises(RecipeError, match="in 'cityscapes' it is 'road'") as caught:
        run_recipe(recipe(data=STREETS), paths, CPU)
    assert 'data.classes = "objects"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_masks_of_a_folder_have_no_objects(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.new("L", (64, 48), 1).save(tmp_path / "masks" / "000000000107.png")
    data = {**TABLES["data"], "masks": f"folder:{tmp_path / 'masks'}"}
    with pytest.raises(RecipeError, match="with other masks than its own, does not tell any"):
        run_recipe(recipe(data=data), paths, CPU)


@pytest.mark.slow
def test_a_compiled_run_compiles_the_backbone_alone() -> None:
    stated = recipe(train={**TABLES["train"], "compile": True})
    method, _ = build_method(stated, 4)
    prepare_networks(method, stated, CPU)
    assert method.segmenter._compiled_call_impl is None
    assert method.segmenter.backbone._compiled_call_impl is not None
