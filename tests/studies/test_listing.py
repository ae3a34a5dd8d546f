"""semisup runs: what is there, in which state, and what differs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.finished import finished_run

from semisup.cli.display.runs import lines_of
from semisup.cli.main import cli
from semisup.studies.listing import list_runs, ordered

INTERVAL = {"miou_interval_95": [0.25, 0.45]}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three finished runs of one recipe, one of another, and one that has stopped."""
    top = tmp_path / "runs"
    for digest, seed, miou, steps in (("aa", 0, 0.5, 10), ("aa", 1, 0.4, 10), ("bb", 0, 0.6, 20)):
        scores = {"selected": {"miou": miou, **INTERVAL}, "last": None}
        place = top / "scenes/first" / f"{digest}-s{seed}"
        settings = {"train.steps": steps, "data.workers": seed}
        finished_run(place, digest, seed, miou, settings, scores=scores, recipe="scenes/first")
        (place / "scalars.jsonl").write_text(f'{{"step": {steps}, "final": true}}\n')
    place = finished_run(top / "scenes/second" / "cc-s3", "cc", 3, recipe="scenes/second")
    (place / "warnings.jsonl").write_text('{"step": 5, "warning": "x"}\n' * 2)
    stopped = finished_run(top / "scenes/second" / "cc-s4", "cc", 4, recipe="scenes/second")
    (stopped / "result.json").rename(stopped / "run.json")
    (stopped / "scalars.jsonl").write_text('{"step": 4, "loss": 1}\n{"step": 6, "loss": 1}\n')
    (stopped / "lock").write_text("99999999")
    for number, path in enumerate(sorted(top.glob("scenes/*/*"))):
        for file in path.iterdir():
            os.utime(file, (1000 + number, 1000 + number))
    return top


def table(out: Path, *words: str) -> list[list[str]]:
    done = CliRunner().invoke(cli, ["runs", *words, "--out", str(out)], prog_name="semisup")
    assert done.exit_code == 0, done.output
    _, *lines = done.stdout.splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def refusal(out: Path, *words: str) -> str:
    done = CliRunner().invoke(cli, ["runs", *words, "--out", str(out)], prog_name="semisup")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_each_run_has_a_line_in_a_pipe_the_newest_first(out: Path) -> None:
    rows = table(out)
    assert rows[0] == [
        *("-", "scenes/second", "1/8", "25", "4", "stopped at 6", "-", "6/10", "-", "-"),
    ]
    assert rows[1][-1] == "2"  # warnings
    assert rows[2][1:] == [
        *("scenes/first", "1/8", "25", "0", "finished", "0.250 to 0.450", "20/20", "7 s", "-"),
        "train.steps = 20",
    ]
    assert [row[0] for row in rows] == ["-", "0.500", "0.600", "0.400", "0.500"]


def test_the_best_come_first_and_unfinished_ones_last(out: Path) -> None:
    assert [row[0] for row in table(out, "--sort", "best")] == [
        *("0.600", "0.500", "0.500", "0.400", "-"),
    ]
    assert [row[4] for row in table(out, "--sort", "name")] == ["0", "0", "1", "3", "4"]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["first"], 3),
        (["FIRST", "steps=20"], 1),
        (["--where", "state=stopped"], 1),
        (["--where", "train.steps=10", "--where", "seed=0"], 1),
        (["--where", "split=1/8"], 5),
        (["second", "--where", "state=finished"], 1),
    ],
)
def test_words_and_values_choose(out: Path, words: list[str], count: int) -> None:
    assert len(table(out, *words)) == count


def test_a_folder_is_looked_through_in_place_of_out(out: Path) -> None:
    assert len(table(out.parent / "none", str(out / "scenes/first"))) == 3


