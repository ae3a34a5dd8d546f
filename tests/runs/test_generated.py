"""`semisup samples`: from a run with a generator to a grid and a distance with its yardsticks."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from semisup.catalog import METHODS
from semisup.cli.main import cli
from semisup.cli.options import find_run
from semisup.errors import CheckpointError, DataError, RecipeError, RunError
from semisup.methods.gan_segmentation import GanSegmentation
from semisup.metrics.frechet import frechet_distance
from semisup.models.backbones.base import Backbone, PooledStage
from semisup.models.classifiers import BACKBONES
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs import generated as samples
from semisup.runs.generated import NOTE, sample_run
from semisup.runs.paths import Paths
from semisup.runs.reopen import open_checkpoint, run_recipe_of
from semisup.runs.run import run_recipe
from semisup.training.checkpoint import load_state, save_state

CPU = torch.device("cpu")


def make_folder(root: Path) -> None:
    """14 training images and one of validation: squares of one class on a ramp of the other."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    names = {"train": [f"t{n:02d}" for n in range(14)], "val": ["v0"]}
    for subset, ids in names.items():
        (root / f"{subset}.txt").write_text("".join(f"{name}\n" for name in ids))
    (root / "classes.txt").write_text("ground\nsquare\n")
    for name in [*names["train"], *names["val"]]:
        mask = np.zeros((40, 50), np.uint8)
        top, left = generator.integers(4, 24, 2)
        mask[top : top + 12, left : left + 12] = 1
        shade = np.linspace(60, 180, 50)[None, :, None] + generator.normal(0, 4, (40, 50, 3))
        picture = np.where(mask[..., None] == 1, generator.integers(0, 255, 3), shade)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / f"images/{name}.png")
        Image.fromarray(mask).save(root / f"masks/{name}.png")


def recipe_of(root: Path, method: str = "gan_segmentation", **data: Any) -> Recipe:
    own = {"generator_width": 4} if method == "gan_segmentation" else {}
    optim = {"segmenter": {"lr": 0.01}, "generator": {"kind": "adam", "lr": 1e-3}}
    tables = {
        "data": {
            "name": "folder",
            "root": str(root),
            "split": "1/2",
            "crop": [32, 32],
            "labelled_batch": 2,
            "unlabelled_batch": 2,
            "workers": 0,
            **data,
        },
        "model": {"name": "unet", "width": 2},
        "method": {"name": method, **own},
        "optim": optim if own else {"segmenter": optim["segmenter"]},
        "train": {"steps": 2},
        "eval": {"pictures": 0, "boundary": False, "every": 2, "hold_out": 2},
    }
    return build_recipe("tiny", tables)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_folder(folder)
    return folder


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps; to be copied by whoever changes it."""
    return run_recipe(recipe_of(root), Paths(root, tmp_path_factory.mktemp("runs")), CPU).folder


class Tiny(Backbone):
    """Two convolutions: a real backbone takes ten times as long."""

    channels = (16, 24)

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(in_channels, 16, 5, 2), nn.Conv2d(16, 24, 5, 2)])

    def stages(self, image: Tensor) -> list[PooledStage]:
        first = self.layers[0](image).relu()
        size = image.shape[-2:]
        return [PooledStage(maps, None, size) for maps in (first, self.layers[1](first).relu())]


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run in a folder of runs of its own; to be looked at by a tiny backbone."""
    known = {name: Tiny if name == "mobilenet_v2" else cls for name, cls in BACKBONES.items()}
    monkeypatch.setattr("semisup.evaluation.features.BACKBONES", known)
    return shutil.copytree(trained, tmp_path / "runs" / "tiny" / trained.name)


def sample(run: Path, root: Path, **options: Any) -> dict[str, Any]:
    return sample_run(run, Paths(root), CPU, **options).report


def test_a_grid_and_a_report_of_all_that_the_numbers_depend_on(run: Path, root: Path) -> None:
    done = sample_run(run, Paths(root), CPU, count=5, seed=3)
    report = json.loads((run / "samples.json").read_text())
    assert report == done.report
    assert done.file == run / "samples.json"
    distances = {report.pop(name) for name in ("distance", "floor", "ceiling")}
    assert len(distances) == 3
    assert min(distances) > 0
    assert report == {
        "recipe": "tiny",
        "recipe_hash": run.name.partition("-")[0],
        "run_seed": 0,
        "step": 2,
        "seed": 3,
        "count": 5,
        "training_images": 12,  # 7 labelled and 7 without, less 2 held out
        "size": [32, 32],
        "features": {
            "backbone": "mobilenet_v2",
            "dimensions": 24,
            "weights": "random weights, seed 0",
        },
        "note": NOTE,
    }
    assert done.picture == run / "pictures" / "generated.png"
    with Image.open(done.picture) as picture:
        assert picture.width >= 5 * 96


