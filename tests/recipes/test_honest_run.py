"""What a whole run reads and when: seen from outside, whatever part of it decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from semisup.data.base import SegmentationData
from semisup.data.loading import prefetch
from semisup.methods.adversarial import Adversarial
from semisup.recipe.load import load_recipe
from semisup.runs import run as runs
from semisup.runs.paths import Paths
from semisup.runs.result import FinishedRun
from semisup.training import selection

pytestmark = pytest.mark.usefixtures("no_confusion_is_drawn")

CHANGES = [
    "data.train=24",
    "data.val=3",
    "data.test=1",
    "data.size=[48, 64]",
    "data.crop=[32, 32]",
    "data.split=1/2",
    "data.labelled_batch=4",
    "data.unlabelled_batch=4",
    "data.workers=0",
    "train.steps=6",
    "eval.every=2",
    "eval.hold_out=4",
    "eval.pictures=0",
]


@dataclass
class Seen:
    """What a run did.

    Attributes:
        trained: stream -> ids of its batches.
        selected: (data subset, ids) of each score while training.
        reported: (data subset, ids) of each score at the end.
        modes: whether every part of the method was in training mode, at each step.
    """

    trained: dict[str, set[str]] = field(default_factory=lambda: {"mask": set(), "none": set()})
    selected: list[tuple[str, set[str]]] = field(default_factory=list)
    reported: list[tuple[str, set[str]]] = field(default_factory=list)
    modes: list[bool] = field(default_factory=list)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, FinishedRun]:
    """One run, and what it did."""
    seen, folder = Seen(), tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as patch:
        watch(seen, patch)
        recipe = load_recipe("quickstart/adversarial", CHANGES)
        paths = Paths(folder, folder / "runs")
        return seen, runs.run_recipe(recipe, paths, torch.device("cpu"))


def watch(seen: Seen, patch: pytest.MonkeyPatch) -> None:
    """Look over the shoulder of each step, and at the places where images come in."""
    to_device, step = prefetch.to_device, Adversarial.step

    def moving(raw: Any, *arguments: Any, **options: Any) -> Any:
        seen.trained["mask" if "mask" in raw.labels else "none"].update(raw.ids)
        return to_device(raw, *arguments, **options)

    def stepping(method: Adversarial, *arguments: Any) -> Any:
        seen.modes.append(all(module.training for module in method.modules()))
        return step(method, *arguments)

    def noting(notes: list[tuple[str, set[str]]], evaluate: Any) -> Any:
        def scoring(inference: Any, data: SegmentationData, ids: Any = None, **options: Any) -> Any:
            notes.append((data.subset, set(data.ids if ids is None else ids)))
            return evaluate(inference, data, ids, **options)

        return scoring

    patch.setattr(selection, "evaluate", noting(seen.selected, selection.evaluate))
    patch.setattr(runs, "evaluate", noting(seen.reported, runs.evaluate))
    patch.setattr(prefetch, "to_device", moving)
    patch.setattr(Adversarial, "step", stepping)


def test_it_trains_selects_and_reports_on_different_images(run: tuple[Seen, FinishedRun]) -> None:
    seen, done = run
    lines = (done.folder / "split.txt").read_text().splitlines()
    split: dict[str, set[str]] = {"mask": set(), "none": set()}
    for name, kind in (line.split() for line in lines if not line.startswith("#")):
        split[kind].add(name)
    assert (len(split["mask"]), len(split["none"])) == (12, 12)

    (subset, held_out), *others = seen.selected
    assert others == [(subset, held_out)] * 2
    assert subset == "train"
    assert len(held_out) == 4
    assert held_out < split["mask"]
    assert seen.trained["mask"] == split["mask"] - held_out
    assert seen.trained["none"] == split["none"]

    assert {subset for subset, _ in seen.reported} == {"val"}
    reported = {name for _, ids in seen.reported for name in ids}
    assert len(reported) == done.result.protocol["images"] == 3
    assert reported & (split["mask"] | split["none"]) == set()


def test_every_step_is_taken_in_training_mode(run: tuple[Seen, FinishedRun]) -> None:
    """Scores come between the steps, and scoring is done in eval mode."""
    seen, _ = run
    assert len(seen.selected) == 3
    assert seen.modes == [True] * 6
