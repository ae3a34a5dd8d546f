"""Methods in stages, as whole runs: what each stage reads, and what it starts from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from semisup.catalog import create_dataset
from semisup.data.formats.pictures import read_labels
from semisup.errors import RecipeError
from semisup.recipe.load import load_recipe
from semisup.recipe.recipe import Recipe
from semisup.runs.label import label_run
from semisup.runs.paths import Paths
from semisup.runs.reopen import open_run
from semisup.runs.result import FinishedRun
from semisup.runs.run import run_recipe

pytestmark = pytest.mark.usefixtures("no_confusion_is_drawn")

CPU = torch.device("cpu")
SCENES = ["data.train=24", "data.val=3", "data.test=1", "data.size=[48, 64]"]
TINY = [
    *SCENES,
    "data.crop=[96, 96]",
    "model.width=16",
    "model.decoder_width=16",
    "data.labelled_batch=2",
    "data.weak_batch=2",
    "data.workers=0",
    "train.steps=2",
    "eval.pictures=0",
    "eval.boundary=false",
    'eval.watch=""',  # whose masks it would open
    "eval.every=0",
]


def stage_two(*more: str, first: tuple[str, ...] = ()) -> Recipe:
    changes = [*TINY, "data.split=1/class", f"init.set={json.dumps([*TINY, *first])}", *more]
    return load_recipe("scenes/decouplednet_5", changes)


_opened: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str | bytes | Path):
        _opened.append(str(arguments[0]))


@contextmanager
def masks_opened() -> Iterator[list[str]]:
    """Stems of the label maps that are opened meanwhile, whoever opens them."""
    global _opened
    if not getattr(_watch, "installed", False):
        sys.addaudithook(_watch)  # there is no way to take it away again
        _watch.installed = True  # type: ignore[attr-defined]
    _opened, stems = [], []
    try:
        yield stems
    finally:
        stems += [Path(name).stem for name in _opened if "SegmentationClass" in name]
        _opened = None


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    folder = tmp_path_factory.mktemp("stages")
    return Paths(folder, folder / "runs")


@pytest.fixture(scope="module")
def done(paths: Paths) -> tuple[FinishedRun, list[str]]:
    """A finished second stage, its first stage run before it, and the masks that it opened."""
    recipe = stage_two()
    assert recipe.first is not None
    run_recipe(recipe.first, paths, CPU)
    with masks_opened() as opened:
        finished = run_recipe(recipe, paths, CPU)
    return finished, opened


def test_stage_one_runs_without_the_mask_of_any_training_image(tmp_path: Path) -> None:
    recipe = load_recipe("scenes/decouplednet_classifier", TINY)
    data = create_dataset("scenes", tmp_path, "train", **recipe.data_options)
    masks = sorted((data.root / "SegmentationClass").glob("*.png"))
    kept = {f"val_{number:06d}" for number in range(3)}  # they only score the run
    for path in masks:
        if path.stem not in kept:
            path.unlink()
    assert len(masks) == 28
    with masks_opened() as opened:
        finished = run_recipe(recipe, Paths(tmp_path, tmp_path / "runs"), CPU)
    assert set(opened) == kept
    assert finished.result.checkpoint.step == 2
    split = finished.result.split
    assert (split.labelled, split.tagged, split.unlabelled) == (0, 24, 0)
    assert split.tags is not None
    assert split.tags.source == "xml"


def test_stage_two_opens_the_masks_of_its_split_and_no_other(
    done: tuple[FinishedRun, list[str]],
) -> None:
    finished, opened = done
    lines = (finished.folder / "split.txt").read_text().splitlines()
    labelled = {line.split()[0] for line in lines if line.endswith(" mask")}
    assert 0 < len(labelled) < 12
    assert {stem for stem in opened if stem.startswith("train")} == labelled
    assert {stem for stem in opened if not stem.startswith("train")} == {
        f"val_{number:06d}" for number in range(3)
    }


def test_stage_two_ends_with_the_classifier_that_it_began_with(
    done: tuple[FinishedRun, list[str]], paths: Paths
) -> None:
    recipe = stage_two()
    assert recipe.first is not None
    first = load_file(paths.run_folder(recipe.first) / "predictor.safetensors")
    last = load_file(done[0].folder / "predictor.safetensors")
    assert first.keys() == {key for key in last if key.startswith("classifier.")}
    assert [key for key in first if not torch.equal(first[key], last[key])] == []


def test_a_result_names_the_run_that_it_started_from(
    done: tuple[FinishedRun, list[str]], paths: Paths
) -> None:
    recipe = stage_two()
    assert recipe.first is not None
    init = done[0].result.init
    assert init is not None
    assert init.recipe == "scenes/decouplednet_classifier"
    assert init.recipe_hash == recipe.first.digest()
    assert init.split.tagged == 24
    assert done[0].result.pretraining == "none"


def test_a_finished_second_stage_is_opened_without_its_first(
    done: tuple[FinishedRun, list[str]],
) -> None:
    opened = open_run(done[0].folder, CPU)
    assert opened.network(torch.zeros(1, 3, 48, 64)).shape == (1, 9, 48, 64)


def test_classes_are_forced_by_name(done: tuple[FinishedRun, list[str]]) -> None:
    opened = open_run(done[0].folder, CPU)
    names = opened.classes
    forced = opened.forcing([names[3], names[1]])
    assert forced.identity() != opened.identity()
    explained = forced.network.explain(torch.zeros(1, 3, 48, 64))  # type: ignore[operator]
    assert list(explained) == [0, 1, 3]
    with pytest.raises(RecipeError, match=r"\(--classes\): none is called 'background'"):
        opened.forcing(["background"])


def test_a_first_stage_is_run_where_it_has_not_been(paths: Paths) -> None:
    recipe = stage_two("train.seed=1")
    assert recipe.first is not None
    assert recipe.first.train.seed == 1
    folder = paths.run_folder(recipe.first)
    assert not folder.exists()
    assert run_recipe(recipe, paths, CPU).fresh
    assert (folder / "result.json").is_file()


def test_one_first_stage_serves_several_seconds(done: object, paths: Paths) -> None:
    one, other = stage_two(), stage_two("optim.segmenter.lr=0.1", "train.seed=7", "init.seed=0")
    assert one.first is not None
    assert other.first is not None
    assert paths.run_folder(one.first) == paths.run_folder(other.first)


def test_the_digest_knows_what_a_run_starts_from() -> None:
    one = stage_two()
    assert one.digest() == stage_two().digest()
    assert one.digest() == stage_two("train.seed=3").digest()
    assert one.digest() != stage_two(first=("train.steps=3",)).digest()
    assert one.digest() != stage_two("init.seed=0").digest()


def test_ignored_classes_are_handed_on_where_the_data_set_is_the_same() -> None:
    recipe = stage_two('data.ignore_classes=["striped_disc"]')
    assert recipe.first is not None
    assert recipe.first.data.ignore_classes == ("striped_disc",)
    assert recipe.first.sources["data.ignore_classes"] == "recipe scenes/decouplednet_5"
    plain = stage_two().first
    assert plain is not None
    assert plain.data.ignore_classes == ()
    other = stage_two('data.ignore_classes=["striped_disc"]', 'init.set=["data.name=voc"]').first
    assert other is not None
    assert other.data.ignore_classes == ()


def test_a_second_stage_does_not_go_on_from_other_classes(paths: Paths) -> None:
    recipe = stage_two(first=('data.ignore_classes=["striped_disc"]',))
    line = r"was trained on the classes background, dotted_disc, .* with init\.set\."
    with pytest.raises(RecipeError, match=line):
        run_recipe(recipe, paths, CPU)
    assert not paths.run_folder(recipe).exists()


def test_the_second_stage_wants_a_first(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"goes on from a trained network: .* in init\.from"):
        run_recipe(stage_two("init.from="), Paths(tmp_path, tmp_path / "runs"), CPU)


def test_stages_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = Path(load_recipe.__globals__["recipe_folder"]() / "scenes/decouplednet_5.toml")
    content = text.read_text().replace(
        'from = "scenes/decouplednet_classifier"', 'from = "self.toml"'
    )
    (tmp_path / "self.toml").write_text(content)
    with pytest.raises(RecipeError, match=r"init\.from goes round in a circle: self from self"):
        load_recipe(str(tmp_path / "self.toml"))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["init.from=scenes/decoupled_classifier"], "no recipe is called 'scenes/decoupled_class"),
        (["init.form=x"], r"there is no key 'init\.form'\. Did you mean 'from'"),
        (["init.set=[1]"], r"'init\.set\.0' = 1 \(int\)"),
        (['init.set=["data.tag=xml"]'], r"there is no key 'data\.tag'\. Did you mean 'tags'"),
    ],
)
def test_an_init_that_cannot_be_used(changes: list[str], line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        load_recipe("scenes/decouplednet_5", changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["data.tags="], r"reads image tags, and data\.tags is not set"),
        (
            ["data.crop=whole", "data.weak_batch=1", "data.labelled_batch=1"],
            r"cuts crops; set \[height, width\]",
        ),
        (["data.split=none"], "leaves no image with a mask"),
        (["model.name=unet", "model.width=4"], "train model.name = 'decouplednet', not a UNet"),
        (["method.name=supervised"], "method 'supervised' cannot train 'decouplednet'"),
    ],
)
def test_what_does_not_go_together(
    changes: list[str], line: str, paths: Paths, tmp_path: Path
) -> None:
    crops = [] if any("crop" in change for change in changes) else ["data.crop=[96, 96]"]
    recipe = load_recipe("scenes/decouplednet_joint_5", [*SCENES, *crops, *changes])
    with pytest.raises(RecipeError, match=line):
        run_recipe(recipe, Paths(paths.data_root, tmp_path), CPU)


@pytest.mark.slow
def test_tags_become_masks_by_cam_and_a_second_run_trains_on_them(tmp_path: Path) -> None:
    own = ("optim.segmenter.lr=1e-2", "model.width=4", "data.crop=[48, 48]", "train.steps=20")
    tiny = [change for change in TINY if not change.startswith(("model.", "data.crop", "train."))]
    paths = Paths(tmp_path, tmp_path / "runs")
    recipe = load_recipe("scenes/cam_things", [*tiny, *own])
    create_dataset("scenes", tmp_path, "train", **recipe.data_options)  # written, masks and all
    with masks_opened() as opened:
        first = run_recipe(recipe, paths, CPU)
        known = open_run(first.folder, CPU)
        made = label_run(known, tmp_path / "pseudo", threshold=0.0)
    assert not [stem for stem in opened if stem.startswith("train")], "from tags alone"
    data, tags = known.experiment.data, known.experiment.labels.split.tags
    assert tags is not None
    assert made.ids == tuple(sorted(data.ids))
    several = 0
    for name in made.ids:
        mask = read_labels(tmp_path / "pseudo" / f"{name}.png")
        classes = set(mask.unique().tolist())
        assert classes <= {0, *tags.of[name]}, f"{name}: a class that no tag names"
        several += len(classes) > 1
    assert several > len(made.ids) / 2, "maps of tagged classes reach the masks"

    changes = [*tiny, *own, f"init.set={json.dumps([*tiny, *own])}"]
    with masks_opened() as opened:
        second = run_recipe(load_recipe("scenes/supervised_things_cam", changes), paths, CPU)
    assert not [stem for stem in opened if stem.startswith("train")], "no true mask is trained on"
    assert second.result.split.labelled == 24
    masks = second.result.split.masks
    assert masks is not None
    assert masks.made_by is not None
    assert masks.made_by["recipe"] == "scenes/cam_things"
    own_masks = paths.pseudo_masks(load_recipe("scenes/supervised_things_cam", changes))
    for name in made.ids:
        written = (tmp_path / "pseudo" / f"{name}.png").read_bytes()
        assert (own_masks / f"{name}.png").read_bytes() == written, name
