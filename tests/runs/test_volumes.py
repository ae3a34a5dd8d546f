"""A network for volumes through run, evaluate and predict."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from support.runs import CPU, Stopping

import semisup
from semisup.cli.main import cli
from semisup.errors import DataError, Interrupted, RecipeError, SemisupError
from semisup.recipe.load import build_recipe, load_recipe
from semisup.recipe.recipe import Recipe
from semisup.recipe.toml import dump_toml
from semisup.runs.paths import Paths
from semisup.runs.reopen import open_run
from semisup.runs.result import read_result
from semisup.runs.run import run_recipe


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen slices of 24 x 28: dark walls between bright cells, which move with the slice."""
    root = tmp_path_factory.mktemp("stack")
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir()
    down, right = np.mgrid[:24, :28]
    for number in range(14):
        cells = (np.sin((down + number) / 2) + np.cos((right - number) / 3) > -0.4).astype(np.uint8)
        values = 60 + 120 * cells + generator.integers(0, 40, cells.shape)
        Image.fromarray(values.astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(cells * 255).save(root / "masks" / f"{number}.png")
    return root


def tables(**changes: Any) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {
        "data": {
            "name": "stack",
            "classes": ["wall", "cell"],
            "values": {0: "wall", 255: "cell"},
            "held_out": 4,
            "annotated": 3,
            "depth": 4,
            "rotation": 20.0,
            "crop": [16, 16],
            "labelled_batch": 2,
            "workers": 0,
        },
        "model": {"name": "unet3d", "width": 2},
        "method": {"name": "supervised"},
        "optim": {"segmenter": {"kind": "adamw", "lr": 1e-2}},
        "train": {"steps": 3, "log_every": 1, "checkpoint_every": 1},
        "eval": {"pictures": 2, "boundary": False},
    }
    for key, value in changes.items():
        table, _, name = key.partition("_")
        made[table][name] = value
    return made


def recipe(**changes: Any) -> Recipe:
    return build_recipe("volumes", tables(**changes))


def digests(folder: Path) -> dict[str, str]:
    names = ("predictor.safetensors", "pictures/sheet.png")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def finished(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return run_recipe(recipe(), Paths(data_root=stack, out=out), CPU).folder


def test_a_run_is_scored_slice_by_slice(finished: Path) -> None:
    result = read_result(finished / "result.json")
    assert result is not None
    assert result.data is not None
    assert set(result.per_class) == {"wall", "cell"}
    assert (finished / "pictures" / "sheet.png").is_file()
    weights = load_file(finished / "predictor.safetensors")
    assert weights["classifier.weight"].shape == (2, 4, 1, 1, 1)


def test_a_stopped_run_goes_on_to_the_same_bits(
    stack: Path, finished: Path, tmp_path: Path
) -> None:
    paths = Paths(data_root=stack, out=tmp_path)
    with pytest.raises(Interrupted):
        run_recipe(recipe(), paths, CPU, view=Stopping())
    again = run_recipe(recipe(), paths, CPU)
    assert digests(again.folder) == digests(finished)


def call(*words: object) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], prog_name="semisup")
    assert done.exit_code == 0, done.output
    return done.output


def test_evaluate_gives_the_scores_of_the_run(stack: Path, finished: Path) -> None:
    said = json.loads(call("evaluate", finished, "--data-root", stack, "--json"))
    stored = json.loads((finished / "result.json").read_text())
    assert said["scores"]["selected"]["miou"] == stored["scores"]["selected"]["miou"]


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_reopened_network_lies_in_memory_as_it_was_trained(
    stack: Path, tmp_path: Path, channels_last: bool
) -> None:
    """Of another layout sums are rounded otherwise, and a pixel in a million is labelled anew."""
    recipe = build_recipe("tiny", tables(train_channels_last=channels_last))
    run = run_recipe(recipe, Paths(stack, tmp_path), CPU)
    weights = [p for p in open_run(run.folder, CPU).network.parameters() if p.ndim == 5]
    wide = [w for w in weights if min(w.shape[:3]) > 1]  # one channel lies in both ways
    assert wide
    for weight in wide:
        assert weight.is_contiguous(memory_format=torch.channels_last_3d) == channels_last


