"""Every command once on tiny data, and what a user sees who makes a mistake."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from torch import Tensor

import semisup
from semisup.catalog import DATASETS, METHODS, MODELS
from semisup.cli import doctor, monitor
from semisup.cli.display import listing
from semisup.cli.display.listing import (
    count_multiply_adds,
    entries,
    matching,
    output_stride,
    print_entries,
)
from semisup.cli.display.results import print_result
from semisup.cli.display.verification import print_verification
from semisup.cli.main import MEANT, cli
from semisup.cli.options import find_run
from semisup.contracts.toys import ToySegmenter
from semisup.data.verify import Problem, SubsetReport, Verification
from semisup.errors import Interrupted, RunError
from semisup.recipe.load import load_recipe, shipped_recipes
from semisup.recipe.toml import dump_toml
from semisup.runs.result import read_result
from semisup.studies.ablation.study import shipped_studies

pytestmark = pytest.mark.usefixtures("no_confusion_is_drawn")

PACKAGE = Path(semisup.__file__).parents[1]


def make_folder(root: Path) -> None:
    """8 training and 2 validation images of two classes."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    names = {"train": [f"t{n}" for n in range(8)], "val": ["v0", "v1"], "extra": ["v1"]}
    for subset, ids in names.items():
        (root / f"{subset}.txt").write_text("".join(f"{name}\n" for name in ids))
    (root / "classes.txt").write_text("ground\nsky\n")
    for name in [*names["train"], *names["val"]]:
        labels = generator.integers(0, 2, (4, 5)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
        shades = labels[..., None] * 120 + generator.integers(0, 90, (40, 50, 3))
        Image.fromarray(shades.astype(np.uint8)).save(root / "images" / f"{name}.png")
        Image.fromarray(labels).save(root / "masks" / f"{name}.png")


def write_recipe(path: Path, steps: int = 2) -> None:
    tables = {
        "data": {
            "name": "folder",
            "split": "1/2",
            "crop": [32, 32],
            "labelled_batch": 2,
            "workers": 0,
        },
        "model": {"name": "unet", "width": 2},
        "method": {"name": "supervised"},
        "optim": {"segmenter": {"lr": 0.01}},
        "train": {"steps": steps, "log_every": 1, "checkpoint_every": 1000},
        "eval": {"pictures": 2},
    }
    path.write_text(dump_toml(tables))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="semisup")


