"""The loop: whatever stops it, it ends where it would have ended."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from semisup.errors import CheckpointError, Interrupted, RunError
from semisup.monitoring import clock as clocks
from semisup.monitoring.clock import Clock
from semisup.monitoring.meter import Meter
from semisup.monitoring.pseudo_labels import PseudoLabelQuality
from semisup.monitoring.view import Record, Silent
from semisup.runs.folder import RunFolder
from semisup.system.signals import GivenUp, StopSignal
from semisup.training import loop
from semisup.training.checkpoint import save_state
from semisup.training.loop import train
from semisup.training.selection import Selection
from semisup.training.state import TrainingState
from semisup.types import Progress

Build = Callable[..., TrainingState]


def before_step(run: TrainingState, step: int, act: Callable[[], object]) -> None:
    """Have `act` called in the middle of the run, when the method takes `step`."""
    take = run.method.step
    waiting = [act]  # the method steps more than once where gradients are accumulated

    def stepping(batch: Any, progress: Progress, update: Any) -> Mapping[str, Tensor]:
        if progress.step == step and waiting:
            waiting.pop()()
        return take(batch, progress, update)

    run.method.step = stepping  # type: ignore[method-assign]


def kill_self(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def everything(run: TrainingState) -> dict[str, Any]:
    """All that a run has come to, the last checkpoint and the kept predictor included."""
    folder = run.checkpoints.folder
    checkpoint = torch.load(run.checkpoints.paths()[-1], weights_only=True)
    checkpoint.pop("seconds")
    state: dict[str, Any] = {
        "checkpoint": checkpoint,
        "method": run.method.state_dict(),
        "updates": run.updates.state_dict(),
        "scalars": (folder.parent / "scalars.jsonl").read_bytes(),
    }
    if run.average is not None:
        state["average"] = run.average.state_dict()
    if run.checkup is not None:
        best = f"best-{state['checkpoint']['checkup']['best_step']:08d}.pt"
        state["best"] = torch.load(folder / best, weights_only=True)
        state["best"].pop("seconds")
    return state


def flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for key, x in value.items() for k, v in flat(x, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, x in enumerate(value) for k, v in flat(x, f"{name}/{i}").items()}
    return {name: value}


def assert_same(one: Any, other: Any) -> None:
    """Equal to the last bit."""
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    tensors = {name for name, value in one.items() if isinstance(value, Tensor)}
    assert len(tensors) > 10
    differ = [n for n in tensors if not torch.equal(one[n], other[n])]
    assert differ == []
    assert [n for n in one.keys() - tensors if one[n] != other[n]] == []


@pytest.mark.parametrize("method", ["adversarial", "trusting"])
def test_a_run_that_is_interrupted_anywhere_ends_bit_for_bit_as_one_that_is_not(
    method: str, training: Build, tmp_path: Path
) -> None:
    whole = training(tmp_path / "whole", method)
    assert train(whole) == 7
    for workers, stops in ((0, [1, 2, 5]), (0, [0, 3]), (1, [4])):
        folder = tmp_path / f"stopped-{workers}-{stops}"
        for step in stops:
            run = training(folder, method, workers=workers)
            before_step(run, step, kill_self(signal.SIGTERM))
            with pytest.raises(Interrupted, match=f"after step {step + 1} of 7"):
                train(run)
            assert run.checkpoints.paths()[-1].name == f"step-{step + 1:08d}.pt"
        last = training(folder, method, workers=workers)
        assert train(last) == 7 - (stops[-1] + 1)
        assert_same(everything(whole), everything(last))


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint_to_the_same_end(
    training: Build, tmp_path: Path
) -> None:
    whole = training(tmp_path / "whole", "adversarial")
    train(whole)

    def die() -> None:
        raise KeyboardInterrupt

    killed = training(tmp_path / "killed", "adversarial")
    before_step(killed, 5, die)  # after the checkpoint of step 3 and the score of step 4
    with pytest.raises(KeyboardInterrupt):
        train(killed)
    again = training(tmp_path / "killed", "adversarial")
    assert train(again) == 4
    assert_same(everything(whole), everything(again))


def test_the_comparison_sees_another_seed(training: Build, tmp_path: Path) -> None:
    runs = [training(tmp_path / "one"), training(tmp_path / "two")]
    with torch.no_grad():
        next(runs[1].method.parameters()).view(-1)[0] += 1e-6
    for run in runs:
        train(run)
    with pytest.raises(AssertionError):
        assert_same(everything(runs[0]), everything(runs[1]))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_says_which_signal_came(
    number: int, code: int, training: Build, tmp_path: Path
) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    run = training(tmp_path)
    before_step(run, 1, kill_self(number))
    with pytest.raises(Interrupted) as stopped:
        train(run)
    assert stopped.value.exit_code == code
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_ctrl_c_stops_at_once() -> None:
    with StopSignal() as stop:
        kill_self(signal.SIGINT)()
        assert stop.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            kill_self(signal.SIGINT)()


def test_a_second_sigterm_does_not_stop_at_once() -> None:
    with StopSignal() as stop:
        kill_self(signal.SIGINT)()
        kill_self(signal.SIGTERM)()
        assert stop.exit_code == 143


def test_a_signal_in_the_last_step_stops_before_the_scoring(
    training: Build, tmp_path: Path
) -> None:
    run = training(tmp_path, steps=3)
    before_step(run, 2, kill_self(signal.SIGTERM))
    with pytest.raises(Interrupted, match="after step 3 of 3; saved"):
        train(run)
    assert run.checkpoints.paths()[-1].name == "step-00000003.pt"
    assert train(training(tmp_path, steps=3)) == 0


def test_a_signal_that_comes_after_the_last_look_at_it_does_not_lose_a_step(
    training: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(StopSignal):
        """As if the signal came right after the loop had asked for it for the first time."""

        asked = 0

        @property
        def received(self) -> int | None:
            Late.asked += 1
            return signal.SIGTERM if Late.asked > 1 else None

        @received.setter
        def received(self, number: int | None) -> None: ...

    monkeypatch.setattr(loop, "StopSignal", Late)
    run = training(tmp_path, checkpoint_every=100)
    with pytest.raises(Interrupted, match="saved") as stopped:
        train(run)
    step = int(str(stopped.value).split("step ")[1].split()[0])
    assert run.checkpoints.paths()[-1].name == f"step-{step:08d}.pt"


def during_checkup(run: TrainingState, step: int, act: Callable[[], object]) -> None:
    """Have `act` called in the middle of the scoring after `step`, once."""
    assert isinstance(run.checkup, Selection)
    inner, waiting = run.checkup._data.image, [act]

    def opening(index: int) -> Tensor:
        if scored == [step] and waiting:
            waiting.pop()()
        return inner(index)

    scored: list[int] = []
    take = run.checkup

    class Watched:
        def __call__(self, predictor: Any, done: int, facts: Any) -> Mapping[str, float]:
            scored[:] = [done]
            return take(predictor, done, facts)

        state_dict = take.state_dict
        load_state_dict = take.load_state_dict

    run.checkup._data.image = opening  # type: ignore[method-assign]
    run.checkup = Watched()


@pytest.mark.parametrize("step", [2, 6, 7])  # 6 is saved anyway, 7 is the last
def test_a_signal_ends_an_evaluation_at_once_and_it_is_made_up_for(
    step: int, training: Build, tmp_path: Path
) -> None:
    whole = training(tmp_path / "whole")
    train(whole)
    run = training(tmp_path / "stopped")
    during_checkup(run, step, kill_self(signal.SIGTERM))
    with pytest.raises(Interrupted, match=f"after step {step} of 7; saved"):
        train(run)
    lines = (tmp_path / "stopped" / "scalars.jsonl").read_text().splitlines()
    assert not any(
        json.loads(line).get("checkup") and json.loads(line)["step"] == step for line in lines
    )
    again = training(tmp_path / "stopped")
    assert train(again) == 7 - step
    assert_same(everything(whole), everything(again))
    assert train(training(tmp_path / "stopped")) == 0


def test_a_kill_after_an_evaluation_was_made_up_for_does_not_record_it_twice(
    training: Build, tmp_path: Path
) -> None:
    whole = training(tmp_path / "whole")
    train(whole)
    stopped = training(tmp_path / "stopped")
    during_checkup(stopped, 4, kill_self(signal.SIGTERM))
    with pytest.raises(Interrupted):
        train(stopped)

    class Dies(Silent):
        def scored(self, scores: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

    killed = training(tmp_path / "stopped")
    killed.view = Dies()
    with pytest.raises(KeyboardInterrupt):
        train(killed)
    again = training(tmp_path / "stopped")
    train(again)
    assert_same(everything(whole), everything(again))


class Signalled(PseudoLabelQuality):
    """Gets a signal in the middle of a look, or right after it."""

    late = False

    def __call__(self, method: Any) -> dict[str, float]:
        if self.late:
            found = super().__call__(method)
        kill_self(signal.SIGTERM)()
        assert self.late, "the look goes on"
        return found


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("step", [3, 6, 7])  # at 6 and 7 the predictor is scored too
def test_a_signal_ends_a_look_at_the_trust_and_it_is_made_up_for(
    step: int, late: bool, training: Build, tmp_path: Path
) -> None:
    whole = training(tmp_path / "whole", "trusting")
    train(whole)
    run = training(tmp_path / "stopped", "trusting")
    trust = run.pseudo_labels
    assert trust is not None
    before_step(run, step - 1, lambda: become(trust, late))
    with pytest.raises(Interrupted, match=f"after step {step} of 7; saved"):
        train(run)
    again = training(tmp_path / "stopped", "trusting")

    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    again.checkpoints.save = die  # type: ignore[method-assign]  # the lines are there, and no more
    with pytest.raises(KeyboardInterrupt):
        train(again)
    last = training(tmp_path / "stopped", "trusting")
    assert train(last) == 7 - step
    assert_same(everything(whole), everything(last))
    asked = [line for line in lines_of(tmp_path / "whole") if "trusted_share" in line]
    assert [line["step"] for line in asked] == [3, 6, 7]


def become(trust: PseudoLabelQuality, late: bool) -> None:
    trust.__class__ = Signalled
    trust.late = late  # type: ignore[attr-defined]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]


def test_looks_at_the_trust_change_nothing_else(training: Build, tmp_path: Path) -> None:
    states = []
    for name in ("trusting", "supervised"):
        run = training(tmp_path / name, name)
        train(run)
        states.append(everything(run))
        states[-1]["checkpoint"].pop("pseudo_labels", None)
        states[-1]["checkpoint"]["health"]["courses"].pop("wrong taught", None)
        states[-1]["checkpoint"]["checked"] = 0
        lines = lines_of(run.checkpoints.folder.parent)
        states[-1]["scalars"] = [line for line in lines if "trusted_share" not in line]
    assert_same(*states)


def test_a_checkpoint_from_before_the_trust_was_asked_for_is_taken(
    training: Build, tmp_path: Path
) -> None:
    train(training(tmp_path, "supervised", steps=3, hold_out=False))
    assert train(training(tmp_path, "trusting", steps=3, hold_out=False)) == 0
    assert "trusted_share" in lines_of(tmp_path)[-1]


def test_a_signal_while_scoring_is_given_up_for_is_raised_there() -> None:
    with StopSignal() as stop:
        with pytest.raises(GivenUp), stop.at_once():
            kill_self(signal.SIGTERM)()
        assert stop.received == signal.SIGTERM
        kill_self(signal.SIGTERM)()  # no longer at once
        with pytest.raises(GivenUp), stop.at_once():
            pass


def test_a_finished_run_is_not_trained_again(training: Build, tmp_path: Path) -> None:
    train(training(tmp_path))
    files = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file())
    again = training(tmp_path)
    assert train(again) == 0
    assert files == sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file())


def test_resuming_adds_up_the_training_time(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path)
    before_step(run, 3, kill_self(signal.SIGTERM))
    with pytest.raises(Interrupted):
        train(run)
    again = training(tmp_path)
    train(again)
    assert again.seconds > run.seconds > 0


def test_a_checkpoint_of_another_recipe_is_refused(training: Build, tmp_path: Path) -> None:
    train(training(tmp_path, steps=3))
    with pytest.raises(CheckpointError, match=r"another recipe \(recipe, not other\).*--out"):
        train(training(tmp_path, steps=3, fingerprint="other"))


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    training: Build, tmp_path: Path
) -> None:
    whole = training(tmp_path)
    train(whole)
    expected = everything(whole)
    newest = whole.checkpoints.paths()[-1]
    newest.write_bytes(newest.read_bytes()[:-200])
    again = training(tmp_path)
    assert train(again) == 1  # from the checkpoint of step 6
    assert_same(expected, everything(again))


class Touch:
    """A pickle of it makes a file when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("archive", [True, False])
