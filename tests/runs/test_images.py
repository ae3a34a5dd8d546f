"""Runs on images of other channels and bits than 8-bit RGB, from the files to the predictions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from support.channels import make_set, write_array, write_png, write_tiff
from support.runs import Stopping

import semisup
from semisup.data.image_formats import measure_images
from semisup.errors import Interrupted, RecipeError, RunError, SemisupError
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.experiment import Experiment
from semisup.runs.paths import Paths
from semisup.runs.reopen import evaluate_run, open_run
from semisup.runs.run import run_recipe

CPU = torch.device("cpu")

COMPARED = ("predictor.safetensors", "scalars.jsonl")

SETS: dict[str, Any] = {
    "16-bit TIFF of four channels": (4, 16, write_tiff),
    "8-bit grey": (1, 8, write_png),
    "16-bit grey": (1, 16, write_png),
    "array of six channels": (6, 16, write_array),
}

NETWORKS = {"unet": {"width": 2, "batch_norm": True}, "deeplab_v3plus": {}}
"""One of fresh weights, and one on MobileNetV2."""


def recipe_of(network: str = "unet", **changes: dict[str, Any]) -> Recipe:
    tables: dict[str, dict[str, Any]] = {
        "data": {
            "name": "folder",
            "split": "1/2",
            "crop": [32, 32] if network == "unet" else [64, 64],
            "labelled_batch": 2,
            "unlabelled_batch": 2,
            "workers": 0,
        },
        "model": {"name": network, **NETWORKS[network]},
        "method": {"name": "adversarial"},
        "optim": {"segmenter": {"kind": "adamw", "lr": 1e-3}},
        "train": {"steps": 4, "log_every": 1, "checkpoint_every": 2},
        "eval": {"pictures": 1, "boundary": False},
    }
    tables = {k: {**v, **changes.get(k, {})} for k, v in tables.items()}
    if tables["method"]["name"] != "supervised":
        tables["method"]["discriminator_width"] = 4
        tables["optim"]["discriminator"] = {"kind": "adam", "lr": 1e-4}
    return build_recipe("images", tables)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        *((name, "unet") for name in SETS),
        *(pytest.param(name, "deeplab_v3plus", marks=pytest.mark.slow) for name in list(SETS)[:2]),
    ],
)
def test_a_run_from_files_to_predictions(tmp_path: Path, name: str, model: str) -> None:
    channels, bits, write = SETS[name]
    root = make_set(tmp_path / "set", channels, bits, write)
    recipe = recipe_of(model, data={"cache": 1, "strong_labelled": True})
    whole = run_recipe(recipe, Paths(root, tmp_path / "whole"), CPU)

    twice = Paths(root, tmp_path / "twice")
    with pytest.raises(Interrupted, match="after step 3 of 4"):
        run_recipe(recipe, twice, CPU, view=Stopping(3))
    again = run_recipe(recipe, twice, CPU)
    for file in COMPARED:
        assert (again.folder / file).read_bytes() == (whole.folder / file).read_bytes(), file

    opened = open_run(whole.folder, CPU)
    measured = measure_images(Experiment(recipe, Paths(root), CPU).data)
    assert opened.images == measured.format()
    assert (len(opened.images.mean), opened.images.bits) == (channels, bits)
    stated = json.loads(json.dumps(measured.format().__getstate__()))  # as plain values
    images = dict(zip(("mean", "std", "bits"), stated, strict=True))
    for record in ("run.json", "result.json"):
        assert json.loads((whole.folder / record).read_text())["data"]["images"] == images
    with safe_open(whole.folder / "predictor.safetensors", "pt") as weights:
        assert json.loads(weights.metadata()["semisup"])["images"] == images

    scored = evaluate_run(whole.folder, None, CPU)
    assert scored.result.scores.selected == whole.result.scores.selected
    files = semisup.predict_files(whole, root / "images", tmp_path / "to", overlay=True)
    assert len(files) == 8
    reported = Experiment(recipe, Paths(root), CPU).reported
    image = reported.image(0)
    labels = semisup.predict(whole, image)
    assert np.array_equal(np.array(Image.open(tmp_path / "to" / "v0.png")), labels.numpy())
    with Image.open(tmp_path / "to" / "v0_overlay.png") as overlay:
        assert overlay.mode == "RGB"
    last = np.moveaxis(image.numpy(), 0, 2)
    assert np.array_equal(semisup.predict(whole, last), labels.numpy())
    assert np.array_equal(semisup.predict(whole, reported.image_path(0)), labels.numpy())


def test_the_measured_normalisation_is_kept(tmp_path: Path) -> None:
    """What a run goes on with is what it has recorded, and not what would be measured now."""
    root = make_set(tmp_path / "set", 4, 16, write_tiff)
    place = Paths(root, tmp_path / "runs")
    with pytest.raises(Interrupted):
        run_recipe(recipe_of(), place, CPU, view=Stopping(3))
    (facts,) = (tmp_path / "runs").rglob("run.json")
    content = json.loads(facts.read_text())
    content["data"]["images"]["mean"] = [0.5] * 4
    facts.write_text(json.dumps(content))
    done = run_recipe(recipe_of(), place, CPU)
    assert done.result.data is not None
    assert done.result.data.images.mean == (0.5,) * 4


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    make_set(root / "four", 4, 16, write_tiff)
    make_set(root / "grey", 1, 8, write_png)
    make_set(root / "rgb", 3, 8, write_array)
    return root


REFUSED: dict[str, tuple[str, dict[str, dict[str, Any]], str]] = {
    "three channels of four": (
        "four",
        {"model": {"in_channels": 3}},
        "model.in_channels = 3, but the images of 'folder' are 4 channels of 16 bits. Leave it "
        "out: it follows the data.",
    ),
    "three channels of grey": (
        "grey",
        {"model": {"in_channels": 3}},
        "model.in_channels = 3, but the images of 'folder' are 8-bit grey. Leave it out: it "
        "follows the data, or set data.channels = 3 for three equal ones.",
    ),
    "four channels of three": (
        "rgb",
        {"model": {"in_channels": 4}},
        "model.in_channels = 4, but the images of 'folder' are 8-bit RGB. Leave it out: it follows "
        "the data.",
    ),
    "channels that the files do not have": (
        "four",
        {"data": {"channels": 5}},
        "data.channels = 5, but the images, such as ",
    ),
    "colour operations of RGB": (
        "four",
        {"data": {"colours": "augseg"}},
        "data.colours = 'augseg' changes 8-bit RGB images, and these are 4 channels of 16 bits. "
        "Leave it out.",
    ),
    "a method that sees RGB": (
        "four",
        {"method": {"name": "s4gan"}},
        "method 's4gan' reads 8-bit RGB images, and those of 'folder' are 4 channels of 16 bits: "
        "choose another.",
    ),
    "a method that sees RGB, and grey": (
        "grey",
        {"method": {"name": "s4gan"}},
        "method 's4gan' reads 8-bit RGB images, and those of 'folder' are 8-bit grey: set "
        "data.channels = 3, for three equal ones.",
    ),
    "a CRF": (
        "four",
        {"eval": {"crf": True}},
        "eval.crf compares the colours of neighbours in 8-bit RGB, and the images are 4 channels "
        "of 16 bits. Set it to false.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_channels_that_do_not_fit_are_one_line(sets: Path, tmp_path: Path, case: str) -> None:
    name, changes, line = REFUSED[case]
    with pytest.raises(SemisupError, match=f"^{re.escape(line)}") as caught:
        run_recipe(recipe_of(**changes), Paths(sets / name, tmp_path), CPU)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("run.json"))


def test_stated_channels_that_fit(sets: Path, tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {"model": {"in_channels": 4}, "train": {"steps": 1}}
    done = run_recipe(recipe_of(**changes), Paths(sets / "four", tmp_path), CPU)
    assert open_run(done.folder, CPU).network.in_channels == 4


@pytest.fixture(scope="module")
def of_rgb(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> semisup.FinishedRun:
    out = tmp_path_factory.mktemp("runs")
    recipe = recipe_of(method={"name": "supervised"}, train={"steps": 1})
    return run_recipe(recipe, Paths(sets / "rgb", out), CPU)


def test_a_run_on_rgb_reads_grey_as_three_equal_channels(
    sets: Path, of_rgb: semisup.FinishedRun, tmp_path: Path
) -> None:
    scored = evaluate_run(of_rgb.folder, Paths(sets / "grey", overrides=True), CPU)
    files = semisup.predict_files(of_rgb, sets / "grey" / "images", tmp_path)
    assert len(files) == 8
    assert scored.notes[0].startswith("folder val in ")


def test_a_run_on_rgb_is_not_scored_on_other_images(
    sets: Path, of_rgb: semisup.FinishedRun
) -> None:
    line = r"cannot be scored: folder val in .* 4 channels of 16 bits \(expected: 8-bit RGB\)"
    with pytest.raises(RunError, match=line):
        evaluate_run(of_rgb.folder, Paths(sets / "four", overrides=True), CPU)


def test_predict_names_each_image_of_another_kind(
    sets: Path, of_rgb: semisup.FinishedRun, tmp_path: Path
) -> None:
    with pytest.raises(SemisupError, match="8 of 8 images have no label map, such as: ") as caught:
        semisup.predict_files(of_rgb, sets / "four" / "images", tmp_path)
    assert "t0.tif" in str(caught.value)
    with pytest.raises(SemisupError, match=r"^image: cannot label a ndarray uint16 of shape"):
        semisup.predict(of_rgb, np.zeros((8, 9, 4), np.uint16))


def test_a_constant_channel_is_told(tmp_path: Path) -> None:
    def write(path: Path, values: Any) -> None:
        write_array(path, np.dstack([values, np.full_like(values[..., :1], 65535)]))

    root = make_set(tmp_path / "set", 3, 16, write)
    doubts = Experiment(recipe_of(), Paths(root), CPU).doubts
    line = "channel 4 of the images has one value in all that were measured: nothing is learnt"
    assert any(doubt.startswith(line) for doubt in doubts)


def test_in_channels_is_checked_as_a_recipe(tmp_path: Path) -> None:
    for value in (0, -1, "three", 1.5):
        with pytest.raises(RecipeError, match=r"'model\.in_channels"):
            recipe_of(model={"in_channels": value})
