"""The figures of a report that show arms: runs, differences, budgets, curves, calibration, cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from semisup.studies.comparison import Arm, Comparison
from semisup.studies.kept import SEED_OF_SPLIT
from semisup.studies.output.charts import FINAL, HELD_OUT, Course, courses_of
from semisup.studies.output.tables import letters_of
from semisup.studies.report.content import Report
from semisup.studies.report.look import INK, MUTED, STYLES, WIDTH, colour, label, marker, plain
from semisup.studies.report.verdicts import is_significant

MOST_CURVES = 8
"""Arms in one figure of curves: more lines cannot be told apart."""

LONGEST = 24
"""Characters of a name beside an axis."""

ECE = "self_taught_ece"
"""Calibration error of pseudo-labels, along a run."""


@dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes:
        name: of its files.
        title: above it.
        text: what is to be seen, in a sentence or two.
        draw: makes it.
    """

    name: str
    title: str
    text: str
    draw: Callable[[], Figure]


def short_names(comparison: Comparison) -> dict[str, str]:
    """Name of an arm -> its letter, and as much of its name as there is room for beside an axis."""
    parts = {arm.name: arm.name.split(", ") for arm in comparison.arms}
    common = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    found = {}
    for name, letter in letters_of(comparison.arms).items():
        own = [part.rpartition("/")[2] if "=" not in part else part for part in parts[name]]
        told = ", ".join(
            p for p, whole in zip(own, parts[name], strict=True) if whole not in common
        )
        words = told or own[0]
        cut = words if len(words) <= LONGEST else f"{words[: LONGEST - 2]}…"
        found[name] = f"{letter}  {cut}"
    return found


