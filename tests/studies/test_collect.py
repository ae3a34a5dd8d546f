"""docs/collect.py and studies/kept.py: what is kept of runs, and that nothing is replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from collect import main
from support.finished import PROTOCOL, finished_run

from semisup.errors import RunError
from semisup.studies.kept import _merged, _rest, _shared, read_folder, read_kept, read_runs

ROOT = Path(__file__).resolve().parents[2]
FULL = {
    "per_class": {"a": {"iou": 0.25, "boundary_f1": 0.5}, "b": {"iou": None}},
    "confusion": [[1, 2], [3, 4]],
    "palette": [[0, 0, 0], [1, 1, 1]],
    "data": {
        "reported": {"name": "scenes", "root": "/home/someone", "files_sha256": "r", "images": 2},
        "trained": {"name": "scenes", "root": "/home/someone", "files_sha256": "t", "images": 9},
    },
    "git": {"commit": "c0ffee", "dirty": False},
    "versions": {"torch": "2.14"},
}
SCALARS = [
    {"step": 50, "loss_segmentation": 1.5, "self_taught_share": 0.123456789},
    {"step": 100, "checkup": True, "self_taught_accuracy": 0.9, "trusted_share": 0.5},
    {"step": 100, "self_taught_share": 0.25, "teacher_agreement": None},
]


@pytest.fixture
def some(tmp_path: Path) -> Callable[..., Path]:
    """A folder of runs of two recipes with two seeds each."""

    def make(folder: str = "runs", **changes: Any) -> Path:
        for number, name in enumerate(("plain", "better")):
            for seed in range(2):
                finished_run(
                    tmp_path / folder / f"{name}-s{seed}",
                    f"{number}{seed}",
                    seed,
                    0.3 + 0.1 * number + 0.01 * seed,
                    {"method.name": name, "data.split_seed": seed, "data.workers": 4 + seed},
                    SCALARS,
                    **{**FULL, "split": {"labelled": 25, "sha256": f"list {seed}"}, **changes},
                )
        return tmp_path / folder

    return make


def collect(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def test_what_is_kept_of_a_run(tmp_path: Path) -> None:
    place = finished_run(tmp_path / "run", "aa", 3, 0.5, {"data.root": "/x"}, SCALARS, **FULL)
    run = read_folder(place)
    assert (run.recipe, run.digest, run.seed, run.train_seconds) == ("r", "aa", 3, 7)
    assert (run.miou("selected"), run.miou("last")) == (0.5, 0.25)
    assert run.settings == {"data.split": "1/8", "train.steps": 10}
    assert run.content["iou"] == {"a": 0.25, "b": None}
    assert run.of_files("trained") == "t"
    assert run.content["curves"] == {
        "self_taught_share": [[50, 0.12346], [100, 0.25]],
        "self_taught_accuracy": [[100, 0.9]],
        "trusted_share": [[100, 0.5]],
    }
    assert not {"confusion", "palette", "per_class"} & run.content.keys()


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("model.weights", "/home/someone/weights/net.safetensors", "net.safetensors"),
        ("model.weights", "C:\\weights\\net.safetensors", "net.safetensors"),
        ("model.weights", "../weights/net.safetensors", "net.safetensors"),
        ("data.split", "file:/data/lists/1_8.txt", "file:1_8.txt"),
        ("data.split", "file:lists/1_8.txt", "file:lists/1_8.txt"),
        ("data.split", "1/8", "1/8"),
        ("data.masks", "folder:~/masks/", "folder:masks"),
        ("data.unlabelled", "folder:/home/someone/more", "folder:more"),
        ("data.unlabelled", "folder:C:\\pictures\\more", "folder:more"),
        ("init.set", ["model.weights=/home/someone/net.pth"], ["model.weights=net.pth"]),
    ],
)
def test_folders_of_the_machine_stay_behind(
    tmp_path: Path, key: str, value: object, kept: object
) -> None:
    run = read_folder(finished_run(tmp_path / "run", settings={key: value}))
    assert run.settings[key] == kept


def test_a_split_of_the_runs_own_seed_is_that_of_the_seed(tmp_path: Path) -> None:
    place = finished_run(tmp_path / "run", "aa", 3, settings={"data.split_seed": "same"})
    assert read_folder(place).settings["data.split_seed"] == 3


def test_kept_runs_are_the_runs(some: Callable[..., Path], tmp_path: Path) -> None:
    kept = tmp_path / "new" / "kept.jsonl"
    collect(kept, some())
    runs, again = read_runs([some("same")]), read_kept(kept)
    assert [run.content for run in again] == [run.content for run in runs]
    first, *lines = map(json.loads, kept.read_text().splitlines())
    assert first["shared"]["protocol"] == PROTOCOL
    assert first["shared"]["split"] == {"labelled": 25}
    assert len(lines) == 4
    assert lines[0]["split"] == {"sha256": "list 0"}
    assert lines[0]["settings"] == {"data.split_seed": 0, "method.name": "plain"}
    assert str(tmp_path) not in kept.read_text()
    assert "someone" not in kept.read_text()


def test_a_second_time_nothing_changes(some: Callable[..., Path], tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    collect(kept, some())
    before = kept.read_bytes()
    collect(kept, tmp_path / "runs")
    # Run again elsewhere: other times and versions, and the first ones stay.
    collect(kept, some("again", time={"train_seconds": 99}, versions={"torch": "3.0"}))
    assert kept.read_bytes() == before


def test_runs_are_added_one_by_one_to_the_same_file(
    some: Callable[..., Path], tmp_path: Path
) -> None:
    folder = some()
    collect(tmp_path / "at_once.jsonl", folder)
    for run in sorted(folder.iterdir(), reverse=True):
        collect(tmp_path / "one_by_one.jsonl", run)
    texts = [(tmp_path / f"{name}.jsonl").read_text() for name in ("at_once", "one_by_one")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scores": {"selected": {"miou": 0.9}, "last": {"miou": 0.9}}}, "differs in scores"),
        ({"split": {"labelled": 25, "sha256": "other"}}, "differs in split"),
        ({"protocol": {**PROTOCOL, "flip": True}}, "differs in protocol"),
        ({"data": {"trained": {"files_sha256": "b"}}}, "differs in data"),
        ({"per_class": {"a": {"iou": 0.0}, "b": {"iou": None}}}, "differs in iou"),
    ],
)
def test_another_result_of_one_recipe_and_seed_is_refused(
    some: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    kept = tmp_path / "kept.jsonl"
    collect(kept, some())
    before = kept.read_bytes()
    with pytest.raises(SystemExit, match=reason) as caught:
        collect(kept, some("again", **changes))
    assert "again/plain-s0 is of the recipe and seed of" in str(caught.value)
    assert f"{kept}, line " in str(caught.value)
    assert kept.read_bytes() == before


def test_rows_have_the_names_of_their_arms(some: Callable[..., Path], tmp_path: Path) -> None:
    kept, folder = tmp_path / "kept.jsonl", some()
    parts = [f"{name}={tmp_path / name}" for name in ("plain", "better")]
    for name in ("plain", "better"):
        (tmp_path / name).mkdir()
        for run in folder.glob(f"{name}-*"):
            run.rename(tmp_path / name / run.name)
    collect(kept, "--arm", parts[0], "--arm", parts[1])
    assert [(run.arm, run.seed) for run in read_kept(kept)] == [
        ("better", 0), ("better", 1), ("plain", 0), ("plain", 1)
    ]  # fmt: skip
    with pytest.raises(SystemExit, match="kept as 'plain' and not as 'other'"):
        collect(kept, "--arm", f"other={tmp_path / 'plain'}")
    finished_run(
        tmp_path / "odd", "odd", 2, settings={"method.name": "odd", "data.split_seed": 2}, **FULL
    )
    with pytest.raises(SystemExit, match=r"of one arm, 'plain', and differ in method\.name"):
        collect(kept, "--arm", f"plain={tmp_path / 'odd'}")


def test_a_file_that_cannot_be_written_is_left_as_it_was(
    some: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, folder = tmp_path / "kept.jsonl", some()
    collect(kept, folder / "plain-s0")
    before = kept.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SystemExit, match="No space left on device"):
        collect(kept, folder)
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: cannot be read"),
        ("{}\n", "line 1: has no 'shared'"),
        ('{"shared": {}}\n[]\n', "line 2: is no table of JSON"),
        ('{"shared": {}}\n{"arm": ""}\n', "line 2: has no 'recipe'"),
        (
            '{"shared": {"recipe": "r", "recipe_hash": "a"}}\n{"arm": "", "seed": "x"}\n',
            "no 'seed'",
        ),
        ('{"shared": {}}\n{"arm"', "line 2: cannot be read"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text(text)
    with pytest.raises(RunError, match=reason) as caught:
        read_kept(kept)
    assert str(kept) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["recipe", "seed", "scores", "split", "protocol", "time"])
def test_a_result_without_what_a_table_needs_is_named(tmp_path: Path, key: str) -> None:
    finished_run(tmp_path / "run", **{key: None})
    with pytest.raises(RunError, match=f"run/result.json: has no '{key}'"):
        read_runs([tmp_path])


def test_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no runs: give their folders"):
        collect(tmp_path / "kept.jsonl")
    with pytest.raises(SystemExit, match=r"no result\.json below"):
        collect(tmp_path / "kept.jsonl", tmp_path)
    assert not (tmp_path / "kept.jsonl").exists()


@pytest.mark.parametrize(
    "records",
    [
        [{"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2, "d": 4}}],
        [{"a": {}, "b": None}, {"a": {"x": 1}, "b": None}],
        [{"a": {"x": {"y": 1}}}, {"a": 5}, {}],
        [{"a": [1, 2]}],
    ],
)
def test_shared_part_and_rest_are_the_records_again(records: list[dict[str, Any]]) -> None:
    shared = _shared(records)
    assert [_merged(shared, _rest(record, shared)) for record in records] == records


def test_kept_files_of_the_repository_name_no_folder_of_a_machine() -> None:
    for path in (ROOT / "docs" / "measurements").glob("*.jsonl"):
        assert read_kept(path)
        text = path.read_text(encoding="utf-8")
        assert not [start for start in ('"/', '"~', "file:/", ":\\\\") if start in text]
