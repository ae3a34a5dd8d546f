"""Sheets of pictures as PNG: panels in rows, with titles, captions and a legend.

A panel is a uint8 HW3 tensor on the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from semisup.data.base import Colour
from semisup.pictures.drawing import VOID_COLOUR
from semisup.system.files import write_atomically

_PAPER = (255, 255, 255)
_INK = (32, 33, 36)
_PALE_INK = (95, 99, 104)
_MARGIN = 16
_GAP = 6
_LINE = 20


def contact_sheet(
    path: Path,
    rows: Sequence[Sequence[Tensor]],
    *,
    columns: Sequence[str],
    captions: Sequence[str],
    legend: Sequence[tuple[str, Colour]] | None,
    width: int = 240,
) -> None:
    """Write a sheet of pictures as PNG: titles above the columns, a caption above each row.

    Args:
        path: where to; appears whole or not at all.
        rows: panels, uint8 HW3, as many in each row as there are columns.
        columns: what each column shows.
        captions: one line for each row, such as the image's id and its IoU.
        legend: names and colours of the classes, to which void is added; None: no legend.
        width: of a panel on the sheet, in pixels.

    Raises:
        RunError: the file cannot be written.
    """
    assert len(rows) == len(captions), (len(rows), len(captions))
    assert all(len(row) == len(columns) for row in rows), "a panel for each column"
    bands = [_title_band(columns, width)]
    for row, caption in zip(rows, captions, strict=True):
        bands.append(_row_band(row, caption, width))
    if legend is not None:
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