def succeed(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert result.exception is None
    return result.stdout


def fail(*arguments: object) -> str:
    """The one line of a command that fails."""
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    *before, line = result.stderr.splitlines()
    assert before in ([], ["preparing ..."])
    assert line.startswith("semisup: ")
    return line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/, tiny.toml and one finished run of it in runs/."""
    folder = tmp_path_factory.mktemp("place")
    make_folder(folder / "data")
    write_recipe(folder / "tiny.toml")
    output = succeed(*run_of(folder))
    (folder / "output").write_text(output)
    return folder


def run_of(place: Path) -> list[object]:
    return ["run", place / "tiny.toml", "--out", place / "runs", "--data-root", place / "data"]


def where(place: Path) -> list[object]:
    return ["--out", place / "runs", "--data-root", place / "data"]


def finished(place: Path) -> Path:
    return next((place / "runs" / "tiny").iterdir())


# The commands


def test_run_prints_the_result_with_its_protocol(place: Path) -> None:
    output = (place / "output").read_text()
    result = json.loads((finished(place) / "result.json").read_text())
    assert "tiny: per class" in output
    assert f"mIoU {result['scores']['selected']['miou']:.4f}" in output
    assert "Protocol: folder val, 2 images" in output
    assert "Trained: split 1/2-s0" in output
    assert f"Run: {finished(place)}" in output
    assert f"Pictures: {finished(place) / 'pictures' / 'sheet.png'}" in output


def test_run_tells_its_progress_on_standard_error(place: Path, tmp_path: Path) -> None:
    result = call(
        "run", place / "tiny.toml", "--seed", 5, "--out", tmp_path, "--data-root", place / "data"
    )
    assert result.exit_code == 0
    assert "training ..." in result.stderr
    assert "step 2/2" in result.stderr
    assert "  loss 1." in result.stderr or "  loss 0." in result.stderr
    assert "step 2/2" not in result.stdout
    assert next((tmp_path / "tiny").iterdir()).name.endswith("-s5")


def test_run_says_what_can_be_done_next(place: Path) -> None:
    result = call(*run_of(place))
    assert "What next:" not in result.stdout
    _, *lines = result.stderr[result.stderr.index("What next:") :].splitlines()
    for line in lines:
        _, command, *rest = shlex.split(line)
        assert command == "compare" or command in cli.commands
        assert Path(rest[0]) in (finished(place), finished(place).parent)
        assert Path(rest[0]).is_dir()
    assert [line.split()[1] for line in lines] == ["predict", "compare", "monitor"]


@pytest.mark.parametrize("columns", [40, 80])
def test_sentences_are_wrapped_between_words_on_a_terminal_alone(
    place: Path, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = read_result(finished(place) / "result.json")
    assert result is not None
    print_result(result, finished(place), per_class=False)
    plain = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_result(result, finished(place), per_class=False)
    wrapped = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert wrapped != plain
    assert wrapped.split() == plain.split()
    start, end = (wrapped.index(word) for word in ("Protocol:", "Pictures:"))
    assert all(len(line) <= columns for line in wrapped[start:end].splitlines())


def test_run_of_a_finished_run_says_so_and_prints_it_again(place: Path) -> None:
    output = succeed(*run_of(place))
    assert output.startswith(f"This run was finished before: {finished(place)}\n")
    assert output.endswith((place / "output").read_text())


def test_run_starts_from_weights(place: Path, tmp_path: Path) -> None:
    weights = finished(place) / "predictor.safetensors"
    output = succeed(
        "run", place / "tiny.toml", "--weights", weights, "--set", "train.steps=1",
        "--out", tmp_path, "--data-root", place / "data",
    )  # fmt: skip
    assert "pretraining predictor.safetensors (" in output


def test_evaluate_by_name_by_folder_and_as_json(place: Path) -> None:
    by_name = succeed("evaluate", "tiny", *where(place))
    assert "Protocol: folder val, 2 images" in by_name
    by_folder = succeed("evaluate", finished(place), "--subset", "extra", *where(place))
    assert "Protocol: folder extra, 1 image " in by_folder
    kept = by_folder.strip().splitlines()[-1].removeprefix("Kept in ")
    as_json = succeed(
        "evaluate", "tiny", "--subset", "extra", "--json", "--set", "eval.flip=true", *where(place)
    )
    result = json.loads(as_json)
    assert result["protocol"]["flip"]
    assert not json.loads(Path(kept).read_text())["protocol"]["flip"]


def test_evaluate_with_a_crf_is_another_protocol(place: Path) -> None:
    output = succeed("evaluate", "tiny", "--crf", *where(place))
    assert "no flip, CRF (10 iterations, smoothness 3 within 3 px, " in output
    kept = output.strip().splitlines()[-1].removeprefix("Kept in ")
    crf = json.loads(Path(kept).read_text())["protocol"]["crf"]
    assert (crf["iterations"], crf["colour_sigma"]) == (10, 13.0)
    same = succeed("evaluate", "tiny", "--set", "eval.crf=true", *where(place))
    assert same.strip().splitlines()[-1] == f"Kept in {kept}"
    plain = succeed("evaluate", "tiny", *where(place))
    assert plain.strip().splitlines()[-1] != f"Kept in {kept}"


def test_predict_writes_label_maps(place: Path, tmp_path: Path) -> None:
    images = place / "data" / "images"
    output = succeed(
        "predict", "tiny", images / "v0.png", images / "t1.png", "--to", tmp_path / "out",
        "--overlay", "--soft", *where(place),
    )  # fmt: skip
    assert output == f"2 label maps in {tmp_path / 'out'}.\n"
    suffixes = (".npz", ".png", "_overlay.png")
    expected = {stem + suffix for stem in ("v0", "t1") for suffix in suffixes}
    assert {p.name for p in (tmp_path / "out").iterdir()} == expected | {"predictions.json"}
    again = succeed("predict", finished(place), images, "--to", tmp_path / "out", *where(place))
    assert again == f"8 label maps in {tmp_path / 'out'}, 2 were there already.\n"


def test_predict_does_not_mix_what_two_protocols_made(place: Path, tmp_path: Path) -> None:
    image, out = place / "data" / "images" / "v0.png", tmp_path / "out"
    plain = succeed("predict", "tiny", image, "--to", out, *where(place))
    assert plain == f"1 label map in {out}.\n"
    more = succeed("predict", "tiny", image, "--to", out, "--overlay", *where(place))
    assert more == f"1 label map in {out}.\n"
    assert (out / "v0_overlay.png").is_file()
    mirrored = ("predict", "tiny", image, "--to", out, "--set", "eval.flip=true", *where(place))
    assert "holds predictions of another run or protocol" in fail(*mirrored)
    refined = ("predict", "tiny", image, "--crf", *where(place), "--to")
    assert "holds predictions of another run or protocol" in fail(*refined, out)
    assert succeed(*refined, tmp_path / "refined").startswith("1 label map in ")
    assert '"crf": true' in (tmp_path / "refined" / "predictions.json").read_text()
    before = image.read_bytes()
    assert "is there already and no prediction" in fail(
        "predict", "tiny", image, "--to", image.parent, *where(place)
    )
    assert image.read_bytes() == before


def test_predict_goes_on_past_bad_files_and_says_what_it_left_out(
    place: Path, tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "day 1" / "a").mkdir(parents=True)
    for number, name in enumerate(("v0.png", "day 1/v0.png", "day 1/a/v0.png")):
        shutil.copy(place / "data" / "images" / f"t{number}.png", photos / name)
    for name in ("._v0.png", "notes.txt", "w.gif", "cut.png", "zero.jpg"):
        (photos / name).write_bytes(b"")
    result = call("predict", "tiny", photos, "--to", out, *where(place))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"3 label maps in {out}.",
        "3 others left out: 1 .gif, 1 .txt, 1 hidden.",
    ]
    *bad, last = result.stderr.splitlines()
    assert [line.split(" is no ")[0] for line in bad] == [
        f"bad: {photos / 'cut.png'}",
        f"bad: {photos / 'zero.jpg'}",
    ]
    assert last.startswith("semisup: 2 of 5 images have no label map, such as: ")
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    maps = {"v0.png", "day 1/v0.png", "day 1/a/v0.png"}
    assert names == maps | {"predictions.json"}
    for number, name in enumerate(sorted(maps, key=len)):
        single = tmp_path / str(number)
        image = place / "data" / "images" / f"t{number}.png"
        succeed("predict", "tiny", image, "--to", single, *where(place))
        assert (out / name).read_bytes() == (single / f"t{number}.png").read_bytes()
    for name in ("cut.png", "zero.jpg"):
        (photos / name).unlink()
    again = succeed("predict", "tiny", photos, "--to", out, *where(place))
    assert again.splitlines()[0] == f"0 label maps in {out}, 3 were there already."


def test_predict_replaces_on_request(place: Path, tmp_path: Path) -> None:
    image, out = place / "data" / "images" / "v0.png", tmp_path / "out"
    plain = ("predict", "tiny", image, "--to", out, *where(place))
    mirrored = (*plain, "--set", "eval.flip=true")
    succeed(*plain)
    assert "--overwrite" in fail(*mirrored)
    assert succeed(*mirrored, "--overwrite") == f"1 label map in {out}.\n"
    assert '"flip": true' in (out / "predictions.json").read_text()
    assert succeed(*mirrored) == f"0 label maps in {out}, 1 was there already.\n"
    assert "holds predictions of another run or protocol" in fail(*plain)


def test_predict_that_fails_leaves_no_folder(place: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for images in ([tmp_path / "bad.png"], [tmp_path / "none.png"]):
        fail("predict", "tiny", *images, "--to", tmp_path / "out", *where(place))
        assert not (tmp_path / "out").exists()
    fail("predict", "tiny", "--submission", "val", "--to", tmp_path / "out", *where(place))
    assert not (tmp_path / "out").exists()


def test_a_warning_is_one_line(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "data", tmp_path / "data")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 7)).save(tmp_path / "data" / "images" / "new.jpg", exif=exif)
    (tmp_path / "data" / "new.txt").write_text("new\n")
    options = ["--subset", "new", "--data-root", tmp_path / "data"]
    with pytest.warns(UserWarning, match=r"images without mask .* data\.exif") as caught:
        call("data", "show", "folder", *options, "--to", tmp_path / "look.png")
    assert len(caught) == 1
    line = warnings.formatwarning(UserWarning("one\nline"), UserWarning, "semisup/a.py", 3)
    assert line == "warning: one line\n"


def test_predict_turns_no_photograph_for_a_run_that_ignores_exif(
    place: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    sizes = {}
    for choice in ("auto", "apply", "ignore"):
        change, out = f"data.exif={choice}", tmp_path / choice
        arguments = ["--data-root", place / "data", "--out", tmp_path / f"runs-{choice}"]
        succeed("run", place / "tiny.toml", "--set", change, *arguments)
        succeed("predict", "tiny", tmp_path / "a.jpg", "--to", out, *arguments)
        with Image.open(out / "a.png") as written:
            sizes[choice] = written.size
    assert sizes == {"auto": (20, 30), "apply": (20, 30), "ignore": (30, 20)}


def test_predict_says_that_an_image_was_tiled(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semisup.evaluation.tiles.SIDE", 128)
    Image.new("RGB", (200, 150)).save(tmp_path / "a.png")
    output = succeed("predict", "tiny", tmp_path / "a.png", "--to", tmp_path / "out", *where(place))
    assert output.splitlines()[1:] == ["1 large image labelled in tiles of at most 128 x 128."]


def test_show_prints_where_each_value_came_from(place: Path) -> None:
    output = succeed("show", place / "tiny.toml", "--set", "train.seed=7")
    lines = {line.split(" = ")[0]: line for line in output.splitlines() if " = " in line}
    assert lines["seed"].split() == ["seed", "=", "7", "#", "--set"]
    assert lines["steps"].endswith("# tiny.toml")
    assert lines["ema"].endswith("# default")
    facts = json.loads(succeed("show", place / "tiny.toml", "--json"))
    assert facts["recipe"]["train"]["steps"] == 2
    assert facts["sources"]["train.steps"] == "tiny.toml"
    assert f"{facts['digest']}-s0" == finished(place).name


@pytest.fixture(scope="module", autouse=True)
def _networks_are_measured_once() -> Iterator[None]:
    """What this process has imported is not looked up but measured, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "measured", functools.cache(listing.measured))
        yield


