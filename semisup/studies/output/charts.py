"""Figures of a comparison: the score along the runs, and at their end."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from semisup.studies.comparison import Arm, Comparison
from semisup.studies.history import Curve, read_history
from semisup.system.files import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#007A5A", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Of Okabe and Ito, which all kinds of sight tell apart."""

STYLES = ("-", "--", ":", "-.")

HELD_OUT, FINAL = "held_out/miou", "score/miou"
"""Scalars of the score: on held-out images along a run, and at its end. Along a run without
held-out images it is called after the subset that is watched, such as val/miou."""

Course = Mapping[int, list[float]]
"""Step -> the scores of the seeds."""


def draw(comparison: Comparison, path: Path) -> None:
    """Write the figure of a comparison.

    Args:
        comparison: of one arm or more.
        path: .png, .pdf or .svg; appears whole or not at all.

    Raises:
        RunError: the log of a run is damaged, or the file cannot be written.
    """
    figure = figure_of(comparison)
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    kind = path.suffix.lower().lstrip(".")
    facts = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else {}
    figure.savefig(file, format=kind, dpi=200, metadata=facts)
    write_atomically(path, lambda out: out.write(file.getvalue()))


def figure_of(comparison: Comparison) -> Figure:
    """The curves of the score where runs have some, and beside them all scores with their means.

    A line is the mean over the seeds and its band goes from the lowest to the highest. A dot is a
    seed, a diamond with a bar the mean with its 95 % interval over seeds.
    """
    name, courses = courses_of(comparison)
    rows = len(comparison.arms)
    size = (9.0, max(3.2, 1.4 + 0.34 * rows)) if courses else (5.2, max(2.0, 1.2 + 0.34 * rows))
    figure = Figure(figsize=size, layout="constrained")
    if courses:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _curves(left, comparison, courses, name)
    else:
        right = figure.subplots()
    _scores(right, comparison)
    return figure


def courses_of(comparison: Comparison) -> tuple[str, dict[str, Course]]:
    """The scalar of the score, and arm -> its course; empty where no run was scored on the way."""
    histories = {
        arm.name: [read_history(Path(run.source)) for run in arm.runs] for arm in comparison.arms
    }
    names = {n for found in histories.values() for history in found for n in history}
    watched = sorted(n for n in names if n.endswith("/miou") and n not in (HELD_OUT, FINAL))
    for name in (HELD_OUT, *watched, FINAL):
        curves = {
            arm: [history[name] for history in found if name in history]
            for arm, found in histories.items()
        }
        courses = {arm: _course(found) for arm, found in curves.items() if found}
        if any(len(course) > 1 for course in courses.values()):
            return name, courses
    return "", {}


def _course(curves: list[Curve]) -> Course:
    course: dict[int, list[float]] = defaultdict(list)
    for curve in curves:
        for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
            if np.isfinite(value):
                course[step].append(value)
    return dict(sorted(course.items()))


def _look(number: int) -> tuple[str, str]:
    """Colour and line style of an arm."""
    return COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]


def _curves(axes: Axes, comparison: Comparison, courses: Mapping[str, Course], name: str) -> None:
    for number, arm in enumerate(comparison.arms):
        course = courses.get(arm.name)
        if not course:
            continue
        colour, style = _look(number)
        steps, values = list(course), list(course.values())
        means = [float(np.mean(row)) for row in values]
        lows, highs = [min(row) for row in values], [max(row) for row in values]
        axes.fill_between(steps, lows, highs, color=colour, alpha=0.18, linewidth=0)
        axes.plot(steps, means, color=colour, linestyle=style, linewidth=1.6)
    axes.set_xlabel("step", fontsize=9)
    subset = name.removesuffix("/miou")
    where = {HELD_OUT: "held-out images", FINAL: "the scored images"}.get(name, f"'{subset}'")
    axes.set_ylabel(f"mIoU on {where}", fontsize=9)
    axes.set_title("mean and range over seeds", fontsize=9, loc="left")
    _plain(axes)


def _scores(axes: Axes, comparison: Comparison) -> None:
    for number, arm in enumerate(comparison.arms):
        colour, _ = _look(number)
        values = list(arm.scores.values())
        axes.plot(values, [number] * len(values), "o", color=colour, alpha=0.45, markersize=4)
        if arm.interval is not None:
            axes.plot(arm.interval, [number, number], color=colour, linewidth=1.6)
        axes.plot([arm.mean], [number], "D", color=colour, markersize=6)
    axes.set_yticks(range(len(comparison.arms)), [_label(arm) for arm in comparison.arms])
    axes.set_ylim(len(comparison.arms) - 0.5, -0.5)
    axes.set_xlabel(f"mIoU, {comparison.score}", fontsize=9)
    axes.set_title("seeds, mean, 95 % interval", fontsize=9, loc="left")
    _limit(axes, comparison)
    _plain(axes)
    for tick, number in zip(axes.get_yticklabels(), range(len(comparison.arms)), strict=True):
        tick.set_color(_look(number)[0])


def _limit(axes: Axes, comparison: Comparison) -> None:
    """Few seeds have intervals beyond all scores: their bars are cut, and not the dots squeezed."""
    values = [value for arm in comparison.arms for value in arm.scores.values()]
    room = max(0.02, 0.6 * (max(values) - min(values)))
    axes.set_xlim(min(values) - room, max(values) + room)


def _label(arm: Arm) -> str:
    """A name in lines of at most some 30 characters, broken behind a comma or a slash alone."""
    words = arm.name.replace("$", r"\$").replace("/", "/\0").replace(", ", ",\0 ").split("\0")
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > 30:
            lines.append(word.lstrip())
        else:
            lines[-1] += word
    return "\n".join(lines)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
