"""The figures of a report that show classes: IoU of each class and arm, and confusion."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from semisup.studies.output.tables import letters_of
from semisup.studies.report.content import Report
from semisup.studies.report.figures import Drawn
from semisup.studies.report.look import WIDTH

MOST_NUMBERS = 12
"""Columns up to which the cells have room for their number."""

MAP = "cividis"
"""Alike for all kinds of sight, from dark to light, readable on white and on black."""


def classes(report: Report) -> Drawn | None:
    """IoU of each class and arm; None where runs do not have it of this checkpoint."""
    arms = report.comparison.arms
    means = [arm.class_means() for arm in arms]
    names = list(dict.fromkeys(name for row in means for name in row))
    if not names:
        return None

    def draw() -> Figure:
        values = np.array([[_number(row.get(name)) for row in means] for name in names])
        height = 0.7 + 0.24 * len(names)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        _cells(axes, values)
        step = max(1, -(-len(arms) // 26))
        letters = list(letters_of(arms).values())
        axes.set_xticks(np.arange(0, len(arms), step) + 0.5, letters[::step])
        axes.set_yticks(np.arange(len(names)) + 0.5, [_short(name) for name in names])
        axes.set_xlabel("arm")
        return figure

    text = (
        "Mean IoU of each class over the seeds, one column for each arm by its letter; light is "
        "high. The numbers, with differences from the baseline, are in the tables below."
    )
    return Drawn("classes", "IoU of each class", text, draw)


def confusion(report: Report, name: str) -> Drawn:
    """The confusion of an arm, its rows as shares."""
    letter = letters_of(report.comparison.arms)[name]
    matrix = report.confused[name]

    def draw() -> Figure:
        labels = [_short(one) for one in report.comparison.protocol["classes"]]
        height = min(1.2 + 0.26 * len(labels), WIDTH)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        _cells(axes, matrix)
        size = 7.5 if len(labels) <= MOST_NUMBERS else 5.5
        axes.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=90, fontsize=size)
        axes.set_yticks(np.arange(len(labels)) + 0.5, labels, fontsize=size)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        return figure

    text = (
        f"Of the pixels of each true class (row), the share that {letter} predicts as each class "
        "(column); mean over its runs. Rows add up to 1."
    )
    return Drawn(f"confusion-{letter}", f"Confusion of {letter}, {name}", text, draw)


def _cells(axes: Axes, values: NDArray[np.float64]) -> None:
    """A cell for each number, 0 dark and 1 light, the first row on top."""
    shown = np.ma.masked_invalid(values)
    axes.pcolormesh(shown, cmap=MAP, vmin=0, vmax=1, edgecolors="face", linewidth=0.3)
    axes.set_ylim(len(values), 0)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if values.shape[1] > MOST_NUMBERS:
        return
    for row, column in np.ndindex(*values.shape):
        value = float(values[row, column])
        if np.isfinite(value):
            axes.text(
                column + 0.5, row + 0.5, f"{value:.2f}".removeprefix("0"), ha="center",
                va="center", fontsize=7, color=_on(value),
            )  # fmt: skip


def _on(value: float) -> str:
    """Black or white, whichever is read better on the colour of a value."""
    shares = np.array(colormaps[MAP](value)[:3])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return "#000001" if float(linear @ (0.2126, 0.7152, 0.0722)) > 0.179 else "#fffffe"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"
