"""Cells on this machine: each once, whatever fails, and whoever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.studies import STUDY, Noted, finish, plan_of, stand_in, write_study

from semisup.errors import RunError
from semisup.studies.ablation import local as module
from semisup.studies.ablation.attempts import FILE, LOG, read_attempts
from semisup.studies.ablation.claims import Claim, take
from semisup.studies.ablation.executors import PrintExecutor
from semisup.studies.ablation.local import CLAIMS, LocalExecutor, threads_of
from semisup.studies.ablation.plan import Plan, estimate, seconds_left


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "POLL", 0.005)
    monkeypatch.setattr(module, "PAUSE", 0.02)
    return write_study(tmp_path)


def tries(plan: Plan) -> list[int]:
    """How often each run was started."""
    files = [job.folder / "tries" for job in plan.jobs]
    return [len(file.read_text().splitlines()) if file.exists() else 0 for file in files]


def check_once(plan: Plan) -> None:
    """No two processes were at one cell, and nothing is held any more."""
    assert not list(plan.out.rglob("twice"))
    assert not list((plan.out / CLAIMS).iterdir())


def test_every_cell_is_run_once_and_finished_ones_are_left_alone(study: Path) -> None:
    plan = plan_of(study)
    board = Noted()
    outcome = LocalExecutor(stand_in(plan), jobs=2).run(plan, board)
    assert outcome.failed == {}
    assert outcome.signal is None
    assert tries(plan) == [1] * 8
    check_once(plan)
    assert len(board.events) == 16
    assert board.events[:2] == [f"started {job.label}" for job in plan.jobs[:2]]
    again = plan_of(study)
    assert again.count("done") == 8
    assert again.left() == []
    board = Noted()
    LocalExecutor(stand_in(plan), jobs=2).run(again, board)
    assert board.events == []
    assert tries(plan) == [1] * 8
    log = (plan.jobs[0].folder / LOG).read_text()
    assert log.startswith("# 20")
    assert log.endswith("half way\n")
    attempt = read_attempts(plan.jobs[0].folder)[0]
    assert attempt.exit == 0
    assert attempt.line == ""
    assert 1 < attempt.peak_mib < 10_000


def test_what_fails_is_told_and_the_rest_goes_on(study: Path) -> None:
    plan = plan_of(study)
    ends = {
        "1_2__arm_plain__seed_0": {"ends": "raises"},
        "1_2__arm_strong__seed_0": {"ends": "refused"},
        "all__arm_plain__seed_1": {"ends": "killed"},
    }
    outcome = LocalExecutor(stand_in(plan, **ends)).run(plan, Noted())
    lines = list(outcome.failed.values())
    logs = [job.folder / LOG for job in plan.jobs]
    assert lines == [
        f"ValueError: no such colour ({logs[0]})",
        f"data/x.png is missing; add it ({logs[1]})",
        f"was killed (signal 9): the system may have run out of memory ({logs[6]})",
    ]
    assert tries(plan) == [1] * 8
    check_once(plan)

    again = plan_of(study)
    assert (again.count("done"), again.count("failed"), again.count("left")) == (5, 3, 0)
    board = Noted()
    outcome = LocalExecutor(stand_in(plan)).run(again, board)
    assert len(outcome.failed) == 3
    assert "ValueError: no such colour; it failed before: --retry" in board.events[0]
    assert tries(plan) == [1] * 8

    outcome = LocalExecutor(stand_in(plan), retry=True).run(again, Noted())
    assert outcome.failed == {}
    assert tries(plan) == [2, 2, 1, 1, 1, 1, 2, 1]
    assert plan_of(study).count("done") == 8


def test_a_run_that_ends_well_without_a_result_has_failed(study: Path) -> None:
    plan = plan_of(study)
    command = [sys.executable, "-S", "-E", "-c", "print('fine')"]
    outcome = LocalExecutor(command).run(plan, Noted())
    assert len(outcome.failed) == 8
    assert all("ended without a result" in line for line in outcome.failed.values())


STAGES = """
base = "scenes/decouplednet_5"
seeds = 2
[axes]
"data.split" = ["5/class", "10/class"]
"""


def test_a_first_stage_is_trained_once_before_what_starts_from_it(study: Path) -> None:
    study.write_text(STAGES)
    plan = plan_of(study)
    outcome = LocalExecutor(stand_in(plan), jobs=3).run(plan, Noted())
    assert outcome.failed == {}
    assert tries(plan) == [1] * 6


def test_without_its_first_stage_a_cell_is_not_started(study: Path) -> None:
    study.write_text(STAGES)
    plan = plan_of(study)
    command = stand_in(plan, classifier__seed_0={"ends": "refused"})
    outcome = LocalExecutor(command, jobs=3).run(plan, Noted())
    assert list(outcome.failed.values())[1:] == ["its first stage failed"] * 2
    assert tries(plan) == [1, 0, 0, 1, 1, 1]


def test_a_cell_that_somebody_else_works_on_is_waited_for(study: Path) -> None:
    plan = plan_of(study)
    job = plan.jobs[0]
    claim = take(plan.out / CLAIMS, job.key)
    assert isinstance(claim, Claim)
    board = Noted()
    command = stand_in(plan)

    def finish() -> None:
        while len(board.events) < 15:
            time.sleep(0.005)
        job.folder.mkdir(parents=True)
        done = plan.jobs[1].folder / "result.json"
        content = json.loads(done.read_text()) | {"recipe_hash": job.stage.digest}
        (job.folder / "result.json").write_text(json.dumps(content))
        claim.release()

    thread = threading.Thread(target=finish)
    thread.start()
    outcome = LocalExecutor(command).run(plan, board)
    thread.join()
    assert outcome.failed == {}
    assert tries(plan) == [0] + [1] * 7
    assert board.events[0].startswith(f"waiting {job.label}: process {os.getpid()} of ")
    assert board.events[-1] == f"finished {job.label}"


def test_claims_that_the_dead_left_on_finished_cells_are_removed(study: Path) -> None:
    plan = plan_of(study)
    finish(plan)
    (plan.out / CLAIMS).mkdir()
    (plan.out / CLAIMS / f"{plan.jobs[0].key}.claim").write_text("")
    held = take(plan.out / CLAIMS, plan.jobs[1].key)
    assert isinstance(held, Claim)
    LocalExecutor(stand_in(plan)).run(plan_of(study), Noted())
    assert list((plan.out / CLAIMS).iterdir()) == [held.path]  # its owner lives
    held.release()


def test_a_disk_that_is_full_meanwhile_leaves_what_runs_alone(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(study)

    def full(folder: Path, key: str) -> Claim | str:
        if key == plan.jobs[2].key:
            raise RunError(f"{folder}: cannot be written (No space left on device).")
        return take(folder, key)

    monkeypatch.setattr(module, "take", full)
    outcome = LocalExecutor(stand_in(plan), jobs=2).run(plan, Noted())
    assert list(outcome.failed) == [plan.jobs[2].label]
    assert "No space left" in outcome.failed[plan.jobs[2].label]
    assert tries(plan) == [1, 1, 0, 1, 1, 1, 1, 1]
    assert plan_of(study).count("left") == 1  # the same command tries it again


def test_a_run_is_told_the_digest_that_was_planned(study: Path) -> None:
    plan = plan_of(study)
    code = "import sys; sys.exit('semisup: ' + ' '.join(sys.argv[-2:]))"
    outcome = LocalExecutor([sys.executable, "-S", "-E", "-c", code]).run(plan, Noted())
    told = [line.rpartition(" (")[0] for line in outcome.failed.values()]
    assert told == [f"--digest {job.stage.digest}" for job in plan.jobs]


def test_what_another_process_has_seen_fail_is_not_tried_behind_its_back(study: Path) -> None:
    plan = plan_of(study)
    late = plan_of(study)  # planned at the same time
    ends = {"1_2__arm_plain__seed_0": {"ends": "raises"}}
    LocalExecutor(stand_in(plan, **ends)).run(plan, Noted())
    outcome = LocalExecutor(stand_in(plan)).run(late, Noted())
    assert list(outcome.failed.values()) == ["ValueError: no such colour"]
    assert tries(plan) == [1] * 8


DRIVER = """
import sys
from pathlib import Path
from support.studies import Noted, plan_of
from semisup.studies.ablation import local
from semisup.studies.ablation.local import LocalExecutor

