"""Figures drawn by matplotlib, without its global state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure as Figure
from numpy.typing import NDArray
from torch import Tensor

from semisup.pictures.drawing import HEAT

_MOST_ANNOTATED = 12


def confusion_figure(confusion: Tensor, classes: Sequence[str]) -> Figure:
    """A confusion matrix as a heat map: which share of each true class became what.

    Rows add up to 100 %; the row of a class without a true pixel is grey. Cells carry their
    percentage for at most 12 classes; for more, a bar says what the colours mean.

    Args:
        confusion: KK counts, row = truth, column = prediction.
        classes: K names.
    """
    counts = confusion.cpu().double()
    true = counts.sum(1, keepdim=True)
    percent = torch.where(true > 0, 100.0 * counts / true.clamp(min=1), torch.nan).numpy()
    side = min(max(1.5 + 0.3 * len(classes), 3.0), 16.0)
    size = min(10.0, 60.0 * side / len(classes))
    # Room for names is reckoned, not measured: matplotlib's layout engines take as long as all
    # the drawing.
    names = 0.5 + 0.65 * size / 72 * max(map(len, classes))
    annotated = len(classes) <= _MOST_ANNOTATED
    figure = Figure(figsize=(names + side + (0.2 if annotated else 1.2), names + side + 0.4))
    axes = _axes_in_inches(figure, names, names, side, side)
    axes.set_facecolor("0.85")
    # By the square root: a confusion of a few per cent can be seen beside a diagonal near 100.
    norm = PowerNorm(0.5, vmin=0.0, vmax=100.0)
    drawn = axes.imshow(percent, norm=norm, cmap="Blues", interpolation="nearest")
    _name_ticks(axes, classes, size)
    if annotated:
        axes.set_title("% of the true class", fontsize=10)
        _annotate(axes, percent)
        return figure
    beside = _axes_in_inches(figure, names + side + 0.2, names + 0.1 * side, 0.2, 0.8 * side)
    bar = figure.colorbar(drawn, cax=beside, ticks=[0, 1, 5, 10, 20, 40, 60, 80, 100])
    bar.set_label("% of the true class")
    return figure


def with_bar(colours: Tensor, largest: float, name: str) -> Tensor:
    """A map in the colours of `drawing.heat` with the bar that says what they mean, on its right.

    Args:
        colours: uint8 HW3, `heat` of the shares of `largest`.
        largest: value of the last colour.
        name: of what is shown.

    Returns:
        uint8 of the map's height, or the bar's where that is more, and of the width of both.
    """
    bar = render(_bar(largest, name)).permute(1, 2, 0)
    height = max(len(colours), len(bar))
    parts = []
    for part in (colours, bar):
        canvas = torch.full((height, part.shape[1], 3), 255, dtype=torch.uint8)
        canvas[: len(part)] = part
        parts.append(canvas)
    return torch.cat(parts, dim=1)


def _bar(largest: float, name: str) -> Figure:
    figure = Figure(figsize=(0.95, 2.2), dpi=100)
    ticks = [largest * share for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    bar = figure.colorbar(
        ScalarMappable(Normalize(0.0, largest), HEAT),
        cax=_axes_in_inches(figure, 0.1, 0.1, 0.15, 2.0),
        ticks=ticks,
    )
    bar.ax.set_yticklabels([f"{tick:.2g}" for tick in ticks], fontsize=7)
    bar.set_label(name, fontsize=7)
    return figure


def render(figure: Figure) -> Tensor:
    """The pixels of a figure, uint8 3HW."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _axes_in_inches(
    figure: Figure, left: float, bottom: float, width: float, height: float
) -> Axes:
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _name_ticks(axes: Axes, classes: Sequence[str], size: float) -> None:
    positions = range(len(classes))
    axes.set_xticks(positions, classes, rotation=90, fontsize=size)
    axes.set_yticks(positions, classes, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")


def _annotate(axes: Axes, percent: NDArray[np.float64]) -> None:
    for (row, column), value in np.ndenumerate(percent):
        if np.isnan(value):
            continue
        colour = "white" if value > 30.0 else "black"
        label = axes.text(column, row, f"{value:.0f}", color=colour, fontsize=9)
        label.set(ha="center", va="center")
