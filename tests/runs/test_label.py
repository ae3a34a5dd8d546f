"""Pseudo-masks of a finished run: who is labelled, what is written, and what trains on it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from support.runs import CLASSES, CPU, make_set, recipe_of

from semisup.cli.display.results import print_result
from semisup.cli.main import cli
from semisup.data.labels.tags import Tags
from semisup.data.loading.to_device import to_device
from semisup.data.sets.masks_in_folder import MasksInFolder, read_masks
from semisup.errors import DataError, RecipeError, RunError, SemisupError
from semisup.losses.segmentation import cross_entropy
from semisup.methods.supervised import Supervised
from semisup.recipe.recipe import Recipe
from semisup.runs.assemble import build_method, open_data, split_labels, stream_builder
from semisup.runs.label import LabelledImages, _known_of, label_run
from semisup.runs.paths import Paths
from semisup.runs.reopen import OpenRun, open_run
from semisup.runs.run import run_recipe
from semisup.types import IGNORE, Labelled

THRESHOLD = 0.4


def with_data(recipe: Recipe, **changes: object) -> Recipe:
    return replace(recipe, data=recipe.data.model_copy(update=changes))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on half of six images, of which the others have lost their masks."""
    folder = tmp_path_factory.mktemp("label")
    make_set(folder / "data")
    done = run_recipe(recipe_of(), Paths(folder / "data", folder / "runs"), CPU)
    opened = open_run(done.folder, CPU)
    split = opened.experiment.labels.split
    for name in split.unlabelled:  # damaged: to open one is to fail
        (folder / "data" / "masks" / f"{name}.png").write_bytes(b"no mask")
    return folder


@pytest.fixture
def opened(place: Path) -> OpenRun:
    return open_run(next((place / "runs" / "tiny").iterdir()), CPU)


@pytest.fixture(scope="module")
def labelled(place: Path) -> LabelledImages:
    return label_run(
        open_run(next((place / "runs" / "tiny").iterdir()), CPU),
        place / "pseudo",
        threshold=THRESHOLD,
    )


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_images_without_a_mask_get_what_the_predictor_is_sure_of(
    place: Path, opened: OpenRun, labelled: LabelledImages
) -> None:
    split = opened.experiment.labels.split
    assert labelled.ids == split.unlabelled
    masks = {path.stem for path in (place / "pseudo").glob("*.png")}
    assert masks == set(split.unlabelled), "no labelled image has a pseudo-mask"
    predictor = opened.predictor()
    data = opened.experiment.data
    counts = np.zeros(3)
    for name in labelled.ids:
        sure, classes = predictor.probabilities(data.image(data.index(name))).max(dim=0)
        expected = torch.where(sure >= THRESHOLD, classes, IGNORE).numpy()
        found = pixels(place / "pseudo" / f"{name}.png")
        assert np.array_equal(found, expected), name
        confidence = pixels(place / "pseudo" / "confidence" / f"{name}.png")
        assert np.array_equal(confidence, (sure * 255).round().to(torch.uint8).numpy()), name
        counts += np.bincount(found[found != IGNORE], minlength=3)
    assert 0 < labelled.made.share < 1, "this threshold tells pixels apart"
    shares = counts / (len(labelled.ids) * expected.size)
    assert list(labelled.made.shares.values()) == pytest.approx(list(shares))


def test_the_record_states_the_run_the_rule_and_the_shares(
    place: Path, opened: OpenRun, labelled: LabelledImages
) -> None:
    record = json.loads((place / "pseudo" / "pseudo_masks.json").read_text())
    assert record["made_by"] == {
        "recipe": "tiny",
        "recipe_hash": opened.run.recipe_hash,
        "seed": 0,
        "step": 2,
        "weights": opened.weights,
        "run": opened.folder.name,
    }
    assert (record["threshold"], record["tags"], record["eval.crf"]) == (THRESHOLD, None, False)
    assert record["images"] == 3
    assert record["labelled_share"] == pytest.approx(
        sum(record["labelled_share_of_class"].values())
    )
    assert record["labelled_share_of_class"].keys() == set(CLASSES)


