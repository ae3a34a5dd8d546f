"""Pictures for people: coloured label maps, picture sheets, panels for TensorBoard, heat maps.

A panel is a uint8 HW3 tensor on the CPU. Nothing here touches matplotlib's global state.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure as Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from semisup.data.base import Colour
from semisup.files import write_atomically
from semisup.ops.pixels import to_bytes
from semisup.types import IGNORE

VOID_COLOUR: Colour = (224, 224, 192)
"""Colour of void pixels, as in Pascal VOC."""

_PAPER = (255, 255, 255)
_INK = (32, 33, 36)
_PALE_INK = (95, 99, 104)
_MARGIN = 16
_GAP = 6
_LINE = 20
_SEPARATOR = 4
_MOST_ANNOTATED = 12


def denormalise(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undo the normalisation of an image.

    Args:
        image: 3HW or B3HW float, (colour - mean) / std.
        mean: of R, G, B, as shares of full brightness.
        std: likewise.

    Returns:
        uint8 of the same shape, on the CPU.
    """
    means = torch.tensor(mean).view(-1, 1, 1)
    stds = torch.tensor(std).view(-1, 1, 1)
    return to_bytes(image.detach().float().cpu() * stds + means)


def colourise(labels: Tensor, palette: Sequence[Colour]) -> Tensor:
    """A label map in the colours of its classes; void in `VOID_COLOUR`.

    Args:
        labels: HW uint8, 0..K-1 and `IGNORE`.
        palette: K colours (R, G, B).

    Returns:
        uint8 HW3.
    """
    table = torch.zeros(IGNORE + 1, 3, dtype=torch.uint8)
    table[: len(palette)] = torch.tensor(palette, dtype=torch.uint8)
    table[IGNORE] = torch.tensor(VOID_COLOUR, dtype=torch.uint8)
    return table[labels.cpu().long()]


def heat(values: Tensor) -> Tensor:
    """A map of shares in colours, dark blue (0) over green to yellow (1).

    Args:
        values: HW float in [0, 1].

    Returns:
        uint8 HW3.
    """
    table = matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3]
    level = (values.detach().float().cpu() * 255.0).round().clamp(0, 255).long()
    return torch.from_numpy(np.ascontiguousarray(table))[level]


def overlay(
    image: Tensor, labels: Tensor, palette: Sequence[Colour], alpha: float = 0.55
) -> Tensor:
    """A label map laid over its image; void leaves the image as it is.

    Args:
        image: uint8 3HW.
        labels: HW uint8, 0..K-1 and `IGNORE`.
        palette: K colours (R, G, B).
        alpha: weight of the class colour, in [0, 1].

    Returns:
        uint8 HW3.
    """
    picture = image.cpu().permute(1, 2, 0)
    mixed = torch.lerp(picture.float(), colourise(labels, palette).float(), alpha)
    valid = (labels.cpu() != IGNORE).unsqueeze(-1)
    return torch.where(valid, mixed.round().to(torch.uint8), picture)


def training_panel(
    images: Tensor,
    labels: Sequence[Tensor],
    palette: Sequence[Colour],
    *,
    extra: Sequence[Tensor] = (),
    max_rows: int = 4,
) -> Tensor:
    """A few images of a batch with their maps beside them, for TensorBoard.

    Args:
        images: B3HW uint8.
        labels: label maps BHW with void as `IGNORE`, such as ground truth (where there is one) and
            prediction: a column each.
        palette: K colours (R, G, B).
        extra: maps B1hw in [0, 1], such as a discriminator's: a column each.
        max_rows: images shown at most.

    Returns:
        uint8 3HW: one row for each image, thin white lines between.
    """
    size = images.shape[-2:]
    wide = [F.interpolate(maps.detach().float().cpu(), size=size) for maps in extra]
    rows = []
    for i in range(min(len(images), max_rows)):
        columns = [images[i].cpu()]
        columns += [colourise(maps[i], palette).permute(2, 0, 1) for maps in labels]
        columns += [heat(maps[i, 0]).permute(2, 0, 1) for maps in wide]
        rows.append(_join(columns, dim=2))
    return _join(rows, dim=1)


def sample_panel(images: Tensor, across: int = 4) -> Tensor:
    """Images that a generator made, in a grid, for TensorBoard.

    Args:
        images: B3HW uint8, B a multiple of `across`.
        across: images in a row.

    Returns:
        uint8 3HW: thin white lines between.
    """
    assert len(images) % across == 0, (len(images), across)
    rows = [images[first : first + across].cpu() for first in range(0, len(images), across)]
    return _join([_join(list(row), dim=2) for row in rows], dim=1)


def _join(pictures: Sequence[Tensor], dim: int) -> Tensor:
    shape = list(pictures[0].shape)
    shape[dim] = _SEPARATOR
    line = torch.full(shape, 255, dtype=torch.uint8)
    return torch.cat([part for picture in pictures for part in (picture, line)][:-1], dim=dim)


