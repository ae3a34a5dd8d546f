"""Studies on a real Slurm of one machine: whatever ends a job, each cell ends once or is told."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm.cluster import Cluster, missing
from support.runs import make_set
from support.studies import STUDY, Noted, plan_of, stand_in, write_study

import semisup
from semisup.errors import RunError
from semisup.studies.ablation.attempts import read_attempts
from semisup.studies.ablation.executors import Outcome
from semisup.studies.ablation.local import CLAIMS, LocalExecutor
from semisup.studies.ablation.plan import Plan
from semisup.studies.ablation.slurm import executor as module
from semisup.studies.ablation.slurm.executor import SlurmExecutor, name_of
from semisup.studies.ablation.slurm.parameters import Request
from semisup.studies.ablation.slurm.queue import queued, read_jobs

pytest.importorskip("submitit", reason="needs submitit: pip install 'semisup[slurm]'")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := missing():
        pytest.skip(why)
    with Cluster(tmp_path_factory.mktemp("slurm") / "cluster") as started:
        yield started


@pytest.fixture
def study(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(semisup.__file__).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(module, "POLL", 0.3)
    monkeypatch.setattr(module, "TICK", 0.05)
    monkeypatch.setattr(module, "LATE", 2.0)
    return write_study(tmp_path, STUDY.replace("seeds = 2", "seeds = 1"))


def slurm(plan: Plan, command: list[str], board: Noted | None = None, **more: bool) -> Outcome:
    executor = SlurmExecutor(command, request=Request({}), **more)
    return executor.run(plan, board or Noted())


def tries(plan: Plan) -> list[int]:
    """How often each run was started."""
    files = [job.folder / "tries" for job in plan.jobs]
    return [len(file.read_text().splitlines()) if file.exists() else 0 for file in files]


def check_once(plan: Plan) -> None:
    """No two processes were at one cell, and nothing is held any more."""
    assert not list(plan.out.rglob("twice"))
    assert not list((plan.out / CLAIMS).iterdir())


def wait_for(there: Callable[[], object], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.05)


class Beside:
    """Runs a study beside the test."""

    def __init__(self, plan: Plan, command: list[str]) -> None:
        self.board, self.outcome = Noted(), Outcome()
        self._errors: list[BaseException] = []

        def work() -> None:
            try:
                self.outcome = slurm(plan, command, self.board)
            except BaseException as error:
                self._errors.append(error)

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def end(self) -> Outcome:
        self._thread.join(120)
        assert not self._thread.is_alive()
        if self._errors:
            raise self._errors[0]
        return self.outcome


def test_every_cell_is_run_once_and_what_fails_is_told(study: Path) -> None:
    plan = plan_of(study)
    board = Noted()
    command = stand_in(plan, all__arm_plain={"ends": "refused"})
    outcome = slurm(plan, command, board)
    job = plan.jobs[2]
    line = f"data/x.png is missing; add it ({job.folder / 'output.log'})"
    assert outcome.failed == {job.label: line}
    assert (outcome.signal, outcome.note) == (None, "")
    assert tries(plan) == [1] * 4
    check_once(plan)
    assert sorted(event.split()[0] for event in board.events if event.startswith("f")) == [
        "failed",
        *["finished"] * 3,
    ]
    (attempt,) = read_attempts(plan.jobs[0].folder)
    assert (attempt.exit, attempt.threads) == (0, 1)
    threads = {(job.folder / "tries").read_text().split()[1] for job in plan.jobs}
    assert threads == {"1"}

    again = plan_of(study)
    outcome = slurm(again, stand_in(plan))
    assert "it failed before: --retry tries it again" in outcome.failed[job.label]
    assert tries(plan) == [1] * 4
    assert slurm(again, stand_in(plan), retry=True).failed == {}
    assert tries(plan) == [1, 1, 2, 1]
    assert plan_of(study).count("done") == 4


STAGES = """
base = "scenes/decouplednet_5"
seeds = 2
[axes]
"data.split" = ["5/class", "10/class"]
"""


def test_a_cell_waits_for_its_first_stage_and_is_told_where_that_fails(study: Path) -> None:
    study.write_text(STAGES)
    plan = plan_of(study)
    command = stand_in(plan, classifier__seed_0={"ends": "refused"}, classifier={"steps": 50})
    outcome = slurm(plan, command)
    assert tries(plan) == [1, 0, 0, 1, 1, 1]
    assert list(outcome.failed.values())[1:] == ["its first stage failed"] * 2
    assert len({number.partition("_")[0] for number in read_jobs(plan.out).values()}) == 2
    assert slurm(plan_of(study), stand_in(plan), retry=True).failed == {}
    assert tries(plan) == [2, 1, 1, 1, 1, 1]
    check_once(plan)


def test_what_is_in_the_queue_is_not_submitted_again(study: Path, cluster: Cluster) -> None:
    plan = plan_of(study)
    outcome = slurm(plan, stand_in(plan, arm={"steps": 100}), detach=True)
    assert outcome.failed == {}
    assert outcome.note.startswith("4 runs with Slurm. ")
    jobs = read_jobs(plan.out)
    lines = SlurmExecutor([], request=Request({})).standing(plan)
    assert lines[0].startswith("with Slurm: ")
    assert len(lines) == 1
    board = Noted()
    assert slurm(plan_of(study), stand_in(plan), board).failed == {}
    assert read_jobs(plan.out) == jobs
    assert len([event for event in board.events if event.startswith("finished")]) == 4
    assert tries(plan) == [1] * 4
    check_once(plan)


def test_a_killed_worker_is_told_and_its_cell_is_run_by_the_next_call(
    study: Path, cluster: Cluster
) -> None:
    plan = plan_of(study)
    job = plan.jobs[0]
    beside = Beside(plan, stand_in(plan, **{"1_2__arm_plain": {"steps": 3000}}))
    wait_for((job.folder / "pid").exists)
    worker = json.loads((plan.out / CLAIMS / f"{job.key}.claim").read_text())["pid"]
    os.kill(worker, signal.SIGKILL)
    outcome = beside.end()
    assert list(outcome.failed) == [job.label]
    number = read_jobs(plan.out)[job.key]
    assert outcome.failed[job.label].startswith(
        f"job {number} has ended (FAILED) without a result; the same command submits it again ("
    )
    again = plan_of(study)
    assert again.count("left") == 1
    assert slurm(again, stand_in(plan)).failed == {}
    assert tries(plan) == [2, 1, 1, 1]
    check_once(plan)


def test_a_killed_run_is_told_as_it_is_elsewhere(study: Path) -> None:
    plan = plan_of(study)
    outcome = slurm(plan, stand_in(plan, **{"1_2__arm_plain": {"ends": "killed"}}))
    (line,) = outcome.failed.values()
    assert line.startswith("was killed (signal 9): the system may have run out of memory (")


@pytest.mark.parametrize("how", ["warned", "put back"])
def test_a_job_that_is_put_back_goes_on(how: str, study: Path, cluster: Cluster) -> None:
    plan = plan_of(study)
    job = plan.jobs[0]
    beside = Beside(plan, stand_in(plan, **{"1_2__arm_plain": {"steps": 150, "lingers": 0.5}}))
    wait_for((job.folder / "pid").exists)
    wait_for(lambda: f"started {job.label}" in "".join(beside.board.events))
    number = read_jobs(plan.out)[job.key]
    if how == "warned":  # as before its time is over, or where a site asks for the node
        cluster.ask("scancel", "--signal=USR2", number)
    else:  # as Slurm does where another job pre-empts it
        cluster.ask("scontrol", "requeue", number)
    outcome = beside.end()
    assert outcome.failed == {}, (plan.out / "slurm" / f"{number}_0_log.out").read_text()
    assert tries(plan)[0] >= 2  # a busy Slurm may repeat a signal
    assert tries(plan)[1:] == [1, 1, 1]
    assert f"requeued {job.label}" in beside.board.events
    *stopped, last = read_attempts(job.folder)
    assert [(attempt.stopped, attempt.line) for attempt in stopped] == [(True, "")] * len(stopped)
    assert (last.stopped, last.exit) == (False, 0)
    check_once(plan)


REAL = STUDY.replace("seeds = 2", "seeds = 1").replace('"1/2", "all"', '"1/2"')
REAL = REAL.replace("[axes]", '[set]\n"train.steps" = 40\n"data.split_seed" = 3\n[axes]')


def test_a_pre_empted_run_has_the_bits_of_an_undisturbed_one(
    study: Path, cluster: Cluster, tmp_path: Path
) -> None:
    make_set(tmp_path / "data")
    study.write_text(REAL)
    whole = tmp_path / "whole"
    command = [sys.executable, "-m", "semisup.cli.studies.cell"]
    given = ["--data-root", str(tmp_path / "data"), "--out"]
    plan = plan_of(study)
    board = Noted()
    job = plan.jobs[0]

    def pre_empt() -> None:
        wait_for(lambda: len(list((job.folder / "checkpoints").glob("*"))) > 1)
        cluster.ask("scontrol", "requeue", read_jobs(plan.out)[job.key])

    thread = threading.Thread(target=pre_empt)
    thread.start()
    executor = SlurmExecutor(command, [*given, str(plan.out)], request=Request({}))
    outcome = executor.run(plan, board)
    thread.join()
    assert outcome.failed == {}
    assert f"requeued {job.label}" in board.events
    assert outcome.signal is None
    *stopped, last = [attempt.stopped for attempt in read_attempts(job.folder)]
    assert stopped
    assert all(stopped)
    assert not last
    one = type(plan)(**{**vars(plan), "jobs": (job,), "states": {job.folder: "left"}})
    moved = type(job)(**{**vars(job), "folder": whole / job.folder.relative_to(plan.out)})
    one = type(plan)(**{**vars(one), "jobs": (moved,), "states": {moved.folder: "left"}})
    assert LocalExecutor(command, [*given, str(whole)]).run(one, Noted()).failed == {}
    for name in ("predictor.safetensors", "counts.safetensors", "scalars.jsonl"):
        assert (job.folder / name).read_bytes() == (moved.folder / name).read_bytes(), name


def test_what_slurm_refuses_is_one_line(study: Path) -> None:
    plan = plan_of(study)
    executor = SlurmExecutor([], request=Request({"partition": "none"}))
    with pytest.raises(RunError, match=r"Slurm refuses the jobs: .*partition.*\. Change it by"):
        executor.run(plan, Noted())
    assert queued(name_of(plan)) == {}
