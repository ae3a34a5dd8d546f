"""What Slurm is asked, without one: tests/slurm has a real one. Its commands are scripts here."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.studies import Noted, finish, plan_of, stand_in, write_study

from semisup.cli.main import cli
from semisup.errors import RecipeError, RunError
from semisup.studies.ablation import local
from semisup.studies.ablation.attempts import Attempt, add_attempt, failed, read_attempts
from semisup.studies.ablation.claims import Claim, take
from semisup.studies.ablation.executors import Outcome
from semisup.studies.ablation.local import CLAIMS
from semisup.studies.ablation.plan import Cost, Plan
from semisup.studies.ablation.slurm import executor as module
from semisup.studies.ablation.slurm import parameters
from semisup.studies.ablation.slurm import worker as worker_module
from semisup.studies.ablation.slurm.executor import SlurmExecutor, arrays_of, name_of
from semisup.studies.ablation.slurm.parameters import Request, minutes_of, read_parameters
from semisup.studies.ablation.slurm.queue import FILE, FOLDER, queued, read_jobs
from semisup.studies.ablation.slurm.worker import Worker

STAGES = """
base = "scenes/decouplednet_5"
seeds = 2
[axes]
"data.split" = ["5/class", "10/class"]
"""

SCRIPTS = {
    "sbatch": """
