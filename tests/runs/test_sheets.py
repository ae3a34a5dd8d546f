"""Sheets of a finished run: what is shown, and that nobody has picked it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from semisup import catalog
from semisup.methods.base import Task
from semisup.methods.supervised import Supervised
from semisup.pictures.figures import confusion_figure
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs import sheets
from semisup.runs.paths import Paths
from semisup.runs.run import run_recipe
from semisup.runs.sheets import draw_sample_sheet

CPU = torch.device("cpu")


class Both(Supervised):
    """Makes images, and would teach itself every pixel."""

    def make_samples(self, count: int, seed: int) -> Tensor:
        assert not self.training
        noise = torch.Generator().manual_seed(seed)
        return torch.rand(count, 3, 8, 8, generator=noise)

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        return self.segmenter(image).argmax(1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def recipe_of(**changes: dict[str, Any]) -> Recipe:
    base: dict[str, dict[str, Any]] = {
        "data": {
            "name": "scenes",
            "train": 8,
            "val": 5,
            "test": 0,
            "size": [48, 56],
            "split": "1/2",
            "crop": [24, 24],
            "labelled_batch": 2,
            "workers": 0,
        },
        "model": {"name": "unet", "width": 2, "batch_norm": True},
        "method": {"name": "supervised"},
        "optim": {"segmenter": {"kind": "adamw", "lr": 5e-3}},
        "train": {"steps": 3, "log_every": 2, "checkpoint_every": 2, "seed": 3},
        "eval": {"pictures": 0},
    }
    return build_recipe("tiny", {k: {**v, **changes.get(k, {})} for k, v in base.items()})


@pytest.mark.parametrize("hold_out", [0, 2])
def test_a_run_keeps_its_samples_and_what_its_trust_was_worth(
    hold_out: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.METHODS, "supervised", Both)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("semisup.runs.run.PseudoLabelQuality", noting(asked))
    every = 2 if hold_out else 0
    recipe = recipe_of(eval={"pictures": 0, "hold_out": hold_out, "every": every})
    finished = run_recipe(recipe, Paths(root, tmp_path), CPU)
    with Image.open(finished.folder / "pictures" / "samples.png") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 4 * 96
    lines = [json.loads(x) for x in (finished.folder / "scalars.jsonl").read_text().splitlines()]
    looks = [line for line in lines if "trusted_share" in line]
    assert [look["step"] for look in looks] == [2, 3]
    assert all(look["trusted_share"] == 1.0 for look in looks)
    assert all(look["self_taught_accuracy"] == look["labelled_accuracy"] for look in looks)
    assert 0 < looks[-1]["labelled_accuracy"] < 1
    [(data, ids, crop)] = [arguments[:3] for arguments in asked]
    assert crop == (24, 24)
    if hold_out:
        masks = (finished.folder / "split.txt").read_text()
        assert data.subset == "train"
        assert len(ids) == 2
        assert all(f"{name} mask" in masks.replace("\t", " ") for name in ids)
    else:
        assert (data.subset, len(ids)) == ("val", 5)


def noting(into: list[tuple[Any, ...]]) -> type:
    from semisup.monitoring.pseudo_labels import PseudoLabelQuality

    class Noting(PseudoLabelQuality):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            into.append(arguments)
            super().__init__(*arguments, **options)

    return Noting


def test_a_method_without_images_or_trust_leaves_neither(root: Path, tmp_path: Path) -> None:
    finished = run_recipe(recipe_of(), Paths(root, tmp_path), CPU)
    assert list((finished.folder / "pictures").iterdir()) == []
    text = (finished.folder / "scalars.jsonl").read_text()
    assert "trusted_share" not in text
    assert "checkup" not in text


def test_the_sample_sheet_holds_all_of_the_noise_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions: list[list[str]] = []
    draw = sheets.image_grid

    def noting_captions(path: Path, images: Tensor, caption: list[str], **options: Any) -> None:
        captions.append(caption)
        draw(path, images, caption, **options)

    monkeypatch.setattr(sheets, "image_grid", noting_captions)

    class Shades(Supervised):
        def make_samples(self, count: int, seed: int) -> Tensor:
            assert not self.training
            assert not torch.is_grad_enabled()
            assert seed == 0
            shades = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 6, 6)
            return (10 * shades + 40) / 255

    method = Shades(Task(lambda: catalog.create_model("unet", 3, width=2), 3))
    path = tmp_path / "samples.png"
    draw_sample_sheet(path, method, step=70, seed=5)
    [lines] = captions
    assert "step 70, run seed 5" in lines[0]
    assert "all 16 images of the fixed noise" in lines[1]
    assert "nobody has picked any" in lines[1]
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    places = [np.argwhere((pixels == 10 * n + 40).all(-1)).min(0) for n in range(16)]
    rows = [[tuple(paths) for paths in places[first : first + 4]] for first in (0, 4, 8, 12)]
    assert all(len({top for top, _ in row}) == 1 for row in rows)
    assert all([left for _, left in row] == sorted({left for _, left in row}) for row in rows)
    assert [row[0][0] for row in rows] == sorted({row[0][0] for row in rows})


def test_where_there_are_no_samples_no_sheet_is_written(tmp_path: Path) -> None:
    method = Supervised(Task(lambda: catalog.create_model("unet", 3, width=2), 3))
    draw_sample_sheet(tmp_path / "samples.png", method, step=1, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_the_confusion_matrix_of_a_run_is_drawn_for_tensorboard(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semisup.pictures.figures.confusion_figure", confusion_figure)
    done = run_recipe(recipe_of(train={"steps": 1}), Paths(root, tmp_path), CPU)
    found = EventAccumulator(str(done.folder), size_guidance={"images": 0}).Reload()
    (drawn,) = found.Images("pictures/confusion")
    expected = confusion_figure(torch.tensor(done.result.confusion), done.result.classes)
    width, height = expected.get_size_inches() * expected.dpi
    assert (drawn.width, drawn.height) == (int(width), int(height))