def test_list_names_everything_that_a_recipe_may_name() -> None:
    everything = json.loads(succeed("list", "--json"))
    names = {kind: [row["name"] for row in rows] for kind, rows in everything.items()}
    assert names == {
        "models": sorted(MODELS),
        "methods": sorted(METHODS),
        "datasets": sorted(DATASETS),
        "recipes": sorted(shipped_recipes()),
        "studies": sorted(shipped_studies()),
    }
    counts = {row["name"]: row["parameters"] for row in everything["models"]}
    assert all(count > 300_000 for count in counts.values())
    assert json.loads(succeed("list", "methods", "--json")) == everything["methods"]
    lines = succeed("list").splitlines()
    assert [line for line in lines if line.startswith("#")] == [f"# {kind}" for kind in names]
    listed = [line.split("\t")[0] for line in lines if not line.startswith("#")]
    assert listed == [name for kind in names.values() for name in kind]
    assert not any(character in "".join(lines) for character in "│─┌…")
    unet = next(line for line in lines if line.startswith("unet\t"))
    assert str(counts["unet"]) in unet.split("\t")


@pytest.fixture(scope="module")
def networks() -> list[dict[str, Any]]:
    """What is listed of all networks, each measured: of an imported class nothing is looked up."""
    assert all(MODELS.values())
    return entries("models")


def test_list_measures_every_network(networks: list[dict[str, Any]]) -> None:
    rows = {row["name"]: row for row in networks}
    unmeasured = {"output_stride", "multiply_adds", "paper", "year"}
    assert [name for name, row in rows.items() if None in {row[key] for key in unmeasured}] == [
        "fcn8s_mobilenet_v2",  # the one network of no paper
        "mask_rcnn",  # its cost depends on how many boxes are found
    ]
    assert rows["unet"] == {
        "name": "unet",
        "parameters": 31_033_045,
        "multiply_adds": 75_392_614_400,
        "image": [320, 320],
        "output_stride": 16,
        "paper": "https://arxiv.org/abs/1505.04597",
        "year": 2015,
        "about": rows["unet"]["about"],
    }
    strides = {name: row["output_stride"] for name, row in rows.items()}
    assert {name: stride for name, stride in strides.items() if stride != 32} == {
        "deeplab_v2": 8,
        "deeplab_v3plus": 16,
        "dpt": 14,
        "enet": 8,
        "lraspp": 16,
        "mask_rcnn": 64,
        "pspnet": 8,
        "segnet_basic": 16,
        "unet": 16,
        "unet3d": 8,
    }


listed = functools.cache(entries)
"""Recipes are read from more than two hundred files."""


def printed(
    capsys: pytest.CaptureFixture[str], kind: str, *words: str, width: int = 80
) -> list[str]:
    """The lines of a list on a terminal."""
    print_entries(kind, matching(listed(kind), words), width=width)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("kind", ["models", "methods", "datasets", "recipes"])
def test_a_list_fits_eighty_columns_with_a_line_for_each_name(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, kind)
    assert max(map(len, lines)) <= 80
    names = [row["name"] for row in listed(kind)]
    found, folder = [], ""
    for line in lines:
        if not line.startswith("  "):
            folder = f"{line.split('/ (')[0]}/" if "/ (" in line else folder
        elif line.strip() and not line.strip().startswith(("name ", "method ")):
            found.append(folder + line.split()[0])
    assert sorted(found) == sorted(names), "a name is cut, or broken over two lines"


def test_the_table_of_networks_has_their_cost(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "models")
    (row,) = (line for line in lines if " fcn8s_at_once " in line)
    assert row.split() == ["fcn8s_at_once", "134,362,751", "97.3", "32", "2015", "1411.4038"]
    (row,) = (line for line in lines if " fcn8s_mobilenet_v2 " in line)
    assert row.split()[-1] == "-", "of no paper"


def test_recipes_are_a_tree_with_what_each_trains(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "recipes", "ade20k")
    assert lines[0] == "recipes (5)"
    assert lines[1].split() == ["ade20k/", "(5)", "method", "model", "masks"]
    assert lines[2].split() == ["fixmatch_dpt_1263", "fixmatch", "dpt", "1263", "paper", "45.84"]
    wide = printed(capsys, "recipes", "voc_small", "fixmatch", width=160)
    assert wide[2].split()[:4] == ["fixmatch_lraspp_1-16", "fixmatch", "lraspp", "1/16"]
    assert "FixMatch (Sohn et al. 2020), LR-ASPP" in wide[2]
    assert [line.split()[0] for line in printed(capsys, "recipes", "quickstart")[2:]] == [
        "quickstart",
        "quickstart/",
        "adversarial",
    ]


def test_a_list_in_a_pipe_is_one_line_of_values_a_name() -> None:
    lines = succeed("list", "recipes", "voc_small").splitlines()
    shipped = [name for name in shipped_recipes() if name.startswith("voc_small/")]
    assert [line.split("\t")[0] for line in lines] == shipped
    name, data, method, model, split, about = lines[-1].split("\t")
    assert (name, data) == ("voc_small/unimatch_lraspp_1-8", "voc")
    assert (method, model, split) == ("unimatch", "lraspp", "1/8")
    assert about.startswith("UniMatch (Yang et al. 2023)")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["fixmatch", "dpt", "316"], ["ade20k/fixmatch_dpt_316"]),
        (["ISBI2012", "narrow_all"], ["isbi2012/unet3d_narrow_all"]),
        (["gan_segmentation_weak", "scenes"], ["scenes/gan_segmentation_weak_unet_1-8"]),
    ],
)
def test_a_list_is_filtered_by_every_word(words: list[str], names: list[str]) -> None:
    rows = json.loads(succeed("list", "recipes", *words, "--json"))
    assert [row["name"] for row in rows] == names


def test_a_word_that_is_in_no_name_is_said() -> None:
    line = fail("list", "recipes", "voc_small", "qqqq")
    assert line == (
        "semisup: none of the recipes has 'voc_small' and 'qqqq' in it. 'semisup list recipes' "
        "names all."
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["recipe"], "'semisup list recipes'?"),
        (["networks"], "'semisup list models'?"),
        (["voc_small"], "'semisup list recipes voc_small'?"),
        (["enet"], "'semisup list recipes enet' or 'semisup list models enet'?"),
        (["fixmach"], "'semisup list recipes fixmatch' or 'semisup list methods fixmatch'?"),
        (["recipes", "voc_smlal", "fixmach"], "'voc_small fixmatch'? 'semisup list recipes'"),
    ],
)
def test_a_word_that_is_not_listed_is_answered_with_the_nearest(
    words: list[str], meant: str
) -> None:
    said = call("list", *words).stderr.splitlines()[-1]
    assert f" Did you mean {meant}" in said


def test_what_is_like_nothing_that_is_listed_is_said() -> None:
    said = call("list", "qqqq")
    assert said.exit_code == 2
    assert said.stderr.endswith("'qqqq' is none of models, methods, datasets, recipes, studies.\n")