n=$(ls "$FAKE" | grep -c script-); cp "$1" "$FAKE/script-$n"
[ -e "$FAKE/refuses" ] && { echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1; }
echo "$SLURM_CONF ${SLURM_JOB_ID:-none}" > "$FAKE/environment"
echo "Submitted batch job $((100 + n))"
""",
    "squeue": '[ -e "$FAKE/silent" ] && { echo "squeue: no route" >&2; exit 1; }\n'
    'cat "$FAKE/queue" 2>/dev/null\nexit 0\n',
    "srun": "",
    "scancel": 'echo "$@" >> "$FAKE/cancelled"\n',
    "scontrol": 'echo "JobId=7 JobState=NODE_FAIL Reason=None"\n',
}


class Fake:
    """A Slurm that keeps what it is asked, and lists the jobs that a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name, text in SCRIPTS.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}")
            (folder / name).chmod(0o755)

    def scripts(self) -> list[str]:
        """What was submitted."""
        return [path.read_text() for path in sorted(self.folder.glob("script-*"))]

    def lists(self, plan: Plan, **jobs: str) -> None:
        """Let it list jobs: number with a leading letter -> state."""
        rows = [f"{job[1:]}|{state}|Resources|{name_of(plan)}" for job, state in jobs.items()]
        (self.folder / "new").write_text("".join(f"{row}\n" for row in rows))
        (self.folder / "new").rename(self.folder / "queue")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'semisup[slurm]'")
    made = Fake(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(made.folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(module, "POLL", 0.01)
    monkeypatch.setattr(module, "TICK", 0.01)
    monkeypatch.setattr(module, "LATE", 0.05)
    return made


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(local, "POLL", 0.005)
    monkeypatch.setattr(local, "PAUSE", 0.02)
    return write_study(tmp_path)


def slurm(
    plan: Plan, board: Noted | None = None, *, retry: bool = False, detach: bool = False
) -> Outcome:
    executor = SlurmExecutor(["true"], request=Request({}), retry=retry, detach=detach)
    return executor.run(plan, board or Noted())


# What is asked for


def test_keys_become_parameters() -> None:
    words = ["partition=gpu", "gpus-per-node=a100:1", "time=1-12", "mem=16g", "exclusive=true"]
    words += ["setup=module load cuda", "setup=ulimit -n 4096", "slurm_qos=low"]
    assert read_parameters(words) == {
        "partition": "gpu",
        "gpus_per_node": "a100:1",
        "time": 36 * 60,
        "mem": "16G",
        "exclusive": True,
        "setup": ["module load cuda", "ulimit -n 4096"],
        "qos": "low",
    }


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("gpus=1", "there is no key 'gpus'. Did you mean 'gpus_per_node'?"),
        ("partion=gpu", "there is no key 'partion'. Did you mean 'partition'?"),
        ("nodes=2", "there is no key 'nodes'."),
        ("dependency=afterok:1", "there is no key 'dependency'."),
        ("array_parallelism=3", "--jobs says how many run at a time"),
        ("partition", "is no KEY=VALUE"),
        ("partition=", "is no KEY=VALUE"),
        ("mem=much", "is no size, such as 8G"),
        ("cpus_per_task=0", "is no whole number above 0"),
        ("gpus_per_node=all", "is no number of GPUs"),
        ("time=tomorrow", "is no time"),
        ("time=0", "is less than a minute"),
        ("exclusive=no", "is true, user or mcs"),
    ],
)
def test_a_wrong_key_or_value_is_told(word: str, line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_parameters([word])
    assert str(caught.value).startswith(f"--slurm {word}: ")
    assert line in str(caught.value)


def test_what_is_stated_twice_is_told() -> None:
    with pytest.raises(RecipeError, match="'qos' is stated twice"):
        read_parameters(["qos=a", "qos=b"])
    with pytest.raises(RecipeError, match="'mem' and 'mem_per_cpu' both state memory"):
        read_parameters(["mem_per_cpu=1G", "mem=1G"])


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:30", 91), ("1:30:00", 90), ("1-0", 1440), ("1-1:5", 1505), ("2-0:0:1", 2881)],
)
def test_times_are_read_as_sbatch_reads_them(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


def test_every_key_is_a_parameter_of_submitit() -> None:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'semisup[slurm]'")
    from submitit import SlurmExecutor as Theirs

    assert set(parameters.KEYS) <= Theirs._valid_parameters()


def test_memory_and_time_are_those_of_the_greatest_run(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    jobs = plan_of(study).jobs
    costs = {job.stage.digest: Cost(600.0, 900.0) for job in jobs}
    costs[jobs[0].stage.digest] = Cost(3600.0, 3000.0)
    asked = Request({}, 5).of(jobs, costs)
    assert (asked["mem"], asked["time"], asked["cpus_per_task"]) == ("7G", 190, 3)
    assert asked["array_parallelism"] == 5
    assert asked["srun_args"] == ["--cpus-per-task=3"]
    assert Request({"mem_per_cpu": "2G", "time": 5}).of(jobs, costs).keys() & {"mem"} == set()
    assert Request({"mem_per_cpu": "2G", "time": 5}).of(jobs, costs)["time"] == 5
    unknown = Request({}).of(jobs, {})
    assert "mem" not in unknown
    assert unknown["time"] == parameters.UNKNOWN
    days = {job.stage.digest: Cost(1e6) for job in jobs}
    assert Request({}).of(jobs, days)["time"] == parameters.LONGEST
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(parameters, "usable_cores", lambda: 64)
    assert Request({}).threads == Request({}).cores == parameters.MOST_CORES
    assert Request({"cpus_per_task": 8}).threads == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (Request({"cpus_per_task": 8}).threads, Request({"cpus_per_task": 8}).cores) == (2, 8)


# Arrays


def test_first_stages_and_what_starts_from_them_are_arrays_apart(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.write_text(STAGES)
    jobs = plan_of(study).jobs
    stages, cells = arrays_of(jobs)
    assert [job.cell for job in stages] == [None, None]
    assert len(cells) == 4
    assert {job.needs for job in cells} == {job.folder for job in stages}
    finished = [job for job in jobs if job.cell is not None]  # the stages are there already
    assert arrays_of(finished) == [finished]
    plain = plan_of(write_study(study.parent)).jobs
    assert [len(array) for array in arrays_of([*jobs, *plain])] == [2, 8, 4]
    monkeypatch.setattr(module, "MOST", 3)
    assert [len(array) for array in arrays_of(plain)] == [3, 3, 2]


def test_an_array_waits_for_the_one_that_it_starts_from(study: Path, fake: Fake) -> None:
    study.write_text(STAGES)
    plan = plan_of(study)
    outcome = slurm(plan, detach=True)
    first, second = fake.scripts()
    assert "#SBATCH --array=0-1%2" in first
    assert "--dependency" not in first
    assert "#SBATCH --array=0-3%4" in second
    assert "#SBATCH --dependency=afterany:100" in second
    for script in (first, second):
        assert f"#SBATCH --job-name={name_of(plan)}\n" in script
        assert "#SBATCH --requeue\n" in script
        assert "#SBATCH --signal=USR2@90\n" in script
        assert "--cpus-per-task=1 " in script  # of srun
    assert sorted(read_jobs(plan.out).values()) == [
        *("100_0", "100_1"),
        *(f"101_{number}" for number in range(4)),
    ]
    assert outcome.note == (
        "6 runs with Slurm. The same command shows where they stand; 'scancel 100 101' ends them."
    )
    assert not (plan.out / CLAIMS / "slurm.claim").exists()


def test_jobs_know_where_slurm_is_and_nothing_of_the_job_that_submits_them(
    study: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/their/slurm.conf")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    slurm(plan_of(study), detach=True)
    assert (fake.folder / "environment").read_text() == "/etc/their/slurm.conf none\n"
    assert os.environ["SLURM_JOB_ID"] == "17"


def test_what_waits_or_runs_is_not_submitted_again(study: Path, fake: Fake) -> None:
    plan = plan_of(study)
    slurm(plan, detach=True)
    known = read_jobs(plan.out)
    fake.lists(plan, **{f"j100_{number}": "PENDING" for number in range(8)})
    slurm(plan, detach=True)
    assert len(fake.scripts()) == 1
    fake.lists(plan, **{f"j100_{number}": "RUNNING" for number in range(7)})
    slurm(plan, detach=True)
    assert len(fake.scripts()) == 2
    changed = {key for key, job in read_jobs(plan.out).items() if job != known[key]}
    assert changed == {plan.jobs[7].key}
    assert "--array" not in fake.scripts()[1]  # it is alone
    assert not (fake.folder / "cancelled").exists()


def test_jobs_of_another_study_are_not_taken_for_its_own(study: Path, fake: Fake) -> None:
    plan = plan_of(study)
    (fake.folder / "queue").write_text("100_0|RUNNING|None|semisup-other-0a1b2c\n")
    assert queued(name_of(plan)) == {}
    fake.lists(plan, j100_0="RUNNING", j100_1="PENDING", j100_2="REQUEUE_HOLD")
    found = queued(name_of(plan))
    assert [(one.running, one.reason) for one in found.values()] == [
        (True, ""),
        (False, "Resources"),
        (False, "Resources"),
    ]


def test_a_cell_in_the_queue_waits_for_a_first_stage_that_is_tried_again(
    study: Path, fake: Fake
) -> None:
    study.write_text(STAGES)
    plan = plan_of(study)
    slurm(plan, detach=True)
    fake.lists(plan, **{f"j101_{number}": "PENDING" for number in range(4)})
    slurm(plan, detach=True)
    assert (fake.folder / "cancelled").read_text().split() == [f"101_{n}" for n in range(4)]
    assert "#SBATCH --dependency=afterany:102" in fake.scripts()[3]


# Watching


ALL = {f"j100_{number}": "RUNNING" for number in range(8)}


def test_what_runs_waits_again_and_ends_is_told(
    study: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(study)
    monkeypatch.setattr(module, "POLL", 0.0)
    monkeypatch.setattr(module, "LATE", 5.0)
    fake.lists(plan, **ALL)
    board = Noted()
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 1:
            fake.lists(plan, **(ALL | {"j100_0": "PENDING"}))
        elif ticks == 3:
            fake.lists(plan, **ALL)
        elif ticks == 5:
            fake.lists(plan)
        elif ticks == 7:
            finish(plan)

    board.tick = tick  # type: ignore[method-assign]
    assert slurm(plan, board).failed == {}
    label = plan.jobs[0].label
    own = [event for event in board.events if label in event]
    assert own == [
        f"started {label} (job 100_0)",
        f"requeued {label}",
        f"started {label} (job 100_0)",
        f"finished {label}",
    ]
    assert len(board.events) == 18


def test_a_job_that_slurm_has_ended_is_told_with_its_log(study: Path, fake: Fake) -> None:
    plan = plan_of(study)
    outcome = slurm(plan)
    assert len(outcome.failed) == 8
    assert outcome.failed[plan.jobs[1].label] == (
        "job 100_1 has ended (NODE_FAIL) without a result; the same command submits it again "
        f"({plan.out / FOLDER / '100_1_0_log.out'})"
    )
    assert plan_of(study).count("left") == 8


def test_what_failed_before_is_not_told_of_a_job_that_is_lost(study: Path, fake: Fake) -> None:
    plan = plan_of(study)
    folder = plan.jobs[0].folder
    folder.mkdir(parents=True)
    add_attempt(folder, Attempt(1.0, 2.0, 1, 3.0, 1, "no such colour"))
    again = plan_of(study)
    label = plan.jobs[0].label
    line = "no such colour; it failed before: --retry tries it again"
    assert slurm(again).failed[label] == line
    assert slurm(again, retry=True).failed[label].startswith("job 101_0 has ended (NODE_FAIL)")


def test_a_cell_whose_first_stage_has_no_result_is_lost_with_it(study: Path, fake: Fake) -> None:
    study.write_text(STAGES)
    outcome = slurm(plan_of(study))
    first, second, *cells = sorted(outcome.failed.values(), reverse=True)
    assert cells == ["its first stage failed"] * 4
    assert first.startswith("job 100_1 has ended")
    assert second.startswith("job 100_0 has ended")


def test_a_cell_that_somebody_else_works_on_has_not_failed(study: Path, fake: Fake) -> None:
    plan = plan_of(study)
    for job in plan.jobs[1:]:
        job.folder.mkdir(parents=True)
    claim = take(plan.out / CLAIMS, plan.jobs[0].key)
    assert isinstance(claim, Claim)
    board = Noted()

    def end() -> None:
        while not any(event.startswith("waiting") for event in board.events):
            time.sleep(0.01)
        time.sleep(0.2)  # longer than LATE
        finish(plan)
        claim.release()

    thread = threading.Thread(target=end)
    thread.start()
    outcome = slurm(plan, board)
    thread.join()
    assert plan.jobs[0].label not in outcome.failed


def test_ctrl_c_leaves_the_jobs_to_slurm(study: Path, fake: Fake) -> None:
    plan = plan_of(study)
    fake.lists(plan, **ALL)
    board = Noted()
    board.tick = lambda: os.kill(os.getpid(), signal.SIGINT)  # type: ignore[method-assign]
    outcome = slurm(plan, board)
    assert outcome.signal == signal.SIGINT
    assert outcome.note.startswith("8 runs with Slurm. ")
    assert not (fake.folder / "cancelled").exists()


def test_a_slurm_that_does_not_answer_is_waited_for_and_then_told(
    study: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(study)
    monkeypatch.setattr(module, "SILENT", 0.1)
    fake.lists(plan, **ALL)
    board = Noted()
    board.tick = (fake.folder / "silent").touch  # type: ignore[method-assign]
    began = time.monotonic()
    with pytest.raises(RunError, match=r"squeue: no route\. Jobs that Slurm has go on"):
        slurm(plan, board)
    assert time.monotonic() - began > 0.1


def test_what_slurm_refuses_is_one_line(study: Path, fake: Fake) -> None:
    (fake.folder / "refuses").touch()
    line = r"Slurm refuses the jobs: invalid partition specified: gpu\. Change it by --slurm\."
    with pytest.raises(RunError, match=line):
        slurm(plan_of(study))


@pytest.mark.parametrize("content", ["{", "[]", '{"jobs": [1]}', '{"jobs": {"a": 1}}'])
def test_a_damaged_list_of_jobs_names_the_file(content: str, study: Path, fake: Fake) -> None:
    plan = plan_of(study)
    (plan.out / FOLDER).mkdir(parents=True)
    (plan.out / FOLDER / FILE).write_text(content)
    with pytest.raises(RunError, match=r"jobs\.json: cannot be read .* Delete it"):
        slurm(plan)
    assert fake.scripts() == []


# What a job does


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def worker(
    plan: Plan, number: int, command: list[str], *, retry: bool = False, minutes: int = 60
) -> Worker:
    job = plan.jobs[number]
    first = next((one for one in plan.jobs if one.folder == job.needs), None)
    return Worker(plan, job, first, command, [], 1, retry, minutes)


pytestmark = pytest.mark.usefixtures("_handlers", "_environment")


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a worker sets both
    monkeypatch.setenv("MKL_NUM_THREADS", "1")


def test_a_job_runs_its_cell_once(study: Path) -> None:
    plan = plan_of(study)
    work = worker(plan, 0, stand_in(plan))
    work()
    work()
    assert [attempt.exit for attempt in read_attempts(plan.jobs[0].folder)] == [0]
    assert plan_of(study).count("done") == 1
    assert not list((plan.out / CLAIMS).iterdir())


def test_a_job_whose_cell_fails_ends_with_a_status(study: Path) -> None:
    plan = plan_of(study)
    with pytest.raises(SystemExit) as caught:
        worker(plan, 0, stand_in(plan, arm={"ends": "refused"}))()
    assert caught.value.code == 1
    attempt = failed(plan.jobs[0].folder)
    assert attempt is not None
    assert attempt.line == "data/x.png is missing; add it"
    with pytest.raises(SystemExit):  # it failed before
        worker(plan, 0, stand_in(plan))()
    worker(plan, 0, stand_in(plan), retry=True)()
    assert plan_of(study).count("done") == 1


def test_a_job_does_not_start_before_its_first_stage_is_there(study: Path) -> None:
    study.write_text(STAGES)
    plan = plan_of(study)
    command = stand_in(plan)
    with pytest.raises(SystemExit, match="its first stage is not finished"):
        worker(plan, 1, command)()
    assert not plan.jobs[1].folder.exists()
    worker(plan, 0, command)()
    worker(plan, 1, command)()
    assert plan_of(study).count("done") == 1


def warn_once_it_runs(folder: Path) -> threading.Thread:
    def warn() -> None:
        while not (folder / "pid").exists():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGUSR2)

    thread = threading.Thread(target=warn)
    thread.start()
    return thread


def test_a_warned_job_stops_its_run_before_it_is_put_back(study: Path) -> None:
    plan = plan_of(study)
    folder = plan.jobs[0].folder
    told: list[bool] = []

    def put_back(number: int, frame: object) -> None:
        told.append((folder / "working").exists())
        raise SystemExit(-1)

    signal.signal(signal.SIGUSR2, put_back)
    thread = warn_once_it_runs(folder)
    with pytest.raises(SystemExit) as caught:
        worker(plan, 0, stand_in(plan, arm={"steps": 1000, "lingers": 0.1}))()
    thread.join()
    assert caught.value.code == -1
    assert told == [False]  # the run had saved and ended
    (attempt,) = read_attempts(folder)
    assert (attempt.stopped, attempt.line) == (True, "")


def test_a_job_that_saves_no_step_in_its_time_is_not_put_back_for_ever(study: Path) -> None:
    plan = plan_of(study)
    folder = plan.jobs[0].folder
    signal.signal(signal.SIGUSR2, lambda number, frame: pytest.fail("it is put back"))
    thread = warn_once_it_runs(folder)
    with pytest.raises(SystemExit):
        worker(plan, 0, stand_in(plan, arm={"steps": 1000}), minutes=0)()
    thread.join()
    attempt = failed(folder)
    assert attempt is not None
    assert attempt.line == "saved no step in the 0 min of its Slurm job; raise --slurm time"


def test_a_job_leaves_a_cell_to_who_works_on_it(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE", 0.1)
    plan = plan_of(study)
    claim = take(plan.out / CLAIMS, plan.jobs[0].key)
    assert isinstance(claim, Claim)
    with pytest.raises(SystemExit, match="left to who works on it"):
        worker(plan, 0, stand_in(plan))()
    claim.release()
    assert not plan.jobs[0].folder.exists()


def test_a_job_that_is_put_back_is_the_same(study: Path) -> None:
    pytest.importorskip("submitit", reason="needs submitit: pip install 'semisup[slurm]'")
    work = worker(plan_of(study), 0, ["x"])
    assert work.checkpoint().function == work


# The command


def ablate(study: Path, *words: str) -> Result:
    line = ["ablate", str(study), "--out", str(study.parent / "out"), "--no-probe", *words]
    return CliRunner().invoke(cli, line, prog_name="semisup", terminal_width=80)


def test_a_plan_says_what_would_be_submitted(study: Path, fake: Fake) -> None:
    words = ("--executor", "slurm", "--slurm", "partition=gpu", "--slurm", "time=60")
    done = ablate(study, "--plan", *words)
    assert done.exit_code == 0, done.output
    *_, left, line = [one for one in done.stdout.splitlines() if one]
    assert left.endswith("(8 at a time, 1 thread each)")
    assert line == "to submit: 8 runs, each with 1 core, 60 min, partition gpu"
    assert fake.scripts() == []
    slurm(plan_of(study), detach=True)
    fake.lists(plan_of(study), **(ALL | {"j100_3": "PENDING"}))
    done = ablate(study, "--plan", *words)
    assert "with Slurm: 7 running, 1 waiting (Resources)" in done.stdout
    assert "to submit" not in done.stdout


def test_a_detached_study_says_how_it_is_ended(study: Path, fake: Fake) -> None:
    done = ablate(study, "--executor", "slurm", "--detach", "--jobs", "2")
    assert done.exit_code == 0, done.output
    assert (
        "8 runs with Slurm. The same command shows where they stand; 'scancel 100'" in done.stdout
    )
    assert "#SBATCH --array=0-7%2" in fake.scripts()[0]
    content = json.loads(ablate(study, "--executor", "slurm", "--detach", "--json").stdout)
    assert {run["state"] for run in content["runs"]} == {"left"}


def test_options_of_slurm_alone_are_refused_elsewhere(study: Path) -> None:
    for words in (("--detach",), ("--slurm", "partition=gpu")):
        done = ablate(study, *words)
        assert done.exit_code == 1
        assert done.stderr == f"semisup: {words[0]} needs --executor slurm.\n"


def test_a_machine_without_slurm_or_submitit_is_told_what_to_do(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    done = ablate(study, "--executor", "slurm")
    assert done.exit_code == 1
    assert "--executor slurm needs submitit: pip install 'semisup[slurm]'" in done.stderr
    monkeypatch.undo()
    pytest.importorskip("submitit", reason="needs submitit: pip install 'semisup[slurm]'")
    monkeypatch.setenv("PATH", str(study.parent))
    done = ablate(study, "--executor", "slurm")
    assert done.exit_code == 1
    assert "there is no 'sbatch' here. Log in to a machine" in done.stderr
