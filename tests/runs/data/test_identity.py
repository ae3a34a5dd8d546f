"""A run knows its data: what is refused, what goes on, and what is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.runs import CLASSES, CPU, IDS, Noting, Stopping, make_set, mend, recipe_of

from semisup.data.formats.trees import digest_of
from semisup.errors import Interrupted, RunError
from semisup.monitoring.view import Silent
from semisup.runs.data.identity import read_files
from semisup.runs.paths import Paths
from semisup.runs.record import read_facts, recorded_data
from semisup.runs.result import FinishedRun, read_result
from semisup.runs.run import run_recipe


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A data set, and the folders of a finished run and of a stopped one on it."""
    folder = tmp_path_factory.mktemp("original")
    make_set(folder / "data")
    run_recipe(recipe_of(), Paths(folder / "data", folder / "finished"), CPU)
    with pytest.raises(Interrupted):
        run_recipe(recipe_of(), Paths(folder / "data", folder / "stopped"), CPU, view=Stopping())
    return folder / "data", folder / "finished", folder / "stopped"


@pytest.fixture
def place(original: tuple[Path, Path, Path], tmp_path: Path) -> Path:
    """A copy: data, finished and stopped; the data lie in another folder than recorded."""
    for source in original:
        shutil.copytree(source, tmp_path / source.name)
    return tmp_path


def go_on(place: Path, kind: str, view: Silent | None = None) -> FinishedRun:
    return run_recipe(recipe_of(), Paths(place / "data", place / kind), CPU, view=view)


def swap_classes(data: Path) -> None:
    (data / "classes.txt").write_text("sky\nground\ntree\n")


def name_one_more(data: Path) -> None:
    (data / "classes.txt").write_text("ground\nsky\ntree\nwater\n")


def drop_a_line(data: Path) -> None:
    (data / "train.txt").write_text("".join(f"{name}\n" for name in IDS["train"][1:]))


def report_on_others(data: Path) -> None:
    (data / "val.txt").write_text("v0\nv2\n")


def mend_a_labelled_mask(data: Path) -> None:
    for name in IDS["train"]:  # whichever of them are labelled
        mend(data / "masks" / f"{name}.png")


def mend_a_reported_mask(data: Path) -> None:
    mend(data / "masks" / "v1.png")


def replace_an_image(data: Path) -> None:
    Image.fromarray(np.zeros((32, 40, 3), np.uint8)).save(data / "images" / "t5.png")


