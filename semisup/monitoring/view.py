"""The events of a run that are shown to people; the terminal's views implement them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """What a log point tells.

    Attributes:
        step: steps done.
        steps: length of the run.
        scalars: means since the last log point.
        images_per_second: training images of all streams.
        seconds_left: estimate.
        story: names of those scalars that tell most, the first of them first (`Method.story`).
        health: whether all is well, in words (`Health.words`); empty: not known.
    """

    step: int
    steps: int
    scalars: Mapping[str, float]
    images_per_second: float
    seconds_left: float
    story: tuple[str, ...] = ()
    health: str = ""


class View(Protocol):
    """Where a person watches a run."""

    def opened(self, recipe: str, folder: Path) -> None:
        """What follows is of this run: the one that was asked for, its baseline or first stage."""

    def phase(self, name: str) -> None:
        """A new phase of the run begins, such as "training"."""

    def stepped(self, done: int, steps: int) -> None:
        """A step was taken. Nothing of it may be read from the device."""

    def paced(self, done: int, steps: int, seconds: float) -> None:
        """After the second step: how many seconds it took. The first one has more to do."""

    def logged(self, record: Record) -> None:
        """A log point was reached."""

    def scored(self, scores: Mapping[str, float]) -> None:
        """The predictor was scored while training."""

    def note(self, text: str) -> None:
        """Something that a person should know."""

    def warned(self, text: str) -> None:
        """Something is going wrong, and what to try."""


class Silent:
    """A view for nobody."""

    def opened(self, recipe: str, folder: Path) -> None:
        """Show nothing."""

    def phase(self, name: str) -> None:
        """Show nothing."""

    def stepped(self, done: int, steps: int) -> None:
        """Show nothing."""

    def paced(self, done: int, steps: int, seconds: float) -> None:
        """Show nothing."""

    def logged(self, record: Record) -> None:
        """Show nothing."""

    def scored(self, scores: Mapping[str, float]) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def warned(self, text: str) -> None:
        """Show nothing."""