def test_a_folder_of_slices_is_labelled_as_the_stack_is(
    stack: Path, finished: Path, tmp_path: Path
) -> None:
    call("predict", finished, stack / "images", "--to", tmp_path / "labels", "--soft", "--overlay")
    made = sorted((tmp_path / "labels").glob("*.npz"))
    assert len(made) == 14
    labels = np.array(Image.open(tmp_path / "labels" / "3.png"))
    shares = np.load(tmp_path / "labels" / "3.npz")["probabilities"]
    assert labels.shape == (24, 28)
    assert np.array_equal(shares.argmax(0)[shares.max(0) > 0.51], labels[shares.max(0) > 0.51])
    assert "0 label maps" in call(
        "predict", finished, stack / "images", "--to", tmp_path / "labels"
    )


def test_an_image_in_memory_is_refused_in_a_line(finished: Path) -> None:
    with pytest.raises(DataError, match="reads volumes: label a folder of slices"):
        semisup.predict(finished, np.zeros((24, 28), np.uint8))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method_name": "s4gan"}, "method 's4gan' trains networks for images, and 'unet3d'"),
        ({"eval_scales": [0.5, 1.0]}, "eval.scales: is for images"),
        ({"data_strong_labelled": True}, "data.strong_labelled: is for images"),
        ({"train_loss": "dice"}, "train.loss: is for images"),
        ({"eval_crf": True}, "eval.crf"),
        ({"data_annotated": 11}, "annotated = 11, but 10 of the 10 slices"),
    ],
)
def test_what_is_for_images_is_refused(
    stack: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    wanted = tables(**changes)
    if "method_name" in changes:
        wanted["optim"] |= {"discriminator": {"lr": 1e-3}}
    with pytest.raises(SemisupError, match=says):
        run_recipe(build_recipe("volumes", wanted), Paths(data_root=stack, out=tmp_path), CPU)
    assert not (tmp_path / "volumes").exists() or not list(tmp_path.rglob("run.json"))


def test_images_that_are_no_slices_are_refused(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "data" / name).symlink_to(stack / name)
    (tmp_path / "data" / "classes.txt").write_text("wall\ncell\n")
    (tmp_path / "data" / "train.txt").write_text("1\n2\n")
    (tmp_path / "data" / "val.txt").write_text("3\n")
    wanted = tables()
    wanted["data"] = {"name": "folder", "values": {0: "wall", 255: "cell"}, "crop": [16, 16]}
    with pytest.raises(RecipeError, match=r"'folder' are no slices of one\. Set data\.name to"):
        run_recipe(
            build_recipe("volumes", wanted), Paths(data_root=tmp_path / "data", out=tmp_path), CPU
        )


@pytest.mark.slow
def test_slices_one_by_one_train_a_network_for_images(stack: Path, tmp_path: Path) -> None:
    done = run_recipe(recipe(model_name="unet"), Paths(data_root=stack, out=tmp_path), CPU)
    assert done.result.scores.selected.miou >= 0


@pytest.mark.slow
def test_checkpoints_are_chosen_on_held_out_slices(stack: Path, tmp_path: Path) -> None:
    wanted = recipe(eval_every=1, eval_hold_out=1)
    done = run_recipe(wanted, Paths(data_root=stack, out=tmp_path), CPU)
    assert done.fresh


@pytest.mark.slow
def test_a_narrow_network_learns_cells(stack: Path, tmp_path: Path) -> None:
    wanted = recipe(train_steps=30, train_log_every=30, train_checkpoint_every=30)
    done = run_recipe(wanted, Paths(data_root=stack, out=tmp_path), CPU)
    assert done.result.scores.selected.miou > 0.7


def test_a_recipe_of_volumes_can_be_written_and_read(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "volumes.toml").write_text(dump_toml(recipe().resolved()))
    assert load_recipe(str(tmp_path / "volumes.toml")).digest() == recipe().digest()