def test_nothing_is_found(out: Path) -> None:
    done = CliRunner().invoke(cli, ["runs", "nothing", "--out", str(out)])
    assert (done.exit_code, done.output) == (0, "none of 5 runs\n")
    assert "is no folder of runs" in refusal(out / "none")
    assert "no run has that key. Did you mean 'train.steps'?" in refusal(
        out, "--where", "train.step=1"
    )
    assert "is not of the form key=value" in refusal(out, "--where", "seed")


def test_a_key_that_no_run_has_is_answered_with_five_and_where_all_are(tmp_path: Path) -> None:
    settings = {f"optim.segmenter.number_{number}": number for number in range(60)}
    finished_run(tmp_path / "r" / "a", settings={**settings, "optim.segmenter.lr": 0.1})
    assert "Did you mean 'optim.segmenter.lr'?" in refusal(tmp_path, "--where", "lr=1")
    line = refusal(tmp_path, "--where", "nosuch=1")
    listed = re.search(r"no run has that key. Nearest: (.*?)\. There are state, recipe", line)
    assert listed is not None, line
    assert len(listed[1].split(", ")) == 5
    assert "the keys that 'semisup show RECIPE' prints" in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "{"),
        ("result.json", "[]"),
        ("result.json", '{"seed": 0}'),
        ("result.json", '{"seed": 0, "scores": 3, "split": 4}'),
        ("result.json", '{"seed": 0, "scores": {"selected": {"miou": 1, "miou_interval_95": 3}}}'),
        (
            "result.json",
            '{"seed": 0, "scores": {"selected": {"miou": 1, "miou_interval_95": [1]}}}',
        ),
        (
            "result.json",
            '{"seed": 0, "scores": {"selected": {"miou": 1}}, "split": {"labelled": "x"}}',
        ),
        ("recipe.toml", "["),
        ("recipe.toml", "train = 3"),
        ("run.json", "[" * 100_000),
        ("scalars.jsonl", "\0\0"),
        ("lock", "\0"),
    ],
)
def test_a_damaged_run_is_a_line_and_stops_no_other(out: Path, name: str, content: str) -> None:
    place = out / "scenes/second/cc-s3"
    if name in ("run.json", "lock"):
        (place / "result.json").unlink()
    (place / name).write_text(content)
    runs, bad = list_runs([out])
    assert len(runs) + len(bad) == 5
    if name.endswith(".json"):
        (line,) = bad
        assert str(place) in line
        assert "\n" not in line
    done = CliRunner().invoke(cli, ["runs", "--out", str(out)])
    assert done.exit_code == 0
    assert len(done.stderr.splitlines()) == len(bad)


def test_a_run_at_work_holds_its_lock(out: Path) -> None:
    lock = out / "scenes/second/cc-s4/lock"
    lock.write_text(str(os.getpid()))
    assert table(out, "--where", "state=stopped")
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert table(out, "--where", "state=running")[0][5] == "running"


def test_json_has_all_of_it(out: Path) -> None:
    done = CliRunner().invoke(cli, ["runs", "--json", "--sort", "best", "--out", str(out)])
    first = json.loads(done.stdout)[0]
    assert first["miou"] == 0.6
    assert first["miou_interval_95"] == [0.25, 0.45]
    assert first["differs"] == {"train.steps": 20}
    assert first["folder"] == str(out / "scenes/first/bb-s0")


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_terminal_has_whole_names_and_columns_that_fit(out: Path, width: int) -> None:
    long = "scenes/a_recipe_whose_name_is_fifty_letters_long__"
    finished_run(out / long / "dd-s0", "dd", recipe=long)
    runs, _ = list_runs([out])
    lines = lines_of(ordered(runs, "name"), width)
    assert max(map(len, lines)) <= width
    assert any(long in line for line in lines)
    assert any("train.steps = 20" in line for line in lines)


def test_it_needs_no_torch(out: Path) -> None:
    code = (
        "import sys\nfrom semisup.studies.listing import list_runs\nfrom pathlib import Path\n"
        f"assert len(list_runs([Path({str(out)!r})])[0]) == 5\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
