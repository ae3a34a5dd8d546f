"""Scoring a run on other data, from where its own lay, and from any kept step."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.runs import CLASSES, CPU, IDS, Noting, Stopping, make_set, mend, recipe_of, relabelled

from semisup.data.sets.folder import Folder
from semisup.errors import CheckpointError, DataError, Interrupted, RecipeError, RunError
from semisup.evaluation.evaluate import evaluate
from semisup.metrics.confusion import class_iou, image_counts
from semisup.recipe.load import build_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.paths import Paths
from semisup.runs.reopen import evaluate_run, open_run
from semisup.runs.result import ChosenCheckpoint, FinishedRun, read_result
from semisup.runs.run import run_recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "data"
    make_set(folder)
    return folder


@pytest.fixture(scope="module")
def done(data: Path) -> FinishedRun:
    """A run of four steps, of which all checkpoints are kept."""
    recipe = recipe_of(steps=4, keep=0)
    return run_recipe(recipe, Paths(data, data.parent / "runs"), CPU)


def at(root: Path) -> Paths:
    """As --data-root."""
    return Paths(root, overrides=True)


# Another set


def test_another_order_of_the_names_gives_the_same_scores(
    data: Path, done: FinishedRun, tmp_path: Path
) -> None:
    other = relabelled(data, tmp_path / "other", ("tree", "ground", "sky"), (1, 2, 0))
    scored = evaluate_run(done.folder, at(other), CPU)
    assert scored.result.confusion == done.result.confusion
    assert scored.per_class == done.per_class
    assert scored.miou == done.miou
    (note,) = scored.notes
    assert "classes matched by name (there: tree, ground, sky)" in note
    assert str(other) in note
    assert scored.result.protocol["classes_of_the_set"] == ["tree", "ground", "sky"]
    assert scored.result.data is not None
    assert scored.result.data.reported.classes == ("tree", "ground", "sky")
    assert scored.result.data.reported.root == str(other)
    assert scored.result.data.trained == done.result.data.trained  # type: ignore[union-attr]


def test_a_class_that_the_run_does_not_know_is_void(
    data: Path, done: FinishedRun, tmp_path: Path
) -> None:
    wider = ("ground", "water", "sky", "tree")
    other = relabelled(data, tmp_path / "other", wider, (0, 2, 3))
    mask = np.array(Image.open(other / "masks" / "v0.png"))
    mask[:16] = 1  # water
    Image.fromarray(mask).save(other / "masks" / "v0.png")
    scored = evaluate_run(done.folder, at(other), CPU)
    assert "the run does not know water, which is void here" in scored.notes[0]
    void = shutil.copytree(data, tmp_path / "void")
    mask = np.array(Image.open(void / "masks" / "v0.png"))
    mask[:16] = 255
    Image.fromarray(mask).save(void / "masks" / "v0.png")
    same = evaluate_run(done.folder, at(void), CPU)
    assert scored.result.confusion == same.result.confusion
    assert scored.miou == same.miou
    assert np.sum(scored.result.confusion) == 3 * 32 * 40 - 16 * 40


@pytest.mark.parametrize("absent", ["excluded", "zero"])
def test_a_class_that_the_set_does_not_have_counts_in_no_mean_but_as_an_error(
    data: Path, done: FinishedRun, tmp_path: Path, absent: str
) -> None:
    other = relabelled(data, tmp_path / "other", ("tree", "ground"), (1, 255, 0))
    scored = evaluate_run(done.folder, at(other), CPU, changes=[f"eval.absent={absent}"])
    assert "the set does not have sky, which is left out of the means" in scored.notes[0]
    before = torch.tensor(done.result.confusion)
    expected = before.clone()
    expected[1] = 0  # sky is true nowhere, and predicted as often elsewhere as before
    assert scored.result.confusion == expected.tolist()
    assert expected[0, 1] + expected[2, 1] > 0
    iou = class_iou(image_counts(expected)).tolist()
    assert scored.per_class == {"ground": iou[0], "sky": None, "tree": iou[2]}
    assert scored.miou == pytest.approx((iou[0] + iou[2]) / 2)
    assert scored.miou_interval[0] <= scored.miou <= scored.miou_interval[1]


def test_boundaries_of_a_class_that_the_set_does_not_have_count_in_no_mean(
    data: Path, done: FinishedRun, tmp_path: Path
) -> None:
    other = relabelled(data, tmp_path / "other", ("tree", "ground"), (1, 255, 0))
    result = evaluate_run(done.folder, at(other), CPU, changes=["eval.boundary=true"]).result
    rows = result.per_class
    assert rows["sky"]["boundary_iou"] is None
    kept = [rows[name]["boundary_iou"] for name in ("ground", "tree")]
    values = [value for value in kept if value is not None]
    assert result.scores.selected.boundary_iou == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize(
    "names", [("sky", "road", "tree"), ("a", "b", "c"), ("ground", "sky", "water", "car")]
)
def test_other_names_are_refused_with_both_lists(
    data: Path, done: FinishedRun, tmp_path: Path, names: tuple[str, ...]
) -> None:
    other = relabelled(data, tmp_path / "other", names, (0, 1, 2))
    before = sorted(done.folder.iterdir())
    with pytest.raises(RunError) as caught:
        evaluate_run(done.folder, at(other), CPU)
    line = str(caught.value)
    assert "\n" not in line
    assert f"its classes are {', '.join(names)}, those of the run are ground, sky, tree;" in line
    assert sorted(done.folder.iterdir()) == before


def test_results_of_sets_with_the_same_ids_lie_side_by_side(
    data: Path, done: FinishedRun, tmp_path: Path
) -> None:
    files = {evaluate_run(done.folder, None, CPU).file}
    for name, path in (("masks", "masks/v0.png"), ("images", "images/v1.png")):
        other = shutil.copytree(data, tmp_path / name)
        Image.open(other / path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(other / path)
        scored = evaluate_run(done.folder, at(other), CPU)
        assert f"folder val in {other} is not the set that the run reports on" in scored.notes[0]
        found = read_result(scored.file)
        assert found is not None
        assert found.data is not None
        assert found.data.reported.root == str(other)
        files.add(scored.file)
        assert evaluate_run(done.folder, at(other), CPU).file == scored.file
    assert len(files) == 3


def test_moved_data_are_the_same_set(data: Path, done: FinishedRun, tmp_path: Path) -> None:
    own = evaluate_run(done.folder, None, CPU)
    moved = evaluate_run(done.folder, at(shutil.copytree(data, tmp_path / "moved")), CPU)
    assert (moved.notes, moved.file) == ((), own.file)
    assert moved.result.scores == own.result.scores


def make_voc(data: Path, root: Path) -> Path:
    """The pictures of `data` as a tree of VOC: aeroplane is `sky`'s place, bicycle `tree`'s."""
    tree = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tree / folder).mkdir(parents=True)
    for name in IDS["val"]:
        Image.open(data / "images" / f"{name}.png").save(
            tree / "JPEGImages" / f"{name}.jpg", quality=95
        )
        shutil.copy(data / "masks" / f"{name}.png", tree / "SegmentationClass" / f"{name}.png")
    lines = "".join(f"{name}\n" for name in IDS["val"])
    (tree / "ImageSets" / "Segmentation" / "val.txt").write_text(lines)
    return root


def test_a_set_of_another_kind_is_scored_by_the_names_of_its_classes(
    data: Path, tmp_path: Path
) -> None:
    mine = relabelled(data, tmp_path / "mine", ("bicycle", "background", "aeroplane"), (1, 2, 0))
    run = run_recipe(recipe_of(), Paths(mine, tmp_path / "runs"), CPU)
    voc = make_voc(data, tmp_path / "voc")
    scored = evaluate_run(run.folder, at(voc), CPU, data="voc")
    assert "the run does not know bird, boat" in scored.notes[0]
    assert list(scored.per_class) == ["bicycle", "background", "aeroplane"]
    assert scored.result.protocol["data"] == "voc"
    again = evaluate_run(
        run.folder,
        at(voc),
        CPU,
        changes=["data.name=voc", 'data.classes=["bicycle", "aeroplane", "background"]'],
    )
    assert again.result.confusion == scored.result.confusion
    assert "the run does not know" not in again.notes[0]
    assert again.file != scored.file
    rooted = evaluate_run(run.folder, None, CPU, changes=[f"data.root={voc}", "data.name=voc"])
    assert rooted.result.confusion == scored.result.confusion
    jpegs = shutil.copytree(mine, tmp_path / "jpegs")  # the same pictures, as the run's own kind
    for name in IDS["val"]:
        (jpegs / "images" / f"{name}.png").unlink()
        shutil.copy(voc / f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg", jpegs / "images")
    assert evaluate_run(run.folder, at(jpegs), CPU).result.confusion == scored.result.confusion


def test_what_is_trained_cannot_be_changed_with_the_set(done: FinishedRun) -> None:
    for change in ("data.crop=[8, 8]", "data.split=all", "data.masks=folder:x"):
        with pytest.raises(RecipeError, match=r"only eval\.\* can be set, and data.name"):
            evaluate_run(done.folder, None, CPU, changes=[change])
    with pytest.raises(RecipeError, match="no data set is called 'vok'"):
        evaluate_run(done.folder, None, CPU, data="vok")
    with pytest.raises(RecipeError, match="foldr"):
        evaluate_run(done.folder, None, CPU, changes=["data.foldr=x"])


# The run's own data


def test_a_run_remembers_where_its_data_lay(
    data: Path, done: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = evaluate_run(done.folder, None, CPU)
    assert again.result.scores.selected == done.result.scores.selected
    assert again.notes == ()
    opened = open_run(done.folder, CPU)
    assert list(opened.submission_set("val").ids) == IDS["val"]
    with pytest.raises(DataError, match="data folder is not there"):
        evaluate_run(done.folder, at(tmp_path / "nowhere"), CPU)


@pytest.fixture
def own(tmp_path: Path) -> FinishedRun:
    """A run whose data may be spoiled."""
    make_set(tmp_path / "data")
    return run_recipe(recipe_of(), Paths(tmp_path / "data", tmp_path / "runs"), CPU)


def test_own_data_that_have_changed_are_refused(own: FinishedRun, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "extra.txt").write_text("v1\n")
    assert evaluate_run(own.folder, None, CPU, "extra").result.protocol["images"] == 1
    mend(data / "masks" / "v1.png")
    with pytest.raises(RunError, match=r"1 of the 6 files of val have .*'masks/v1.png'.*--data fo"):
        evaluate_run(own.folder, None, CPU)
    with pytest.raises(RunError, match="have changed since"):
        evaluate_run(own.folder, at(data), CPU)
    other = evaluate_run(own.folder, None, CPU, data="folder")
    assert "is not the set that the run reports on" in other.notes[0]
    assert other.result.confusion != own.result.confusion
    assert other.file.name != "result.json"
    (data / "classes.txt").write_text("sky\nground\ntree\n")
    for subset in ("", "extra"):
        with pytest.raises(RunError, match="classes were ground, sky, tree, now they are sky, gro"):
            evaluate_run(own.folder, None, CPU, subset)
    with pytest.raises(RunError, match="its classes are ground, sky, tree, those of folder"):
        open_run(own.folder, CPU).submission_set("val")


# Any kept step


def test_a_kept_step_is_scored_to_what_the_run_of_that_length_would_be(
    data: Path, done: FinishedRun
) -> None:
    last = evaluate_run(done.folder, None, CPU, step=4)
    assert last.result.scores.selected == done.result.scores.selected
    second = evaluate_run(done.folder, None, CPU, step=2)
    assert second.file.name.startswith("result-val-step-2-")
    assert second.result.checkpoint.step == 2
    assert second.result.checkpoint.steps == 4
    state = torch.load(done.folder / "checkpoints" / "step-00000002.pt", weights_only=True)
    network = open_run(done.folder, CPU, step=2).network.state_dict()
    for name, value in network.items():
        assert torch.equal(value, state["method"][f"segmenter.{name}"]), name
    assert second.result.confusion != done.result.confusion
    opened = open_run(done.folder, CPU, step=2)
    assert opened.identity()["step"] == 2
    assert opened.identity() != open_run(done.folder, CPU).identity()


def test_a_step_that_is_not_kept_is_refused_with_those_that_are(done: FinishedRun) -> None:
    with pytest.raises(RunError, match=r"no checkpoint of step 3000\. Kept: 1, 2, 3, 4"):
        open_run(done.folder, CPU, step=3000)


def test_a_stopped_run_is_scored_and_opened(data: Path, tmp_path: Path) -> None:
    recipe, paths = recipe_of(), Paths(data, tmp_path / "runs")
    with pytest.raises(Interrupted):
        run_recipe(recipe, paths, CPU, view=Stopping())
    folder = paths.run_folder(recipe)
    with pytest.raises(RunError, match=r"is not finished.*let it end, or .* such as --step 1\."):
        open_run(folder, CPU)
    scored = evaluate_run(folder, None, CPU, step=1)
    opened = open_run(folder, CPU, step=1)
    assert (opened.classes, opened.result) == (CLASSES, None)
    assert opened.palette == Folder(data, "val").palette
    assert (scored.result.checkpoint.step, scored.result.checkpoint.steps) == (1, 2)
    assert read_result(scored.file) == scored.result
    assert not (folder / "result.json").exists()
    ended = run_recipe(recipe, paths, CPU)  # and it goes on as if nobody had looked
    assert ended.fresh
    assert scored.result.split == ended.result.split
    assert scored.result.data == ended.result.data
    assert scored.result.recipe_hash == ended.result.recipe_hash
    assert evaluate_run(folder, None, CPU, step=1).result.confusion == scored.result.confusion


def held_out(**train: Any) -> Recipe:
    """Three steps, each scored on a held-out image; the networks of the last one are kept."""
    tables = recipe_of(steps=3, keep=1, **train).resolved()
    return build_recipe("tiny", tables | {"eval": tables["eval"] | {"every": 1, "hold_out": 1}})


def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The held-out scores of three steps, of which the first is the best."""
    mious = iter((0.9, 0.8, 0.7))

    def worse(*arguments: Any, **keywords: Any) -> Any:
        found = evaluate(*arguments, **keywords)
        return replace(found, scores=replace(found.scores, miou=next(mious)))

    monkeypatch.setattr("semisup.training.selection.evaluate", worse)