def test_equal_seeds_give_equal_files_and_others_the_same_yardstick(run: Path, root: Path) -> None:
    files = (run / "samples.json", run / "pictures" / "generated.png")
    once = sample(run, root, count=4)
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    torch.rand(3)  # nothing hangs on torch's own generator
    sample(run, root, count=4)
    assert [file.read_bytes() for file in files] == before
    other = sample(run, root, count=4, seed=1)
    assert other["distance"] != once["distance"]
    assert (other["floor"], other["ceiling"]) == (once["floor"], once["ceiling"])


def test_every_set_has_as_many_images_and_no_more_than_half_of_the_real_ones(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []

    def noting(a: Tensor, b: Tensor) -> float:
        sizes.append((len(a), len(b)))
        return frechet_distance(a, b)

    monkeypatch.setattr(samples, "frechet_distance", noting)
    report = sample(run, root, count=70)
    assert report["count"] == 6
    assert sizes == [(6, 6)] * 3
    with Image.open(run / "pictures" / "generated.png") as picture:  # 64 are shown all the same
        assert picture.height > 8 * 96


def test_the_floor_is_of_disjoint_images_out_of_the_streams(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    views = samples._views

    def noting(opened: Any, images: list[tuple[Any, str]], size: tuple[int, int]) -> Any:
        seen.extend(name for _, name in images)
        return views(opened, images, size)

    monkeypatch.setattr(samples, "_views", noting)
    sample(run, root, count=100)
    held_out = set(recipe_ids(root)) - set(seen)
    assert len(seen) == len(set(seen)) == 12
    assert len(held_out) == 2


def recipe_ids(root: Path) -> list[str]:
    return (root / "train.txt").read_text().split()


def test_a_perfect_generator_lies_near_the_floor_and_one_of_noise_at_the_ceiling(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # a real backbone
    opened = open_checkpoint(run, Paths(root), CPU)
    images = [(opened.experiment.data, name) for name in recipe_ids(root)[::-1]]
    others = torch.stack(list(samples._views(opened, images, (32, 32)))).float()

    def make(self: GanSegmentation, count: int, seed: int) -> Tensor:
        return others[:count] / 255

    monkeypatch.setattr(GanSegmentation, "make_samples", make)
    good = sample(run, root, count=6)
    assert good["distance"] < 2 * good["floor"] < good["ceiling"] / 2

    def noise(self: GanSegmentation, count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed + 1)
        return 0.45 + 0.226 * torch.randn(count, 3, 32, 32, generator=generator)

    monkeypatch.setattr(GanSegmentation, "make_samples", noise)
    bad = sample(run, root, count=6)
    assert bad["distance"] == pytest.approx(bad["ceiling"], rel=0.2)
    assert bad["floor"] == good["floor"]


def test_seeds_share_no_images_beyond_the_first_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def make(count: int, seed: int) -> Tensor:
        asked.append((count, seed))
        return torch.zeros(count, 3, 8, 8)

    opened: Any = SimpleNamespace(method=SimpleNamespace(make_samples=make))
    for seed in (0, 1):
        assert sum(len(chunk) for chunk in samples._make(opened, 150, seed)) == 150
    assert [count for count, _ in asked] == [64, 64, 22] * 2
    seeds = [seed for _, seed in asked]
    assert seeds[0] == 0
    assert seeds[3] == 1
    assert len(set(seeds)) == 6


def test_a_training_image_is_cut_as_in_training_and_never_padded(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    white = torch.full((3, 10, 40), 255, dtype=torch.uint8)
    data: Any = SimpleNamespace(ids=["a"], index=["a"].index, image=lambda number: white)
    recipe = recipe_of(root, scale=[0.5, 0.6], flip=True)
    opened: Any = SimpleNamespace(experiment=SimpleNamespace(recipe=recipe))
    (view,) = samples._views(opened, [(data, "a")], (32, 24))
    assert view.shape == (3, 32, 24)
    assert view.min() == 255


def test_a_run_that_was_stopped_is_measured_under_the_name_that_it_was_started_by(
    run: Path, root: Path
) -> None:
    (run / "result.json").unlink()
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(facts | {"recipe": "folder/tiny"}))
    assert sample(run, root, count=2)["recipe"] == "folder/tiny"
    (run / "run.json").unlink()
    assert run_recipe_of(run).name == "tiny"


# From the command line


def call(*arguments: object) -> tuple[int, str, str]:
    words = [str(argument) for argument in arguments]
    done = CliRunner().invoke(cli, ["samples", *words], prog_name="semisup")
    return done.exit_code, done.stdout, done.stderr


def test_the_command_prints_the_three_numbers(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # a real backbone
    (run / "result.json").unlink()  # a stopped run has a name too
    code, output, errors = call("tiny", "--out", run.parents[1], "--count", 3, "--seed", 2)
    assert (code, errors) == (0, "")
    report = json.loads((run / "samples.json").read_text())
    rows = [line for line in output.splitlines() if line.startswith("│")]
    assert [row.split("│")[3].strip() for row in rows] == [
        f"{report[name]:.4g}" for name in ("floor", "distance", "ceiling")
    ]
    assert all(row.split("│")[2].strip() == "3" for row in rows)
    assert "320 of mobilenet_v2, random weights, seed 0" in output
    assert "compares with nothing published" in output
    assert output.endswith(
        f"Pictures: {run / 'pictures' / 'generated.png'}\nKept in {run / 'samples.json'}\n"
    )


def test_a_mistake_is_one_line(run: Path, tmp_path: Path) -> None:
    code, output, errors = call(run, "--weights", tmp_path / "none.pth")
    assert (code, output) == (1, "")
    told = f"{tmp_path / 'none.pth'}: no such file of weights; give the path of a local file"
    assert errors == f"semisup: {told}\n"
    code, _, errors = call("tinny", "--out", tmp_path / "runs")
    assert (code, errors.count("\n")) == (1, 1)
    assert "no run 'tinny' in " in errors


def test_help_names_every_backbone() -> None:
    text = " ".join(call("--help")[1].split())
    assert all(name in text for name in BACKBONES)


def test_of_several_runs_the_one_that_wrote_a_checkpoint_last(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = run.parent / "0000000000-s1"
    (newer / "checkpoints").mkdir(parents=True)
    os.utime(run / "checkpoints", (1000, 1000))
    out = run.parents[1]
    assert find_run("tiny", out, marker="checkpoints") == newer
    assert capsys.readouterr().err.startswith("2 runs of 'tiny'; ")
    assert find_run("tiny", out) == run
    os.utime(newer / "checkpoints", (900, 900))
    assert find_run("tiny", out, marker="checkpoints") == run


# What cannot be measured


def test_a_method_without_a_generator_is_named_with_those_that_have_one(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(recipe_of(root, "supervised").to_toml())
    with pytest.raises(RunError, match=r"method 'supervised' makes no images; .*gan_segmentation"):
        sample(tmp_path, root)


def test_a_generator_that_was_not_trained(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GanSegmentation, "make_samples", lambda self, count, seed: None)
    with pytest.raises(RunError, match="makes no images with the options of this run"):
        sample(run, root, count=2)
    assert not (run / "samples.json").exists()


def test_a_generator_that_has_diverged(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(self: GanSegmentation, count: int, seed: int) -> Tensor:
        return torch.full((count, 3, 32, 32), float("nan"))

    monkeypatch.setattr(GanSegmentation, "make_samples", make)
    with pytest.raises(RunError, match="is not finite: the training has diverged"):
        sample(run, root, count=2)


def test_what_is_no_run_or_has_no_checkpoint(run: Path, root: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run of semisup\. Start one"):
        sample(tmp_path, root)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="has no checkpoint yet"):
        sample(run, root)


def test_a_checkpoint_of_another_version(run: Path, root: Path) -> None:
    path = max((run / "checkpoints").glob("step-*.pt"))
    state = load_state(path)
    del state["format"]
    generator = [key for key in state["method"] if key.startswith("generator.")]
    for key in generator:
        state["method"][f"old_{key}"] = state["method"].pop(key)
    save_state(path, state)
    with pytest.raises(
        CheckpointError, match=r"checkpoint of step 2 is of another version of 'gan"
    ):
        sample(run, root)


def test_too_few_training_images(run: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_training_images", lambda opened: [(None, "t00")] * 3)
    with pytest.raises(DataError, match=r"trains on 3 images, and .* take 4 at least"):
        sample(run, root)


def test_a_backbone_that_is_none(run: Path, root: Path) -> None:
    with pytest.raises(RecipeError, match=r"no backbone is called 'vgg61'\. Did you mean 'vgg16'"):
        sample(run, root, backbone="vgg61")


def test_the_networks_are_those_of_the_newest_checkpoint(run: Path, root: Path) -> None:
    opened = open_checkpoint(run, Paths(root), CPU)
    saved = load_state(max((run / "checkpoints").glob("step-*.pt")))["method"]
    assert not opened.method.training
    assert isinstance(opened.method, METHODS[run_recipe_of(run).method.name])
    for key, value in opened.method.state_dict().items():
        assert torch.equal(value, saved[key]), key
