"""The training loop: one function that knows no method and no discriminator."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from semisup.data.prefetch import Prefetch, Ready
from semisup.data.streams import Stream
from semisup.engine.health import Health
from semisup.engine.looks import looking, make_samples
from semisup.engine.meter import Clock, Meter, mean_state
from semisup.engine.runtime import (
    autocast,
    random_state,
    restore_random_state,
    seed_rank,
)
from semisup.engine.signals import GivenUp, StopSignal
from semisup.engine.tracker import Tracker
from semisup.engine.training import Draw, Training
from semisup.engine.troubles import explained
from semisup.errors import CheckpointError, Interrupted
from semisup.methods.base import Method
from semisup.ops.ema import ema_decay, ema_update
from semisup.ops.ranks import (
    any_rank,
    from_first,
    gather,
    is_first,
    rank,
    share_buffers,
    wait_for_all,
    world,
)
from semisup.types import Batch, Labelled, Progress, Unlabelled, Weak


def train(run: Training) -> int:
    """Train to the last step, from the newest checkpoint if there is one.

    Several processes may train together (see `ops.ranks`): each calls this with the same run.

    Returns:
        How many steps this call took.

    Raises:
        Interrupted: a signal came; the step was finished and saved.
        RunError: a loss is not finite, memory is short, a worker was killed.
    """
    meter, health = Meter(), Health(_options(run.method))
    start, checked = _resume(run, meter, health)
    steps = run.settings.steps
    missed = checked < start and _wants_look(run, start)  # stopped while it was scored
    if start == steps and not missed:
        return 0
    if world() not in run.processes:
        run.processes.append(world())
    tracker = run.tracker(start, checked)
    streams = run.streams(start)
    clock = Clock(start, steps, _images_per_step(run, streams))
    batches = ready(run, streams)
    run.view.phase("training")
    run.method.train()
    try:
        with explained(), StopSignal() as stop:
            session = _Session(run, meter, health, clock, tracker, stop, checked)
            if missed:
                session.settle(start)
            for step in range(start, steps):
                scalars, batch = _step(run, batches, Progress(step, steps))
                meter.add(scalars)
                run.view.stepped(step + 1, steps)
                session.settle(step + 1, batch)
    finally:
        for stream in streams.values():
            stream.close()
        tracker.close()
    return steps - start


def _options(method: Method) -> dict[str, float]:
    """The numbers among the method's attributes, such as its options."""
    return {k: v for k, v in vars(method).items() if isinstance(v, int | float)}


def _wants_checkup(run: Training, done: int) -> bool:
    return (
        run.checkup is not None and done > 0 and _due(done, run.checkup_every, run.settings.steps)
    )


def _wants_trust(run: Training, done: int) -> bool:
    every, steps = run.settings.checkpoint_every, run.settings.steps
    return run.trust is not None and done > 0 and _due(done, every, steps)


def _wants_look(run: Training, done: int) -> bool:
    return _wants_checkup(run, done) or _wants_trust(run, done)


def _due(done: int, every: int, steps: int) -> bool:
    return every > 0 and (done % every == 0 or done == steps)


def _step(
    run: Training, batches: Mapping[str, Iterator[Ready]], progress: Progress
) -> tuple[dict[str, Tensor], Batch]:
    """One optimiser step of every player, over `accumulate` batches.

    Returns:
        Means of the scalars, and the last batch.
    """
    parts = run.settings.accumulate
    measure = _due(progress.step + 1, run.settings.log_every, progress.steps)
    total: dict[str, Tensor] = {}
    if run.settings.cuda_graphs:  # gradients of the first batch must outlive the others
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    for micro in range(parts):
        batch = next_batch(batches)
        run.updates.begin(progress, micro, measure=measure)
        with autocast(run.precision, run.device):
            now = replace(progress, ends_step=micro == parts - 1)
            scalars = run.method.step(batch, now, run.updates)
        for name, value in scalars.items():
            total[name] = value if name not in total else total[name] + value
    share_buffers(run.method)
    if run.average is not None:
        decay = ema_decay(progress.step, run.settings.ema)
        ema_update(run.average, run.method.predictor(), decay)
    return {name: value / parts for name, value in total.items()}, batch


def ready(run: Training, streams: Mapping[str, Stream]) -> dict[str, Iterator[Ready]]:
    """The streams' batches, normalised, on the device."""
    memory = torch.channels_last if run.settings.channels_last else torch.contiguous_format
    return {
        name: Prefetch(stream, run.device, memory_format=memory) for name, stream in streams.items()
    }


def next_batch(batches: Mapping[str, Iterator[Ready]]) -> Batch:
    """The next batch of every stream."""
    labelled: Labelled | None = None
    unlabelled: Unlabelled | None = None
    weak: Weak | None = None
    for images in map(next, batches.values()):
        if isinstance(images, Labelled):
            labelled = images
        elif isinstance(images, Weak):
            weak = images
        else:
            unlabelled = images
    return Batch(labelled=labelled, unlabelled=unlabelled, weak=weak)