local.POLL, local.PAUSE = 0.01, 0.05
study, jobs, *command = sys.argv[1:]
plan = plan_of(Path(study))
print("ready", flush=True)
outcome = LocalExecutor(command, jobs=int(jobs)).run(plan, Noted())
sys.exit(0 if not outcome.failed and outcome.signal is None else 1)
"""


def drive(
    study: Path, plan: Plan, *, steps: int, jobs: int = 2, lingers: float = 0.0
) -> subprocess.Popen[str]:
    """A process that runs a study, once it has planned it."""
    command = stand_in(plan, seed={"steps": steps, "lingers": lingers})
    tests = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(tests), str(tests.parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(study), str(jobs), *command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def test_a_signal_stops_the_runs_and_the_study_goes_on_later(study: Path) -> None:
    plan = plan_of(study)
    command = stand_in(plan, seed={"steps": 500})
    board = Noted()

    def interrupt() -> None:
        while sum(tries(plan)) < 2:
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = LocalExecutor(command, jobs=2).run(plan, board)
    thread.join()
    assert outcome.signal == signal.SIGTERM
    assert outcome.failed == {}
    assert board.events[-1] == "stopped 2"
    check_once(plan)
    again = plan_of(study)
    assert again.count("left") == 8  # what was asked to stop has not failed
    assert LocalExecutor(stand_in(plan), jobs=2).run(again, Noted()).failed == {}


def test_runs_end_when_their_scheduler_is_killed_and_hold_their_cells_until_then(
    study: Path,
) -> None:
    plan = plan_of(study)
    process = drive(study, plan, steps=1000, lingers=1.0)  # to save a checkpoint
    pids = [job.folder / "pid" for job in plan.jobs[:2]]
    while not all(pid.exists() for pid in pids):
        time.sleep(0.01)
    process.kill()  # it alone
    process.wait()
    outcome = LocalExecutor(stand_in(plan), jobs=2).run(plan_of(study), Noted())
    assert outcome.failed == {}
    assert tries(plan) == [2, 2] + [1] * 6
    check_once(plan)


@pytest.mark.slow
def test_two_at_once_end_each_cell_exactly_once(study: Path) -> None:
    plan = plan_of(study)
    processes = [drive(study, plan, steps=5) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert tries(plan) == [1] * 8
    check_once(plan)


@pytest.mark.slow
def test_killed_ten_times_it_comes_to_the_same_end(study: Path) -> None:
    plan = plan_of(study)
    chance = random.Random(0)
    for number in range(10):
        process = drive(study, plan, steps=10)
        time.sleep(chance.uniform(0.0, 0.4))
        if number % 2:
            os.killpg(process.pid, signal.SIGKILL)  # the runs too
        else:
            process.kill()
        process.wait()
    assert drive(study, plan, steps=1).wait(60) == 0
    check_once(plan)
    whole = plan_of(write_study(study.parent / "out"))
    LocalExecutor(stand_in(whole)).run(whole, Noted())
    for killed, undisturbed in zip(plan.jobs, whole.jobs, strict=True):
        results = [(job.folder / "result.json").read_bytes() for job in (killed, undisturbed)]
        assert results[0] == results[1]


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "usable_cores", lambda: 8)
    assert [threads_of(jobs) for jobs in (1, 2, 3, 20)] == [8, 4, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of(2) == 3


def test_a_run_is_told_its_threads(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "usable_cores", lambda: 8)
    study.write_text(STUDY.replace("seeds = 2", "seeds = 1"))
    plan = plan_of(study)
    LocalExecutor(stand_in(plan), jobs=2).run(plan, Noted())
    told = [(job.folder / "tries").read_text().split()[1] for job in plan.jobs]
    assert told == ["4"] * 4


def test_a_damaged_record_of_attempts_names_the_file(study: Path) -> None:
    plan = plan_of(study)
    for content in ("{", '{"attempts": [1]}', "[]", '{"attempts": [{"began": "x"}]}'):
        plan.jobs[3].folder.mkdir(parents=True, exist_ok=True)
        (plan.jobs[3].folder / FILE).write_text(content)
        with pytest.raises(RunError, match=r"cell\.json: cannot be read"):
            plan_of(study)


def test_a_damaged_result_is_no_finished_run(study: Path) -> None:
    plan = plan_of(study)
    folder = plan.jobs[0].folder
    folder.mkdir(parents=True)
    for content in ("{", "[]", '{"recipe_hash": "0123456789"}', '{"recipe_hash": 1, "time": 3}'):
        (folder / "result.json").write_text(content)
        assert plan_of(study).count("done") == 0


def test_lines_for_another_scheduler_are_commands_in_order(study: Path) -> None:
    study.write_text(STAGES)
    plan = plan_of(study)
    lines: list[str] = []
    PrintExecutor(["--out", "a b"], lines.append).run(plan)
    assert len(lines) == 6
    assert lines[0] == ("semisup run scenes/decouplednet_classifier --seed 0 --out 'a b'")
    assert lines[1] == (
        "semisup run scenes/decouplednet_5 --set data.split=5/class --seed 0 --out 'a b'"
    )


def test_the_time_left_is_that_of_finished_runs_of_the_arm(study: Path) -> None:
    plan = plan_of(study)
    assert seconds_left(plan, estimate(plan), 1) is None
    ends = {"arm_plain__seed_0": {}, "seed_1": {"ends": "refused"}}
    LocalExecutor(stand_in(plan, **ends)).run(plan, Noted())
    for job in plan.jobs:
        if job.seed == 1:
            (job.folder / FILE).unlink()
    again = plan_of(study)
    costs = estimate(again)
    assert again.count("left") == 4
    assert {round(cost.seconds) for cost in costs.values()} == {4}  # as their results state
    assert seconds_left(again, costs, 1) == pytest.approx(16, abs=1)
    assert seconds_left(again, costs, 8) == pytest.approx(4, abs=1)
