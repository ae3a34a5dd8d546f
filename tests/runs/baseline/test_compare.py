"""A run beside the one that it is compared with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from support.runs import CPU, Noting, make_set, mend, recipe_of

from semisup.cli.main import cli
from semisup.errors import RecipeError, RunError
from semisup.evaluation.evaluate import BOOTSTRAP_SEED, evaluate
from semisup.metrics.bootstrap import bootstrap_gain
from semisup.recipe.load import load_baseline, load_recipe, with_seed
from semisup.recipe.recipe import Recipe
from semisup.runs.baseline.compare import compare
from semisup.runs.paths import Paths
from semisup.runs.reopen import open_run
from semisup.runs.result import FinishedRun
from semisup.runs.run import run_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, the recipe of a baseline and that of a run which names it."""
    folder = tmp_path_factory.mktemp("place")
    make_set(folder / "data")
    (folder / "base.toml").write_text(recipe_of().to_toml())
    own = recipe_of(steps=3).to_toml() + '\n[baseline]\nrecipe = "base.toml"\n'
    (folder / "own.toml").write_text(own.replace("pictures = 0", "pictures = 2"))
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> tuple[FinishedRun, Noting]:
    """Both, finished by one call."""
    view = Noting()
    recipe = load_recipe(str(place / "own.toml"), ["train.seed=5", "data.split=1/3"])
    return run_recipe(recipe, Paths(place / "data", place / "runs"), CPU, view=view), view


def test_the_baseline_is_run_with_the_seed_and_the_split_of_the_run(
    place: Path, done: tuple[FinishedRun, Noting]
) -> None:
    run, view = done
    assert run.baseline is not None
    assert (run.baseline.recipe, run.recipe) == ("base", "own")
    assert run.baseline.seed == run.seed == 5
    assert run.baseline.result.split.sha256 == run.result.split.sha256
    assert run.baseline.result.split.labelled == 2
    assert any(str(run.baseline.folder) in note for note in view.notes)
    assert view.folders == [run.baseline.folder, run.folder]
    assert run.baseline.result.checkpoint.steps == 2  # what it trains is its own


def test_the_gain_is_that_of_the_same_images(place: Path, done: tuple[FinishedRun, Noting]) -> None:
    run, _ = done
    assert run.gain is not None
    assert run.baseline is not None
    counts = []
    for one in (run, run.baseline):
        opened = open_run(one.folder, CPU)
        scored = evaluate(opened.inference(), opened.experiment.reported)
        assert scored.scores.miou == one.miou
        counts.append(scored.counts)
    assert run.gain.miou == run.miou - run.baseline.miou
    assert run.gain.miou_interval_95 == bootstrap_gain(*counts, seed=BOOTSTRAP_SEED)
    kept = json.loads((run.folder / "gain.json").read_text())
    assert kept["miou"] == run.gain.miou
    assert kept["baseline"] == "base"
    assert kept["baseline_hash"] == run.baseline.result.recipe_hash
    assert kept["differs"] == ["eval.pictures", "train.steps"]


def test_the_sheet_shows_both(done: tuple[FinishedRun, Noting]) -> None:
    run, _ = done
    with Image.open(run.folder / "pictures" / "baseline.png") as sheet:
        assert sheet.width == 2 * 16 + 4 * 246 - 6  # four columns of 240 px
    assert run.baseline is not None
    assert not (run.baseline.folder / "pictures" / "baseline.png").exists()


def test_a_run_has_the_same_bits_beside_its_baseline_and_alone(
    place: Path, done: tuple[FinishedRun, Noting], tmp_path: Path
) -> None:
    run, _ = done
    changes = ["train.seed=5", "data.split=1/3", "baseline.recipe="]
    recipe = load_recipe(str(place / "own.toml"), changes)
    alone = run_recipe(recipe, Paths(place / "data", tmp_path), CPU)
    assert alone.gain is None
    assert alone.baseline is None
    assert alone.result.weights_sha256 == run.result.weights_sha256


def test_another_seed_of_a_loaded_recipe_is_that_of_both(place: Path) -> None:
    baseline = load_baseline(with_seed(load_recipe(str(place / "own.toml")), 8))
    assert baseline is not None
    assert baseline.train.seed == 8


