"""How figures look: colours, markers, and SVG that follows the colours of the page it stands in.

A figure is drawn once, in the colours of a white page. In the page these colours are replaced by
variables of its style sheet, which has a light and a dark value for each.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#bf5400", "#007a5a", "#aa4499", "#6e6e00", "#332288", "#555555")
"""Of arms, on white: after Okabe and Ito and after Tol, for all kinds of sight.

Letters have them too: their contrast is 4.5:1 or more.
"""

DARK_COLOURS = ("#56b4e9", "#ff9248", "#3ccb9b", "#e58fd0", "#d9d23c", "#a99cff", "#bbbbbb")
"""The same arms on black."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
"""Of arms. As many as have no divisor in common with the colours: 77 looks differ."""

STYLES = ("-", "--", ":", "-.")

INK, MUTED, GRID = "#1c1e21", "#5c6371", "#d5d8dd"
"""Of text, of axes and of lines behind; no other thing has these colours."""

SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.parse_math": False,
    "svg.hashsalt": "semisup",
    "pdf.fonttype": 42,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

WIDTH = 4.1
"""Of a figure, in inches: on a telephone of 390 pixels its text is still 9 pixels high."""


def settings() -> AbstractContextManager[None]:
    """For a `with` block in which figures are made and saved."""
    found: AbstractContextManager[None] = matplotlib.rc_context(SETTINGS)
    return found


def colour(number: int) -> str:
    """Of the arm of this place."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """Of the arm of this place."""
    return MARKERS[number % len(MARKERS)]


def plain(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Axes without a frame, with thin lines behind."""
    axes.grid(axis=grid)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def laid_out(figure: Figure) -> Figure:
    """The figure with its parts where they stay, so that each format needs no layout of its own."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def saved(figure: Figure, kind: str) -> bytes:
    """A figure as "png", "pdf" or "svg", the same bytes each time."""
    file = io.BytesIO()
    facts: dict[str, dict[str, str | None]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
        "png": {"Software": None},
    }
    figure.savefig(file, format=kind, dpi=200, metadata=facts[kind], facecolor="white")
    return file.getvalue()


def inline(figure: Figure, name: str, title: str, text: str) -> str:
    """A figure as SVG to stand in a page of HTML.

    Args:
        figure: drawn in the colours of this module, and laid out.
        name: letters and digits; begins all ids, so that those of several figures differ.
        title: what it shows; escaped for HTML.
        text: what is to be seen in it, for those who do not; escaped for HTML.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    drawn = file.getvalue()
    inside = drawn[drawn.index("<svg") :]
    for element in ("metadata", "style"):  # the latter would hold for the whole page
        inside = re.sub(rf"<{element}\b.*?</{element}>", "", inside, flags=re.DOTALL)
    inside = re.sub(r'\bid="', f'id="{name}-', inside)
    inside = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', inside)
    inside = inside.replace("url(#", f"url(#{name}-")
    inside = _in_variables(inside)
    view = re.search(r'viewBox="[^"]*"', inside)
    assert view is not None, "matplotlib states the size"
    start = (
        f'<svg class="figure" {view[0]} role="img" '
        f'aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-text">{text}</desc>'
    )
    return start + inside[inside.index(">") + 1 :]


def _in_variables(svg: str) -> str:
    """The colours and fonts of the page in place of those of the figure."""
    found = {INK: "currentColor", MUTED: "var(--muted)", GRID: "var(--line)"}
    found |= {each: f"var(--arm{number})" for number, each in enumerate(COLOURS)}
    for each, instead in found.items():
        svg = svg.replace(each, instead)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"font: ([^'\";]*?)'[^;\"]*", r"font: \1var(--font)", svg)
    return re.sub(r"\s*\n\s*", " ", svg).strip()


def apart(values: Sequence[float], gap: float) -> list[float]:
    """The values moved up as little as leaves a gap between any two, in the same order."""
    moved = list(values)
    below = -float("inf")
    for place in sorted(range(len(moved)), key=lambda place: values[place]):
        moved[place] = max(moved[place], below + gap)
        below = moved[place]
    return moved


def label(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[tuple[str, str]],
    lower: float = 0,
) -> None:
    """Words at the right of points, none over another.

    Args:
        axes: whose limits are set.
        points: x and y.
        texts: of each point the word and its colour.
        lower: how much they are below the points, in points of type: a line that rises is not
            over them.
    """
    low, high = axes.get_ylim()
    gap = 0.05 * (high - low)
    columns: dict[int, list[int]] = {}
    (left, _), (right, _) = axes.transAxes.transform([(0, 0), (1, 0)])
    for place, (x, y) in enumerate(points):
        at = axes.transData.transform((x, y))[0]
        columns.setdefault(round(20 * (at - left) / (right - left)), []).append(place)
    for places in columns.values():
        heights = apart([points[place][1] for place in places], gap)
        for place, height in zip(places, heights, strict=True):
            word, own = texts[place]
            axes.annotate(
                word, (points[place][0], height), xytext=(6, -lower), textcoords="offset points",
                va="center", color=own, fontsize=8, fontweight="bold",
            )  # fmt: skip