@pytest.mark.parametrize("name", ["ade20k/fixmatch_dpt_316", "isbi2012/unet3d_narrow_3"])
def test_a_list_says_what_the_recipe_trains(name: str) -> None:
    """It reads the files alone; the recipe itself is checked."""
    (row,) = (row for row in listed("recipes") if row["name"] == name)
    recipe = load_recipe(name)
    assert row["data"] == recipe.data.name
    assert (row["method"], row["model"]) == (recipe.method.name, recipe.model.name)
    assert row["split"] == recipe.data.split


class Sized(ToySegmenter):
    """A network from outside that reads a value of its image."""

    def encode(self, image: Tensor) -> list[Tensor]:
        return super().encode(image / image.max().item())


def test_a_network_that_cannot_be_measured_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    network = Sized().to("meta").eval()
    assert count_multiply_adds(network) is None
    assert output_stride(network) is None
    unknown = dict.fromkeys(("multiply_adds", "output_stride", "paper", "year"))
    row = {"name": "sized", "parameters": 12, **unknown, "about": ""}
    print_entries("models", [row], width=80)
    assert capsys.readouterr().out.splitlines()[2].split() == ["sized", "12", *"----"]


def test_multiply_adds_are_those_of_the_layers() -> None:
    network = ToySegmenter().to("meta").eval()
    assert count_multiply_adds(network, 8) == 8 * 8 * (3 * 8 * 9 + 8 * 3)
    assert output_stride(network, 8) == 1


@pytest.mark.parametrize("name", MODELS)
def test_the_head_of_a_networks_file_names_its_paper(name: str) -> None:
    cls = MODELS[name]
    if cls.paper:
        assert cls.paper in (sys.modules[cls.__module__].__doc__ or "")
        assert isinstance(cls.year, int)


def test_show_prints_what_is_no_default_alone() -> None:
    output = succeed("show", "quickstart", "--changed", "--set", "train.seed=0")
    lines = {line.split(" = ")[0]: line for line in output.splitlines() if " = " in line}
    assert lines["seed"].endswith("# --set"), "a default that was stated is stated"
    assert lines["ramp_up"].endswith("# quickstart.toml")
    assert lines["width"].endswith("# supervised_things_all.toml")
    assert "# default" not in output
    assert "flip" not in lines
    facts = json.loads(succeed("show", "quickstart", "--changed", "--json"))
    whole = json.loads(succeed("show", "quickstart", "--json"))
    assert facts["digest"] == whole["digest"]
    assert set(facts["sources"]) == {k for k, v in whole["sources"].items() if v != "default"}
    assert facts["recipe"]["method"].keys() == {"name", "ramp_up", "teacher_decay"}
    name = "voc_small/decouplednet_10"
    assert all(
        re.search(r"\s#", line) for line in succeed("show", name).splitlines() if "#" in line[1:]
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "ade20k",
            "Those that begin so: ade20k/fixmatch_dpt_1263, ade20k/fixmatch_dpt_2526, "
            "ade20k/fixmatch_dpt_316, ade20k/fixmatch_dpt_631, ade20k/supervised_dpt_316.",
        ),
        ("voc_small/supervised", "10 more: semisup list recipes voc_small/supervised."),
        ("quickstart/adv", "Did you mean 'quickstart/adversarial'? A file must end in .toml."),
        ("adversarial", "quickstart/adversarial, scenes/adversarial_luc_unet_1-8"),
        ("quickstrat", "Did you mean 'quickstart'? A file must end in .toml."),
        ("qqqq", "'semisup list recipes' names all; a file must end in .toml."),
        ("", "'semisup list recipes' names all; a file must end in .toml."),
    ],
)
def test_a_wrong_recipe_lists_those_that_begin_alike(name: str, line: str) -> None:
    said = fail("show", name)
    assert line in said
    assert len(said) < 400
    assert fail("run", name) == said


@pytest.mark.parametrize(
    ("word", "command"),
    [
        *(("train", "run RECIPE"), ("Train", "run RECIPE"), ("trian", "run RECIPE")),
        *(("resume", "run RECIPE"), ("test", "evaluate RUN"), ("infer", "predict RUN IMAGES")),
        *(("plot", "monitor"), ("download", "data fetch NAME"), ("models", "list")),
    ],
)
def test_a_word_of_other_suites_points_to_the_command(word: str, command: str) -> None:
    done = call(word)
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: No such command '{word}'. ")
    assert last.endswith(f" 'semisup {command}'.")


def test_words_of_other_suites_are_no_commands() -> None:
    assert not MEANT.keys() & cli.commands.keys()


def test_run_prints_json(place: Path) -> None:
    content = json.loads(succeed(*run_of(place), "--json"))
    folder = finished(place)
    assert content.pop("folder") == str(folder)
    assert content == json.loads((folder / "result.json").read_text())


def test_predict_prints_json(place: Path, tmp_path: Path) -> None:
    images = [place / "data" / "images" / f"v{number}.png" for number in (0, 1)]
    words = ("predict", finished(place), "--to", tmp_path / "out", "--json")
    found = json.loads(succeed(*words, *images))
    counts = {"images": 2, "written": 2, "kept": 0, "tiled": 0, "bad": []}
    assert found == {"to": str(tmp_path / "out"), **counts}
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    done = call(*words, images[0], bad)
    assert done.exit_code == 1
    again = json.loads(done.stdout)
    assert (again["written"] + again["kept"], len(again["bad"])) == (1, 1)
    assert done.stderr.splitlines()[-1].startswith(f"semisup: {bad}")


def test_split_prints_json(place: Path, tmp_path: Path) -> None:
    words = ("data", "split", "folder", "1/2", "--data-root", place / "data")
    found = json.loads(succeed(*words, "--json", "--to", tmp_path / "split.txt"))
    assert (found["split"], found["labelled"], found["unlabelled"]) == ("1/2-s0", 4, 4)
    assert found["sha256"] in succeed(*words)
    assert found["class_counts"].keys() == {"ground", "sky"}
    assert found["tagged"] is None
    assert found["written_to"] == str(tmp_path / "split.txt")
    assert (tmp_path / "split.txt").is_file()
    done = call("data", "split", "--explain", tmp_path / "split.txt", "--json")
    assert done.exit_code == 2
    assert "--explain prints no JSON." in done.stderr


def test_show_with_another_method_or_model() -> None:
    facts = json.loads(succeed("show", "quickstart", "--set", "method.name=supervised", "--json"))
    assert facts["recipe"]["method"] == {"name": "supervised"}
    assert facts["recipe"]["optim"].keys() == {"segmenter"}
    output = succeed("show", "quickstart", "--set", "model.name=deeplab_v3plus")
    assert 'backbone = "mobilenet_v2"' in output


def test_show_knows_the_players_of_the_method(place: Path, tmp_path: Path) -> None:
    line = fail("show", place / "tiny.toml", "--set", "optim.segmentr.lr=1.0")
    assert "no player 'segmentr'. Did you mean 'segmenter'?" in line
    line = fail("show", place / "tiny.toml", "--set", "method.name=adversarial")
    assert "[optim.discriminator] is missing" in line
    weights = tmp_path / "not_here.pth"  # shown, though it is not read
    assert str(weights) in succeed("show", "quickstart", "--set", f"model.weights={weights}")


