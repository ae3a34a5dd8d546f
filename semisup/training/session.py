"""Bookkeeping between two steps: logging, evaluation, checkpoints, stopping."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from semisup.errors import Interrupted
from semisup.methods.base import Method
from semisup.monitoring.clock import Clock
from semisup.monitoring.health.health import Health
from semisup.monitoring.meter import Meter
from semisup.monitoring.snapshots import make_samples, undisturbed
from semisup.monitoring.tracker import Tracker
from semisup.system.device import autocast, random_state
from semisup.system.distributed import any_rank, gather, is_first, wait_for_all, world
from semisup.system.signals import GivenUp, StopSignal
from semisup.training.state import Draw, TrainingState
from semisup.types import Batch


def _wants_checkup(run: TrainingState, done: int) -> bool:
    return run.checkup is not None and done > 0 and due(done, run.checkup_every, run.settings.steps)


def _wants_pseudo_labels(run: TrainingState, done: int) -> bool:
    every, steps = run.settings.checkpoint_every, run.settings.steps
    return run.pseudo_labels is not None and done > 0 and due(done, every, steps)


def wants_look(run: TrainingState, done: int) -> bool:
    """Whether the predictor or the pseudo-labels are to be scored after step `done`."""
    return _wants_checkup(run, done) or _wants_pseudo_labels(run, done)


def due(done: int, every: int, steps: int) -> bool:
    """Whether step `done` is one of every `every`, or the last; never where `every` is 0."""
    return every > 0 and (done % every == 0 or done == steps)


@dataclass
class Session:
    """Bookkeeping between steps: logging, evaluation, checkpoints, stopping.

    Attributes:
        checked: after which step the predictor was last scored, or pseudo-labels measured
            that were due until then are recorded.
    """

    run: TrainingState
    meter: Meter
    health: Health
    clock: Clock
    tracker: Tracker
    stop: StopSignal
    checked: int

    def settle(self, done: int, batch: Batch | None = None) -> None:
        """Log, score and save what is due after step `done`; stop where a signal asks for it."""
        run, steps = self.run, self.run.settings.steps
        if batch is not None and due(done, run.settings.log_every, steps):
            self._log(done, batch)
        stopping = any_rank(self.stop.received is not None)  # read once: what stops here is saved
        if not stopping and wants_look(run, done):
            stopping = self._check_up(done)
        if stopping or due(done, run.settings.checkpoint_every, steps):
            self._save(done)
            if batch is not None and run.draw is not None and is_first():
                self._picture(run.draw, batch, done)
        if stopping:
            raise Interrupted(
                f"stopped by a signal after step {done} of {steps}; saved. "
                "The same command goes on from there.",
                self.stop.exit_code,
            )

    def _log(self, done: int, batch: Batch) -> None:
        self.run.updates.check_finite()
        reports = {name: float(value) for name, value in self.run.updates.reports().items()}
        scalars = self.meter.take() | self._measured(batch) | reports
        self.tracker.scalars(done, scalars)
        record = self.clock.record(done, scalars)
        self.tracker.speed(done, {"images_per_second": record.images_per_second})
        quality = self.run.pseudo_labels.lasting() if self.run.pseudo_labels is not None else {}
        warnings = self.health.check(done, self.run.settings.steps, scalars | quality)
        health = self.health.words(scalars | quality)
        self.run.view.logged(replace(record, story=self.run.method.story, health=health))
        for text in warnings:
            self.tracker.warning(done, text)
            self.run.view.warned(text)

    def _measured(self, batch: Batch) -> dict[str, float]:
        """What the method measures at log points: means over all ranks."""
        run, meter = self.run, Meter()
        if type(run.method).measure is Method.measure:
            return {}
        with undisturbed(run.method, run.device), autocast(run.precision, run.device):
            meter.add(run.method.measure(batch))
        return meter.take()

    def _check_up(self, done: int) -> bool:
        """Score the predictor and measure pseudo-labels, as due; returns whether a signal came.

        A signal ends it at once, for it may take minutes and a scheduler grants seconds. All of it
        is made up for when the run goes on.
        """
        run = self.run
        checkup = run.checkup if _wants_checkup(run, done) else None
        quality = run.pseudo_labels if _wants_pseudo_labels(run, done) else None
        seen = checkup is not None or (quality is not None and not quality.silent)
        run.seconds += self.clock.lap()
        with self.clock.pause():
            if seen:
                run.view.phase("scoring")
            try:
                # Of several processes one could be stopped where another is not.
                with self.stop.at_once() if world() == 1 else contextlib.nullcontext():
                    scores = checkup(run.predictor(), done, run.facts()) if checkup else {}
                    measured = quality(run.method) if quality is not None else {}
            except GivenUp:
                return True
            finally:
                run.method.train()
            self.checked = done
            if quality is not None:
                quality.remember(measured)
            for values in filter(None, (scores, measured)):
                self.tracker.checkup(done, values)
            if scores:
                run.view.scored(scores)
            if seen and done < run.settings.steps:
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
            **run.facts(),
            "method": run.method.state_dict(),
            "predictor": run.predictor().state_dict(),  # the same tensors: they are stored once
            "updates": run.updates.state_dict(),
            "ranks": gather(own),
            "health": self.health.state_dict(),
            "checked": self.checked,
        }
        if run.average is not None:
            state["average"] = run.average.state_dict()
        if run.checkup is not None:
            state["checkup"] = run.checkup.state_dict()
        if run.pseudo_labels is not None:
            state["pseudo_labels"] = run.pseudo_labels.state_dict()
        if is_first():
            run.checkpoints.save(done, state)
        wait_for_all()

    def _picture(self, draw: Draw, batch: Batch, done: int) -> None:
        """Pictures of the last batch, and of what a generator generates."""
        run = self.run
        with undisturbed(run.method, run.device):
            self.tracker.picture("panel", draw(batch, run.predictor(), run.method), done)
            samples = make_samples(run.method)
            if samples is not None:
                from semisup.pictures.panels import sample_panel  # slow to import

                self.tracker.picture("samples", sample_panel(samples), done)