def test_a_checkpoint_with_code_in_it_is_refused_and_not_executed(
    archive: bool, training: Build, tmp_path: Path
) -> None:
    run = training(tmp_path)
    path, mark = run.checkpoints.folder / "step-00000001.pt", tmp_path / "executed"
    if archive:
        save_state(path, {"step": 1, "recipe": Touch(mark)})
    else:
        content = {"format": 1, "step": 1, "recipe": Touch(mark)}
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        train(run)
    assert not mark.exists()


def test_a_worker_that_outlives_its_process_does_not_keep_the_run_locked(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path\n"
        "from semisup.runs.folder import RunFolder\n"
        "directory = RunFolder(Path(sys.argv[1])).__enter__()\n"
        "if os.fork() == 0: print(os.getpid(), flush=True)\n"
        "time.sleep(60)"
    )
    root = Path(loop.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
    ) as main:
        assert main.stdout is not None
        worker = int(main.stdout.readline())
        main.kill()
        main.wait(10)
        try:
            with RunFolder(tmp_path / "run"):
                os.kill(worker, 0)  # it lives
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_second_process_on_one_run_is_told_who_works_on_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from semisup.runs.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    root = Path(loop.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with (
            pytest.raises(RunError, match=rf"process {other.pid} is working on this run.*--out"),
            RunFolder(tmp_path / "run"),
        ):
            pass
        other.stdin.close()
        other.wait(10)
    with RunFolder(tmp_path / "run") as free:  # the other one has ended: the way is free
        assert (free.path / "lock").read_text() == str(os.getpid())


def poison(run: TrainingState) -> Callable[[], None]:
    def spoil() -> None:
        with torch.no_grad():
            next(run.method.parameters()).fill_(torch.nan)

    return spoil


@pytest.mark.parametrize(("step", "last"), [(3, 3), (4, 3), (6, 6)])
def test_a_loss_that_is_not_finite_stops_the_run_and_no_checkpoint_holds_it(
    step: int, last: int, training: Build, tmp_path: Path
) -> None:
    run = training(tmp_path, hold_out=False, ema=0.0)
    before_step(run, step, poison(run))
    with pytest.raises(RunError, match=rf"'segmenter' is not finite since step {step};.*lr"):
        train(run)
    newest = run.checkpoints.paths()[-1]
    assert newest.name == f"step-{last:08d}.pt"
    state = torch.load(newest, weights_only=True)["method"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_checkpoint_checks_the_losses_itself(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, hold_out=False, ema=0.0, log_every=100, checkpoint_every=1)
    before_step(run, 3, poison(run))
    with pytest.raises(RunError, match="not finite since step 3"):
        train(run)
    assert run.checkpoints.paths()[-1].name == "step-00000003.pt"


def test_weights_that_are_not_finite_are_not_saved(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, hold_out=False, lr=1e39, log_every=1, checkpoint_every=1)
    with pytest.raises(RunError, match="weights of 'segmenter' are not finite after step 1"):
        train(run)
    assert run.checkpoints.paths() == []


@pytest.mark.parametrize("method", ["supervised", "adversarial"])
def test_no_step_waits_for_the_device(
    method: str, training: Build, tmp_path: Path, synchronisations: Any
) -> None:
    run = training(tmp_path, method, clip=1.0)
    streams = loop.ready(run, run.streams(0))
    meter = Meter()
    loop._step(run, streams, Progress(0, 4))  # starts the loaders, which draw a seed on the CPU
    with synchronisations() as waits:
        for step in range(1, 4):
            scalars, _ = loop._step(run, streams, Progress(step, 4))
            meter.add(scalars)
    assert waits.seen == []
    with waits:
        values = [float(value) for value in scalars.values()]
    assert len(waits.seen) == len(values)  # so the count does see them


class Watching(Silent):
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.events: list[str] = []

    def phase(self, name: str) -> None:
        self.events.append(name)

    def logged(self, record: Record) -> None:
        self.records.append(record)

    def scored(self, scores: Mapping[str, float]) -> None:
        self.events.append(next(iter(scores)))

    def paced(self, done: int, steps: int, seconds: float) -> None:
        assert 0 < seconds < 60
        self.events.append(f"{done} of {steps}")


def test_what_a_view_is_told(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path)
    run.view = view = Watching()
    train(run)
    assert [record.step for record in view.records] == [2, 4, 6, 7]
    assert all(record.steps == 7 for record in view.records)
    assert all(record.images_per_second > 0 for record in view.records)
    assert view.records[-1].seconds_left == 0
    assert view.records[0].seconds_left > 0
    measured = ("lr", "gradient_norm", "update_ratio", "weight_growth")
    keys = {"loss_segmentation", *(f"{name}/segmenter" for name in measured)}
    assert all(record.scalars.keys() == keys for record in view.records)
    assert all(record.story == ("loss_segmentation",) for record in view.records)
    assert all("too early" in record.health for record in view.records)
    scored = ["scoring", "held_out/miou"]
    assert view.events == ["training", "2 of 7", *3 * [*scored, "training"], *scored]


def test_a_logged_loss_is_the_mean_since_the_last_log(training: Build, tmp_path: Path) -> None:
    logged = []
    for every in (1, 3):
        run = training(tmp_path / str(every), steps=3, log_every=every, accumulate=1)
        run.view = view = Watching()
        train(run)
        logged.append([record.scalars["loss_segmentation"] for record in view.records])
    assert logged[1] == pytest.approx([sum(logged[0]) / 3], rel=1e-6)


def test_only_the_last_batch_of_a_step_ends_it(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, steps=2, accumulate=3)
    take, ends = run.method.step, []

    def stepping(batch: Any, progress: Progress, update: Any) -> Mapping[str, Tensor]:
        ends.append((progress.step, progress.ends_step))
        return take(batch, progress, update)

    run.method.step = stepping  # type: ignore[method-assign]
    train(run)
    assert ends == [(step, last) for step in (0, 1) for last in (False, False, True)]


def test_a_logged_loss_is_the_mean_over_accumulated_batches(
    training: Build, tmp_path: Path
) -> None:
    logged = []
    for parts in (1, 3):  # the same three batches; the weights stand still
        options = {"steps": 3 // parts, "log_every": 3, "accumulate": parts, "lr": 1e-30}
        run = training(tmp_path / str(parts), **options)
        run.view = view = Watching()
        train(run)
        logged.append(view.records[-1].scalars["loss_segmentation"])
    assert logged[0] == pytest.approx(logged[1], rel=1e-6)


def test_no_worker_outlives_a_run_that_was_stopped(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, workers=1)
    working: list[int] = []

    def stop() -> None:
        working.append(len(multiprocessing.active_children()))
        kill_self(signal.SIGTERM)()

    before_step(run, 1, stop)
    with pytest.raises(Interrupted) as stopped:
        train(run)
    assert stopped.tb is not None  # keeps the frames of the loop, and so its streams
    assert working == [1]
    assert multiprocessing.active_children() == []


def test_the_method_is_back_in_training_mode_after_a_score_and_a_picture(
    training: Build, tmp_path: Path
) -> None:
    run = training(tmp_path, ema=0.0)  # scores after steps 2, 4, 6, 7; pictures after 3, 6, 7
    modes: list[tuple[str, bool]] = []

    def draw(batch: Any, predictor: Any, method: Any) -> Tensor:
        modes.append(("drawn", method.training or torch.is_grad_enabled()))
        return torch.zeros(3, 4, 4, dtype=torch.uint8)

    run.draw = draw
    for step in range(7):
        before_step(run, step, lambda: modes.append(("stepped", run.method.segmenter.training)))
    train(run)
    assert modes.count(("stepped", True)) == 7
    assert modes.count(("drawn", False)) == 3
    assert len(modes) == 10


def test_the_average_starts_as_a_plain_mean_of_the_weights(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, steps=2, ema=0.9)
    weights: list[Tensor] = []
    before_step(run, 1, lambda: weights.append(run.method.segmenter.head.weight.detach().clone()))
    train(run)
    weights.append(run.method.segmenter.head.weight.detach())
    assert run.average is not None
    assert run.predictor() is run.average.network
    torch.testing.assert_close(run.predictor().head.weight, (weights[0] + weights[1]) / 2)
    assert not any(p.requires_grad for p in run.average.parameters())


def test_training_learns(training: Build, tmp_path: Path) -> None:
    run = training(tmp_path, steps=40, log_every=10, hold_out=False, accumulate=1)
    run.view = view = Watching()
    train(run)
    losses = [record.scalars["loss_segmentation"] for record in view.records]
    assert losses[-1] < 0.7 * losses[0]


def test_a_clock_does_not_see_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(clocks.time, "perf_counter", lambda: now[0])
    clock = Clock(start=10, steps=40, images=8)
    now[0] += 5
    record = clock.record(20, {})
    assert record.images_per_second == pytest.approx(10 * 8 / 5)
    assert record.seconds_left == pytest.approx(20 * 5 / 10)
    with clock.pause():
        now[0] += 1000
    now[0] += 10
    record = clock.record(30, {})
    assert record.images_per_second == pytest.approx(10 * 8 / 10)
    assert record.seconds_left == pytest.approx(10 * 15 / 20)
    assert clock.lap() == pytest.approx(15)
    now[0] += 1
    assert clock.lap() == pytest.approx(1)


def test_what_a_method_measures_is_logged_at_log_points_and_changes_nothing(
    training: Build, tmp_path: Path
) -> None:
    """Not averaged, in eval mode, without gradient: weights and random numbers stay."""
    ends, modes = [], []
    for measures in (False, True):
        run = training(tmp_path / str(measures), "supervised", steps=6, log_every=3)
        run.view = view = Watching()

        def measure(batch: Any, run: TrainingState = run) -> Mapping[str, Tensor]:
            modes.append((run.method.training, torch.is_grad_enabled(), len(batch.labelled.ids)))
            run.method.segmenter(batch.labelled.image)
            return {"temperature": torch.rand(()) * 0 + len(modes)}

        if measures:
            measuring = type("Measuring", (type(run.method),), {"measure": staticmethod(measure)})
            run.method.__class__ = measuring
        train(run)
        ends.append(run.method.state_dict())
        found = [record.scalars.get("temperature") for record in view.records]
        assert found == ([1.0, 2.0] if measures else [None, None])
    assert [mode[:2] for mode in modes] == [(False, False)] * 2
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
