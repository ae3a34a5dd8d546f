"""Whole runs on a tiny folder of images: what they leave behind, and what can be done with it."""

from __future__ import annotations

import ast
import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from support.runs import Stopping
from torch.nn import functional

from semisup.catalog import register
from semisup.data.labels.splits import make_split
from semisup.data.loading.streams import Stream
from semisup.errors import CheckpointError, DataError, Interrupted, RecipeError, RunError
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.inference import Inference
from semisup.losses.segmentation import cross_entropy
from semisup.losses.supervised import SupervisedLoss
from semisup.methods.supervised import Supervised
from semisup.monitoring.view import Silent
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD
from semisup.recipe.load import build_recipe, load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs import assemble
from semisup.runs import run as runs
from semisup.runs.assemble import build_method, prepare_networks, split_labels, stream_builder
from semisup.runs.paths import Paths
from semisup.runs.reopen import evaluate_run, open_run
from semisup.runs.result import (
    ChosenCheckpoint,
    FinishedRun,
    Result,
    ScoredPredictors,
    read_result,
)
from semisup.runs.run import run_recipe
from semisup.system import distributed as ranks
from semisup.types import Labelled

CPU = torch.device("cpu")


def make_folder(root: Path) -> None:
    """12 training and 4 validation images of three classes in coloured stripes, some void."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    names = {"train": [f"t{n:02d}" for n in range(12)], "val": [f"v{n}" for n in range(4)]}
    names["extra"] = names["val"][:2]
    for subset, ids in names.items():
        (root / f"{subset}.txt").write_text("".join(f"{name}\n" for name in ids))
    (root / "classes.txt").write_text("ground\nsky 70 130 180\ntree 0 128 0\n")
    for name in [*names["train"], *names["val"]]:
        labels = generator.integers(0, 3, (4, 5)).repeat(10, 0).repeat(10, 1).astype(np.uint8)
        shades = labels[..., None] * 80 + generator.integers(0, 60, (40, 50, 3))
        Image.fromarray(shades.astype(np.uint8)).save(root / "images" / f"{name}.png")
        labels[:2] = 255
        Image.fromarray(labels).save(root / "masks" / f"{name}.png")


def tables(root: Path, **changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    base: dict[str, dict[str, Any]] = {
        "data": {
            "name": "folder",
            "root": str(root),
            "split": "1/2",
            "crop": [32, 32],
            "labelled_batch": 2,
            "unlabelled_batch": 2,
            "workers": 0,
        },
        "model": {"name": "unet", "width": 2, "batch_norm": True},
        "method": {"name": "supervised"},
        "optim": {"segmenter": {"kind": "adamw", "lr": 5e-3}},
        "train": {"steps": 6, "accumulate": 2, "log_every": 2, "checkpoint_every": 4, "seed": 3},
        "eval": {"every": 2, "hold_out": 2, "pictures": 3},
    }
    return {name: {**table, **changes.get(name, {})} for name, table in base.items()}


def recipe_of(root: Path, **changes: Mapping[str, Any]) -> Recipe:
    return build_recipe("tiny", tables(root, **changes))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_folder(folder)
    return folder


class Noting(Silent):
    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, name: str) -> None:
        self.phases.append(name)


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FinishedRun, Noting]:
    """One finished run that the tests below only look at."""
    paths, view = Paths(root, tmp_path_factory.mktemp("runs")), Noting()
    return run_recipe(recipe_of(root), paths, CPU, view=view, command=["semisup", "run"]), view


def test_where_a_run_lies_and_what_is_in_it(root: Path, done: tuple[FinishedRun, Noting]) -> None:
    finished, view = done
    recipe = recipe_of(root)
    assert finished.fresh
    assert finished.folder.parts[-2:] == ("tiny", f"{recipe.digest()}-s3")
    found = {str(p.relative_to(finished.folder)) for p in finished.folder.rglob("*")}
    events = {name for name in found if name.startswith("events.out.tfevents")}
    assert len(events) == 2  # training and final scores
    kept = {name for name in found if name.startswith("checkpoints/best-")}
    assert 1 <= len(kept) <= 3
    assert found - events == {
        "counts.safetensors",
        "files.json",
        "recipe.toml",
        "run.json",
        "scalars.jsonl",
        "speed.jsonl",
        "result.json",
        "split.txt",
        "untouched.json",
        "predictor.safetensors",
        "lock",
        "checkpoints",
        *kept,
        "checkpoints/step-00000004.pt",
        "checkpoints/step-00000006.pt",
        "pictures",
        "pictures/sheet.png",
    }
    assert view.phases[0] == "preparing"
    assert view.phases[-1] == "scoring"


def test_the_result_states_all_that_it_depends_on(
    root: Path, done: tuple[FinishedRun, Noting]
) -> None:
    finished, _ = done
    result = json.loads((finished.folder / "result.json").read_text())
    assert result == finished.result.content()
    assert result.keys() == {
        "recipe",
        "scores",
        "per_class",
        "confusion",
        "protocol",
        "split",
        "palette",
        "seed",
        "checkpoint",
        "recipe_hash",
        "git",
        "versions",
        "device",
        "processes",
        "precision",
        "time",
        "data",
        "weights_sha256",
    }
    assert (result["recipe"], result["seed"], result["precision"]) == ("tiny", 3, "float32")
    assert result["recipe_hash"] == recipe_of(root).digest()
    assert result["device"].startswith("cpu")
    assert result["palette"][1:] == [[70, 130, 180], [0, 128, 0]]
    assert result["time"].keys() == {"train_seconds", "score_seconds"}
    assert result["versions"]["torch"] == torch.__version__
    assert result["git"] is None or result["git"].keys() == {"commit", "dirty"}


def test_the_scores_follow_from_the_confusion_matrix(done: tuple[FinishedRun, Noting]) -> None:
    result = done[0].result.content()
    confusion = np.array(result["confusion"])
    assert confusion.shape == (3, 3)
    assert confusion.sum() == 4 * 38 * 50  # four images without their two void rows
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    ious = confusion.diagonal() / union
    assert [row["iou"] for row in result["per_class"].values()] == pytest.approx(ious)
    assert list(result["per_class"]) == ["ground", "sky", "tree"]
    assert set(result["scores"]) == {"selected", "last"}
    for scores in result["scores"].values():
        assert scores.keys() == {
            "miou",
            "miou_interval_95",
            "pixel_accuracy",
            "mean_class_accuracy",
            "frequency_weighted_iou",
            "boundary_f1",
            "boundary_iou",
        }
    assert result["scores"]["selected"]["miou"] == pytest.approx(ious.mean())


def test_the_protocol_names_the_reported_images(done: tuple[FinishedRun, Noting]) -> None:
    block = done[0].result.protocol
    ids = "\n".join(["v0", "v1", "v2", "v3"])
    assert (block["data"], block["subset"], block["images"]) == ("folder", "val", 4)
    assert block["ids_sha256"] == hashlib.sha256(ids.encode()).hexdigest()
    assert block["classes"] == ["ground", "sky", "tree"]
    assert block["pretraining"] == "none"
    assert block["selection"] == "best on 2 held-out labelled training images"


def test_the_split_is_recorded_whole_and_can_be_used_again(
    root: Path, done: tuple[FinishedRun, Noting]
) -> None:
    finished, _ = done
    recipe = recipe_of(root)
    data = assemble.open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    stated = finished.result.content()["split"]
    assert (stated["labelled"], stated["held_out"], stated["unlabelled"]) == (6, 2, 6)
    assert stated["name"] == labels.split.name == "1/2-s0"
    assert stated["sha256"] == labels.split.sha256
    assert stated["class_counts"] == labels.split.class_counts
    again = make_split(data, f"file:{finished.folder / 'split.txt'}", 0)
    assert again.sha256 == stated["sha256"]
    assert json.loads((finished.folder / "run.json").read_text())["split"] == stated


def test_the_selected_checkpoint_is_the_best_on_the_held_out_images(
    done: tuple[FinishedRun, Noting],
) -> None:
    finished, _ = done
    lines = [json.loads(x) for x in (finished.folder / "scalars.jsonl").read_text().splitlines()]
    held_out = {x["step"]: x["held_out/miou"] for x in lines if "held_out/miou" in x}
    assert list(held_out) == [2, 4, 6]
    best = min(step for step, miou in held_out.items() if miou == max(held_out.values()))
    checkpoint = finished.result.checkpoint
    assert checkpoint.step == best
    assert checkpoint.steps == 6
    with safe_open(finished.folder / "predictor.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["semisup"])
    images = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD), "bits": 8}
    assert facts == {"recipe": finished.result.recipe_hash, "step": best, "images": images}
    assert json.loads((finished.folder / "result.json").read_text())["data"]["images"] == images
    assert lines[-1]["final"]
    assert lines[-1]["score/miou"] == finished.result.scores.selected.miou
    assert lines[-1]["score_iou/sky"] == finished.result.per_class["sky"]["iou"]


def test_how_it_was_started_is_recorded(done: tuple[FinishedRun, Noting]) -> None:
    facts = json.loads((done[0].folder / "run.json").read_text())
    assert facts["recipe"] == done[0].result.recipe
    assert facts["command"] == ["semisup", "run"]
    assert facts["weights"] == []
    assert facts.keys() >= {"git", "versions", "device", "started"}


def test_the_recorded_recipe_is_the_recipe(root: Path, done: tuple[FinishedRun, Noting]) -> None:
    again = load_recipe(str(done[0].folder / "recipe.toml"))
    assert again.resolved() == recipe_of(root).resolved()
    assert again.digest() == done[0].result.recipe_hash


def test_the_picture_sheet_is_a_picture(done: tuple[FinishedRun, Noting]) -> None:
    with Image.open(done[0].folder / "pictures" / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 3 * 50
        assert sheet.height > 3 * 40


def test_a_finished_run_is_not_trained_again(
    root: Path, done: tuple[FinishedRun, Noting], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(runs, "train", refuse)
    folder = done[0].folder
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    again = run_recipe(recipe_of(root), Paths(root, folder.parents[1]), CPU)
    assert (again.fresh, again.folder, again.result) == (False, folder, done[0].result)
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_a_run_that_was_killed_while_scoring_is_scored_without_training(
    root: Path, tmp_path: Path, done: tuple[FinishedRun, Noting], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_result", die)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe_of(root), Paths(root, tmp_path), CPU)
    view = Noting()
    again = run_recipe(recipe_of(root), Paths(root, tmp_path), CPU, view=view)
    assert "training" not in view.phases
    for key in ("scores", "per_class", "confusion", "checkpoint"):
        assert getattr(again.result, key) == getattr(done[0].result, key)
    whole, twice = done[0].folder, again.folder
    for name in ("scalars.jsonl", "predictor.safetensors", "recipe.toml", "split.txt"):
        assert (whole / name).read_bytes() == (twice / name).read_bytes(), name


def test_an_interrupted_run_ends_with_the_same_files(
    root: Path, tmp_path: Path, done: tuple[FinishedRun, Noting]
) -> None:
    recipe, paths = recipe_of(root), Paths(root, tmp_path)
    with pytest.raises(Interrupted, match="after step 2 of 6"):
        run_recipe(recipe, paths, CPU, view=Stopping(2))
    with pytest.raises(RunError, match="is not finished"):
        open_run(paths.run_folder(recipe), CPU)
    again = run_recipe(recipe, paths, CPU)
    for name in ("scalars.jsonl", "predictor.safetensors", "pictures/sheet.png"):
        assert (again.folder / name).read_bytes() == (done[0].folder / name).read_bytes(), name


def with_weights(root: Path, rule: Any, **changes: Any) -> Recipe:
    return recipe_of(root, train={"class_weights": rule}, **changes)


def test_class_weights_are_counted_on_the_masks_that_are_trained_on(root: Path) -> None:
    recipe = with_weights(root, "enet")
    data = assemble.open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    method, _ = assemble.build_method(recipe, data.num_classes)
    found = assemble.weights_of_classes(recipe, data, labels, method)
    masks = torch.stack([data.mask(data.index(key)) for key in labels.training.labelled])
    counts = torch.bincount(masks[masks != 255].long(), minlength=3)
    assert set(labels.training.labelled).isdisjoint(labels.held_out)
    torch.testing.assert_close(found, 1 / (1.02 + counts / counts.sum()).log())


def test_a_run_with_class_weights_of_1_is_a_run_without(
    root: Path, tmp_path: Path, done: tuple[FinishedRun, Noting]
) -> None:
    run = run_recipe(with_weights(root, [1.0, 1.0, 1.0]), Paths(root, tmp_path), CPU)
    other = run_recipe(with_weights(root, "median_frequency"), Paths(root, tmp_path), CPU)
    logs = [(one.folder / "scalars.jsonl").read_bytes() for one in (done[0], run, other)]
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ([1.0, 2.0], "2 numbers, and folder has 3 classes"),
        ([1.0] * 4, "4 numbers, and folder has 3 classes"),
    ],
)
def test_weights_for_other_classes_are_refused(
    rule: list[float], words: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=words) as error:
        run_recipe(with_weights(root, rule), Paths(root, tmp_path), CPU)
    assert "\n" not in str(error.value)


def test_a_method_without_a_loss_over_the_classes_refuses_weights(root: Path) -> None:
    recipe = with_weights(root, "enet")
    data = assemble.open_data(recipe, Paths(root))
    labels, method = split_labels(recipe, data), SimpleNamespace(takes_class_weights=False)
    with pytest.raises(RecipeError, match=r"train\.class_weights: method 'supervised' has no"):
        assemble.weights_of_classes(recipe, data, labels, method)
    plain = recipe_of(root)
    assert assemble.weights_of_classes(plain, data, labels, method) is None


def test_a_run_with_another_loss_is_another_run(
    root: Path, tmp_path: Path, done: tuple[FinishedRun, Noting]
) -> None:
    recipes = [recipe_of(root, train={"loss": loss}) for loss in ("cross_entropy", "dice")]
    runs = [done[0], *(run_recipe(recipe, Paths(root, tmp_path), CPU) for recipe in recipes)]
    logs = [(one.folder / "scalars.jsonl").read_bytes() for one in runs]
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


def test_the_options_of_a_loss_reach_it(root: Path) -> None:
    method = SimpleNamespace(takes_class_weights=True)
    keys = {"loss": "ohem", "ohem_threshold": 0.6, "ohem_min_kept": 7, "focal_gamma": 1.0}
    recipe = recipe_of(root, train={**keys, "loss_divisor": "weights"})
    found = assemble.criterion_of(recipe, method)
    assert found == SupervisedLoss("ohem", "weights", 0.6, 7, 1.0)
    assert assemble.criterion_of(recipe_of(root), method) == SupervisedLoss()
    keys = {"loss": "bootstrap_hard", "bootstrap_label_share": 0.7, "symmetric_alpha": 0.2}
    found = assemble.criterion_of(recipe_of(root, train=keys | {"symmetric_beta": 3.0}), method)
    assert (found.kind, found.bootstrap_label_share) == ("bootstrap_hard", 0.7)
    assert (found.symmetric_alpha, found.symmetric_beta) == (0.2, 3.0)


@pytest.mark.parametrize("key", [{"loss": "dice"}, {"loss_divisor": "weights"}])
def test_a_method_without_a_loss_over_the_classes_refuses_another(
    key: dict[str, str], root: Path
) -> None:
    method = SimpleNamespace(takes_class_weights=False)
    words = rf"^train\.{next(iter(key))}: method 'supervised' has no cross entropy"
    with pytest.raises(RecipeError, match=words):
        assemble.criterion_of(recipe_of(root, train=key), method)
    assert assemble.criterion_of(recipe_of(root), method) == SupervisedLoss()


class Own(Supervised):
    """A method from outside with a loss of its own."""

    def supervised_loss(self, maps: Sequence[torch.Tensor], images: Labelled) -> torch.Tensor:
        return cross_entropy(maps[0], images.mask, class_weights=self.class_weights)


class Forgets(Own):
    def supervised_loss(self, maps: Sequence[torch.Tensor], images: Labelled) -> torch.Tensor:
        return cross_entropy(maps[0], images.mask)


class ForgetsInTorch(Own):
    def supervised_loss(self, maps: Sequence[torch.Tensor], images: Labelled) -> torch.Tensor:
        return functional.cross_entropy(maps[0], images.mask, ignore_index=255)


class Overlap(Own):
    def supervised_loss(self, maps: Sequence[torch.Tensor], images: Labelled) -> torch.Tensor:
        mask = images.mask
        own = maps[0].softmax(1).gather(1, mask.clamp(max=2)[:, None])[:, 0]
        return 1 - own[mask != 255].mean()


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("cls", [Forgets, ForgetsInTorch, Overlap])
def test_a_method_that_forgets_the_loss_ends_at_its_first_step(
    cls: type[Own], root: Path, tmp_path: Path
) -> None:
    register("forgetful", cls)
    own: dict[str, Any] = {"method": {"name": "forgetful"}}
    for key, value in {"loss": "focal", "loss_divisor": "weights"}.items():
        recipe = recipe_of(root, train={key: value}, **own)
        with pytest.raises(RecipeError) as error:
            run_recipe(recipe, Paths(root, tmp_path), CPU)
        text = str(error.value)
        assert text.startswith(f"train.{key}: the step of the method '{cls.__name__}' does not")
        assert "self.criterion" in text
        assert "\n" not in text


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("cls", [Forgets, ForgetsInTorch, Overlap])
def test_a_method_that_forgets_the_weights_ends_at_its_first_step(
    cls: type[Own], root: Path, tmp_path: Path
) -> None:
    register("forgetful", cls)
    own: dict[str, Any] = {"method": {"name": "forgetful"}}
    weighted = with_weights(root, [1.0, 2.0, 3.0], **own)
    with pytest.raises(RecipeError) as error:
        run_recipe(weighted, Paths(root, tmp_path), CPU)
    text = str(error.value)
    assert text.startswith(f"train.class_weights: the step of the method '{cls.__name__}' does")
    assert "self.supervised_loss" in text
    assert "\n" not in text
    folder = Paths(root, tmp_path).run_folder(weighted)
    assert not list((folder / "checkpoints").glob("*.pt"))
    assert run_recipe(with_weights(root, "none", **own), Paths(root, tmp_path), CPU).fresh


@pytest.mark.usefixtures("outside")
def test_a_method_that_passes_the_weights_to_a_loss_of_its_own_is_trained(
    root: Path, tmp_path: Path
) -> None:
    register("careful", Own)
    own: dict[str, Any] = {"method": {"name": "careful"}}
    for weights in ([1.0, 1.0, 1.0], "enet"):
        run_recipe(with_weights(root, weights, **own), Paths(root, tmp_path), CPU)


def test_no_reported_or_held_out_image_is_ever_trained_on(root: Path) -> None:
    recipe = recipe_of(
        root,
        method={"name": "adversarial", "discriminator_width": 4},
        optim={"discriminator": {"lr": 1e-4}},
        eval={"hold_out": 3, "every": 2},
    )
    data = assemble.open_data(recipe, Paths(root))
    labels = split_labels(recipe, data)
    method, _ = assemble.build_method(recipe, data.num_classes)
    streams = stream_builder(recipe, data, labels, method, torch.device("cpu"))(0)
    seen = {name: {i for _ in range(30) for i in next(s).ids} for name, s in streams.items()}
    assert len(labels.held_out) == 3
    assert set(labels.held_out) < set(labels.split.labelled)
    assert seen["labelled"] == set(labels.split.labelled) - set(labels.held_out)
    assert seen["unlabelled"] == set(labels.split.unlabelled)


def test_what_a_run_trains_on_selects_on_and_reports_on_is_apart(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: set[str] = set()
    selected: list[tuple[str, ...]] = []
    reported: list[tuple[str, ...]] = []

    class Reading(Stream):
        def __next__(self) -> Any:
            batch = super().__next__()
            trained.update(batch.ids)
            return batch

    def noting(into: list[tuple[str, ...]]) -> Callable[..., Any]:
        def scoring(*arguments: Any, **keywords: Any) -> Any:
            found = evaluate(*arguments, **keywords)
            into.append(found.ids)
            return found

        return scoring

    monkeypatch.setattr(assemble, "Stream", Reading)
    monkeypatch.setattr("semisup.training.selection.evaluate", noting(selected))
    monkeypatch.setattr(runs, "evaluate", noting(reported))
    recipe = recipe_of(root)
    run_recipe(recipe, Paths(root, tmp_path), CPU)
    labels = split_labels(recipe, assemble.open_data(recipe, Paths(root)))
    assert trained == set(labels.training.labelled)
    assert set(selected) == {labels.held_out}
    assert set(reported) == {("v0", "v1", "v2", "v3")}
    assert trained.isdisjoint(labels.held_out)
    assert trained | set(labels.held_out) == set(labels.split.labelled)


def test_the_best_predictor_is_exported_and_reported_and_the_last_beside_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter((0.9, 0.8, 0.7))

    def worse_and_worse(*arguments: Any, **keywords: Any) -> Any:
        found = evaluate(*arguments, **keywords)
        return replace(found, scores=replace(found.scores, miou=next(falling)))

    monkeypatch.setattr("semisup.training.selection.evaluate", worse_and_worse)
    finished = run_recipe(recipe_of(root), Paths(root, tmp_path), CPU)
    assert finished.result.checkpoint.step == 2
    checkpoints = finished.folder / "checkpoints"
    best = torch.load(checkpoints / "best-00000002.pt", weights_only=True)["predictor"]
    last = torch.load(checkpoints / "step-00000006.pt", weights_only=True)["method"]
    opened = open_run(finished.folder, CPU)
    weights = opened.network.state_dict()
    assert all(torch.equal(weights[name], best[name]) for name in best)
    assert not all(torch.equal(weights[name], last[f"segmenter.{name}"]) for name in best)
    again = evaluate_run(finished.folder, Paths(root), CPU)
    assert again.result.scores.selected == finished.result.scores.selected
    assert finished.result.scores.last != finished.result.scores.selected


def test_a_run_without_selection_reports_its_last_checkpoint(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root, train={"steps": 2}, eval={"every": 0, "hold_out": 0, "pictures": 0})
    finished = run_recipe(recipe, Paths(root, tmp_path), CPU)
    assert finished.result.checkpoint == ChosenCheckpoint("last checkpoint", step=2, steps=2)
    assert finished.result.scores.selected == finished.result.scores.last
    assert finished.result.protocol["selection"] == "last checkpoint"
    assert not (finished.folder / "pictures" / "sheet.png").exists()
    assert not list((finished.folder / "checkpoints").glob("best-*"))


class Warned(Noting):
    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def test_classes_without_a_pixel_are_told_before_training_and_kept_in_the_result(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path)
    with (tmp_path / "classes.txt").open("a") as file:
        file.write("".join(f"absent{number}\n" for number in range(40)))
    recipe = recipe_of(tmp_path, train={"steps": 1}, eval={"every": 0, "hold_out": 0})
    view = Warned()
    finished = run_recipe(recipe, Paths(tmp_path, tmp_path / "runs"), CPU, view=view)
    first = "'absent0', 'absent1', 'absent2', 'absent3', 'absent4' and 35 more of 43 classes have"
    assert view.warnings == [
        f"{first} no labelled pixel in the 6 masks that are trained on",
        f"{first} no labelled pixel in the 4 masks of val",
    ]
    absent = [name for name, iou in finished.per_class.items() if iou is None]
    assert absent  # one step teaches no 43 classes to be predicted
    assert list(finished.result.scores.selected.absent) == absent
    assert finished.result.counted().startswith(f"over {43 - len(absent)} of 43 classes; 'absent")
    content = json.loads(finished.file.read_text())
    assert content["scores"]["selected"]["absent"] == absent


def test_an_adversarial_run_with_an_average_goes_through(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        root,
        method={"name": "adversarial", "discriminator_width": 4},
        optim={"discriminator": {"kind": "adam", "lr": 1e-4}},
        train={"steps": 2, "ema": 0.9, "accumulate": 2, "clip": 1.0},
        eval={"every": 0, "hold_out": 0, "pictures": 1},
    )
    finished = run_recipe(recipe, Paths(root, tmp_path), CPU)
    text = (finished.folder / "scalars.jsonl").read_text()
    keys = json.loads(text.splitlines()[0]).keys()
    assert {"loss_segmentation", "loss_discriminator", "lr/segmenter", "lr/discriminator"} <= keys
    opened = open_run(finished.folder, CPU)  # the average is what is scored and exported
    saved = torch.load(finished.folder / "checkpoints" / "step-00000002.pt", weights_only=True)
    exported = {f"network.{key}": value for key, value in opened.network.state_dict().items()}
    assert saved["average"].keys() == exported.keys()
    for name, value in exported.items():
        assert torch.equal(value, saved["average"][name])


def test_weights_to_start_from_are_loaded_and_recorded(root: Path, tmp_path: Path) -> None:
    plain = recipe_of(root)
    method, notes = assemble.build_method(plain, 3)
    assert notes == []
    weights = tmp_path / "start.safetensors"
    save_file(method.predictor().state_dict(), weights)
    recipe = recipe_of(root, model={"weights": str(weights)}, train={"steps": 1})
    loaded, notes = assemble.build_method(recipe, 3)
    assert "start.safetensors" in notes[0]
    for name, value in loaded.predictor().state_dict().items():
        assert torch.equal(value, method.predictor().state_dict()[name])
    finished = run_recipe(recipe, Paths(root, tmp_path), CPU)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    assert finished.result.protocol["pretraining"] == f"start.safetensors ({digest})"
    weights.unlink()  # a finished run does not need them any more
    assert open_run(finished.folder, CPU).result == finished.result


def test_the_seed_and_the_place_decide_the_folder_and_nothing_else_does(
    root: Path, tmp_path: Path
) -> None:
    paths = Paths(root, tmp_path)
    one = paths.run_folder(recipe_of(root))
    assert paths.run_folder(recipe_of(root, train={"seed": 4})).name == one.name[:-1] + "4"
    moved = recipe_of(root, data={"root": "elsewhere", "workers": 5})
    assert paths.run_folder(moved) == one
    assert paths.run_folder(recipe_of(root, train={"steps": 7})) != one


def test_a_split_without_unlabelled_images_is_refused_where_they_are_read(
    root: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(
        root,
        data={"split": "all"},
        method={"name": "adversarial"},
        optim={"discriminator": {"lr": 1e-4}},
    )
    with pytest.raises(RecipeError, match=r"data\.split = 'all' leaves no unlabelled image"):
        run_recipe(recipe, Paths(root, tmp_path), CPU)


@pytest.mark.parametrize("data", [{"unlabelled_batch": 1}, {"crop": "whole", "labelled_batch": 1}])
def test_a_box_of_another_image_needs_another_image(
    data: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    data = {"unlabelled_batch": 1, **data}
    recipe = recipe_of(root, data=data, method={"name": "fixmatch"})
    with pytest.raises(RecipeError, match=r"'fixmatch' pastes .* = 1 has 1\. Set it to 2 or a"):
        run_recipe(recipe, Paths(root, tmp_path), CPU)


def test_a_box_of_the_same_image_needs_no_other(root: Path, tmp_path: Path) -> None:
    method = {"name": "fixmatch", "partner": "self", "confidence_threshold": 0.3}
    one = {"unlabelled_batch": 1}
    recipe = recipe_of(root, data=one, method=method, train={"steps": 1}, eval={"pictures": 0})
    assert run_recipe(recipe, Paths(root, tmp_path), CPU).fresh
    whole = {"unlabelled_batch": 1, "labelled_batch": 1, "crop": "whole"}
    recipe = recipe_of(root, data=whole, method=method)
    with pytest.raises(RecipeError, match=r"'whole': method 'fixmatch' .* Set it to \[height"):
        run_recipe(recipe, Paths(root, tmp_path), CPU)


def test_whole_images_go_one_by_one(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'data\.crop = "whole" goes with .* = 1'):
        run_recipe(recipe_of(root, data={"crop": "whole"}), Paths(root, tmp_path), CPU)
    recipe = recipe_of(
        root,
        data={"crop": "whole", "labelled_batch": 1, "unlabelled_batch": 1},
        train={"steps": 1},
        eval={"pictures": 0},
    )
    assert run_recipe(recipe, Paths(root, tmp_path), CPU).fresh


def test_an_optimiser_that_is_missing_is_named_before_anything_is_trained(
    root: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(root, method={"name": "adversarial"})
    with pytest.raises(RecipeError, match=r"\[optim\.discriminator\] is missing"):
        run_recipe(recipe, Paths(root, tmp_path), CPU)


# What can be done with a finished run


def test_an_opened_run_predicts_as_it_did_when_it_was_scored(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    export = runs._export

    def keeping(directory: Any, outcome: runs.ScoredPredictor, *others: Any) -> None:
        kept.append(copy.deepcopy(outcome.predictor))
        export(directory, outcome, *others)

    monkeypatch.setattr(runs, "_export", keeping)
    recipe = recipe_of(root)
    finished = run_recipe(recipe, Paths(root, tmp_path), CPU)
    opened = open_run(finished.folder, CPU)
    assert not opened.network.training
    assert opened.classes == ("ground", "sky", "tree")
    assert opened.palette[1] == (70, 130, 180)
    assert opened.recipe.name == "tiny"
    images = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    then = Inference(kept[0], recipe.eval, CPU)(images)
    assert torch.equal(opened.inference()(images), then)


def test_a_run_is_scored_again_to_the_same_number(
    root: Path, done: tuple[FinishedRun, Noting]
) -> None:
    finished, _ = done
    again = evaluate_run(finished.folder, Paths(root), CPU)
    assert again.result.scores == ScoredPredictors(finished.result.scores.selected)
    assert again.miou == finished.miou
    assert again.result.confusion == finished.result.confusion
    assert again.result.protocol == finished.result.protocol
    assert read_result(again.file) == again.result
    assert again.file.parent == again.folder == finished.folder
    assert read_result(finished.file) == finished.result


def test_run_and_evaluate_state_the_same_keys(root: Path, done: tuple[FinishedRun, Noting]) -> None:
    finished, _ = done
    again = evaluate_run(finished.folder, Paths(root), CPU)
    once, twice = (json.loads(run.file.read_text()) for run in (finished, again))
    assert list(once) == list(twice)
    del once["scores"]["last"]  # of the predictor after the last step, which is not scored again
    for part in ("scores", "time", "protocol", "split", "checkpoint"):
        assert list(once[part]) == list(twice[part])


def test_a_run_is_scored_on_another_subset_and_protocol(
    root: Path, done: tuple[FinishedRun, Noting]
) -> None:
    finished, _ = done
    extra = evaluate_run(finished.folder, Paths(root), CPU, "extra")
    assert (extra.result.protocol["subset"], extra.result.protocol["images"]) == ("extra", 2)
    assert np.sum(extra.result.confusion) == 2 * 38 * 50
    changes = ["eval.flip=true", "eval.scales=[0.75, 1.0]", "eval.boundary=false"]
    flipped = evaluate_run(finished.folder, Paths(root), CPU, "extra", changes)
    assert flipped.result.protocol["flip"]
    assert flipped.result.protocol["scales"] == [0.75, 1.0]
    content = json.loads(flipped.file.read_text())
    assert "boundary_f1" not in content["scores"]["selected"]
    assert flipped.result.confusion != extra.result.confusion
    assert extra.file != flipped.file
    assert json.loads(extra.file.read_text()) == extra.result.content()
    assert {"seed", "split", "checkpoint", "recipe_hash"} <= content.keys()


@pytest.mark.parametrize("change", ["train.steps=9", "model.width=4", "data.split=1/4"])
def test_nothing_but_the_protocol_can_be_changed(
    change: str, root: Path, done: tuple[FinishedRun, Noting]
) -> None:
    with pytest.raises(RecipeError, match=rf"--set {change}: .*only eval\.\* can be set"):
        evaluate_run(done[0].folder, Paths(root), CPU, changes=[change])


def test_an_unknown_subset_is_named(root: Path, done: tuple[FinishedRun, Noting]) -> None:
    with pytest.raises(DataError, match=r"no subset 'vall'.*mean 'val'"):
        evaluate_run(done[0].folder, Paths(root), CPU, "vall")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run of semisup"):
        open_run(tmp_path, CPU)


@pytest.fixture
def copied(done: tuple[FinishedRun, Noting], tmp_path: Path) -> Path:
    """A copy of the finished run that may be broken."""
    for name in ("recipe.toml", "result.json", "predictor.safetensors"):
        (tmp_path / name).write_bytes((done[0].folder / name).read_bytes())
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    "damage", [cut, Path.unlink, lambda path: save_file({"weight": torch.zeros(2)}, path)]
)
def test_weights_that_are_damaged_or_of_another_network_are_refused(
    damage: Callable[[Path], None], copied: Path
) -> None:
    damage(copied / "predictor.safetensors")
    with pytest.raises(CheckpointError, match=r"predictor\.safetensors: does not fit 'unet'") as e:
        open_run(copied, CPU)
    assert "\n" not in str(e.value)


def test_a_cache_changes_no_bit(root: Path, tmp_path: Path) -> None:
    found = []
    for name, cache in (("without", 0), ("with", 1)):
        recipe = recipe_of(root, data={"cache": cache, "workers": 1})
        done = run_recipe(recipe, Paths(root, tmp_path / name), CPU)
        found.append(
            [
                (done.folder / file).read_bytes()
                for file in ("predictor.safetensors", "scalars.jsonl")
            ]
        )
    assert found[0] == found[1]


def test_batch_norm_over_processes_needs_gpus(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(root, train={"sync_batch_norm": True})
    method, _ = build_method(recipe, 3)
    prepare_networks(method, recipe, CPU)  # alone there is nothing to share
    monkeypatch.setattr(ranks, "world", lambda: 2)
    with pytest.raises(RecipeError, match=r"train\.sync_batch_norm needs a GPU.*Set it to false"):
        prepare_networks(method, recipe, CPU)


def test_the_keys_of_a_result_are_spelled_by_its_dataclass_alone() -> None:
    """Whoever reads a result takes an attribute: a literal in brackets would be a second place."""
    keys = {field.name for field in fields(Result)} - {"recipe", "seed"}  # keys of samples.json too
    package = Path(runs.__file__).parents[1]
    found = [
        f"{path.name}:{node.lineno}: {node.slice.value}"
        for room in ("runs", "cli")
        for path in sorted((package / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value in keys
    ]
    assert found == []


BENT: dict[str, dict[str, Any]] = {
    "data": {"ignore_classes": ("tree",), "elastic": 3.0},
    "train": {"border_weight": 10.0, "border_sigma": 3.0},
}
"""Two classes with border weights and elastic deformation."""


def test_a_bent_and_weighted_run_that_was_interrupted_ends_with_the_same_files(
    root: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(root, **BENT)
    with_workers = recipe_of(root, **BENT | {"data": {**BENT["data"], "workers": 2}})
    whole = run_recipe(recipe, Paths(root, tmp_path / "whole"), CPU)
    paths = Paths(root, tmp_path / "parts")
    with pytest.raises(Interrupted, match="after step 2 of 6"):
        run_recipe(recipe, paths, CPU, view=Stopping(2))
    again = run_recipe(with_workers, paths, CPU)
    plain = recipe_of(root, data={"ignore_classes": ("tree",)})
    other = run_recipe(plain, Paths(root, tmp_path / "plain"), CPU)
    name = "predictor.safetensors"
    assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert (other.folder / name).read_bytes() != (whole.folder / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {}}, "class 1 of two; 'folder' has 3 classes"),
        ({"train": {"loss": "dice"}}, r"'dice' has no loss of a pixel.*'cross_entropy\+dice'"),
        ({"train": {"loss": "lovasz"}}, r"'lovasz' has no loss of a pixel.*'cross_entropy\+lov"),
    ],
)
def test_border_weights_where_they_mean_nothing_are_refused(
    changes: dict[str, Any], words: str, root: Path, tmp_path: Path
) -> None:
    settings = {name: {**table} for name, table in BENT.items()}
    if "train" in changes:
        settings["train"] |= changes["train"]
    else:
        settings["data"] = changes["data"]
    with pytest.raises(RecipeError, match=rf"^train\.border_weight weights .*{words}") as error:
        run_recipe(recipe_of(root, **settings), Paths(root, tmp_path), CPU)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("takes", "labelled"), [(False, True), (True, False)])
def test_a_method_without_a_loss_over_the_classes_refuses_border_weights(
    takes: bool, labelled: bool, root: Path
) -> None:
    reads = SimpleNamespace(labelled=labelled)
    method, recipe = (
        SimpleNamespace(takes_class_weights=takes, reads=reads),
        recipe_of(root, **BENT),
    )
    data = assemble.open_data(recipe, Paths(root))
    with pytest.raises(RecipeError, match=r"^train\.border_weight: method 'supervised' has no"):
        assemble.border_weights_of(recipe, data, method)
    assert assemble.border_weights_of(recipe_of(root), data, method) is None


@pytest.mark.usefixtures("outside")
def test_a_method_that_forgets_the_border_weights_ends_at_its_first_step(
    root: Path, tmp_path: Path
) -> None:
    register("forgetful", Own)
    recipe = recipe_of(root, method={"name": "forgetful"}, **BENT)
    with pytest.raises(RecipeError) as error:
        run_recipe(recipe, Paths(root, tmp_path), CPU)
    text = str(error.value)
    assert text.startswith("train.border_weight: the step of the method 'Own' does not use it")
    assert "take self.supervised_loss" in text
    assert "\n" not in text


def test_crops_for_subsets_of_classes_are_not_bent(root: Path) -> None:
    settings = recipe_of(root, data={"elastic": 1.0}).data
    with pytest.raises(RecipeError, match=r"^data\.elastic: this method cuts its labelled crops"):
        assemble.combinations_of(settings)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_split_may_be_of_the_runs_own_seed(root: Path, seed: int) -> None:
    own = recipe_of(root, data={"split_seed": "same"}, train={"seed": seed})
    named = recipe_of(root, data={"split_seed": seed}, train={"seed": seed})
    data = assemble.open_data(own, Paths(root))
    assert split_labels(own, data) == split_labels(named, data)
    assert own.digest() == recipe_of(root, data={"split_seed": "same"}, train={"seed": 9}).digest()
    assert own.digest() != named.digest()
