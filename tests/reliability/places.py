"""The tiny world that a case of bad input spoils: a data set, a recipe, runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from semisup.cli.main import cli
from semisup.recipe.toml import dump_toml

SIZE = (40, 50)
"""Height and width of every picture."""


def run_command(arguments: Sequence[object]) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in arguments], prog_name="semisup")


@dataclass(frozen=True)
class Finished:
    """What is made once a session: `data`, `tiny.toml`, and `run`, a finished run of two steps."""

    data: Path
    recipe: Path
    run: Path


@dataclass
class Call:
    """A command, and what must hold after it beside what holds after every case."""

    arguments: Sequence[object]
    then: Callable[[Result], None] = lambda result: None


@dataclass
class Place:
    """A folder of its own for one case.

    Attributes:
        root: the folder, and the working directory.
        patch: pytest's monkeypatch, undone after the case.
    """

    root: Path
    finished: Finished
    patch: pytest.MonkeyPatch
    data: Path = field(init=False)
    recipe: Path = field(init=False)
    runs: Path = field(init=False)

    def __post_init__(self) -> None:
        self.data, self.recipe = self.root / "data", self.root / "tiny.toml"
        self.runs = self.root / "runs"
        shutil.copytree(self.finished.data, self.data)
        shutil.copy(self.finished.recipe, self.recipe)

    # Commands

    def where(self) -> list[object]:
        return ["--data-root", self.data, "--out", self.runs]

    def train(self, *changes: str, extra: Sequence[object] = ()) -> list[object]:
        settings = [word for change in changes for word in ("--set", change)]
        return ["run", self.recipe, *settings, *extra, *self.where()]

    def verify(self, name: str = "folder") -> list[object]:
        return ["data", "verify", name, "--data-root", self.data]

    def split(self, spec: str, name: str = "folder") -> list[object]:
        return ["data", "split", name, spec, "--data-root", self.data]

    def predict(self, *images: object) -> list[object]:
        return ["predict", self.finished_run(), *images, "--to", self.root / "labels"]

    # Files

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def image(self, name: str = "t0") -> Path:
        return self.data / "images" / f"{name}.png"

    def open(self, path: Path) -> Image.Image:
        """The decoded picture in a file, which may then be removed."""
        with Image.open(path) as picture:
            return picture.copy()

    def mask(self, name: str = "t0") -> Path:
        return self.data / "masks" / f"{name}.png"

    def map_masks(self, change: Callable[[np.ndarray], np.ndarray], which: str = "*.png") -> None:
        """Give all masks, or those that `which` names, other numbers."""
        for path in sorted((self.data / "masks").glob(which)):
            labels = change(np.array(Image.open(path)))
            Image.fromarray(labels.astype(np.uint8)).save(path)

    def colour_masks(self, colours: Mapping[int, tuple[int, int, int]]) -> None:
        """Save all masks as palette PNGs of these colours."""
        for path in sorted((self.data / "masks").glob("*.png")):
            mask = Image.fromarray(np.array(Image.open(path)))
            mask.putpalette([channel for label in sorted(colours) for channel in colours[label]])
            mask.save(path)

    def replace_image(self, picture: Image.Image, suffix: str = ".png", **options: Any) -> Path:
        """Put `picture` in the place of the first training image, and give its path."""
        self.image().unlink()
        path = self.image().with_suffix(suffix)
        picture.save(path, **options)
        return path

    def finished_run(self) -> Path:
        """A copy of the finished run."""
        folder = self.runs / "tiny" / self.finished.run.name
        if not folder.exists():
            shutil.copytree(self.finished.run, folder)
        return folder

    def stopped_run(self) -> Path:
        """A run that was stopped after its last step: two checkpoints, no result."""
        folder = self.finished_run()
        for name in ("result.json", "predictor.safetensors"):
            (folder / name).unlink(missing_ok=True)
        return folder

    def voc(self) -> Path:
        """The same pictures as a tree of Pascal VOC; gives the folder of the lists."""
        tree = self.data / "VOCdevkit" / "VOC2012"
        for kind, source in {"JPEGImages": "images", "SegmentationClass": "masks"}.items():
            (tree / kind).mkdir(parents=True)
            for path in (self.data / source).iterdir():
                suffix = ".jpg" if kind == "JPEGImages" else ".png"
                target = tree / kind / f"{path.stem}{suffix}"
                Image.open(path).save(target) if suffix == ".jpg" else shutil.copy(path, target)
        lists = tree / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        for name in ("train.txt", "val.txt"):
            shutil.copy(self.data / name, lists / name)
        return lists


def cut(path: Path, share: float = 0.5) -> Path:
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    generator = np.random.default_rng(1)
    values = generator.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values[..., 0] if channels == 1 else values


def make_finished(folder: Path) -> Finished:
    _make_data(folder / "data")
    recipe = folder / "tiny.toml"
    recipe.write_text(dump_toml(TABLES))
    done = run_command(["run", recipe, "--data-root", folder / "data", "--out", folder / "runs"])
    assert done.exit_code == 0, done.output
    (run,) = (folder / "runs" / "tiny").iterdir()
    return Finished(folder / "data", recipe, run)


TABLES: dict[str, Any] = {
    "data": {
        "name": "folder",
        "split": "1/2",
        "crop": [32, 32],
        "labelled_batch": 2,
        "unlabelled_batch": 2,
        "workers": 0,
    },
    "model": {"name": "unet", "width": 2},
    "method": {"name": "supervised"},
    "optim": {"segmenter": {"lr": 0.01}},
    "train": {"steps": 2, "log_every": 1, "checkpoint_every": 1},
    "eval": {"pictures": 0, "boundary": False},
}


def _make_data(root: Path) -> None:
    """Four training and two validation images of two classes."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    names = {"train": [f"t{n}" for n in range(4)], "val": ["v0", "v1"]}
    for subset, ids in names.items():
        (root / f"{subset}.txt").write_text("".join(f"{name}\n" for name in ids))
        for name in ids:
            labels = generator.integers(0, 2, (4, 5)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
            shades = labels[..., None] * 120 + generator.integers(0, 90, (*SIZE, 3))
            Image.fromarray(shades.astype(np.uint8)).save(root / "images" / f"{name}.png")
            Image.fromarray(labels).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("ground\nsky\n")