@pytest.mark.parametrize(
    "name", ["quickstart", "scenes/decouplednet_5", "scenes/gan_segmentation_weak_unet_1-8"]
)
def test_a_shipped_recipe_can_be_shown(name: str) -> None:
    """Of one stage, of two, with a nested table: test_recipes.py writes all of them."""
    assert f"# {name}, digest " in succeed("show", name)


def test_data_make_writes_scenes_once(tmp_path: Path) -> None:
    small = [f"--option={option}" for option in ("train=3", "val=2", "test=1", "size=[48, 48]")]
    first = succeed("data", "make", "scenes", *small, "--data-root", tmp_path)
    assert first.startswith("scenes: 3 training images in ")
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
    assert times
    assert succeed("data", "make", "scenes", *small, "--data-root", tmp_path) == first
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}


def test_data_split_counts_and_writes(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "split.txt"
    output = succeed("data", "split", "folder", "1/4", "--to", path, "--data-root", place / "data")
    facts = dict(line.split(maxsplit=1) for line in output.splitlines()[:4])
    assert (facts["split"], facts["labelled"], facts["unlabelled"]) == ("1/4-s0", "2", "6")
    again = succeed("data", "split", "folder", f"file:{path}", "--data-root", place / "data")
    assert facts["sha256"] in again
    other = succeed("data", "split", "folder", "1/4", "--seed", 1, "--data-root", place / "data")
    assert facts["sha256"] not in other


SMALL = [f"--option={option}" for option in ("train=9", "val=1", "test=1", "size=[48, 48]")]


def test_data_split_says_what_a_list_is(place: Path, tmp_path: Path) -> None:
    known, other = tmp_path / "list.txt", tmp_path / "lists" / "other.txt"
    names = (place / "data" / "train.txt").read_text().split()
    known.write_text("\n".join(f"images/{name}.png" for name in names[:3]))
    other.parent.mkdir()
    other.write_text("\n".join(names[:2]))
    output = succeed("data", "split", "--explain", known, "--lists", other.parent)
    rows = [line.split(maxsplit=1) for line in output.splitlines()]
    facts = {row[0]: row[1] for row in rows if len(row) == 2}  # a long path is wrapped
    assert facts["images"].strip() == "3"
    sha256 = hashlib.sha256("".join(f"{name}\n" for name in sorted(names[:3])).encode())
    assert facts["sha256"].strip() == sha256.hexdigest()
    assert "none of the 88 lists of the literature" in output
    (row,) = [line for line in output.splitlines() if "other.txt" in line]
    assert row.split("\u2502")[1:-1] == [
        *(" other.txt ", "     1 ", "      2 ", "         2 ", " inside it ")
    ]
    assert max(map(len, output.splitlines())) <= 80
    where = ["--data-root", place / "data"]
    output = succeed("data", "split", "folder", "--explain", known, *where)
    assert "folder train, 8 images" in output
    assert "labelled images with each class" in output


def test_data_split_refuses_a_list_that_contradicts_itself(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a\nb\na\n")
    line = fail("data", "split", "--explain", path)
    assert line.startswith(f"semisup: {path}: 1 id is named more than once, such as 'a' on lines 1")
    line = fail("data", "split", "folder", "--explain", path, "--data-root", place / "data")
    assert line.startswith(f"semisup: {path}: 2 contradictions, such as: line 1: 'a' is no image")
    assert "No such file" in fail("data", "split", "--explain", tmp_path / "no.txt")
    path.write_text("a\n")
    assert "give a folder of lists" in fail("data", "split", "--explain", path, "--lists", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument 'NAME'"),
        (["scenes"], "Missing argument 'SPEC'"),
        (["scenes", "1/8", "--explain", "list.txt"], "--explain goes without SPEC"),
        (["--explain", "list.txt", "--to", "split.txt"], "--explain goes without SPEC"),
        (["scenes", "1/8", "--lists", "lists"], "--lists needs --explain FILE"),
    ],
)
def test_data_split_makes_or_explains(arguments: list[str], words: str) -> None:
    result = call("data", "split", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_data_split_says_which_classes_it_misses(place: Path, tmp_path: Path) -> None:
    where = [*SMALL, "--data-root", tmp_path]
    output = succeed("data", "split", "scenes", "1/9-balanced", *where)
    assert "split      1/9-balanced-s0\n" in output
    counts = dict(line.split() for line in output.splitlines() if line.startswith("  "))
    absent = [name for name, count in counts.items() if count == "0"]
    assert absent
    assert output.endswith(f"in no labelled image: {', '.join(absent)}\n")
    output = succeed("data", "split", "folder", "all", "--data-root", place / "data")
    assert "in no labelled image" not in output


def test_data_tags_are_derived_once_and_stored(tmp_path: Path) -> None:
    where = [*SMALL, "--data-root", tmp_path]
    boxes, masks = tmp_path / "boxes.txt", tmp_path / "masks.txt"
    output = succeed("data", "tags", "scenes", "--from", "xml", "--to", boxes, *where)
    facts = dict(line.split(maxsplit=1) for line in output.splitlines()[:2])
    assert facts["images"] == "9"
    assert output.endswith(f"written to {boxes}\n")
    counts = dict(line.split() for line in output.splitlines() if line.startswith("  "))
    assert len(counts) == 8
    tags = [line.split("\t")[1:] for line in boxes.read_text().splitlines()[2:]]
    assert all(int(count) == sum(name in row for row in tags) for name, count in counts.items())
    for source in ("masks", f"file:{boxes}"):
        succeed("data", "tags", "scenes", "--from", source, "--to", masks, *where)
        assert masks.read_text() == boxes.read_text()


def test_data_split_says_who_has_tags(tmp_path: Path) -> None:
    where = [*SMALL, "--data-root", tmp_path]
    path = tmp_path / "split.txt"
    output = succeed(
        *("data", "split", "scenes", "1/9", "--tags", "xml", "--tagged", "1/3"),
        *("--to", path, *where),
    )
    assert "split      1/9-s0+tags-1/3-s0\n" in output
    assert "labelled   1\nunlabelled 6\ntagged     3 (with the labelled ones)\n" in output
    again = succeed("data", "split", "scenes", f"file:{path}", "--tags", "xml", *where)
    assert output.splitlines()[1:5] == again.splitlines()[1:5]
    plain = succeed("data", "split", "scenes", "1/9", *where)
    assert "tagged" not in plain
    assert "--tags xml" in fail("data", "split", "scenes", f"file:{path}", *where)


def test_data_commands_ignore_classes(tmp_path: Path) -> None:
    ignored = ["--option", 'ignore_classes=["striped_disc"]', *SMALL, "--data-root", tmp_path]
    output = succeed("data", "split", "scenes", "2/class", *ignored)
    assert "striped_disc" not in output
    assert "dotted_disc" in output
    tags = tmp_path / "tags.txt"
    succeed("data", "tags", "scenes", "--from", "masks", "--to", tags, *ignored)
    assert "striped_disc" not in tags.read_text()
    succeed("data", "split", "scenes", "1/9", "--tags", f"file:{tags}", *ignored)
    assert "classes without 'striped_disc'" in fail(
        *("data", "split", "scenes", "1/9", "--tags", f"file:{tags}"),
        *(*SMALL, "--data-root", tmp_path),
    )
    output = succeed("data", "verify", "scenes", "--subset", "train", *ignored)
    assert "pixels of 'striped_disc' count as void" in output
    succeed("data", "show", "scenes", "--count", 2, "--to", tmp_path / "a.png", *ignored)
    line = fail("data", "verify", "scenes", "--option", 'ignore_clases=["x"]', *ignored[2:])
    assert "there is no key '--option ignore_clases'. Did you mean 'ignore_classes'?" in line


def test_data_show_writes_a_sheet(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    output = succeed(
        "data", "show", "folder", "--count", 2, "--to", path, "--data-root", place / "data"
    )
    assert output == f"Pictures: {path}\n"
    with Image.open(path) as sheet:
        assert sheet.height > 2 * 40


def test_data_show_and_verify_take_photographs_and_masks_of_other_folders(
    place: Path, tmp_path: Path
) -> None:
    data, photographs, masks = place / "data", tmp_path / "photos", tmp_path / "made"
    photographs.mkdir()
    masks.mkdir()
    Image.new("RGB", (90, 20)).save(photographs / "wide.jpg")
    name = (data / "train.txt").read_text().split()[0]
    shutil.copy(data / "masks" / f"{name}.png", masks)
    others = ("--unlabelled", f"folder:{photographs}", "--masks", f"folder:{masks}")
    output = succeed("data", "verify", "folder", *others, "--data-root", data)
    assert "folder:photos" in output
    assert "20x90" in output
    for other in (others[:2], others[2:]):
        sheet = tmp_path / "sheet.png"
        succeed("data", "show", "folder", *other, "--to", sheet, "--data-root", data)
        with Image.open(sheet) as picture:
            assert picture.width == (272 if other == others[:2] else 518)
        sheet.unlink()
    output = succeed("data", "split", "folder", "all", *others[2:], "--data-root", data)
    assert "labelled   1\n" in output


def test_data_verify_finds_nothing_or_the_bad_file(place: Path, tmp_path: Path) -> None:
    output = succeed("data", "verify", "folder", "--data-root", place / "data")
    assert "train" in output
    assert "val" in output
    make_folder(tmp_path / "data")
    bad = tmp_path / "data" / "masks" / "t3.png"
    bad.write_bytes(bad.read_bytes()[:40])
    result = call("data", "verify", "folder", "--data-root", tmp_path / "data")
    assert result.exit_code == 1
    assert "bad: " in result.stdout
    assert result.stderr.startswith("semisup: folder: 1 problem: ")
    assert "masks/t3.png" in result.stderr
    assert result.stderr.count("\n") == 1


def test_data_verify_reports_in_json_with_the_same_exit_status(tmp_path: Path) -> None:
    make_folder(tmp_path / "data")
    arguments = ("data", "verify", "folder", "--data-root", tmp_path / "data", "--json")
    found = json.loads(succeed(*arguments))
    assert [found[key] for key in ("name", "ok", "problems", "notes")] == ["folder", True, [], []]
    assert found["root"] == str(tmp_path / "data")
    train, val = found["subsets"]
    assert (train["subset"], train["images"], val["images"]) == ("train", 8, 2)
    assert train["smallest"] == train["largest"] == [40, 50]
    assert train["pixels"].keys() == {"ground", "sky"}
    assert sum(train["pixels"].values()) == 8 * 40 * 50
    assert train["void"] == train["void_share"] == train["problems"] == train["unlabelled"] == 0
    bad = tmp_path / "data" / "masks" / "t3.png"
    bad.write_bytes(bad.read_bytes()[:40])
    result = call(*arguments)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert not found["ok"]
    (entry,) = found["problems"]
    assert entry["file"] == str(bad)
    assert entry["reason"].startswith(f"{bad} is no PNG, TIFF or BMP file")
    assert found["subsets"][0]["problems"] == 1
    assert result.stderr.startswith("semisup: folder: 1 problem: ")
    assert result.stderr.count("\n") == 1


def test_doctor_lists_every_gpu(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: None)
    assert doctor._cuda() == {"version": "none", "cudnn": "none", "devices": "none"}
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: 91002)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties",
        lambda index: SimpleNamespace(name=f"Card {index}", total_memory=(index + 1) * 2**33),
    )
    assert doctor._cuda() == {
        "version": "13.0",
        "cudnn": "91002",
        "cuda:0": "Card 0, 8.0 GiB",
        "cuda:1": "Card 1, 16.0 GiB",
    }


def test_doctor_says_what_is_here(place: Path, tmp_path: Path) -> None:
    facts = json.loads(succeed("doctor", "--json", "--data-root", place / "data"))
    assert facts["versions"]["semisup"] == semisup.__version__
    assert facts["data"]["folder"] == "train 8, val 2"
    root = place / "data"
    assert facts["data"]["voc"] == f"not found: semisup data fetch voc --data-root {root}"
    by_hand = f"not found: 'semisup data fetch camvid --data-root {root}' says how to get it"
    assert facts["data"]["camvid"] == by_hand
    empty = json.loads(succeed("doctor", "--json", "--data-root", tmp_path))["data"]
    assert empty["folder"] == f"not found: put images/, masks/ and classes.txt in {tmp_path}"
    assert empty["stack"] == empty["folder"]
    assert facts["data"].keys() == {"root", *DATASETS}
    text = succeed("doctor", "--data-root", place / "data")
    assert "train 8, val 2" in text
    assert semisup.__version__ in text
    assert facts["cuda"].keys() >= {"version", "cudnn"}
    assert re.match(r"\d+ usable of \d+", facts["cores"])
    assert re.match(r"\d+ for torch \(.*OMP_NUM_THREADS", facts["threads"])
    assert re.match(r"[1-8] for each stream .*a quarter of the usable cores", facts["workers"])


def test_schema_is_the_schema_of_a_recipe() -> None:
    schema = json.loads(succeed("schema"))
    assert schema["properties"].keys() == {
        "extends",
        "init",
        "baseline",
        "data",
        "model",
        "method",
        "optim",
        "train",
        "eval",
    }


def test_monitor_starts_tensorboard_on_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Sequence[str]] = []
    shown: list[list[str]] = []

    def start(command: Sequence[str], meanwhile: Callable[[], None]) -> int:
        logs = command.index("--logdir")
        meanwhile()
        shown.append([path.name for path in Path(command[logs + 1]).iterdir()])
        started.append([*command[:logs], *command[logs + 2 :]])
        return 0

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "events.out.tfevents.1").write_bytes(b"")

    monkeypatch.setattr(monitor, "run_until_stopped", start)
    output = succeed("monitor", tmp_path, "--port", 7001)
    assert "http://localhost:7001" in output
    output = succeed("monitor", tmp_path, "--host", "0.0.0.0")
    assert "http://0.0.0.0:6006" in output
    command = [sys.executable, "-m", "tensorboard.main"]
    assert shown == [["other"], ["other"]]
    assert started == [
        [*command, "--host", "localhost", "--port", "7001"],
        [*command, "--host", "0.0.0.0", "--port", "6006"],
    ]