CHANGES: dict[Callable[[Path], None], str] = {
    swap_classes: r"classes were ground, sky, tree, now they are sky, ground, tree\. ",
    name_one_more: r"classes were ground, sky, tree, now they are ground, sky, tree, water\. ",
    drop_a_line: r"train had 6 images \(ids \w{8}\), now it has 5 images .*'images/t0\.png'\. ",
    report_on_others: r"val had 3 images \(ids \w{8}\), now it has 2 images .*'images/v1\.png'\. ",
    mend_a_labelled_mask: r"3 of the 9 files of train have changed; the first .*'masks/t\d\.png'",
    mend_a_reported_mask: r"1 of the 6 files of val have changed; the first .*'masks/v1\.png'\. ",
    replace_an_image: r"1 of the 9 files of train have changed; the first .*'images/t5\.png'\. ",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("kind", ["finished", "stopped"])
def test_other_data_are_refused_in_a_line_that_names_the_difference(
    place: Path, kind: str, change: Callable[[Path], None]
) -> None:
    change(place / "data")
    before = {path: path.read_bytes() for path in (place / kind).rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=CHANGES[change]) as caught:
        go_on(place, kind)
    line = str(caught.value)
    assert "\n" not in line
    assert line.endswith("Give the --data-root of its own, or choose another --out.")
    for path, content in before.items():
        assert path.name == "lock" or path.read_bytes() == content, path


def test_data_that_changed_where_they_lie_are_to_be_put_back(tmp_path: Path) -> None:
    make_set(tmp_path / "data")
    go_on(tmp_path, "finished")
    drop_a_line(tmp_path / "data")
    with pytest.raises(RunError, match=r"have changed since it was begun: .* Put them back as"):
        go_on(tmp_path, "finished")


def test_moved_data_go_on_to_the_same_bits(place: Path, original: tuple[Path, Path, Path]) -> None:
    assert not go_on(place, "finished").fresh
    ended = go_on(place, "stopped")
    assert ended.fresh
    (whole,) = original[1].glob("tiny/*")
    for name in ("predictor.safetensors", "scalars.jsonl"):
        assert (ended.folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert ended.result.data is not None
    assert ended.result.data.reported.root == str((place / "data").resolve())
    facts = json.loads((ended.folder / "run.json").read_text())
    latest = recorded_data(facts)
    assert latest is not None
    assert latest.reported.root == str((place / "data").resolve())


def test_a_mask_that_the_run_did_not_use_may_change(place: Path) -> None:
    (run,) = (place / "finished").glob("tiny/*")
    split = dict(line.split() for line in (run / "split.txt").read_text().splitlines()[2:])
    unused = [name for name, kind in split.items() if kind == "none"]
    assert len(unused) == 3
    for name in unused:
        mask = place / "data" / "masks" / f"{name}.png"
        Image.fromarray(1 - np.array(Image.open(mask)).clip(max=1)).save(mask)
    assert not go_on(place, "finished").fresh
    assert go_on(place, "stopped").fresh


def test_a_finished_run_answers_when_its_data_are_gone_and_says_so(place: Path) -> None:
    view = Noting()
    shutil.rmtree(place / "data")
    before = read_result(next((place / "finished").glob("tiny/*/result.json")))
    done = go_on(place, "finished", view)
    assert (done.fresh, done.result) == (False, before)
    assert view.notes == list(done.notes)
    assert [note for note in view.notes if "the data are not there any more" in note]
    (place / "data").mkdir()
    done = go_on(place, "finished", view)
    assert "not there any more" in done.notes[0]


def test_data_that_are_there_and_cannot_be_opened_are_an_error(place: Path) -> None:
    (place / "data" / "images" / "t0.png").unlink()
    with pytest.raises(Exception, match=r"train\.txt lists 't0'"):
        go_on(place, "finished")


def test_what_is_recorded_in_run_and_result(original: tuple[Path, Path, Path]) -> None:
    data, finished, _ = original
    (run,) = finished.glob("tiny/*")
    result, facts = read_result(run / "result.json"), read_facts(run / "run.json")
    assert result is not None
    assert result.data is not None
    assert recorded_data(facts) == result.data
    trained, reported = result.data.trained, result.data.reported
    assert trained is not None
    assert trained.classes == reported.classes == CLASSES
    assert (trained.subset, trained.images, trained.files) == ("train", 6, 6 + 3)
    assert (reported.subset, reported.images, reported.files) == ("val", 3, 3 + 3)
    assert reported.ids_sha256 == result.protocol["ids_sha256"]
    assert (trained.root, trained.folder) == (str(data.resolve()), ".")
    files = read_files(run / "files.json")
    assert trained.files_sha256 == digest_of(files["trained"])
    size = (data / "images" / "t0.png").stat().st_size
    assert files["trained"]["images/t0.png"] == f"{size} bytes"
    assert len(files["reported"]["masks/v0.png"]) == 64


def test_without_its_list_of_files_a_run_still_compares_classes_and_ids(place: Path) -> None:
    for path in place.rglob("files.json"):
        path.write_text("[")
    assert not go_on(place, "finished").fresh
    mend_a_labelled_mask(place / "data")
    with pytest.raises(RunError, match=r"files of train have changed\. "):
        go_on(place, "stopped")
    swap_classes(place / "data")
    with pytest.raises(RunError, match="classes were ground"):
        go_on(place, "finished")


def test_a_run_that_recorded_no_data_says_so(place: Path) -> None:
    path = next((place / "finished").glob("tiny/*/result.json"))
    content = json.loads(path.read_text())
    del content["data"]
    path.write_text(json.dumps(content))
    assert "does not say which data" in go_on(place, "finished").notes[0]


def test_more_steps_are_another_run_and_it_says_so(place: Path) -> None:
    view = Noting()
    longer = run_recipe(
        recipe_of(steps=3), Paths(place / "data", place / "finished"), CPU, view=view
    )
    assert longer.fresh
    (note,) = [note for note in view.notes if "train.steps" in note]
    assert "is a run of train.steps = 2; with 3 this is another run" in note
    assert "predictor.safetensors" in note
    lines = (longer.folder / "scalars.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["step"] == 1
    other = Noting()  # another seed, or another recipe, is nobody's longer run
    run_recipe(
        recipe_of(steps=3, seed=1), Paths(place / "data", place / "finished"), CPU, view=other
    )
    assert not [note for note in other.notes if "train.steps" in note]
