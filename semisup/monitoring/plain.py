"""A run in plain lines, for files and pipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from semisup.monitoring.view import Record
from semisup.monitoring.words import (
    counter,
    first_that_fit,
    score_in_words,
    seconds_a_step,
    shorter,
    story_of,
    time_left,
)

WIDTH = 100
"""Characters of a line of numbers, at most."""


class PlainView:
    """One line for each event."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_first = True
        self._begin()

    def _begin(self) -> None:
        self._trains = self._has_logged = False
        self._score = ""

    def opened(self, recipe: str, folder: Path) -> None:
        """What follows is of another run; no line for the first, of which an error may be all."""
        if not self._is_first:
            self._print(f"{recipe}: {folder}")
        self._is_first = False
        self._begin()

    def phase(self, name: str) -> None:
        """A new phase of the run begins; that training goes on after a score needs no line."""
        if name == "training" and self._trains:
            return
        self._trains = self._trains or name == "training"
        self._print(f"{name} ...")

    def stepped(self, done: int, steps: int) -> None:
        """A step was taken: no line for that."""

    def paced(self, done: int, steps: int, seconds: float) -> None:
        """How long the run will take, where no log point has said so."""
        if not self._has_logged:
            left = time_left((steps - done) * seconds)
            self._print(f"step {counter(done, steps)}  {seconds_a_step(seconds)}  {left}")

    def logged(self, record: Record) -> None:
        """A log point was reached: progress, the last score, and the method's own story."""
        self._has_logged = True
        story = (f"{shorter(name)} {record.scalars[name]:.3g}" for name in story_of(record))
        self._print(
            first_that_fit(
                (
                    f"step {counter(record.step, record.steps)}",
                    f"{record.images_per_second:.1f} images/s",
                    time_left(record.seconds_left),
                    *([self._score] if self._score else []),
                    *story,
                ),
                WIDTH,
            )
        )

    def scored(self, scores: Mapping[str, float]) -> None:
        """The predictor was scored while training."""
        name, value, where = score_in_words(scores)
        self._score = first_that_fit([f"{name} {value:.4f}"], WIDTH // 4)
        self._print(f"{name} {value:.4f}" + (f" on {where}" if where else ""))

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._print(text)

    def warned(self, text: str) -> None:
        """Something is going wrong, and what to try."""
        self._print(f"warning: {text}", style="yellow")

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, markup=False, soft_wrap=True, style=style)