# Mistakes: one line, exit code 1


def test_a_recipe_that_is_not_there() -> None:
    assert "Did you mean 'quickstart'?" in fail("run", "quickstrat")
    assert "there is no such file" in fail("run", "none.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.step=1", "Did you mean 'steps'?"),
        ("train.steps=many", "'train.steps' = 'many'"),
        ("train.steps", "is not of the form table.key=value"),
        ("model.name=unett", "Did you mean 'unet'?"),
        ("model.colour=1", "there is no key 'model.colour'"),
        ("optim.segmentr.lr=1", "Did you mean 'segmenter'?"),
        ("data.split=9/8", "split '9/8'"),
        ("train.precision=fp16", "fp16 needs a GPU"),
    ],
)
def test_a_change_that_cannot_be_made(change: str, message: str, place: Path) -> None:
    if change == "train.precision=fp16":
        assert message in fail(*run_of(place), "--device", "cpu", "--set", change)
    else:
        assert message in fail(*run_of(place), "--set", change)


def test_data_that_is_not_there(place: Path, tmp_path: Path) -> None:
    line = fail("run", place / "tiny.toml", "--data-root", tmp_path, "--out", tmp_path / "runs")
    assert "--data-root or SEMISUP_DATA" in line
    assert not (tmp_path / "runs").exists()


