"""`semisup ablate`: the plan, the runs, what it prints and how it ends."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from support.runs import make_set
from support.studies import STUDY, finish, plan_of, stand_in, write_study

from semisup.cli.display.studies import LiveBoard, PlainBoard
from semisup.cli.main import cli
from semisup.cli.studies import ablate as module
from semisup.studies.ablation import local, probe
from semisup.studies.ablation.plan import Cost
from semisup.studies.report.study import read_study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local, "POLL", 0.005)
    monkeypatch.setattr(local, "PAUSE", 0.02)
    return write_study(tmp_path)


def ablate(study: Path, *words: object, out: Path | None = None) -> Result:
    place = study.parent / "out" if out is None else out
    line = ["ablate", str(study), "--out", str(place), *map(str, words)]
    return CliRunner().invoke(cli, line, prog_name="semisup", terminal_width=80)


def replace_runs(study: Path, patch: pytest.MonkeyPatch, **ends: dict[str, object]) -> None:
    command = stand_in(plan_of(study), **ends)
    patch.setattr(module, "_command", lambda: command)


def test_a_plan_says_what_there_is_and_runs_nothing(study: Path) -> None:
    done = ablate(study, "--plan", "--no-probe")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"study grid: 4 recipes x 2 seeds = 8 cells in {study.parent / 'out'}"
    assert lines[1] == "  Two arms."
    assert [line.split() for line in lines[3:8]] == [
        ["cells", "done", "failed", "left", "each", "memory"],
        *([*name.split(), "2", "0", "0", "2", "-", "-"] for name in ROWS),
    ]
    assert lines[-2].startswith("left: 8 cells, time not known yet (1 at a time, ")
    assert not (study.parent / "out").exists()


ROWS = ["1/2 plain", "1/2 strong", "all plain", "all strong"]


def test_a_study_is_run_and_what_comes_next_is_named(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_runs(study, monkeypatch)
    done = ablate(study, "--no-probe", "--jobs", 2)
    assert done.exit_code == 0, done.output
    events = done.stderr.splitlines()
    assert len(events) == 16
    assert events[0] == "started   data.split=1/2, arm=plain, seed 0"
    assert any(line.startswith("finished  ") and "8 of 8 done" in line for line in events)
    plan = plan_of(study)
    digests = [cell.run.digest for cell in plan.cells]
    assert "done 8 of 8 cells" in done.stdout
    assert (
        f"  semisup compare 'plain={plan.out}/tiny/{digests[0]}-s*' "
        f"'strong={plan.out}/tiny/{digests[1]}-s*'"
    ) in done.stdout
    assert f"  semisup report {plan.out}   # one page of it" in done.stdout
    assert f"  semisup runs {plan.out}" in done.stdout
    assert json.loads((plan.out / "study.json").read_text())["study"] == "grid"
    again = ablate(study, "--no-probe")
    assert again.stderr == ""
    assert "left: nothing" in again.stdout


def test_failed_cells_are_told_at_the_end_and_the_status_says_so(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["semisup", "ablate", "grid.toml"])
    replace_runs(study, monkeypatch, arm_strong__seed_1={"ends": "refused"})
    done = ablate(study, "--no-probe")
    assert done.exit_code == 1
    assert "done 6 of 8 cells, 2 failed:" in done.stdout
    line = "  data.split=all, arm=strong, seed 1: data/x.png is missing; add it ("
    assert line in done.stdout
    assert "  semisup ablate grid.toml --retry   # once more what failed" in done.stdout
    assert done.stderr.splitlines()[-1] == "semisup: 2 of 8 runs failed; see above."


def test_json_is_the_plan_before_or_after(study: Path) -> None:
    before = json.loads(ablate(study, "--plan", "--no-probe", "--json").stdout)
    assert {run["state"] for run in before["runs"]} == {"left"}
    finish(plan_of(study))
    after = json.loads(ablate(study, "--no-probe", "--json").stdout)
    assert {run["state"] for run in after["runs"]} == {"done"}
    assert after["runs"][0]["values"] == {"data.split": "1/2", "arm": "plain"}
    assert after["runs"][0]["command"][:3] == ["semisup", "run", str(study.parent / "tiny.toml")]


def test_lines_for_another_scheduler_are_all_that_is_printed(study: Path) -> None:
    done = ablate(study, "--executor", "print", "--data-root", "my data")
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all(line.startswith("semisup run ") for line in lines)
    assert f"--data-root 'my data' --out {study.parent / 'out'}" in lines[0]


def test_runs_of_another_scheduler_are_reported_as_a_study(study: Path) -> None:
    assert ablate(study, "--executor", "print", "--plan").exit_code == 0
    assert not (study.parent / "out").exists()
    assert ablate(study, "--executor", "print").exit_code == 0
    assert [path.name for path in (study.parent / "out").iterdir()] == ["study.json"]
    read = read_study(study.parent / "out")
    assert read is not None
    assert [cell.values["arm"] for cell in read.cells] == ["plain", "strong"] * 2


def test_a_recipe_that_is_changed_after_the_plan_trains_nothing(study: Path) -> None:
    tiny = study.parent / "tiny.toml"
    digest = plan_of(study).cells[0].run.digest
    tiny.write_text(tiny.read_text().replace("width = 2", "width = 3"))
    line = ["run", str(tiny), "--set", "data.split=1/2", "--digest", digest]
    done = CliRunner().invoke(cli, [*line, "--out", str(study.parent / "out")])
    assert done.exit_code == 1
    assert "was changed after its study was planned" in done.stderr
    assert not (study.parent / "out").exists()


def test_many_recipes_have_a_row_for_each_arm(study: Path) -> None:
    study.write_text(STUDY.replace('"1/2", "all"', ", ".join(f'"1/{n}"' for n in range(2, 22))))
    done = ablate(study, "--plan", "--no-probe")
    rows = [line.split()[:2] for line in done.stdout.splitlines()[4:6]]
    assert rows == [["plain", "40"], ["strong", "40"]]


PROBED = """
import json, sys
words = sys.argv[1:]
assert "train.steps=6" in words and words[0] == "run", words
if "data.strong_labelled=true" in words:
    sys.exit("semisup: no weights")
