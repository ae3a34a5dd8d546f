"""docs/summarise.py: which runs are averaged, and what the rows are called."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from semisup.recipe.toml import dump_toml, unflatten

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "summarise.py"
PROTOCOL = {
    "data": "scenes",
    "subset": "val",
    "images": 2,
    "ids_sha256": "0" * 64,
    "classes": ["a", "b"],
    "scored_size": "original",
    "void": "left out by ground truth",
    "absent_classes": "excluded",
    "mode": "whole",
    "scales": [1.0],
    "flip": False,
    "crf": None,
    "precision": "float32",
    "pretraining": "none",
    "selection": "last checkpoint",
}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A folder of a finished run, of a digest, seed, mIoU, settings and changes of its result."""

    def run(
        digest: str = "aa",
        seed: int = 0,
        miou: float = 0.5,
        settings: Mapping[str, Any] = {},
        folder: str = "runs",
        **changes: Any,
    ) -> Path:
        place = tmp_path / folder / f"{digest}-s{seed}"
        place.mkdir(parents=True)
        values = {"data.split": "1/8", "train.steps": 10, "train.seed": seed, **settings}
        (place / "recipe.toml").write_text(dump_toml(unflatten(values, "r")))
        result = {
            "recipe": "r",
            "recipe_hash": digest,
            "seed": seed,
            "scores": {"selected": {"miou": miou}, "last": {"miou": miou / 2}},
            "split": {"labelled": 25},
            "time": {"train_seconds": 7},
            "device": "cpu",
            "protocol": PROTOCOL,
        }
        (place / "result.json").write_text(json.dumps({**result, **changes}))
        return place

    return run


def table(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    runpy.run_path(str(SCRIPT))["main"]([str(argument) for argument in arguments])
    return capsys.readouterr().out


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_seeds_of_one_recipe_are_averaged(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, miou in ((1, 0.3), (0, 0.5)):
        make(seed=seed, miou=miou)
    text = table(capsys, tmp_path)
    assert rows(text) == [
        ["`r`", "25", "0 1", "0.500 0.300", "**0.400**", "0.141", "-0.871 to 1.671", "7"]
    ]
    assert "Score: selected, that is of the checkpoint by this rule: last checkpoint." in text


@pytest.mark.parametrize(
    ("key", "value", "first", "second"),
    [
        ("data.split", "1/2", 'data.split = "1/8"', 'data.split = "1/2"'),
        ("train.steps", 20, "train.steps = 10", "train.steps = 20"),
        ("method.weight", 0.5, "method.weight = null", "method.weight = 0.5"),
    ],
)
def test_runs_of_other_settings_have_a_row_of_their_own(
    make: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: object,
    first: str,
    second: str,
) -> None:
    make("aa", 0)
    make("aa", 1)
    make("bb", 0, settings={key: value}, split={"labelled": 100})
    one, two = rows(table(capsys, tmp_path))
    assert (one[0], one[1], one[2]) == (f"`r`, {first}", "25", "0 1")
    assert (two[0], two[1], two[2]) == (f"`r`, {second}", "100", "0")


def test_rows_that_nothing_tells_apart_have_their_digest(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("aa")
    make("bb")
    assert [row[0] for row in rows(table(capsys, tmp_path))] == ["`r`, digest aa", "`r`, digest bb"]


def test_other_training_files_are_a_row_of_their_own(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        data = {"trained": {"files_sha256": str(number) * 64}}
        make(folder=f"runs{number}", data=data)
    assert [row[0] for row in rows(table(capsys, tmp_path))] == [
        "`r`, trained on files 11111111",
        "`r`, trained on files 22222222",
    ]


@pytest.mark.parametrize("folders", [("runs", "copy"), ("a", "b"), ("x/y", "x/z")])
def test_one_seed_twice_is_refused_with_both_folders(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], folders: tuple[str, str]
) -> None:
    places = [make(folder=folder) for folder in folders]
    with pytest.raises(SystemExit, match="are of the same recipe, data and seed 0") as caught:
        table(capsys, tmp_path)
    assert all(str(place) in str(caught.value) for place in places)


def test_a_run_that_is_named_twice_counts_once(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make()
    assert rows(table(capsys, tmp_path, place))[0][2] == "0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": {**PROTOCOL, "flip": True}}, "scored by different protocols"),
        ({"protocol": {**PROTOCOL, "selection": "best of held-out"}}, "different protocols"),
        ({"data": {"reported": {"files_sha256": "b"}}}, "scored on files of other content"),
    ],
)
def test_what_must_not_stand_in_one_table_is_refused(
    make: Make,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    reason: str,
) -> None:
    make("aa")
    make("bb", **changes)
    with pytest.raises(SystemExit, match=reason) as caught:
        table(capsys, tmp_path)
    assert "aa-s0 and " in str(caught.value)


def test_the_score_of_the_last_step_is_asked_for(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(miou=0.5)
    text = table(capsys, tmp_path, "--score", "last")
    assert rows(text)[0][3] == "0.250"
    assert "Score: last, that is of the checkpoint by this rule: after the last step." in text
    make("bb", scores={"selected": {"miou": 0.5}, "last": None})
    with pytest.raises(SystemExit, match="bb-s0: only its reported checkpoint was scored"):
        table(capsys, tmp_path, "--score", "last")


def test_nothing_to_summarise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"no result\.json below"):
        table(capsys, tmp_path)
