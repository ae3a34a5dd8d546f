"""What a person sees while a run goes on: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from semisup.monitoring.view import Record, Silent, View
from semisup.system.progress import has_terminal, is_first_process

_LONGEST = 100
"""Characters of the values in a plain line."""


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


def _time_left(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _in_one_line(scalars: Mapping[str, float]) -> str:
    """The losses, then as many others as fit; how many are left to scalars.jsonl."""
    names = sorted(scalars, key=lambda name: not name.startswith("loss"))
    shown = [f"{name} {scalars[name]:.4g}" for name in names]
    kept = shown[:1]
    for text in shown[1:]:
        if len("  ".join([*kept, text])) > _LONGEST:
            return "  ".join([*kept, f"and {len(shown) - len(kept)} more in scalars.jsonl"])
        kept.append(text)
    return "  ".join(kept)


class PlainView:
    """One line for each event."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_first = True

    def opened(self, recipe: str, folder: Path) -> None:
        """What follows is of another run; no line for the first, of which an error may be all."""
        if not self._is_first:
            self._print(f"{recipe}: {folder}")
        self._is_first = False

    def phase(self, name: str) -> None:
        """A new phase of the run begins."""
        self._print(f"{name} ...")

    def stepped(self, done: int, steps: int) -> None:
        """A step was taken: no line for that."""

    def logged(self, record: Record) -> None:
        """A log point was reached."""
        values = _in_one_line(record.scalars)
        self._print(
            f"step {record.step}/{record.steps}  {record.images_per_second:.1f} images/s  "
            f"{_time_left(record.seconds_left)} left  {values}"
        )

    def scored(self, scores: Mapping[str, float]) -> None:
        """The predictor was scored while training."""
        name, value = next(iter(scores.items()))
        self._print(f"{name} {value:.4f}")

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._print(text)

    def warned(self, text: str) -> None:
        """Something is going wrong, and what to try."""
        self._print(f"warning: {text}", style="yellow")

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, markup=False, soft_wrap=True, style=style)


class LiveView:
    """Phase, step, time left, throughput, losses and last score, redrawn in place."""

    def __init__(self) -> None:
        self._title = ""
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[left]}"),
            expand=True,
        )
        self._task = self._bar.add_task("preparing", total=1, rate="", left="")
        self._scalars: Mapping[str, float] = {}
        self._score = ""
        self._live: Live | None = None

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
        self._title = escape(f"{recipe}   {folder}")
        self._scalars, self._score = {}, ""
        self._bar.reset(self._task, total=1, rate="", left="")

    def phase(self, name: str) -> None:
        """A new phase of the run begins."""
        self._bar.update(self._task, description=name)
        if name != "training":
            self._stop()
            self._console.print(f"{name} ...", style="dim")
        elif self._live is None:
            self._live = Live(get_renderable=self._render, console=self._console, transient=True)
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def stepped(self, done: int, steps: int) -> None:
        """A step was taken."""
        self._bar.update(self._task, completed=done, total=steps)

    def logged(self, record: Record) -> None:
        """A log point was reached."""
        self._bar.update(
            self._task,
            rate=f"{record.images_per_second:.1f} images/s",
            left=f"{_time_left(record.seconds_left)} left",
        )
        self._scalars = record.scalars

    def scored(self, scores: Mapping[str, float]) -> None:
        """The predictor was scored while training."""
        name, value = next(iter(scores.items()))
        self._score = escape(f"{name} {value:.4f}")

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._console.print(text, markup=False)

    def warned(self, text: str) -> None:
        """Something is going wrong, and what to try."""
        self._console.print(f"warning: {text}", markup=False, style="bold yellow")

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for _ in range(3):
            table.add_column(style="dim")
            table.add_column(justify="right")
        cells = [(escape(name), f"{value:.4g}") for name, value in self._scalars.items()]
        for start in range(0, len(cells), 3):
            row = [text for cell in cells[start : start + 3] for text in cell]
            table.add_row(*row)
        score = f"last score: {self._score}" if self._score else "no score yet"
        return Group(self._title, self._bar, table, score)
