"""The training loop: one function that knows no method and no discriminator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from semisup.data.streams import Stream, to_device
from semisup.engine.checkpoint import Checkpoints
from semisup.engine.meter import Clock, Meter
from semisup.engine.runtime import Precision, autocast, random_state, restore_random_state
from semisup.engine.settings import TrainSettings
from semisup.engine.signals import StopSignal
from semisup.engine.tracker import Tracker
from semisup.engine.updates import Updates
from semisup.engine.watch import Silent, View
from semisup.errors import CheckpointError, Interrupted, RunError
from semisup.methods.base import Method
from semisup.ops.ema import ema_decay, ema_update
from semisup.types import Batch, Labelled, Progress, Unlabelled


class Checkup(Protocol):
    """An evaluation while training; may keep the best predictor so far."""

    def __call__(self, predictor: nn.Module, step: int) -> Mapping[str, float]:
        """Score the predictor after `step` steps; the first scalar is its mIoU."""

    def state_dict(self) -> dict[str, Any]:
        """Which step was best so far."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` left off."""


Draw = Callable[[Batch, nn.Module, Method], Tensor]
"""(batch, predictor, method) -> panel, uint8 3HW."""


@dataclass
class Training:
    """All that the loop works on.

    Attributes:
        streams: step -> the streams from that step on, by name.
        checkup: called every `checkup_every` steps; 0 for never.
        average: moving average of the predictor, or None.
        fingerprint: the recipe's digest; a checkpoint of another recipe is refused.
        draw: makes the panel for TensorBoard at each checkpoint; None for no pictures.
        seconds: training time so far, over all processes that worked on the run.
    """

    method: Method
    updates: Updates
    streams: Callable[[int], dict[str, Stream]]
    settings: TrainSettings
    device: torch.device
    precision: Precision
    checkpoints: Checkpoints
    tracker: Callable[[int], Tracker]
    fingerprint: str
    checkup: Checkup | None = None
    checkup_every: int = 0
    view: View = field(default_factory=Silent)
    average: nn.Module | None = None
    draw: Draw | None = None
    seconds: float = 0.0

    def predictor(self) -> nn.Module:
        """What is scored: the moving average where there is one."""
        return self.method.predictor() if self.average is None else self.average


def train(run: Training) -> int:
    """Train to the last step, from the newest checkpoint if there is one.

    Returns:
        How many steps this call took.

    Raises:
        Interrupted: a signal came; the step was finished and saved.
        RunError: a loss is not finite.
    """
    meter = Meter()
    start = _resume(run, meter)
    steps = run.settings.steps
    if start == steps:
        return 0
    tracker = run.tracker(start)
    streams = run.streams(start)
    clock = Clock(start, steps, _images_per_step(run, streams))
    batches = {name: iter(stream) for name, stream in streams.items()}
    run.view.phase("training")
    run.method.train()
    try:
        with StopSignal() as stop:
            for step in range(start, steps):
                scalars, batch = _step(run, batches, Progress(step, steps))
                meter.add(scalars)
                done = step + 1
                run.view.stepped(done, steps)
                if _due(done, run.settings.log_every, steps):
                    _log(run, tracker, meter, clock, done)
                if run.checkup is not None and _due(done, run.checkup_every, steps):
                    _check_up(run, tracker, clock, done)
                stopping = stop.received is not None  # read once: what stops here is saved
                if stopping or _due(done, run.settings.checkpoint_every, steps):
                    _save(run, meter, clock, done)
                    _picture(run, tracker, batch, done)
                if stopping:
                    raise Interrupted(
                        f"stopped by a signal after step {done} of {steps}; saved. "
                        "The same command goes on from there.",
                        stop.exit_code,
                    )
    except RuntimeError as error:
        told = _explain(error)
        if told is None:
            raise
        raise told from None
    finally:
        for stream in streams.values():
            stream.close()
        tracker.close()
    return steps - start


def _explain(error: RuntimeError) -> RunError | None:
    """Torch's errors that are the machine's and not ours; None for all others."""
    text = str(error)
    # Reported from a signal handler, so from wherever this process happens to be.
    if "DataLoader worker" in text:
        return RunError(
            "a worker process was killed, mostly for want of memory. Use fewer data.workers or "
            "smaller batches; the same command goes on from the last checkpoint."
        )
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return RunError(
            "out of memory. Use a smaller data.labelled_batch, data.unlabelled_batch or data.crop; "
            "train.accumulate makes up for smaller batches."
        )
    return None


def _due(done: int, every: int, steps: int) -> bool:
    return every > 0 and (done % every == 0 or done == steps)


