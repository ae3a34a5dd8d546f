"""Seeds of one command, per-image counts, and runs from Python: on tiny runs that are trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file, save_file
from support.runs import make_set, recipe_of

import semisup
from semisup.api import TrainedRun
from semisup.cli.main import cli
from semisup.errors import RunError
from semisup.evaluation.evaluate import BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED
from semisup.metrics.confusion import class_iou, mean_iou
from semisup.studies.kept import read_folder
from semisup.studies.places import find_runs

pytestmark = pytest.mark.usefixtures("no_confusion_is_drawn")

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, two recipes, and the runs of two seeds of the first."""
    top = tmp_path_factory.mktemp("studies")
    make_set(top / "data")
    plain = recipe_of(steps=2).to_toml().replace("pictures = 0", "pictures = 1")
    (top / "plain.toml").write_text(plain)
    (top / "longer.toml").write_text(recipe_of(steps=4).to_toml())
    return top


def command(place: Path, *words: str) -> Result:
    options = ["--out", str(place / "runs"), "--data-root", str(place / "data"), "--device", "cpu"]
    return CliRunner().invoke(cli, [*words, *options], prog_name="semisup")


@pytest.fixture(scope="module")
def plain(place: Path) -> str:
    """What one command for two seeds prints."""
    done = command(place, "run", str(place / "plain.toml"), "--seeds", "0-1")
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def folders(place: Path, plain: str) -> dict[str, list[Path]]:
    """The runs of two recipes with two seeds each."""
    done = command(place, "run", str(place / "longer.toml"), "--seeds", "0,1")
    assert done.exit_code == 0, done.output
    return {name: sorted((place / "runs" / name).iterdir()) for name in ("plain", "longer")}


def test_seeds_run_one_after_the_other_and_have_a_table(
    folders: dict[str, list[Path]], plain: str
) -> None:
    runs = [semisup.read_run(folder) for folder in folders["plain"]]
    assert [run.seed for run in runs] == list(SEEDS)
    mean = np.mean([run.miou for run in runs])
    assert f"A  plain      3  2  {mean:.3f}" in plain
    assert plain.count("mIoU 0.") == len(SEEDS)


def test_seeds_that_are_finished_are_found_so(
    place: Path, folders: dict[str, list[Path]], plain: str
) -> None:
    done = command(place, "run", str(place / "plain.toml"), "--seeds", "1,0")
    assert done.stdout.count("This run was finished before: ") == len(SEEDS)
    assert done.stdout.endswith(plain[plain.index("mIoU, selected") :])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--seeds", "0,1", "--seed", "2"], "--seed and --seeds exclude each other"),
        (["--seeds", "0,x"], "'0,x' is no list of seeds. Give it as 0,1,2 or 0-4."),
        (["--seeds", "3-1"], "'3-1' is no range"),
        (["--seeds", "0-100"], "is no range of at most 100 seeds"),
        (["--seeds", "1,0-2"], "has seed 1 twice"),
        (["--split", "1/x"], "split '1/x' cannot be understood"),
    ],
)
def test_seeds_and_splits_that_are_none(place: Path, words: Sequence[str], reason: str) -> None:
    done = command(place, "run", str(place / "plain.toml"), *words)
    assert done.exit_code != 0
    assert reason in done.stderr


def test_split_is_short_for_a_change_of_the_recipe(place: Path) -> None:
    done = command(place, "run", str(place / "plain.toml"), "--split", "1/3", "--seed", "7")
    assert done.exit_code == 0, done.output
    (folder,) = (place / "runs" / "plain").glob("*-s7")
    assert semisup.read_run(folder).result.split.labelled == 2


def test_counts_of_the_images_give_the_score(folders: dict[str, list[Path]]) -> None:
    for folder in folders["plain"]:
        run = semisup.read_run(folder)
        counts = load_file(folder / "counts.safetensors")["counts"]
        assert counts.shape == (3, 3, 3)
        assert mean_iou(class_iou(counts.sum(0)), "excluded").item() == pytest.approx(run.miou)


def test_the_interval_over_images_is_that_of_a_loop_over_images(
    place: Path, folders: dict[str, list[Path]]
) -> None:
    (one,) = semisup.compare(*folders.values(), runs=place / "runs").differences
    arms = {
        name: [load_file(folder / "counts.safetensors")["counts"].numpy() for folder in found]
        for name, found in folders.items()
    }
    generator, gains = np.random.default_rng(BOOTSTRAP_SEED), []
    for drawn in generator.multinomial(3, np.full(3, 1 / 3), size=BOOTSTRAP_RESAMPLES):
        mious: dict[str, list[float]] = {"plain": [], "longer": []}
        for name, runs in arms.items():
            for counts in runs:
                total = np.zeros((3, 3))
                for image, times in enumerate(drawn):
                    for _ in range(times):
                        total += counts[image]
                mious[name].append(miou_by_hand(total))
        gains.append(np.mean(mious["longer"]) - np.mean(mious["plain"]))
    low, high = np.nanquantile(gains, [0.025, 0.975])
    assert one.images == pytest.approx((low, high), abs=1e-12)
    assert low <= one.mean <= high
    assert one.both is not None
    assert one.paired is not None
    assert one.both.mean == pytest.approx(one.mean)
    assert one.both.seeds_error == pytest.approx(one.paired.sd / len(one.seeds) ** 0.5)
    text = str(semisup.compare(*folders.values()))
    assert "over images" in text
    assert "over both" in text


def miou_by_hand(total: np.ndarray) -> float:
    """Of K rows: intersection, and what the class is of truth and of prediction."""
    scores = []
    for inside, true, predicted in total:
        union = true + predicted - inside
        if union > 0:
            scores.append(inside / union)
    return float(np.mean(scores))