def test_a_run_that_is_its_own_baseline_is_refused(place: Path) -> None:
    with pytest.raises(RecipeError, match="its baseline 'own' trains the very same"):
        load_baseline(load_recipe(str(place / "own.toml"), [f"baseline.recipe={place}/own.toml"]))


@pytest.mark.parametrize(
    ("before", "change", "message"),
    [
        ("[baseline]\nrecipe", "method.name=fixmatch", ""),
        ("[baseline]\nrecipe", "method.teacher_decay=2", "teacher_decay must be in"),
        ("[baseline]\nrecipe", "optim.student.lr=1.0", "no player 'student'"),
        ("[init]\nfrom", "method.teacher_decay=2", "teacher_decay must be in"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused_before_another_is_trained_for_it(
    place: Path, tmp_path: Path, before: str, change: str, message: str
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(recipe_of().to_toml() + f'\n{before} = "{place}/base.toml"\n')
    recipe = load_recipe(str(own), ["method.name=fixmatch", change])
    paths = Paths(place / "data", tmp_path / "runs")
    if not message:
        run_recipe(recipe, paths, CPU)
        return
    with pytest.raises(RecipeError, match=message):
        run_recipe(recipe, paths, CPU)
    assert not paths.out.exists()


def test_a_second_call_trains_and_scores_nothing(
    place: Path, done: tuple[FinishedRun, Noting], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = done
    monkeypatch.setattr("semisup.runs.baseline.compare.evaluate", None)
    recipe = load_recipe(str(place / "own.toml"), ["train.seed=5", "data.split=1/3"])
    again = run_recipe(recipe, Paths(place / "data", place / "runs"), CPU)
    assert not again.fresh
    assert again.gain == run.gain


@pytest.mark.parametrize("content", ["", "{", "[]", '{"miou": 1}', "null", "[" * 100_000])
def test_a_damaged_gain_is_made_again(
    place: Path, done: tuple[FinishedRun, Noting], content: str
) -> None:
    run, _ = done
    assert run.baseline is not None
    (run.folder / "gain.json").write_text(content)
    paths = Paths(place / "data", place / "runs")
    assert compare(run, run.baseline, paths, CPU) == run.gain


def test_a_gain_over_other_weights_is_made_again(
    place: Path, done: tuple[FinishedRun, Noting]
) -> None:
    run, _ = done
    assert run.baseline is not None
    kept = json.loads((run.folder / "gain.json").read_text())
    (run.folder / "gain.json").write_text(json.dumps(kept | {"miou": 0.5, "weights": "other"}))
    paths = Paths(place / "data", place / "runs")
    assert compare(run, run.baseline, paths, CPU) == run.gain


def test_what_is_compared_with_changes_no_digest(place: Path) -> None:
    path = str(place / "own.toml")
    named, none = load_recipe(path), load_recipe(path, ["baseline.recipe="])
    assert named.digest() == none.digest()
    assert load_baseline(none) is None
    assert "baseline" not in none.resolved()


def test_what_is_changed_from_outside_is_changed_for_both_but_for_the_method(place: Path) -> None:
    changes = ["train.steps=4", "model.width=3", "data.crop=[16, 16]", "optim.segmenter.lr=0.5"]
    changes += ["method.name=fixmatch", "method.cutmix=1.0", "eval.flip=true"]
    own = load_recipe(str(place / "own.toml"), changes)
    baseline = load_baseline(own)
    assert baseline is not None
    assert baseline.train.steps == own.train.steps == 4
    assert baseline.model_options == own.model_options
    assert baseline.data == own.data
    assert baseline.eval.flip
    assert baseline.optim["segmenter"].lr == 0.5
    assert baseline.method.name == "supervised"
    assert load_recipe(str(place / "base.toml")).train.steps == 2


def test_a_split_that_the_command_names_is_that_of_both(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Recipe] = []

    def keep(recipe: Recipe, *_: object, **__: object) -> None:
        found.append(recipe)
        raise RunError("far enough")

    monkeypatch.setattr("semisup.api.run_loaded", keep)
    words = ["run", str(place / "own.toml"), "--split", "1/3", "--out", str(place / "none")]
    done = CliRunner().invoke(cli, words, prog_name="semisup")
    assert "far enough" in done.stderr
    baseline = load_baseline(found[0])
    assert baseline is not None
    assert baseline.data.split == found[0].data.split == "1/3"


def test_a_baseline_of_its_own_is_not_run(place: Path) -> None:
    (place / "third.toml").write_text(recipe_of().to_toml() + '\n[baseline]\nrecipe = "own.toml"\n')
    baseline = load_baseline(load_recipe(str(place / "third.toml")))
    assert baseline is not None
    assert baseline.name == "own"
    assert not baseline.baseline.recipe


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("baseline.recipe=nowhere.toml", r"its baseline .*there is no such file"),
        ("baseline.recipe=quickstrat", "its baseline .*Did you mean 'quickstart'"),
    ],
)
def test_a_baseline_that_cannot_be_compared_with_is_refused(
    place: Path, change: str, reason: str
) -> None:
    with pytest.raises(RecipeError, match=reason) as error:
        load_baseline(load_recipe(str(place / "own.toml"), [change]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stated", "other", "reason"),
    [
        ("flip = false", "flip = true", "has another eval.flip: False, not True"),
        ("scales = [1.0]", "scales = [0.5]", r"another eval.scales: \[1.0\], not \[0.5\]"),
    ],
)
def test_a_baseline_whose_file_says_how_else_to_score_is_refused(
    place: Path, stated: str, other: str, reason: str
) -> None:
    text = (place / "own.toml").read_text()
    assert stated in text
    (place / "other.toml").write_text(text.replace(stated, other))
    with pytest.raises(RecipeError, match=reason) as error:
        load_baseline(load_recipe(str(place / "other.toml")))
    assert "\n" not in str(error.value)


def test_scores_of_another_protocol_or_of_other_files_are_refused(
    place: Path, done: tuple[FinishedRun, Noting]
) -> None:
    run, _ = done
    assert run.baseline is not None
    paths = Paths(place / "data", place / "runs")
    protocol = {**run.baseline.result.protocol, "pretraining": "elsewhere.pth"}
    other = replace(run.baseline, result=replace(run.baseline.result, protocol=protocol))
    with pytest.raises(RunError, match=r"pretraining is none and elsewhere\.pth"):
        compare(run, other, paths, CPU)
    data = run.baseline.result.data
    assert data is not None
    moved = replace(data, reported=replace(data.reported, files_sha256="0" * 64))
    other = replace(run.baseline, result=replace(run.baseline.result, data=moved))
    with pytest.raises(RunError, match="files of other content"):
        compare(run, other, paths, CPU)


def test_masks_that_have_changed_since_the_baseline_was_scored(
    place: Path, done: tuple[FinishedRun, Noting], tmp_path: Path
) -> None:
    """The baseline says so itself; nothing is compared."""
    make_set(tmp_path / "data")
    path, paths = str(place / "own.toml"), Paths(tmp_path / "data", tmp_path / "runs")
    run_recipe(load_recipe(str(place / "base.toml")), paths, CPU)
    mend(tmp_path / "data" / "masks" / "v1.png")
    with pytest.raises(RunError, match="changed"):
        run_recipe(load_recipe(path), paths, CPU)


def test_the_command_prints_both(place: Path, done: tuple[FinishedRun, Noting]) -> None:
    run, _ = done
    where = ["--data-root", str(place / "data"), "--out", str(place / "runs")]
    changes = ["--seed", "5", "--set", "data.split=1/3"]
    printed = CliRunner().invoke(cli, ["run", str(place / "own.toml"), *changes, *where])
    assert printed.exit_code == 0, printed.output
    assert "own beside base" in printed.output
    assert run.gain is not None
    assert f"gain {run.gain.miou:+.4f}" in printed.output
    assert "seed 5 alone" in printed.output
    assert "The two differ in eval.pictures, train.steps beside their methods." in printed.output
    assert str(run.folder / "pictures" / "baseline.png") in printed.output