def _step(
    run: Training, batches: dict[str, Iterator[Any]], progress: Progress
) -> tuple[dict[str, Tensor], Batch]:
    """One optimiser step of every player, over `accumulate` batches.

    Returns:
        Means of the scalars, and the last batch.
    """
    parts = run.settings.accumulate
    measure = _due(progress.step + 1, run.settings.log_every, progress.steps)
    total: dict[str, Tensor] = {}
    for micro in range(parts):
        batch = next_batch(batches, run.device, run.settings.channels_last)
        run.updates.begin(progress, micro, measure=measure)
        with autocast(run.precision, run.device):
            scalars = run.method.step(batch, progress, run.updates)
        for name, value in scalars.items():
            total[name] = value if name not in total else total[name] + value
    if run.average is not None:
        decay = ema_decay(progress.step, run.settings.ema)
        ema_update(run.average, run.method.predictor(), decay)
    return {name: value / parts for name, value in total.items()}, batch


def next_batch(
    batches: dict[str, Iterator[Any]], device: torch.device, channels_last: bool
) -> Batch:
    """The next batch of every stream, normalised, on the device."""
    memory = torch.channels_last if channels_last else torch.contiguous_format
    labelled: Labelled | None = None
    unlabelled: Unlabelled | None = None
    for stream in batches.values():
        images = to_device(next(stream), device, memory_format=memory)
        if isinstance(images, Labelled):
            labelled = images
        else:
            unlabelled = images
    return Batch(labelled=labelled, unlabelled=unlabelled)


def _log(run: Training, tracker: Tracker, meter: Meter, clock: Clock, done: int) -> None:
    run.updates.check_finite()
    scalars = meter.take() | {k: float(v) for k, v in run.updates.reports().items()}
    tracker.scalars(done, scalars)
    record = clock.record(done, scalars)
    tracker.speed(done, {"images_per_second": record.images_per_second})
    run.view.logged(record)


def _check_up(run: Training, tracker: Tracker, clock: Clock, done: int) -> None:
    assert run.checkup is not None
    with clock.pause():
        run.view.phase("scoring")
        scores = run.checkup(run.predictor(), done)
        run.method.train()
        tracker.scalars(done, scores)
        run.view.scored(scores)
        run.view.phase("training")


def _picture(run: Training, tracker: Tracker, batch: Batch, done: int) -> None:
    """A look at the last batch. Eval mode: neither batch statistics nor dropout move."""
    if run.draw is None:
        return
    run.method.eval()
    with torch.no_grad():
        tracker.picture("panel", run.draw(batch, run.predictor(), run.method), done)
    run.method.train()


def _images_per_step(run: Training, streams: Mapping[str, Stream]) -> int:
    return run.settings.accumulate * sum(stream.batch_size for stream in streams.values())


def _save(run: Training, meter: Meter, clock: Clock, done: int) -> None:
    run.updates.check_finite()
    run.updates.check_weights(done)
    run.seconds += clock.lap()
    state: dict[str, Any] = {
        "seconds": run.seconds,
        "recipe": run.fingerprint,
        "method": run.method.state_dict(),
        "updates": run.updates.state_dict(),
        "random": random_state(run.device),
        "meter": meter.state_dict(),
    }
    if run.average is not None:
        state["average"] = run.average.state_dict()
    if run.checkup is not None:
        state["checkup"] = run.checkup.state_dict()
    run.checkpoints.save(done, state)


def _resume(run: Training, meter: Meter) -> int:
    """Load the newest checkpoint, if there is one; returns the steps done."""
    state = run.checkpoints.latest()
    if state is None:
        return 0
    if state["recipe"] != run.fingerprint:
        raise CheckpointError(
            f"{run.checkpoints.folder}: holds checkpoints of another recipe ({state['recipe']}, "
            f"not {run.fingerprint}). Choose another --out."
        )
    try:
        run.method.load_state_dict(state["method"])
        run.updates.load_state_dict(state["updates"])
        if run.average is not None:
            run.average.load_state_dict(state["average"])
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"{run.checkpoints.folder}: the checkpoint is of another version of the networks or "
            f"optimisers ({reason}). Choose another --out, or delete the run's folder."
        ) from None
    meter.load_state_dict(state["meter"])
    if run.checkup is not None:
        run.checkup.load_state_dict(state["checkup"])
    restore_random_state(state["random"], run.device)
    run.seconds = float(state["seconds"])
    return int(state["step"])


def make_average(method: Method) -> nn.Module:
    """A copy of the predictor that follows it as a moving average."""
    average = copy.deepcopy(method.predictor())
    return average.eval().requires_grad_(False)
