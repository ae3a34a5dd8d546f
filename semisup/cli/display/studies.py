"""How a study is shown: its plan, and what goes on while it runs."""

from __future__ import annotations

import contextlib
import shlex
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from semisup.system.words import counted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from semisup.studies.ablation.cells import Cell, Job
    from semisup.studies.ablation.plan import Cost, Plan

MOST_ROWS = 24
"""Recipes that have a row each; of more, each arm has one."""

SHOWN = 5
"""Failed cells that are named in full at the end."""


def print_plan(plan: Plan, costs: Mapping[str, Cost], jobs: int, threads: int, width: int) -> None:
    """What the study is, what is done of it, and how long the rest may take."""
    from semisup.studies.ablation.cells import shared_stages
    from semisup.studies.ablation.plan import seconds_left

    study = plan.study
    seeds = len(study.seeds)
    cells = len(plan.cells) * seeds
    click.echo(
        f"study {study.name}: {counted(len(plan.cells), 'recipe')} x {counted(seeds, 'seed')} = "
        f"{counted(cells, 'cell')} in {plan.out}"
    )
    if study.about:
        for line in textwrap.wrap(study.about, width - 2):
            click.echo(f"  {line}")
    click.echo()
    for line in _table(plan, costs):
        click.echo(line)
    click.echo()
    for line in shared_stages(plan.cells):
        click.echo(line)
    for note in plan.notes:
        for line in textwrap.wrap(f"note: {note}", width, subsequent_indent="  "):
            click.echo(line)
    left = plan.left()
    if not left:
        click.echo("left: nothing")
        return
    seconds = seconds_left(plan, costs, jobs)
    words = "time not known yet" if seconds is None else f"about {duration(seconds)}"
    side = f"{jobs} at a time, {counted(threads, 'thread')} each"
    stages = sum(job.cell is None for job in left)
    also = f" and {counted(stages, 'first stage')}" if stages else ""
    click.echo(f"left: {counted(len(left) - stages, 'cell')}{also}, {words} ({side})")


def _table(plan: Plan, costs: Mapping[str, Cost]) -> Iterator[str]:
    heads = ("", "cells", "done", "failed", "left", "each", "memory")
    rows: list[tuple[str, ...]] = [heads]
    for name, cells in _rows(plan):
        known = [costs[cell.run.digest] for cell in cells if cell.run.digest in costs]
        peaks = [cost.peak_mib for cost in known if cost.peak_mib is not None]
        each = duration(sum(cost.seconds for cost in known) / len(known)) if known else "-"
        rows.append(
            (
                name,
                f"{len(cells) * len(plan.study.seeds):,}",
                *(f"{plan.count(state, cells):,}" for state in ("done", "failed", "left")),
                each,
                f"{max(peaks):,.0f} MiB" if peaks else "-",
            )
        )
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells_of_row = (
            text.rjust(size) if number else text.ljust(size)
            for number, (text, size) in enumerate(zip(row, sizes, strict=True))
        )
        yield "  ".join(cells_of_row).rstrip()


def _rows(plan: Plan) -> list[tuple[str, list[Cell]]]:
    """A row for each recipe, or for each arm where there are many."""
    if len(plan.cells) <= MOST_ROWS:
        return [(_short(cell), [cell]) for cell in plan.cells]
    groups: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        groups.setdefault(plan.group_of(cell) or "all", []).append(cell)
    return list(groups.items())


def _short(cell: Cell) -> str:
    """The values of a cell alone, which say enough in a table of its study."""
    return " ".join(cell.values.values()) or cell.run.name