def test_counts_that_are_gone_are_made_by_evaluate(
    place: Path, folders: dict[str, list[Path]]
) -> None:
    folder = folders["plain"][0]
    path = folder / "counts.safetensors"
    before = path.read_bytes()
    path.unlink()
    comparison = semisup.compare(*folders.values())
    assert comparison.differences[0].images is None
    assert "No interval over images" in str(comparison)
    semisup.evaluate(folder, changes="eval.flip=true", device="cpu", progress=False)
    assert not path.exists()  # of another protocol
    semisup.evaluate(folder, device="cpu", progress=False)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["torn", "weights", "images", "shape", "kind"])
def test_counts_that_are_not_of_the_run_are_refused(
    folders: dict[str, list[Path]], what: str
) -> None:
    path = folders["longer"][1] / "counts.safetensors"
    before = path.read_bytes()
    counts = load_file(path)["counts"]
    try:
        if what == "torn":
            path.write_bytes(before[:50])
        elif what in ("shape", "kind"):
            wrong = counts[:2].clone() if what == "shape" else counts.float()
            save_file({"counts": wrong}, path)
        elif what == "weights":
            path.write_bytes((folders["longer"][0] / path.name).read_bytes())
        else:
            path.write_bytes(before.replace(b"ids_sha256", b"ids_sha257"))
        with pytest.raises(RunError, match=str(path)) as caught:
            semisup.compare(*folders.values())
        assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(before)


def test_a_run_in_python_has_scores_history_and_predictions(
    place: Path, folders: dict[str, list[Path]]
) -> None:
    settings = {"data_root": place / "data", "runs": place / "runs", "device": "cpu"}
    run = semisup.run(str(place / "plain.toml"), seed=0, progress=False, **settings)  # type: ignore[arg-type]
    assert isinstance(run, TrainedRun)
    assert run.folder == folders["plain"][0]
    assert run.scores.miou == run.miou
    curve = run.history["loss_segmentation"]
    assert curve.steps.tolist() == [1, 2]
    assert curve.values.dtype == np.float64
    assert run.history["score/miou"].values[-1] == run.miou
    photo = np.zeros((32, 40, 3), np.uint8)
    assert np.array_equal(run.predict(photo, device="cpu"), semisup.predict(run, photo))
    page = run._repr_html_()
    assert f"mIoU {run.miou:.4f}" in page
    assert "data:image/png;base64," in page
    assert "<td" in page


def test_runs_are_compared_in_python(
    place: Path, folders: dict[str, list[Path]], tmp_path: Path
) -> None:
    run = semisup.read_run(folders["plain"][0])
    comparison = run.compare(folders["longer"][0])
    (one,) = comparison.differences
    assert (one.arm, one.baseline) == ("longer", "plain")
    assert one.mean == pytest.approx(semisup.read_run(folders["longer"][0]).miou - run.miou)
    assert "<table>" in comparison._repr_html_()
    for ending in ("md", "tex", "csv", "json", "txt", "png", "pdf", "svg"):
        assert comparison.write(tmp_path / f"table.{ending}").stat().st_size > 100
    named = semisup.compare("plain", "longer", runs=place / "runs", baseline="longer")
    assert named.differences[0].baseline == "longer"
    with pytest.raises(RunError, match="is in the arms 'x' and 'y'"):
        semisup.compare("x=plain", "y=plain", runs=place / "runs")
    with pytest.raises(RunError, match="score: 'best' is none"):
        semisup.compare(run, score="best")
    with pytest.raises(RunError, match=r"baseline none: no arm has that name"):
        semisup.compare(run, baseline="none")
    with pytest.raises(RunError, match="is no finished run"):
        semisup.read_run(tmp_path)


def test_a_score_of_another_kind_is_not_compared_as_the_run_s_own(
    folders: dict[str, list[Path]],
) -> None:
    folder, other = folders["plain"][0], folders["longer"][0]
    options = {"device": "cpu", "progress": False}
    flipped = semisup.evaluate(folder, changes="eval.flip=true", **options)  # type: ignore[arg-type]
    assert "data:image/png" not in flipped._repr_html_()  # the sheet is of the run's own result
    for run in (flipped, semisup.open_run(folder, changes="eval.flip=true", device="cpu")):
        with pytest.raises(RunError, match="compared by their own results"):
            semisup.compare(run, other)
    again = semisup.evaluate(folder, **options)  # type: ignore[arg-type]
    assert len(semisup.compare(again, other).differences) == 1


def test_pictures_of_both_stand_side_by_side(
    place: Path, folders: dict[str, list[Path]], tmp_path: Path
) -> None:
    sheet = tmp_path / "both.png"
    words = ["compare", "plain", "longer", "--sheet", str(sheet), "--out", str(place / "runs")]
    done = CliRunner().invoke(cli, words, prog_name="semisup")
    assert done.exit_code == 0, done.output
    with Image.open(sheet) as picture:
        columns = [picture.crop((8 + 248 * n, 60, 248 + 248 * n, 200)) for n in range(4)]
        assert picture.width > 4 * 240
        assert len({column.tobytes() for column in columns}) == 4
    done = CliRunner().invoke(cli, [*words[:4], "both.jpg"], prog_name="semisup")
    assert "--sheet both.jpg: is a PNG" in done.stderr


def test_a_run_is_read_as_the_command_reads_it(place: Path, folders: dict[str, list[Path]]) -> None:
    found = find_runs(["plain"], place / "runs")
    runs = [read_folder(folder) for folder in (place / "runs" / "plain").iterdir()]
    assert {run.source for run in found.runs} == {run.source for run in runs}