def test_the_best_step_is_opened_and_scored_although_its_networks_are_gone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling(monkeypatch)
    done = run_recipe(held_out(), Paths(data, tmp_path), CPU)
    files = {path.name for path in (done.folder / "checkpoints").iterdir()}
    assert files == {"best-00000001.pt", "step-00000003.pt"}
    best = evaluate_run(done.folder, None, CPU, step=1)
    assert best.file.name.startswith("result-val-step-1-")
    assert best.result.scores.selected == done.result.scores.selected
    assert best.result.checkpoint == ChosenCheckpoint("step 1, as named", step=1, steps=3)
    network, own = (open_run(done.folder, CPU, step=n).network.state_dict() for n in (1, None))
    assert all(torch.equal(network[name], own[name]) for name in own)
    with pytest.raises(RunError, match=r"no checkpoint of step 2\. Kept: 1 \(the best\), 3;"):
        open_run(done.folder, CPU, step=2)


def test_the_best_step_of_a_stopped_run_is_scored(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling(monkeypatch)

    class StoppingLater(Stopping):
        def logged(self, record: Any) -> None:
            super().logged(replace(record, step=record.step - 1))

    recipe, paths = held_out(), Paths(data, tmp_path)
    with pytest.raises(Interrupted):
        run_recipe(recipe, paths, CPU, view=StoppingLater())
    folder = paths.run_folder(recipe)
    scored = evaluate_run(folder, None, CPU, step=1).result
    assert scored.checkpoint == ChosenCheckpoint("step 1, as named", step=1, steps=3)
    assert (scored.recipe_hash, scored.processes) == (recipe.digest(), [1])
    assert scored.time.train_seconds >= 0
    with pytest.raises(RunError, match=r"such as --step 2\."):
        open_run(folder, CPU)
    later = evaluate_run(folder, None, CPU, step=2).result
    assert later.confusion != scored.confusion
    (folder / "checkpoints" / "step-00000002.pt").unlink()  # as if killed before any was written
    assert evaluate_run(folder, None, CPU, step=1).result.confusion == scored.confusion
    with pytest.raises(RunError, match=r"such as --step 1\."):
        open_run(folder, CPU)


def test_a_best_step_that_is_damaged_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling(monkeypatch)
    done = run_recipe(held_out(), Paths(data, tmp_path), CPU)
    path = done.folder / "checkpoints" / "best-00000001.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"best-00000001\.pt: is damaged"):
        open_run(done.folder, CPU, step=1)


def test_of_a_run_with_an_average_a_step_is_the_average(data: Path, tmp_path: Path) -> None:
    done = run_recipe(recipe_of(ema=0.9), Paths(data, tmp_path), CPU)
    network = open_run(done.folder, CPU, step=1).network.state_dict()
    state = torch.load(done.folder / "checkpoints" / "step-00000001.pt", weights_only=True)
    for name, value in network.items():
        assert torch.equal(value, state["average"][f"network.{name}"]), name
    assert evaluate_run(done.folder, None, CPU, step=2).miou == done.miou


def test_the_predictor_takes_no_room_in_a_checkpoint(done: FinishedRun, tmp_path: Path) -> None:
    path = done.folder / "checkpoints" / "step-00000002.pt"
    state = torch.load(path, weights_only=True)
    del state["predictor"]
    torch.save(state, tmp_path / "without.pt")
    assert path.stat().st_size < 1.2 * (tmp_path / "without.pt").stat().st_size


def test_a_checkpoint_is_taken_as_weights(data: Path, done: FinishedRun, tmp_path: Path) -> None:
    path = done.folder / "checkpoints" / "step-00000002.pt"
    tables = recipe_of(steps=1).resolved()
    tables["model"]["weights"] = str(path)
    view = Noting()
    started = run_recipe(build_recipe("next", tables), Paths(data, tmp_path), CPU, view=view)
    (note,) = [note for note in view.notes if "tensors loaded" in note]
    assert "missing" not in note
    assert "shape" not in note
    assert started.result.pretraining.startswith("step-00000002.pt (")


def test_a_root_given_by_hand_comes_before_that_of_the_recipe(data: Path, tmp_path: Path) -> None:
    tables = recipe_of().resolved()
    tables["data"]["root"] = str(data)
    run = run_recipe(build_recipe("rooted", tables), Paths(Path("nowhere"), tmp_path / "r"), CPU)
    other = relabelled(data, tmp_path / "other", ("tree", "ground", "sky"), (1, 2, 0))
    assert "tree, ground, sky" in evaluate_run(run.folder, at(other), CPU).notes[0]
    assert evaluate_run(run.folder, Paths(other), CPU).notes == ()  # as SEMISUP_DATA
    assert evaluate_run(run.folder, None, CPU).notes == ()
