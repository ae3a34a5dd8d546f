"""What a person sees while a run goes on: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from semisup.monitoring.plain import PlainView
from semisup.monitoring.view import Record, Silent, View
from semisup.monitoring.words import (
    counter,
    own_scalars,
    score_in_words,
    seconds_a_step,
    small_curve,
    story_of,
    time_left,
)
from semisup.system.progress import has_terminal, is_first_process

AROUND = 9
"""Lines around the rows of numbers, with some for long paths and warnings."""

LONGEST_CURVE = 40
"""Columns of a small curve."""


@contextlib.contextmanager
def make_view() -> Iterator[View]:
    """The view that fits where standard error goes; none but in the first process of a run."""
    if not is_first_process():
        yield Silent()
        return
    if not has_terminal():
        # In a notebook rich would make a piece of HTML of every line.
        yield PlainView(Console(stderr=True, highlight=False, force_jupyter=False))
        return
    console = Console(stderr=True, highlight=False)
    live = LiveView()
    # The cursor stays free for other bars (making scenes, scoring): those phases stop the live
    # display.
    with live.over(console):
        yield live


@dataclass(frozen=True, slots=True)
class _Row:
    """A name with its last value and those before it."""

    name: str
    value: str
    values: tuple[float, ...]
    tells_most: bool = False


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of numbers with small curves: the first ones, as many as the screen has lines for."""

    rows: tuple[_Row, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Whole names, then values, then curves in what is left of the width."""
        shown = self.rows[: max(3, console.height - AROUND)]
        names, values = (
            max((len(text) for text in column), default=0)
            for column in ([row.name for row in shown], [row.value for row in shown])
        )
        room = min(options.max_width - names - values - 4, LONGEST_CURVE)
        table = Table.grid(padding=(0, 2))
        table.add_column(overflow="fold")
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="cyan", no_wrap=True)
        for row in shown:
            curve = "" if options.ascii_only else small_curve(row.values, room)
            name = Text(row.name, style="bold" if row.tells_most else "dim")
            table.add_row(name, row.value, curve)
        yield table


class LiveView:
    """Phase, step, time left, the score and the method's scalars with small curves, its health.

    Redrawn in place. All else is in TensorBoard.
    """

    def __init__(self) -> None:
        self._recipe, self._folder = "", ""
        self._live: Live | None = None
        self._begin()

    def _begin(self) -> None:
        self._phase, self._trained = "preparing", False
        self._done = self._steps = 0
        self._speed = self._left = self._health = ""
        self._score: _Row | None = None
        self._curves: dict[str, list[float]] = {}
        self._rows: tuple[_Row, ...] = ()

    @contextlib.contextmanager
    def over(self, console: Console) -> Iterator[None]:
        """Show the view on `console` while it trains."""
        self._console = console
        try:
            yield
        finally:
            self._stop()

    def opened(self, recipe: str, folder: Path) -> None:
        """What follows is of another run."""
        self._stop()
        self._recipe, self._folder = recipe, str(folder)
        self._begin()

    def phase(self, name: str) -> None:
        """A new phase of the run begins."""
        self._phase = name
        if name != "training":
            self._stop()
            if name != "scoring" or not self._trained:  # the bar of the images says so
                self._console.print(f"{name} ...", style="dim")
        elif self._live is None:
            self._trained = True
            self._live = Live(
                get_renderable=self._render,
                console=self._console,
                transient=True,
                refresh_per_second=2,
            )
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stepped(self, done: int, steps: int) -> None:
        """A step was taken."""
        self._done, self._steps = done, steps

    def paced(self, done: int, steps: int, seconds: float) -> None:
        """How long the run will take, where no log point has said so."""
        if not self._rows:
            self._speed = seconds_a_step(seconds)
            self._left = time_left((steps - done) * seconds)

    def logged(self, record: Record) -> None:
        """A log point was reached."""
        self._speed = f"{record.images_per_second:.1f} images/s"
        self._left = time_left(record.seconds_left)
        self._health = record.health
        rows, story = [], story_of(record)
        for name in own_scalars(record):
            curve = self._curves.setdefault(name, [])
            curve.append(record.scalars[name])
            rows.append(_Row(name, f"{curve[-1]:.4g}", tuple(curve), name in story))
        self._rows = tuple(rows)  # at once: another thread draws

    def scored(self, scores: Mapping[str, float]) -> None:
        """The predictor was scored while training."""
        name, value, where = score_in_words(scores)
        curve = self._curves.setdefault(f"score {name}", [])
        curve.append(value)
        title = f"{name} on {where}" if where else name
        self._score = _Row(title, f"{value:.4f}", tuple(curve), tells_most=True)

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._console.print(text, markup=False)

    def warned(self, text: str) -> None:
        """Something is going wrong, and what to try."""
        self._console.print(f"warning: {text}", markup=False, style="bold yellow")

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [
            Text(self._recipe, style="bold", overflow="fold"),
            Text(self._folder, style="dim", overflow="fold"),
            self._progress(),
            "",
            _Rows((*([self._score] if self._score else []), *self._rows)),
        ]
        if self._health:
            style = {"healthy": "green", "warning": "bold yellow"}
            words = Text(self._health, style=style.get(self._health.partition(":")[0], "dim"))
            parts += ["", words, Text("all else: semisup monitor", style="dim")]
        return Group(*parts)

    def _progress(self) -> RenderableType:
        if not self._steps:
            return Text(f"{self._phase}: the first step takes longest")
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        for _ in range(3):
            line.add_column(no_wrap=True)
        bar = ProgressBar(total=self._steps, completed=self._done)
        where = counter(self._done, self._steps)
        line.add_row(Text(self._phase, style="bold"), bar, where, self._speed, self._left)
        return line
