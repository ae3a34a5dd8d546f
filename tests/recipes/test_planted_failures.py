"""Failures planted in real runs of consistency methods, and what the run says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from semisup.methods import fixmatch as fixmatch_module
from semisup.recipe.load import load_recipe
from semisup.runs.paths import Paths
from semisup.runs.run import run_recipe

CHANGES = [
    "baseline.recipe=",
    "data.train=60",
    "data.val=12",
    "data.test=1",
    "data.size=[64, 64]",
    "data.crop=[48, 48]",
    "data.split=1/4",
    "data.labelled_batch=4",
    "data.unlabelled_batch=4",
    "data.workers=0",
    "model.width=6",
    "train.steps=240",
    "train.log_every=10",
    "train.checkpoint_every=30",
    "eval.pictures=0",
    "eval.boundary=false",
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


def warned(scenes: Path, out: Path, *changes: str) -> str:
    """What a run warns of, in one text."""
    recipe = load_recipe("quickstart", [*CHANGES, *changes])
    done = run_recipe(recipe, Paths(scenes, out), torch.device("cpu"))
    file = done.folder / "warnings.jsonl"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


APART = "teacher and student disagree on the same view"
DESTROYED = "the student does not predict its targets on the strong view"
WRONG = "is wrong"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mean_teacher", "cutmix_seg", "fixmatch", "unimatch"])
def test_a_healthy_run_says_none_of_it(scenes: Path, tmp_path: Path, name: str) -> None:
    text = warned(scenes, tmp_path, f"method.name={name}")
    assert not any(finding in text for finding in (APART, DESTROYED, WRONG))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mean_teacher", "cutmix_seg", "fixmatch", "unimatch"])
def test_a_teacher_that_never_moves(
    scenes: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a weight that lets the student learn: at mean_teacher's 100 it stays where T stands."""
    monkeypatch.setattr("semisup.ops.teacher.ramped_decay", lambda step, decay: 1.0)
    changes = [f"method.name={name}"]
    changes += ["method.consistency_weight=1.0"] * (name == "mean_teacher")
    assert APART in warned(scenes, tmp_path, *changes)


@pytest.mark.slow
def test_a_threshold_of_zero_that_takes_what_is_wrong(scenes: Path, tmp_path: Path) -> None:
    """All is taught from the start, when half of it is wrong."""
    assert WRONG in warned(scenes, tmp_path, "method.confidence_threshold=0.0")


@pytest.mark.slow
def test_views_that_destroy_the_image(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strong view is noise, under the labels of the picture."""
    mix = fixmatch_module.mixed_view

    def destroyed(*arguments: object, **options: object) -> tuple[Tensor, object]:
        strong, labels = mix(*arguments, **options)  # type: ignore[arg-type]
        return torch.randn_like(strong), labels

    monkeypatch.setattr(fixmatch_module, "mixed_view", destroyed)
    text = warned(
        scenes, tmp_path, "method.confidence_threshold=0.0", "method.unlabelled_weight=0.05"
    )
    assert DESTROYED in text
