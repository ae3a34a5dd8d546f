"""Curves of health and of pseudo-labels, as docs/curves.py draws them.

Of adversarial runs their health: one row for each run, from its scalars.jsonl: the outputs of the
discriminator for real and predicted input, the losses, how far each player's weights move, and the
method's own scalars of health. The bands are what docs/watching.md calls healthy.

Of kept runs (docs/collect.py) their pseudo-labels: one row for each arm that has some, with the
share that is taught, how much of it is right, and its calibration error along the run. A line is
the mean over the seeds and its band goes from the lowest to the highest; the lines of the other
arms are thin and grey behind it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from semisup.errors import RunError, SemisupError
from semisup.studies.kept import Run, read_kept

Records = list[dict[str, Any]]

PANELS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("discriminator", lambda name: name in {"d_real", "d_fake", "d_accuracy"}),
    ("losses", lambda name: name.startswith("loss_")),
    ("update / weights", lambda name: name.startswith("update_ratio/")),
    (
        "self-teaching, samples",
        lambda name: name.startswith(("self_taught_", "labelled_accuracy", "sample_diversity")),
    ),
)


def read(folder: Path) -> tuple[str, Records]:
    """Title of a run, and its lines of the log points."""
    result = folder / "result.json"
    title = folder.parent.name
    if result.is_file():
        facts = json.loads(result.read_text(encoding="utf-8"))
        title = f"{facts['recipe']}, seed {facts['seed']}"
    lines = (folder / "scalars.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return title, [r for r in records if not r.get("final") and not r.get("checkup")]


def draw(axes: Axes, records: Records, title: str, belongs: Callable[[str], bool]) -> None:
    """One panel."""
    names = sorted({name for record in records for name in record if belongs(name)})
    for name in names:
        points = [(r["step"], r[name]) for r in records if r.get(name) is not None]
        label = name.removeprefix("loss_").removeprefix("update_ratio/").replace("_", " ")
        axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4)
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if title == "discriminator":
        axes.set_ylim(0, 1)
        axes.axhspan(0.5, 0.98, color="tab:green", alpha=0.08)
    if title.startswith("update"):
        axes.set_yscale("log")
        axes.axhspan(1e-4, 5e-2, color="tab:green", alpha=0.08)
    if title.startswith("self"):
        axes.set_ylim(bottom=0)
    if names:
        axes.legend(fontsize=7, framealpha=0.7)
    else:
        axes.set_axis_off()


QUALITY = (
    ("share taught", "trusted_share", "#0072B2"),
    ("right of it", "self_taught_accuracy", "#D55E00"),
    ("calibration error", "self_taught_ece", "#007A5A"),
)
"""Title, scalar and colour of each panel: of Okabe and Ito's colours for all kinds of sight."""

Course = Mapping[int, Sequence[float]]
"""Step -> the values of the seeds."""


def courses_of(runs: Sequence[Run]) -> dict[str, dict[str, Course]]:
    """Arm -> scalar -> its course, of the arms that have pseudo-labels, in the order of the file.

    Raises:
        RunError: no run has one.
    """
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for run in runs:
        for _, name, _ in QUALITY:
            points = run.content.get("curves", {}).get(name, [])
            if points:
                arm = found.setdefault(run.arm or run.recipe, {})
                course = arm.setdefault(name, defaultdict(list))
                for step, value in points:
                    course[int(step)].append(value)
    if not found:
        raise RunError("no run has curves of pseudo-labels; keep runs that teach some")
    return {arm: dict(courses) for arm, courses in found.items()}


def mean_line(course: Course) -> tuple[list[int], list[float]]:
    """Steps, and the mean over the seeds at each."""
    steps = sorted(course)
    return steps, [sum(course[step]) / len(course[step]) for step in steps]


def draw_quality(courses: Mapping[str, Mapping[str, Course]]) -> Figure:
    """Small multiples, 3.9 inches wide: at 390 pixels a point of text is a pixel and more."""
    figure = Figure(figsize=(3.9, 0.5 + 1.05 * len(courses)), layout="constrained")
    grid = figure.subplots(len(courses), len(QUALITY), squeeze=False, sharex=True, sharey="col")
    for row, arm in zip(grid, courses, strict=True):
        for axes, (_, name, colour) in zip(row, QUALITY, strict=True):
            others = [courses[other].get(name, {}) for other in courses if other != arm]
            draw_course(axes, courses[arm].get(name, {}), others, colour)
        row[0].set_title(arm, fontsize=8, loc="left", fontweight="bold")
    for axes, (title, _, colour) in zip(grid[0], QUALITY, strict=True):
        axes.annotate(
            title, (0.5, 1.32), xycoords="axes fraction", ha="center", fontsize=8, color=colour
        )
    for axes in grid[-1]:
        axes.set_xlabel("step", fontsize=7.5)
    share, _, error = grid[0]
    share.set_ylim(0.0, 1.02)
    error.set_ylim(bottom=0.0)
    share.set_xlim(left=0)
    return figure


def draw_course(axes: Axes, course: Course, others: Sequence[Course], colour: str) -> None:
    """One panel: the mean and the band of an arm, the means of the others behind."""
    for other in others:
        axes.plot(*mean_line(other), color="0.8", linewidth=0.7, zorder=1)
    steps, means = mean_line(course)
    lows, highs = ([end(course[step]) for step in steps] for end in (min, max))
    axes.fill_between(steps, lows, highs, color=colour, alpha=0.25, linewidth=0, zorder=2)
    axes.plot(steps, means, color=colour, linewidth=1.5, zorder=3)
    axes.tick_params(labelsize=7, length=2, pad=1.5)
    axes.locator_params(nbins=3)
    axes.grid(alpha=0.25, linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_runs(folders: Sequence[str]) -> Figure:
    """The health of runs, below one another."""
    runs = [read(Path(folder)) for folder in folders]
    figure = Figure(figsize=(13, 2.9 * len(runs)), layout="constrained")
    grid = figure.subplots(len(runs), len(PANELS), squeeze=False)
    for row, (title, records) in zip(grid, runs, strict=True):
        for axes, (name, belongs) in zip(row, PANELS, strict=True):
            draw(axes, records, name, belongs)
        row[0].set_ylabel(title, fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("step", fontsize=8)
    return figure


def main(target: str, places: Sequence[str]) -> None:
    """Draw the pseudo-labels of kept files, or the health of the runs in folders."""
    kept = [place for place in places if place.endswith(".jsonl")]
    try:
        runs = [run for place in kept for run in read_kept(Path(place))]
        figure = draw_quality(courses_of(runs)) if kept else draw_runs(places)
    except SemisupError as error:
        sys.exit(str(error))
    FigureCanvasAgg(figure).print_figure(target, dpi=200 if kept else 90)