def duration(seconds: float) -> str:
    """Such as "40 s", "12 min" or "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


class PlainBoard:
    """A line for each event, on standard error."""

    def __init__(self, plan: Plan, costs: Mapping[str, Cost], jobs: int) -> None:
        self.total = len(plan.jobs)
        self.done = sum(plan.states[job.folder] == "done" for job in plan.jobs)
        self.bad = 0
        self.running: dict[str, float] = {}
        self._costs, self._jobs = dict(costs), jobs
        self._left = {job.label: job.stage.digest for job in plan.left()}

    def started(self, job: Job, note: str = "") -> None:
        """See `Board`."""
        self.running[job.label] = time.monotonic()
        self.say(f"started   {job.label}{f' ({note})' if note else ''}")

    def requeued(self, job: Job) -> None:
        """See `Board`."""
        self.running.pop(job.label, None)
        self.say(f"requeued  {job.label}, which will go on where it was")

    def finished(self, job: Job, seconds: float) -> None:
        """See `Board`."""
        self.done += 1
        self._gone(job)
        took = f" in {duration(seconds)}" if seconds else ", by another process"
        self.say(f"finished  {job.label}{took}, {self.counter()}")

    def failed(self, job: Job, line: str) -> None:
        """See `Board`."""
        self.bad += 1
        self._gone(job)
        self.say(f"failed    {job.label}: {line}")

    def waiting(self, job: Job, owner: str) -> None:
        """See `Board`."""
        self.say(f"left      {job.label} to {owner}, which works on it")

    def stopped(self, running: int) -> None:
        """See `Board`."""
        self.say(f"stopping: {counted(running, 'run')} to save a checkpoint; Ctrl-C kills")

    def tick(self) -> None:
        """See `Board`."""

    def say(self, line: str) -> None:
        """Print a line of an event."""
        click.echo(line, err=True)

    def counter(self) -> str:
        """Such as "3 of 12 done, 1 failed, 4 min left"."""
        bad = f", {self.bad} failed" if self.bad else ""
        left = self.seconds_left()
        return f"{self.done} of {self.total} done{bad}{f', {left} left' if left else ''}"

    def seconds_left(self) -> str:
        """How long the rest may take; empty where that is not known, or nothing is left."""
        digests = self._left.values()
        if not digests or any(digest not in self._costs for digest in digests):
            return ""
        now = time.monotonic()
        spent = sum(now - began for began in self.running.values())
        total = sum(self._costs[digest].seconds for digest in digests)
        return f"about {duration(max(total - spent, 0.0) / self._jobs)}"

    def _gone(self, job: Job) -> None:
        self.running.pop(job.label, None)
        self._left.pop(job.label, None)


class LiveBoard(PlainBoard):
    """Counts, the time left and what runs, redrawn in place above which events scroll."""

    def __init__(self, plan: Plan, costs: Mapping[str, Cost], jobs: int, console: Console) -> None:
        super().__init__(plan, costs, jobs)
        self._console = console
        self._live: Any = None
        self._drawn = 0.0

    @contextlib.contextmanager
    def over(self) -> Iterator[None]:
        """Show the board for the length of a `with` block."""
        from rich.live import Live

        with Live(self._draw(), console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def tick(self) -> None:
        """Redraw it, twice a second."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn > 0.5:
            self._drawn = now
            self._live.update(self._draw(), refresh=True)

    def say(self, line: str) -> None:
        """Print a line of an event above the board."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        rows = [
            Text(f"  {duration(now - began):>7}  {label}", no_wrap=True, overflow="ellipsis")
            for label, began in self.running.items()
        ]
        bar = ProgressBar(total=max(self.total, 1), completed=self.done + self.bad, width=24)
        head = Table.grid(padding=(0, 2))
        head.add_row(bar, Text(self.counter()))
        return Group(head, *rows)


@contextlib.contextmanager
def make_board(plan: Plan, costs: Mapping[str, Cost], jobs: int) -> Iterator[PlainBoard]:
    """The board that fits where standard error goes."""
    from rich.console import Console

    from semisup.system.progress import has_terminal

    if not has_terminal():
        yield PlainBoard(plan, costs, jobs)
        return
    board = LiveBoard(plan, costs, jobs, Console(stderr=True, highlight=False))
    with board.over():
        yield board


def print_end(plan: Plan, failed: Mapping[str, str], commands: Sequence[str], retry: str) -> None:
    """What has come of the study, and what comes next."""
    total = len(plan.cells) * len(plan.study.seeds)
    done = plan.count("done")
    click.echo()
    click.echo(f"done {done:,} of {counted(total, 'cell')}{_failures(failed)}")
    for label, line in list(failed.items())[:SHOWN]:
        click.echo(f"  {label}: {line}")
    if len(failed) > SHOWN:
        click.echo(f"  and {len(failed) - SHOWN} more")
    click.echo("\nWhat next")
    place = shlex.quote(str(plan.out))
    if failed:
        click.echo(f"  {retry}   # once more what failed")
    for command in commands if done else ():
        click.echo(f"  {command}")
    if done:
        click.echo(f"  semisup report {place}   # one page of it")
    click.echo(f"  semisup runs {place}")


def _failures(failed: Mapping[str, str]) -> str:
    return f", {len(failed)} failed:" if failed else ""


def content_of(plan: Plan, costs: Mapping[str, Cost], jobs: int) -> dict[str, Any]:
    """The plan as JSON."""
    from semisup.studies.ablation.plan import seconds_left

    return {
        "study": plan.study.name,
        "out": str(plan.out),
        "seeds": list(plan.study.seeds),
        "notes": list(plan.notes),
        "seconds_left": seconds_left(plan, costs, jobs),
        "runs": [
            {
                "label": job.label,
                "values": None if job.cell is None else dict(job.cell.values),
                "seed": job.seed,
                "recipe": job.stage.name,
                "digest": job.stage.digest,
                "folder": str(job.folder),
                "needs": None if job.needs is None else str(job.needs),
                "state": plan.states[job.folder],
                "command": ["semisup", *job.words()],
            }
            for job in plan.jobs
        ],
    }