def test_a_device_that_is_not_there(place: Path) -> None:
    assert "no such device" in fail(*run_of(place), "--device", "tpu")


def test_weights_that_are_not_there(place: Path, tmp_path: Path) -> None:
    arguments = ["--weights", tmp_path / "none.pth", "--out", tmp_path / "runs"]
    assert "none.pth" in fail(*run_of(place), *arguments)


def test_a_place_that_cannot_be_written_to(place: Path) -> None:
    arguments = ["run", place / "tiny.toml", "--data-root", place / "data"]
    assert "Choose another --out" in fail(*arguments, "--out", "/proc/runs")
    arguments = ["predict", "tiny", place / "data" / "images", *where(place)]
    assert "Choose another --to" in fail(*arguments, "--to", "/proc/predictions")
    arguments = ["data", "show", "folder", "--data-root", place / "data"]
    assert "cannot be written" in fail(*arguments, "--to", "/proc/sheet.png")


def test_a_run_that_is_not_there(place: Path, tmp_path: Path) -> None:
    assert "no finished run 'tiny'" in fail("evaluate", "tiny", "--out", tmp_path)
    assert "is no run of semisup" in fail("evaluate", tmp_path)
    line = fail("evaluate", "tiny", "--seed", 7, *where(place))
    assert "--seed 7: recipe 'tiny' has finished runs of seeds 0 only." in line
    assert "is one run already" in fail("evaluate", finished(place), "--seed", 0, *where(place))


def test_of_several_runs_the_last_or_the_one_of_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "scenes" / "twice"
    for ended, name in enumerate(("bbb-s1", "ccc-s11", "aaa-s1", "ddd-s0")):
        (runs / name).mkdir(parents=True)
        (runs / name / "result.json").write_text("{}")
        os.utime(runs / name / "result.json", (2000, 1000 + ended))
    (runs / "eee-s1").mkdir()  # not finished
    assert find_run("scenes/twice", tmp_path, 11) == runs / "ccc-s11"
    assert capsys.readouterr().err == ""
    assert find_run("scenes/twice", tmp_path) == runs / "ddd-s0"
    note = capsys.readouterr().err
    assert note.startswith("4 finished runs of 'scenes/twice'; taking the one that ended last: ")
    assert note.endswith(f"{runs / 'ddd-s0'}\n")
    assert find_run("scenes/twice", tmp_path, 1) == runs / "aaa-s1"
    assert capsys.readouterr().err.startswith("2 finished runs ")
    with pytest.raises(RunError, match=r"--seed 2: .* of seeds 0, 1, 11 only\."):
        find_run("scenes/twice", tmp_path, 2)


def test_only_the_protocol_of_a_finished_run_can_be_changed(place: Path) -> None:
    images = place / "data" / "images"
    answers = {
        fail("evaluate", "tiny", "--set", "model.width=4", *where(place)),
        fail("predict", "tiny", images, "--set", "model.width=4", *where(place)),
    }
    assert len(answers) == 1
    assert "--set model.width=4: a finished run" in answers.pop()


def test_predict_passes_the_competition_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def write(inference: Any, data: Any, out: Path, competition: str) -> Path:
        given.append((data.subset, competition))
        return out

    monkeypatch.setattr("semisup.evaluation.submission.write_submission", write)
    arguments = ["predict", "tiny", "--submission", "val", "--to", tmp_path, *where(place)]
    succeed(*arguments)
    succeed(*arguments, "--seed", 0, "--competition", "comp5")
    assert given == [("val", "comp6"), ("val", "comp5")]


@pytest.mark.parametrize("command", ["verify", "make", "split", "show", "tags"])
def test_a_wrong_option_of_a_data_set_is_named_as_it_was_given(
    command: str, tmp_path: Path
) -> None:
    end = ["--data-root", tmp_path, "--option"]
    more = {"split": ["1/8"], "tags": ["--from", "xml", "--to", tmp_path / "tags.txt"]}
    start = ["data", command, "scenes", *more.get(command, [])]
    assert "there is no key '--option sise'. Did you mean 'size'?" in fail(*start, *end, "sise=1")
    assert "'--option seed' = 'x' (str)" in fail(*start, *end, "seed=x")
    assert "--option seed: is not of the form key=value" in fail(*start, *end, "seed")
    nested = "[" * 5000
    assert "--option seed: the value is nested" in fail(*start, *end, f"seed={nested}")


def test_other_mistakes(place: Path, tmp_path: Path) -> None:
    assert "no such file or folder" in fail("predict", "tiny", tmp_path / "a.png", *where(place))
    assert "no server of folder is known" in fail(
        "predict", "tiny", "--submission", "val", "--to", tmp_path, *where(place)
    )
    assert "name the folder given to run --out." in fail("monitor", tmp_path / "none")
    assert "no data set is called 'vocc'. Did you mean 'voc'?" in fail("data", "verify", "vocc")
    assert "no subset 'trian'" in fail(
        "data", "show", "folder", "--subset", "trian", "--data-root", place / "data"
    )


def test_ctrl_c_outside_of_training(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **keywords: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("semisup.runs.reopen.evaluate", interrupt)
    result = call("evaluate", "tiny", *where(place))
    assert (result.exit_code, result.stderr) == (130, "semisup: interrupted.\n")


def test_a_run_that_is_stopped_exits_with_the_signals_code(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any) -> None:
        raise Interrupted("stopped by a signal after step 1 of 2; saved.", 143)

    monkeypatch.setattr("semisup.runs.run.train", stop)
    result = call("run", place / "tiny.toml", "--out", tmp_path, "--data-root", place / "data")
    assert result.exit_code == 143
    assert result.stderr.endswith("semisup: stopped by a signal after step 1 of 2; saved.\n")
    assert result.stdout == ""


# Wrong use: exit code 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "quickstart", "--seed", "-1"],
        ["run", "quickstart", "--colour"],
        ["run", "quickstart", "--out", "{file}"],
        ["list", "networks"],
        ["predict", "tiny"],
        ["predict", "tiny", "a.png", "--submission", "val"],
        ["predict", "tiny", "--submission", "val", "--competition", "comp7"],
        ["evaluate", "tiny", "--seed", "-1"],
        ["data", "make", "voc"],
        ["monitor", ".", "--port", "70000"],
    ],
)
def test_wrong_use(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    result = call(*(argument.format(file=file) for argument in arguments))
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = call("evalaute")
    assert result.exit_code == 2
    assert "No such command 'evalaute'. Did you mean 'evaluate'?" in result.stderr


def test_help_and_version() -> None:
    text = succeed("--help")
    commands = ("run", "evaluate", "predict", "samples", "show", "list", "data", "monitor")
    for name in (*commands, "doctor"):
        assert f"\n  {name} " in text
        assert succeed(name, "-h").startswith("Usage: semisup ")
    assert succeed("--version") == f"semisup, version {semisup.__version__}\n"


# Real processes


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, env=environment, text=True, **options)