def test_a_call_that_was_stopped_goes_on_and_ends_with_the_same_files(
    place: Path, opened: OpenRun, labelled: LabelledImages, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    shutil.copytree(place / "pseudo", half)
    whole = contents(half)
    first, second, _ = labelled.ids
    (half / "pseudo_masks.json").unlink()
    (half / f"{first}.png").unlink()  # its confidence is there: it was stopped in between
    with pytest.raises(DataError, match=r"has no pseudo_masks\.json: .* are not complete\. Repeat"):
        read_masks(f"folder:{half}")
    time = (half / f"{second}.png").stat().st_mtime_ns
    again = label_run(opened, half, threshold=THRESHOLD)
    assert again.made.kept == 2
    assert (half / f"{second}.png").stat().st_mtime_ns == time
    assert contents(half) == whole
    assert again.made.content() == labelled.made.content()


def test_pseudo_masks_are_as_many_as_were_written(
    place: Path, opened: OpenRun, labelled: LabelledImages, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place / "pseudo", copy)
    mask = copy / f"{labelled.ids[0]}.png"
    shutil.copy(mask, copy / "t9.png")
    with pytest.raises(DataError, match=r"holds 4 masks, and weak_labels\.json states 3: .* take"):
        read_masks(f"folder:{copy}")
    (copy / "t9.png").unlink()
    mask.unlink()
    with pytest.raises(DataError, match=r"holds 2 masks, .* states 3: repeat .* what is missing$"):
        read_masks(f"folder:{copy}")
    label_run(opened, copy, threshold=THRESHOLD)
    assert len(read_masks(f"folder:{copy}").files) == 3
    manifest = json.loads((copy / "weak_labels.json").read_text())
    (copy / "weak_labels.json").write_text(json.dumps({**manifest, "images": "many"}))
    with pytest.raises(DataError, match=r"does not say how many masks; label anew"):
        read_masks(f"folder:{copy}")


def test_other_pseudo_masks_need_a_folder_of_their_own(
    place: Path, opened: OpenRun, labelled: LabelledImages
) -> None:
    before = contents(place / "pseudo")
    with pytest.raises(DataError, match=rf"has threshold = {THRESHOLD}, and not 0\.5: give these"):
        label_run(opened, place / "pseudo", threshold=0.5)
    with pytest.raises(DataError, match=r"data/masks is not empty: give the labels a folder"):
        label_run(opened, place / "data" / "masks", threshold=0.5)
    assert contents(place / "pseudo") == before


def test_a_mask_of_an_image_that_has_changed_is_named(
    place: Path, opened: OpenRun, labelled: LabelledImages, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place / "pseudo", copy)
    first, second, _ = labelled.ids
    shutil.copy(copy / f"{second}.png", copy / f"{first}.png")
    with pytest.raises(DataError, match=rf"{first}\.png: is the pseudo-mask of another image than"):
        label_run(opened, copy, threshold=THRESHOLD)


def test_a_recipe_trains_on_them_and_states_where_they_are_from(
    place: Path, labelled: LabelledImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"folder:{place / 'pseudo'}"
    recipe = with_data(recipe_of(steps=1), masks=folder, split="masked")
    done = run_recipe(recipe, Paths(place / "data", tmp_path), CPU)
    split = done.result.split
    assert split.labelled == 3
    assert split.masks is not None
    assert split.masks.files == 3, "the confidences are no masks"
    assert split.masks.made_by is not None
    assert (split.masks.made_by["recipe"], split.masks.made_by["threshold"]) == ("tiny", THRESHOLD)
    print_result(done.result, done.folder)
    maker = f"pseudo-masks of tiny {split.masks.made_by['recipe_hash']}-s0"
    assert maker in " ".join(capsys.readouterr().out.split())
    stored = json.loads((done.folder / "result.json").read_text())
    assert stored["split"]["masks"]["made_by"]["recipe"] == "tiny"
    again = run_recipe(recipe, Paths(place / "data", tmp_path), CPU)
    assert not again.fresh, "a finished run is compared with its masks and stands"


def test_the_next_round_labels_the_same_images_again(
    place: Path, labelled: LabelledImages, tmp_path: Path
) -> None:
    masks = f"folder:{place / 'pseudo'}"
    recipe = with_data(recipe_of(steps=1), masks=masks, split="masked")
    selects = recipe.eval.model_copy(update={"hold_out": 1, "every": 1})
    recipe = replace(recipe, eval=selects)
    done = run_recipe(recipe, Paths(place / "data", tmp_path / "runs"), CPU)
    second = open_run(done.folder, CPU)
    listed = tmp_path / "ids.txt"
    listed.write_text(f"{labelled.ids[1]}\n")
    again = label_run(second, tmp_path / "pseudo2", threshold=0.0)
    assert again.ids == labelled.ids, "held-out ones too"
    assert again.split == "", "there are no masks of its own to learn from beside them"
    assert label_run(second, tmp_path / "one", listed=listed).ids == (labelled.ids[1],)
    line = ["label", str(done.folder), "--out", str(tmp_path / "pseudo3"), "--count", "0"]
    told = CliRunner().invoke(cli, line)
    assert told.exit_code == 0, told.output
    (command,) = [line for line in told.output.splitlines() if "semisup run" in line]
    assert command.endswith("pseudo3 --set eval.hold_out=0"), "none of them is held out"


def test_weak_labels_of_people_are_replaced_too(place: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    for name in ("t0", "t1"):
        Image.fromarray(np.full((32, 40), 1, np.uint8)).save(boxes / f"{name}.png")
    (boxes / "weak_labels.json").write_text(
        json.dumps({"kind": "boxes", "data": "folder", "classes": CLASSES, "images": 6})
    )
    recipe = with_data(recipe_of(steps=1), masks=f"folder:{boxes}", split="masked")
    done = run_recipe(recipe, Paths(place / "data", tmp_path / "runs"), CPU)
    made = label_run(open_run(done.folder, CPU), tmp_path / "pseudo", threshold=0.0)
    assert made.ids == ("t0", "t1", "t2", "t3", "t4", "t5")


def test_a_recipe_learns_from_them_beside_the_masks(
    place: Path, labelled: LabelledImages, tmp_path: Path
) -> None:
    recipe = with_data(recipe_of(steps=1), weak_masks=f"folder:{place / 'pseudo'}", weak_batch=1)
    method = recipe.method.model_copy(update={"name": "partial_cross_entropy"})
    done = run_recipe(replace(recipe, method=method), Paths(place / "data", tmp_path), CPU)
    assert (done.result.split.labelled, done.result.split.weakly_labelled) == (3, 3)


def weighted(recipe: Recipe, **train: object) -> Recipe:
    changed = recipe.train.model_copy(update={"confidence_weights": True, **train})
    return replace(recipe, train=changed)


@pytest.mark.parametrize("where", ["masks", "weak_masks"])
def test_pixels_are_weighted_by_the_confidence_that_lies_beside_their_label(
    place: Path, labelled: LabelledImages, tmp_path: Path, where: str
) -> None:
    split = {"split": "masked"} if where == "masks" else {"weak_batch": 2}
    recipe = with_data(recipe_of(steps=1), **{where: f"folder:{place / 'pseudo'}"}, **split)
    if where == "weak_masks":
        method = recipe.method.model_copy(update={"name": "partial_cross_entropy"})
        recipe = replace(recipe, method=method)
    for chosen in (recipe, weighted(recipe)):
        data = open_data(chosen, Paths(place / "data"))
        labels = split_labels(chosen, data)
        method, _ = build_method(chosen, data.num_classes)
        streams = stream_builder(chosen, data, labels, method, CPU)(0)
        stream = streams["labelled" if where == "masks" else "weak"]
        with stream:
            batch = to_device(next(stream), CPU)
        if chosen is recipe:
            assert batch.confidence is None
            plain = batch
    assert batch.confidence is not None
    mask = batch.mask if where == "masks" else batch.partial
    assert torch.equal(mask, plain.mask if where == "masks" else plain.partial), "the same labels"
    # A label is there just where the run was sure enough (of 8 bits), in whatever way it was cut.
    levels, known = (batch.confidence * 255)[batch.valid], (mask != IGNORE)[batch.valid]
    assert levels[known].min() >= round(255 * THRESHOLD) >= levels[~known].max()
    assert 0 < (mask != IGNORE).float().mean() < 1
    maps = [torch.randn(len(mask), 3, *mask.shape[1:], dtype=torch.float64)]
    method.class_weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    losses = F.cross_entropy(maps[0], mask, ignore_index=IGNORE, reduction="none")
    factors = method.class_weights[mask.masked_fill(mask == IGNORE, 0)] * batch.confidence
    total = (losses * factors).sum() / (mask != IGNORE).sum()
    torch.testing.assert_close(method.supervised_loss(maps, batch), total)
    assert method.read_confidence


def test_a_run_states_that_it_read_the_confidences_and_refuses_others(
    place: Path, labelled: LabelledImages, tmp_path: Path
) -> None:
    copy = tmp_path / "pseudo"
    shutil.copytree(place / "pseudo", copy)
    recipe = with_data(recipe_of(steps=1), masks=f"folder:{copy}", split="masked")
    paths = Paths(place / "data", tmp_path / "runs")
    plain, done = (run_recipe(one, paths, CPU) for one in (recipe, weighted(recipe)))
    assert plain.folder != done.folder
    assert plain.result.split.masks.sha256 != done.result.split.masks.sha256
    assert done.result.split.masks.sha256_of == "names and contents, with confidences"
    assert not run_recipe(weighted(recipe), paths, CPU).fresh
    one = next((copy / "confidence").glob("*.png"))
    Image.fromarray(np.full((32, 40), 200, np.uint8)).save(one)
    assert not run_recipe(recipe, paths, CPU).fresh, "it never read them"
    with pytest.raises(RunError, match=r"was begun with other masks \(data\.masks\)"):
        run_recipe(weighted(recipe), paths, CPU)
    other = weighted(recipe, seed=1, steps=6)
    Image.fromarray(np.full((9, 40), 200, np.uint8)).save(one)
    with pytest.raises(
        DataError, match=r"\.png is 9x40, but the pseudo-mask of the image is 32x40"
    ):
        run_recipe(other, paths, CPU)
    one.unlink()
    with pytest.raises(DataError, match=rf"has no {one.name}: label the images anew, or set train"):
        run_recipe(other, paths, CPU)


def test_a_method_that_forgets_the_confidences_is_told_so(
    place: Path, labelled: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(method: Supervised, maps: list[torch.Tensor], images: Labelled) -> torch.Tensor:
        return cross_entropy(maps[0], images.mask)

    monkeypatch.setattr(Supervised, "supervised_loss", plain)
    recipe = with_data(recipe_of(steps=1), masks=f"folder:{place / 'pseudo'}", split="masked")
    with pytest.raises(RecipeError, match=r"^train\.confidence_weights: the step of the method"):
        run_recipe(weighted(recipe), Paths(place / "data", tmp_path), CPU)


def test_pseudo_masks_of_other_classes_are_refused(
    opened: OpenRun, place: Path, labelled: LabelledImages, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(place / "pseudo", copy)
    manifest = json.loads((copy / "weak_labels.json").read_text())
    (copy / "weak_labels.json").write_text(json.dumps({**manifest, "classes": ["a", "b", "c"]}))
    with pytest.raises(DataError, match=r"these labels are of 3 classes, a, b, c"):
        MasksInFolder(opened.experiment.data, read_masks(f"folder:{copy}"))


def test_a_list_says_which_images_are_labelled(
    opened: OpenRun, labelled: LabelledImages, tmp_path: Path
) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text(f"{labelled.ids[1]}\n")
    made = label_run(opened, tmp_path / "one", threshold=THRESHOLD, listed=listed)
    assert made.ids == (labelled.ids[1],)
    own = opened.experiment.labels.split.labelled[0]
    for name, message in [
        (own, rf"'{own}' has a mask in this run, which no pseudo-mask replaces"),
        ("t9", r"'t9' is no image of subset 'train' of folder\. Known: t0, t1"),
    ]:
        listed.write_text(f"{name}\n")
        with pytest.raises(DataError, match=message):
            label_run(opened, tmp_path / "none", listed=listed)
    assert not (tmp_path / "none").exists()


def test_another_subset_is_labelled_without_its_masks(opened: OpenRun, tmp_path: Path) -> None:
    made = label_run(opened, tmp_path / "val", threshold=0.0, subset="val")
    assert made.ids == ("v0", "v1", "v2")
    assert (made.made.share, made.split) == (pytest.approx(1.0), "")


def test_tags_of_a_file_exclude_classes(
    opened: OpenRun, labelled: LabelledImages, tmp_path: Path
) -> None:
    """Class 0 is no background here, which nobody tags: the line says so."""
    (tmp_path / "tags.txt").write_text("t0\tsky\n")
    with pytest.raises(RecipeError, match=r"cannot have tags: class 0 is 'ground'"):
        label_run(opened, tmp_path / "out", tags=f"file:{tmp_path / 'tags.txt'}")


def test_tags_of_the_run_hold_for_images_whose_pseudo_masks_are_replaced(opened: OpenRun) -> None:
    data = opened.experiment.data
    tags = Tags(CLASSES, {name: frozenset({1}) for name in data.ids}, "xml")
    labels = dict.fromkeys(data.ids, "none") | {"t0": "mask", "t1": "tags"}
    split = replace(opened.experiment.labels.split, labels=labels, tags=tags)
    other = mock.Mock()
    other.experiment.data, other.experiment.labels.split = data, split
    assert _known_of(other, data, tags, "").keys() == {"t0", "t1"}


def test_a_split_that_is_no_longer_the_runs_is_refused(opened: OpenRun, tmp_path: Path) -> None:
    assert opened.result is not None
    split = replace(opened.result.split, sha256="0" * 64)
    other = replace(opened, result=replace(opened.result, split=split))
    with pytest.raises(RunError, match=r"was trained with split 1/2-s0 \(sha256 00000000\), and"):
        label_run(other, tmp_path / "out")


@pytest.mark.parametrize("threshold", [-0.1, 1.5])
def test_a_threshold_is_a_probability(opened: OpenRun, tmp_path: Path, threshold: float) -> None:
    with pytest.raises(RecipeError, match=rf"--threshold {threshold}: is a probability"):
        label_run(opened, tmp_path / "out", threshold=threshold)


def test_a_run_with_all_masks_has_nothing_to_label(
    opened: OpenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = opened.experiment.labels.split
    monkeypatch.setattr("semisup.runs.label._masked", lambda *_: frozenset(split.labels))
    with pytest.raises(RunError, match=r"has masks of all 6 images of subset 'train'\. Name"):
        label_run(opened, tmp_path / "out")


def test_the_command_writes_a_sheet_and_says_what_is_next(place: Path, tmp_path: Path) -> None:
    run = next((place / "runs" / "tiny").iterdir())
    out = tmp_path / "pseudo"
    done = CliRunner().invoke(cli, ["label", str(run), "--out", str(out), "--threshold", "0.4"])
    assert done.exit_code == 0, done.output
    assert "images 3\n" in done.output
    assert "labelled pixels " in done.output
    assert "--set data.split=masked --set data.masks=folder:" in done.output
    with Image.open(tmp_path / "pseudo.sheet.png") as sheet:
        assert sheet.width > 700, "three columns"
    found = CliRunner().invoke(
        cli, ["label", str(run), "--out", str(out), "--threshold", "0.4", "--json", "--count", "0"]
    )
    assert json.loads(found.stdout)["kept"] == 3


def test_an_image_that_cannot_be_read_is_named(
    place: Path, opened: OpenRun, labelled: LabelledImages, tmp_path: Path
) -> None:
    path = place / "data" / "images" / f"{labelled.ids[0]}.png"
    content = path.read_bytes()
    path.write_bytes(b"no picture")
    try:
        with pytest.raises(SemisupError, match=path.name):
            label_run(opened, tmp_path / "out", threshold=THRESHOLD)
    finally:
        path.write_bytes(content)
    assert not (tmp_path / "out" / "pseudo_masks.json").exists()