print(json.dumps({"time": {"train_seconds": 12.0, "score_seconds": 5.0}}))
"""


def test_a_probe_measures_each_arm_once_and_says_what_cannot_be_run(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = study.parent / "probed.py"
    program.write_text(PROBED)
    command = [sys.executable, "-S", "-E", str(program)]
    monkeypatch.setattr(module, "_command", lambda: command)
    done = ablate(study, "--plan", "--set", "train.steps=60")
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [
        "measuring 6 steps of tiny ...",
        "measuring 6 steps of tiny ...",
        "tiny cannot be measured: no weights",
    ]
    kept = json.loads((study.parent / "out" / probe.FILE).read_text())
    (cost,) = kept.values()
    assert cost["seconds"] == 5 + 120  # nothing took longer than what it says
    row = next(line for line in done.stdout.splitlines() if line.startswith("1/2 plain"))
    assert row.split()[-3:-1] == ["min", f"{cost['peak_mib']:,.0f}"]
    monkeypatch.setattr(module, "_command", lambda: ["none"])
    assert len(plan_of(study, "train.steps=60").cells) == 4


def test_a_probe_that_prints_no_result_is_told(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = study.parent / "spoken.py"
    program.write_text("print('a plug-in speaks')")
    monkeypatch.setattr(module, "_command", lambda: [sys.executable, "-S", "-E", str(program)])
    done = ablate(study, "--plan")
    assert done.exit_code == 0, done.output
    assert "tiny cannot be measured: it printed no result" in done.stderr


@pytest.mark.parametrize("content", ["[1]", '{"ab": {"seconds": 1, "peak_mib": "big"}}'])
def test_a_damaged_probe_is_told(content: str, study: Path) -> None:
    (study.parent / "out").mkdir()
    (study.parent / "out" / probe.FILE).write_text(content)
    done = ablate(study, "--plan")
    assert done.exit_code == 1
    assert "probes.json: cannot be read" in done.stderr


def test_a_board_counts_and_tells_the_time_left(study: Path) -> None:
    plan = plan_of(study)
    costs = {cell.run.digest: Cost(60.0) for cell in plan.cells}
    board = PlainBoard(plan, costs, 2)
    assert board.counter() == "0 of 8 done, about 4 min left"
    board.started(plan.jobs[0])
    board.finished(plan.jobs[0], 3.0)
    board.failed(plan.jobs[1], "no")
    assert board.counter() == "1 of 8 done, 1 failed, about 3 min left"
    assert PlainBoard(plan, {}, 2).counter() == "0 of 8 done"


def test_a_terminal_has_what_runs_below_the_events(study: Path) -> None:
    plan = plan_of(study)
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, width=80, height=24)
    board = LiveBoard(plan, {}, 2, console)
    with board.over():
        board.started(plan.jobs[0])
        board._drawn = -1.0
        board.tick()
        board.finished(plan.jobs[0], 3.0)
    text = printed.getvalue()
    assert "started   data.split=1/2, arm=plain, seed 0" in text
    assert "0 of 8 done" in text
    assert "0 s  data.split=1/2, arm=plain, seed 0" in text


def test_what_answers_at_once_imports_no_torch(study: Path) -> None:
    code = (
        "import sys; from semisup.cli.main import cli\n"
        f"cli(['ablate', {str(study)!r}, '--plan', '--no-probe'], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(module.__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_real_cells_are_trained_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_set(tmp_path / "data")
    path = write_study(tmp_path, STUDY.replace("[axes]", '[set]\n"data.split_seed" = 3\n[axes]'))
    root = str(Path(module.__file__).resolve().parents[3])
    monkeypatch.setenv("PYTHONPATH", root)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = ablate(path, "--jobs", 2, "--data-root", tmp_path / "data", "--no-probe")
    assert done.exit_code == 0, done.output
    command = next(line for line in done.stdout.splitlines() if "semisup compare" in line)
    compared = CliRunner().invoke(cli, shlex.split(command)[1:], prog_name="semisup")
    assert compared.exit_code == 0, compared.output
    assert "B  strong" in compared.output
    listed = CliRunner().invoke(cli, ["runs", str(tmp_path / "out")], prog_name="semisup")
    assert listed.output.count("finished") == 8