@dataclass
class _Session:
    """What is written and said between two steps.

    Attributes:
        checked: after which step the predictor was last scored, or the trust asked for: all looks
            that were due until then are recorded.
    """

    run: Training
    meter: Meter
    health: Health
    clock: Clock
    tracker: Tracker
    stop: StopSignal
    checked: int

    def settle(self, done: int, batch: Batch | None = None) -> None:
        """Log, score and save what is due after step `done`; stop where a signal asks for it."""
        run, steps = self.run, self.run.settings.steps
        if batch is not None and _due(done, run.settings.log_every, steps):
            self._log(done)
        stopping = any_rank(self.stop.received is not None)  # read once: what stops here is saved
        if not stopping and _wants_look(run, done):
            stopping = self._check_up(done)
        if stopping or _due(done, run.settings.checkpoint_every, steps):
            self._save(done)
            if batch is not None and run.draw is not None and is_first():
                self._picture(run.draw, batch, done)
        if stopping:
            raise Interrupted(
                f"stopped by a signal after step {done} of {steps}; saved. "
                "The same command goes on from there.",
                self.stop.exit_code,
            )

    def _log(self, done: int) -> None:
        self.run.updates.check_finite()
        reports = {name: float(value) for name, value in self.run.updates.reports().items()}
        scalars = self.meter.take() | reports
        self.tracker.scalars(done, scalars)
        record = self.clock.record(done, scalars)
        self.tracker.speed(done, {"images_per_second": record.images_per_second})
        self.run.view.logged(record)
        trust = self.run.trust.standing() if self.run.trust is not None else {}
        for text in self.health.look(done, self.run.settings.steps, scalars | trust):
            self.tracker.warning(done, text)
            self.run.view.warned(text)

    def _check_up(self, done: int) -> bool:
        """Score the predictor and look at the trust, as due; returns whether a signal came.

        A signal ends it at once, for it may take minutes and a scheduler grants seconds. All of it
        is made up for when the run goes on.
        """
        run = self.run
        checkup = run.checkup if _wants_checkup(run, done) else None
        trust = run.trust if _wants_trust(run, done) else None
        seen = checkup is not None or (trust is not None and not trust.silent)
        with self.clock.pause():
            if seen:
                run.view.phase("scoring")
            try:
                # Of several processes one could be stopped where another is not.
                with self.stop.at_once() if world() == 1 else contextlib.nullcontext():
                    scores = checkup(run.predictor(), done) if checkup is not None else {}
                    trusted = trust(run.method) if trust is not None else {}
            except GivenUp:
                return True
            finally:
                run.method.train()
            self.checked = done
            if trust is not None:
                trust.remember(trusted)
            for values in filter(None, (scores, trusted)):
                self.tracker.checkup(done, values)
            if scores:
                run.view.scored(scores)
            if seen:
                run.view.phase("training")
        return any_rank(self.stop.received is not None)

    def _save(self, done: int) -> None:
        """Write a checkpoint; returns on every rank once it is whole."""
        run = self.run
        run.updates.check_finite()
        run.updates.check_weights(done)
        self.tracker.flush()  # a checkpoint must not be newer than the log, whatever fails
        run.seconds += self.clock.lap()
        own = {"random": random_state(run.device), "meter": self.meter.state_dict()}
        state: dict[str, Any] = {
            "seconds": run.seconds,
            "processes": list(run.processes),
            "recipe": run.fingerprint,
            "method": run.method.state_dict(),
            "updates": run.updates.state_dict(),
            "ranks": gather(own),
            "health": self.health.state_dict(),
            "checked": self.checked,
        }
        if run.average is not None:
            state["average"] = run.average.state_dict()
        if run.checkup is not None:
            state["checkup"] = run.checkup.state_dict()
        if run.trust is not None:
            state["trust"] = run.trust.state_dict()
        if is_first():
            run.checkpoints.save(done, state)
        wait_for_all()

    def _picture(self, draw: Draw, batch: Batch, done: int) -> None:
        """A look at the last batch, and at what a generator makes."""
        run = self.run
        with looking(run.method, run.device):
            self.tracker.picture("panel", draw(batch, run.predictor(), run.method), done)
            samples = make_samples(run.method)
            if samples is not None:
                from semisup.engine.pictures import sample_panel  # slow to import

                self.tracker.picture("samples", sample_panel(samples), done)


def _images_per_step(run: Training, streams: Mapping[str, Stream]) -> int:
    return run.settings.accumulate * sum(stream.batch_size for stream in streams.values())


def _resume(run: Training, meter: Meter, health: Health) -> tuple[int, int]:
    """Load the newest checkpoint, if there is one.

    Returns:
        The steps done, and after which of them the predictor was last scored.
    """
    state = from_first(run.checkpoints.latest)
    if state is None:
        return 0, 0
    if state.get("recipe") != run.fingerprint:
        raise CheckpointError(
            f"{run.checkpoints.folder}: holds checkpoints of another recipe "
            f"({state.get('recipe')}, not {run.fingerprint}). Delete them, or choose another --out."
        )
    try:
        run.method.load_state_dict(state["method"])
        run.updates.load_state_dict(state["updates"])
        if run.average is not None:
            run.average.load_state_dict(state["average"])
        if run.checkup is not None:
            run.checkup.load_state_dict(state["checkup"])
        _resume_rank(run, meter, state["ranks"], int(state["step"]))
        if "health" in state:  # not in older checkpoints
            health.load_state_dict(state["health"])
        if run.trust is not None and "trust" in state:
            run.trust.load_state_dict(state["trust"])
        run.seconds = float(state["seconds"])
        run.processes = list(state["processes"])
        return int(state["step"]), int(state["checked"])
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{run.checkpoints.folder}: the checkpoint is of another version of the networks or "
            f"optimisers ({reason}). Choose another --out, or delete the run's folder."
        ) from None


def _resume_rank(run: Training, meter: Meter, saved: Sequence[dict[str, Any]], step: int) -> None:
    """What every rank has of its own; a rank that the run did not have before starts afresh."""
    sums = [own["meter"] for own in saved]
    meter.load_state_dict(sums[rank()] if len(saved) == world() else mean_state(sums))
    if rank() < len(saved):
        restore_random_state(saved[rank()]["random"], run.device)
    else:
        seed_rank(run.settings.seed, step)


def make_average(method: Method) -> nn.Module:
    """A copy of the predictor that follows it as a moving average."""
    average = copy.deepcopy(method.predictor())
    return average.eval().requires_grad_(False)
