"""The training loop: one function that knows no method and no discriminator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from semisup.data.loading.prefetch import Prefetch, Ready
from semisup.data.loading.streams import Stream
from semisup.errors import RecipeError
from semisup.methods.base import Method
from semisup.monitoring.clock import Clock
from semisup.monitoring.health.health import Health
from semisup.monitoring.meter import Meter
from semisup.system.device import autocast, wait_for_device
from semisup.system.distributed import (
    share_buffers,
    world,
)
from semisup.system.signals import StopSignal
from semisup.system.torch_errors import translated_errors
from semisup.training.resume import resume
from semisup.training.session import Session, due, wants_look
from semisup.training.state import TrainingState
from semisup.types import Batch, Progress

PACED = 2
"""Steps after which it is said how long one takes: the first starts loaders and compiles."""


def train(run: TrainingState) -> int:
    """Train to the last step, from the newest checkpoint if there is one.

    Several processes may train together (see `system.distributed`): each calls this with the same
    run.

    Returns:
        How many steps this call took.

    Raises:
        Interrupted: a signal came; the step was finished and saved.
        RunError: a loss is not finite, memory is short, a worker was killed.
    """
    meter, health = Meter(), Health(_options(run.method))
    start, checked = resume(run, meter, health)
    steps = run.settings.steps
    missed = checked < start and wants_look(run, start)  # stopped while it was scored
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
        with translated_errors(), StopSignal() as stop:
            session = Session(run, meter, health, clock, tracker, stop, checked)
            if missed:
                session.settle(start)
            for step in range(start, steps):
                scalars, batch = _step(run, batches, Progress(step, steps))
                if step == start:
                    _check_class_weights(run)
                    _check_criterion(run)
                    _check_border_weights(run)
                    _check_confidence(run)
                    _check_regulariser(run)
                meter.add(scalars)
                run.view.stepped(step + 1, steps)
                if step < start + PACED:
                    wait_for_device(run.device)
                    seconds = clock.step()
                    if step + 1 == start + PACED:
                        run.view.paced(step + 1, steps, seconds)
                session.settle(step + 1, batch)
    finally:
        for stream in streams.values():
            stream.close()
        tracker.close()
    return steps - start


def _options(method: Method) -> dict[str, float]:
    """The numbers among the method's attributes, such as its options."""
    return {k: v for k, v in vars(method).items() if isinstance(v, int | float)}


def _check_class_weights(run: TrainingState) -> None:
    """Refuse a method that was given weights of classes and did not ask for them in a step.

    Raises:
        RecipeError: names it.
    """
    if run.settings.class_weights == "none" or run.method.read_class_weights:
        return
    raise RecipeError(
        f"train.class_weights: the step of the method '{type(run.method).__name__}' does not use "
        'them. Set it to "none", or take self.supervised_loss or self.class_weights in the step.'
    )


def _check_criterion(run: TrainingState) -> None:
    """Refuse a method that was given a supervised loss and did not ask for it in a step.

    Raises:
        RecipeError: names it.
    """
    key = run.settings.loss_key()
    if key and not run.method.read_criterion:
        raise RecipeError(
            f"{key}: the step of the method '{type(run.method).__name__}' does not use it. Leave "
            "the key out, or take self.supervised_loss or self.criterion in the step."
        )


def _check_border_weights(run: TrainingState) -> None:
    """Refuse a method that was given weights of pixels and did not take them in a step.

    Raises:
        RecipeError: names it.
    """
    if run.settings.border_weight and not run.method.read_border_weights:
        raise RecipeError(
            f"train.border_weight: the step of the method '{type(run.method).__name__}' does not "
            "use it. Set it to 0, or take self.supervised_loss in the step."
        )


def _check_confidence(run: TrainingState) -> None:
    """Refuse a method that was given confidences of pseudo-masks and did not take them in a step.

    Raises:
        RecipeError: names it.
    """
    if run.settings.confidence_weights and not run.method.read_confidence:
        raise RecipeError(
            f"train.confidence_weights: the step of the method '{type(run.method).__name__}' does "
            "not use them. Set it to false, or take self.supervised_loss in the step."
        )


def _check_regulariser(run: TrainingState) -> None:
    """Refuse a method that was given a term on the images and did not add it in a step.

    Raises:
        RecipeError: names it.
    """
    if run.settings.regulariser and not run.method.read_regulariser:
        raise RecipeError(
            f"train.regulariser: the step of the method '{type(run.method).__name__}' does not use "
            "it. Leave the key out, or take self.supervised_loss or self.regularised in the step."
        )


def _step(
    run: TrainingState, batches: Mapping[str, Iterator[Ready]], progress: Progress
) -> tuple[dict[str, Tensor], Batch]:
    """One optimiser step of every player, over `accumulate` batches.

    Returns:
        Means of the scalars, and the last batch.
    """
    parts = run.settings.accumulate
    measure = due(progress.step + 1, run.settings.log_every, progress.steps)
    total: dict[str, Tensor] = {}
    if run.settings.cuda_graphs:  # gradients of the first batch must outlive the others
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    for micro in range(parts):
        batch = next_batch(batches)
        run.updates.begin(progress, micro, measure=measure)
        with autocast(run.precision, run.device):
            now = replace(progress, ends_step=micro == parts - 1)
            scalars = run.method.step(batch, now, run.updates)
        scalars = {**scalars, **run.method.take_regularised()}
        for name, value in scalars.items():
            total[name] = value if name not in total else total[name] + value
    share_buffers(run.method)
    if run.average is not None:
        run.average.follow(run.method.predictor(), progress)
    return {name: value / parts for name, value in total.items()}, batch


def ready(run: TrainingState, streams: Mapping[str, Stream]) -> dict[str, Iterator[Ready]]:
    """The streams' batches, normalised, on the device."""
    memory = torch.channels_last if run.settings.channels_last else torch.contiguous_format
    return {
        name: Prefetch(stream, run.device, images=run.images, memory_format=memory)
        for name, stream in streams.items()
    }


def next_batch(batches: Mapping[str, Iterator[Ready]]) -> Batch:
    """The next batch of every stream."""
    images: dict[str, Any] = {name: next(stream) for name, stream in batches.items()}
    return Batch(**images)


def _images_per_step(run: TrainingState, streams: Mapping[str, Stream]) -> int:
    return run.settings.accumulate * sum(stream.batch_size for stream in streams.values())