def _rows(axes: Axes, report: Report, names: Sequence[str]) -> None:
    """Names beside the rows of a figure, the first on top."""
    short = short_names(report.comparison)
    axes.set_yticks(range(len(names)), [short[name] for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _tall(rows: int) -> Figure:
    return Figure(figsize=(WIDTH, 0.75 + 0.27 * max(2, rows)), layout="constrained")


def runs(report: Report) -> Drawn:
    """Every run a dot, each arm's mean with its interval."""
    comparison = report.comparison

    def draw() -> Figure:
        figure = _tall(len(comparison.arms))
        axes = figure.subplots()
        for number, arm in enumerate(comparison.arms):
            own, values = colour(number), list(arm.scores.values())
            axes.plot(
                values, [number + 0.2] * len(values), marker(number), color=own, markersize=3.2,
                markeredgewidth=0, alpha=0.75,
            )  # fmt: skip
            if arm.interval is not None:
                axes.plot(arm.interval, [number - 0.12] * 2, color=own, linewidth=1.8)
            axes.plot([arm.mean], [number - 0.12], marker(number), color=own, markersize=6)
        _within(axes, comparison)
        axes.set_xlabel(f"mIoU, {comparison.score} checkpoint")
        _rows(axes, report, [arm.name for arm in comparison.arms])
        plain(axes, "x")
        return figure

    text = (
        "Small marks are runs, the large one above them is their mean, and its bar the 95 % "
        "interval of the mean over seeds (Student's t). Bars beyond the figure are cut."
    )
    return Drawn("runs", "Every run", text, draw)


def _within(axes: Axes, comparison: Comparison) -> None:
    """Few seeds have intervals beyond all scores: their bars are cut, and not the dots squeezed."""
    values = [value for arm in comparison.arms for value in arm.scores.values()]
    room = max(0.01, 0.35 * (max(values) - min(values)))
    axes.set_xlim(min(values) - room, max(values) + room)


def gains(report: Report) -> Drawn | None:
    """Differences from the baseline with their intervals; None where nothing is compared."""
    comparison = report.comparison
    found = comparison.differences
    if not found:
        return None
    places = {arm.name: number for number, arm in enumerate(comparison.arms)}
    letters = letters_of(comparison.arms)

    def draw() -> Figure:
        figure = _tall(len(found))
        axes = figure.subplots()
        axes.axvline(0, color=MUTED, linewidth=0.9)
        for row, one in enumerate(found):
            own, shape = colour(places[one.arm]), marker(places[one.arm])
            if one.paired is not None:
                axes.plot(one.paired.interval, [row, row], color=own, linewidth=1.8)
            face = own if is_significant(one) else "none"
            axes.plot([one.mean], [row], shape, color=own, markerfacecolor=face, markersize=6)
        short = short_names(comparison)
        several = len(comparison.baselines) > 1
        labels = [
            f"{short[one.arm]}{f' - {letters[one.baseline]}' if several else ''}" for one in found
        ]
        axes.set_yticks(range(len(found)), labels)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        base = "its baseline" if several else short[found[0].baseline].replace("  ", " ")
        axes.set_xlabel(f"mIoU above {base}")
        plain(axes, "x")
        return figure

    text = (
        "Mean difference paired by seed, with its 95 % interval. Filled: p is at most 0.05 after "
        "Holm's correction; hollow: it is not, and nothing is claimed."
    )
    return Drawn("gain", "Gain over the baseline", text, draw)


def _families(report: Report) -> dict[str, list[Arm]]:
    """Arms that differ in nothing but the labels that they were given, by the first one's name."""
    found: dict[str, list[Arm]] = defaultdict(list)
    for arm in report.comparison.arms:
        run = arm.runs[0]
        kept = {
            key: value
            for key, value in run.settings.items()
            if key not in ("data.split", SEED_OF_SPLIT)
        }
        found[json.dumps(kept, sort_keys=True)].append(arm)
    return {arms[0].name: arms for arms in found.values()}


def budgets(report: Report) -> Drawn | None:
    """Score against labelled images; None where all arms have as many."""
    cost = {arm.name: float(np.mean(arm.masks)) for arm in report.comparison.arms}
    if len({arm.masks for arm in report.comparison.arms}) < 2:
        return None
    text = (
        "Mean mIoU and its 95 % interval over seeds against the number of labelled images, on a "
        "logarithmic axis. A line joins arms that differ in their budget alone."
    )
    title = "Score and labelled images"
    draw = lambda: _against(report, cost, "labelled images")  # noqa: E731
    return Drawn("budgets", title, text, draw)


def annotation(report: Report) -> Drawn | None:
    """Score against the seconds that labels cost; None where the runs do not know them."""
    cost = {}
    for arm in report.comparison.arms:
        seconds = report.annotation_seconds(arm)
        if seconds is not None and seconds > 0:
            cost[arm.name] = seconds / 3600
    if len(set(cost.values())) < 2:
        return None
    text = (
        "Mean mIoU and its 95 % interval over seeds against the hours that the labels cost, on a "
        "logarithmic axis. Arms whose cost is not known are left out."
    )
    draw = lambda: _against(report, cost, "hours of annotation")  # noqa: E731
    return Drawn("annotation", "Score and annotation cost", text, draw)


def _against(report: Report, cost: Mapping[str, float], below: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    places = {arm.name: number for number, arm in enumerate(report.comparison.arms)}
    letters = letters_of(report.comparison.arms)
    points: list[tuple[float, float]] = []
    texts: list[tuple[str, str]] = []
    for arms in _families(report).values():
        known = sorted((arm for arm in arms if arm.name in cost), key=lambda arm: cost[arm.name])
        if not known:
            continue
        own, shape = colour(places[known[0].name]), marker(places[known[0].name])
        axes.plot([cost[a.name] for a in known], [a.mean for a in known], color=own, linewidth=1)
        for arm in known:
            at = cost[arm.name]
            if arm.interval is not None:
                axes.plot([at, at], arm.interval, color=own, linewidth=1.2)
            axes.plot([at], [arm.mean], shape, color=own, markersize=5)
        points += [(cost[arm.name], arm.mean) for arm in known]
        texts += [(letters[arm.name], own) for arm in known]
    axes.set_xscale("log")
    ticks = sorted({cost[name] for name in cost})
    if len(ticks) <= 7:
        axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(below)
    axes.set_ylabel(f"mIoU, {report.comparison.score}")
    plain(axes)
    label(axes, points, texts, lower=6)
    return figure


def curves(report: Report) -> Drawn | None:
    """The score along the runs of the first arms; None where no run was scored on the way."""
    first = replace(report.comparison, arms=report.comparison.arms[:MOST_CURVES])
    name, courses = courses_of(first)
    if not courses:
        return None
    where = {HELD_OUT: "held-out images", FINAL: "the scored images"}
    subset = where.get(name, f"'{name.removesuffix('/miou')}'")
    text = f"Mean over the seeds, and the band from the lowest to the highest, on {subset}."
    if len(report.comparison.arms) > MOST_CURVES:
        text += f" The first {MOST_CURVES} arms."
    draw = lambda: _lines(report, courses, f"mIoU on {subset}")  # noqa: E731
    return Drawn("curves", "Learning curves", text, draw)


def calibration(report: Report) -> Drawn | None:
    """The calibration error of pseudo-labels along the runs; None where no run has kept it."""
    courses: dict[str, Course] = {}
    for arm in report.comparison.arms[:MOST_CURVES]:
        course: dict[int, list[float]] = defaultdict(list)
        for run in arm.runs:
            for step, value in run.content.get("curves", {}).get(ECE, []):
                course[int(step)].append(float(value))
        if course:
            courses[arm.name] = dict(sorted(course.items()))
    if not courses:
        return None
    text = (
        "Expected calibration error of the pseudo-labels along the runs: how far their confidence "
        "is from the share of them that is right. Mean over the seeds and band from the lowest to "
        "the highest."
    )
    draw = lambda: _lines(report, courses, "calibration error", bottom=0.0)  # noqa: E731
    return Drawn("calibration", "Calibration of the pseudo-labels", text, draw)


def _lines(
    report: Report, courses: Mapping[str, Course], beside: str, bottom: float | None = None
) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.subplots()
    short = short_names(report.comparison)
    for number, arm in enumerate(report.comparison.arms):
        course = courses.get(arm.name)
        if not course:
            continue
        own, steps = colour(number), list(course)
        values = list(course.values())
        axes.fill_between(
            steps, [min(v) for v in values], [max(v) for v in values], color=own, alpha=0.13,
            linewidth=0,
        )  # fmt: skip
        axes.plot(
            steps, [float(np.mean(v)) for v in values], color=own, linewidth=1.3,
            linestyle=STYLES[number % len(STYLES)], marker=marker(number), markersize=3.4,
            markevery=max(1, len(steps) // 6), label=short[arm.name],
        )  # fmt: skip
    if bottom is not None:
        axes.set_ylim(bottom=bottom)
    axes.set_xlabel("step")
    axes.set_ylabel(beside)
    plain(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK)
    return figure


def cost(report: Report) -> Drawn:
    """Score against training time."""
    comparison = report.comparison

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        letters = letters_of(comparison.arms)
        for number, arm in enumerate(comparison.arms):
            own = colour(number)
            if arm.interval is not None:
                axes.plot([arm.train_seconds] * 2, arm.interval, color=own, linewidth=1.2)
            axes.plot([arm.train_seconds], [arm.mean], marker(number), color=own, markersize=5)
        axes.set_xlim(left=0)
        axes.set_xlabel("training time of a run, seconds")
        axes.set_ylabel(f"mIoU, {comparison.score}")
        plain(axes)
        points = [(arm.train_seconds, arm.mean) for arm in comparison.arms]
        label(axes, points, [(letters[a.name], colour(n)) for n, a in enumerate(comparison.arms)])
        return figure

    text = (
        "Mean mIoU and its 95 % interval over seeds against the mean training time. Times of "
        "different machines, or of runs that shared one, are not comparable."
    )
    return Drawn("cost", "Score and training time", text, draw)