def test_help_imports_nothing_heavy() -> None:
    with start(
        "-X", "importtime", "-m", "semisup", "--help",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        output, imports = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Usage: semisup" in output
    names = {line.split("|")[-1].strip().split(".")[0] for line in imports.splitlines()}
    assert "click" in names
    heavy = {"torch", "torchvision", "numpy", "scipy", "matplotlib", "pydantic", "rich", "PIL"}
    assert names & heavy == set()


def test_ctrl_c_that_a_library_hides_under_an_error_is_said_as_such() -> None:
    hiding = (
        "import click, os, signal; from semisup.cli.main import cli, main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may have it ignored\n"
        "def work():\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt: raise ImportError('loaded twice')\n"
        "cli.add_command(click.Command('work', callback=work))\n"
        "main()"
    )
    with start("-c", hiding, "work", stderr=subprocess.PIPE) as process:
        _, said = process.communicate(timeout=60)
    assert (said, process.returncode) == ("semisup: interrupted.\n", 130)


def test_a_reader_that_leaves_is_no_error() -> None:
    endless = (
        "import click; from semisup.cli.main import cli, main\n"
        "cli.add_command(click.Command('endless', callback=lambda: click.echo('y' * 10**7)))\n"
        "main()"
    )
    with start("-c", endless, "endless", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
        process.wait(60)
    assert (process.returncode, error) == (0, "")


def stop_in_training(arguments: list[object], number: int, steps: int) -> int:
    """Send a signal to a run once it has taken a few steps; gives the exit code."""
    with start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        seen = 0
        for line in process.stderr:
            seen += line.startswith("step ")
            if seen == steps:
                process.send_signal(number)
                break
        rest = process.stderr.read()
        assert "semisup: stopped by a signal after step " in rest
        assert "The same command goes on from there." in rest
        assert "Traceback" not in rest
    return process.returncode


@pytest.mark.slow
def test_a_run_survives_ctrl_c_and_sigterm_bit_for_bit(tmp_path: Path) -> None:
    make_folder(tmp_path / "data")
    write_recipe(tmp_path / "tiny.toml", steps=150)
    whole = ["-m", "semisup", *run_of(tmp_path), "--set", "data.workers=1"]
    whole[whole.index("--out") + 1] = tmp_path / "whole"
    with start(*whole, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.wait(120)
    assert process.returncode == 0
    stopped = ["-m", "semisup", *run_of(tmp_path), "--set", "data.workers=1"]
    assert stop_in_training(stopped, signal.SIGINT, steps=3) == 130
    assert stop_in_training(stopped, signal.SIGTERM, steps=5) == 143
    with start(*stopped, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.wait(120)
    assert process.returncode == 0
    (one,) = (tmp_path / "whole" / "tiny").iterdir()
    (two,) = (tmp_path / "runs" / "tiny").iterdir()
    for name in ("predictor.safetensors", "scalars.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


# Views


@pytest.mark.parametrize(
    ("rule", "missing", "says"),
    [
        ("excluded", [], ""),
        ("excluded", ["b"], "over 2 of 3 classes; 'b' is absent "),
        ("excluded", ["a", "b"], "over 1 of 3 classes; 'a', 'b' are absent "),
        ("zero", [], ""),
        ("zero", ["b"], "over 3 of 3 classes; 'b' is absent and counts as 0 "),
        ("zero", ["a", "c"], "over 3 of 3 classes; 'a', 'c' are absent and count as 0 "),
    ],
)
def test_the_miou_line_says_over_which_classes_it_is(
    place: Path, capsys: pytest.CaptureFixture[str], rule: str, missing: list[str], says: str
) -> None:
    result = read_result(finished(place) / "result.json")
    assert result is not None
    iou: dict[str, dict[str, float | None]] = {
        name: {"iou": None if name in missing else 0.5} for name in "abc"
    }
    protocol = result.protocol | {"absent_classes": rule}
    print_result(replace(result, per_class=iou, protocol=protocol), Path("run"))
    miou = result.scores.selected.miou
    assert f"mIoU {miou:.4f} {says}(95 % interval" in capsys.readouterr().out


@pytest.mark.parametrize("f1", [None, 0.5])
def test_boundary_scores_are_shown_where_they_were_counted(
    place: Path, capsys: pytest.CaptureFixture[str], f1: float | None
) -> None:
    result = read_result(finished(place) / "result.json")
    assert result is not None
    row = {"iou": 0.5, "boundary_f1": f1, "boundary_iou": 0.25}
    selected = replace(result.scores.selected, boundary_f1=f1, boundary_iou=0.25)
    scores = replace(result.scores, selected=selected)
    print_result(replace(result, per_class={"a": row}, scores=scores), Path("run"))
    out = capsys.readouterr().out
    assert "boundary F1" in out.splitlines()[2]
    assert f"boundary F1 {'-' if f1 is None else '0.5000'}, boundary IoU 0.2500" in out


def test_names_and_paths_are_no_markup(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    name = "[red]car[/blue]"
    result = read_result(finished(place) / "result.json")
    assert result is not None
    per_class = {name: next(iter(result.per_class.values()))}
    print_result(replace(result, recipe=name, per_class=per_class), Path(name))
    assert capsys.readouterr().out.count(name) == 3
    print_entries("models", [{"name": name, "about": f"about {name}"}])
    assert capsys.readouterr().out.count(name) == 2
    report = SubsetReport(name, 1, (4, 4), (4, 4), (name,), (16,), 0, 0)
    print_verification(Verification((report,), [Problem(Path(name), f"{name}: bad")]))
    assert capsys.readouterr().out.count(name) == 4


def test_one_of_several_processes_says_which_it_is_and_tells_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "error.json"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(told))
    result = call("run", tmp_path / "none.toml")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("semisup (rank 1): ")
    message = json.loads(told.read_text())["message"]  # the form that torchrun reads
    assert message["message"] == message["extraInfo"]["py_callstack"]
    assert line.endswith(message["message"])
    assert abs(int(message["extraInfo"]["timestamp"]) - time.time()) < 60


def test_an_error_that_the_first_process_tells_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        error = RunError("the disk is full.")
        error.reported = True
        raise error

    monkeypatch.setattr("semisup.recipe.load.load_recipe", fails)
    result = call("run", "quickstart")
    assert (result.exit_code, result.stderr) == (1, "")


def test_a_process_beside_the_first_prints_no_result(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert succeed(*run_of(place)) == ""