def contact_sheet(
    path: Path,
    rows: Sequence[Sequence[Tensor]],
    *,
    columns: Sequence[str],
    captions: Sequence[str],
    legend: Sequence[tuple[str, Colour]],
    width: int = 240,
) -> None:
    """Write a sheet of pictures as PNG: titles above the columns, a caption above each row.

    Args:
        path: where to; appears whole or not at all.
        rows: panels, uint8 HW3, as many in each row as there are columns.
        columns: what each column shows.
        captions: one line for each row, such as the image's id and its IoU.
        legend: names and colours of the classes; void is added.
        width: of a panel on the sheet, in pixels.

    Raises:
        RunError: the file cannot be written.
    """
    assert len(rows) == len(captions), (len(rows), len(captions))
    assert all(len(row) == len(columns) for row in rows), "a panel for each column"
    bands = [_title_band(columns, width)]
    for row, caption in zip(rows, captions, strict=True):
        bands.append(_row_band(row, caption, width))
    bands.append(_legend_band([*legend, ("void", VOID_COLOUR)], bands[0].width))
    sheet = _stack(bands)
    write_atomically(path, lambda file: sheet.save(file, format="PNG", compress_level=3))


def _band(columns: int, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (columns * (width + _GAP) - _GAP, height), _PAPER)


def _title_band(columns: Sequence[str], width: int) -> Image.Image:
    band = _band(len(columns), width, _LINE)
    draw = ImageDraw.Draw(band)
    for i, title in enumerate(columns):
        _write(draw, i * (width + _GAP), 0, title, width, size=15)
    return band


def _row_band(row: Sequence[Tensor], caption: str, width: int) -> Image.Image:
    panels = [_fit(panel, width) for panel in row]
    height = max(panel.height for panel in panels)
    band = _band(len(row), width, _LINE + height + _GAP)
    _write(ImageDraw.Draw(band), 0, 0, caption, band.width, colour=_PALE_INK)
    for i, panel in enumerate(panels):
        band.paste(panel, (i * (width + _GAP), _LINE))
    return band


def _fit(panel: Tensor, width: int) -> Image.Image:
    # A box filter averages where it shrinks and leaves pixels sharp where it enlarges: those of a
    # small picture are what is to be seen.
    picture = Image.fromarray(panel.cpu().numpy())
    height = max(1, round(picture.height * width / picture.width))
    return picture.resize((width, height), Image.Resampling.BOX)


def _legend_band(legend: Sequence[tuple[str, Colour]], width: int) -> Image.Image:
    font = _font(13)
    swatch = _LINE - 6
    cell = min(width, swatch + 24 + max(round(font.getlength(name)) for name, _ in legend))
    across = max(1, width // cell)
    lines = -(-len(legend) // across)
    band = Image.new("RGB", (width, lines * _LINE), _PAPER)
    draw = ImageDraw.Draw(band)
    for i, (name, colour) in enumerate(legend):
        x, y = (i % across) * cell, (i // across) * _LINE
        draw.rectangle((x, y + 2, x + swatch, y + 2 + swatch), fill=colour, outline=_PALE_INK)
        _write(draw, x + swatch + 8, y, name, cell - swatch - 8)
    return band


def _write(
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    text: str,
    width: int,
    *,
    size: int = 13,
    colour: Colour = _INK,
) -> None:
    """One line of text at the left; what does not fit into `width` is cut."""
    font = _font(size)
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    draw.text((x, y + _LINE // 2), text, font=font, fill=colour, anchor="lm")


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Pillow carries this typeface: the sheet looks the same on every machine.
    return ImageFont.load_default(size)


def _stack(bands: Sequence[Image.Image]) -> Image.Image:
    height = sum(band.height for band in bands) + _GAP * (len(bands) - 1)
    sheet = Image.new("RGB", (bands[0].width + 2 * _MARGIN, height + 2 * _MARGIN), _PAPER)
    y = _MARGIN
    for band in bands:
        sheet.paste(band, (_MARGIN, y))
        y += band.height + _GAP
    return sheet


def confusion_figure(confusion: Tensor, classes: Sequence[str]) -> Figure:
    """A confusion matrix as a heat map: which share of each true class became what.

    Rows add up to 100 %; the row of a class without a true pixel is grey. Cells carry their
    percentage for at most 12 classes.

    Args:
        confusion: KK counts, row = truth, column = prediction.
        classes: K names.
    """
    counts = confusion.cpu().double()
    true = counts.sum(1, keepdim=True)
    percent = torch.where(true > 0, 100.0 * counts / true.clamp(min=1), torch.nan).numpy()
    side = min(max(3.0 + 0.3 * len(classes), 4.5), 18.0)
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("0.85")
    # By the square root: a confusion of a few per cent can be seen beside a diagonal near 100.
    norm = PowerNorm(0.5, vmin=0.0, vmax=100.0)
    drawn = axes.imshow(percent, norm=norm, cmap="Blues", interpolation="nearest")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, ticks=[0, 1, 5, 10, 20, 40, 60, 80, 100])
    bar.set_label("% of the true class")
    _name_ticks(axes, classes, side)
    if len(classes) <= _MOST_ANNOTATED:
        _annotate(axes, percent)
    return figure


def render(figure: Figure) -> Tensor:
    """The pixels of a figure, uint8 3HW."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _name_ticks(axes: Axes, classes: Sequence[str], side: float) -> None:
    size = min(10.0, 55.0 * side / len(classes))
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
