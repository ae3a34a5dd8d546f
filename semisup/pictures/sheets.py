"""Sheets of pictures as PNG: panels in rows, with titles, captions and a legend.

A panel is a uint8 HW3 tensor on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, PngImagePlugin
from torch import Tensor

from semisup.data.base import Colour
from semisup.pictures.legends import (
    LINE,
    PALE_INK,
    PAPER,
    font,
    legend_strip,
    write_line,
)
from semisup.system.files import write_atomically

_MARGIN = 16
_GAP = 6
_SOFTWARE = "semisup, a sheet of pictures"


def contact_sheet(
    path: Path,
    rows: Sequence[Sequence[Tensor]],
    *,
    columns: Sequence[str],
    captions: Sequence[str],
    legend: Sequence[tuple[str, Colour]] | None,
    void: bool = True,
    scales: Mapping[str, tuple[str, str]] | None = None,
    width: int = 240,
) -> None:
    """Write a sheet of pictures as PNG: titles above the columns, a caption above each row.

    Args:
        path: where to; appears whole or not at all.
        rows: panels, uint8 HW3, as many in each row as there are columns.
        columns: what each column shows.
        captions: one line for each row, such as the image's id and its IoU.
        legend: names and colours of the classes; None: no legend.
        void: whether the legend names void, which is hatched.
        scales: title of a column of maps -> what 0 and 1 mean in it.
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
        bands.append(legend_strip(legend, bands[0].width, void=void, scales=scales))
    sheet = _stack(bands)
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", _SOFTWARE)
    write_atomically(
        path, lambda file: sheet.save(file, format="PNG", compress_level=3, pnginfo=text)
    )


def is_sheet(path: Path) -> bool:
    """Whether a file is a sheet that `contact_sheet` has written."""
    try:
        with Image.open(path) as picture:
            return picture.info.get("Software") == _SOFTWARE
    except Exception:  # damage makes Pillow fail in nearly every way there is
        return False


def _band(columns: int, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (columns * (width + _GAP) - _GAP, height), PAPER)


def _title_band(columns: Sequence[str], width: int) -> Image.Image:
    band = _band(len(columns), width, LINE)
    draw = ImageDraw.Draw(band)
    for i, title in enumerate(columns):
        write_line(draw, (i * (width + _GAP), LINE // 2), title, width, font(15))
    return band


def _row_band(row: Sequence[Tensor], caption: str, width: int) -> Image.Image:
    panels = [_fit(panel, width) for panel in row]
    height = max(panel.height for panel in panels)
    band = _band(len(row), width, LINE + height + _GAP)
    write_line(ImageDraw.Draw(band), (0, LINE // 2), caption, band.width, font(13), PALE_INK)
    for i, panel in enumerate(panels):
        band.paste(panel, (i * (width + _GAP), LINE))
    return band


def _fit(panel: Tensor, width: int) -> Image.Image:
    # A box filter averages where it shrinks and leaves pixels sharp where it enlarges: those of a
    # small picture are what is to be seen.
    picture = Image.fromarray(panel.cpu().numpy())
    height = max(1, round(picture.height * width / picture.width))
    return picture.resize((width, height), Image.Resampling.BOX)


def _stack(bands: Sequence[Image.Image]) -> Image.Image:
    height = sum(band.height for band in bands) + _GAP * (len(bands) - 1)
    sheet = Image.new("RGB", (bands[0].width + 2 * _MARGIN, height + 2 * _MARGIN), PAPER)
    y = _MARGIN
    for band in bands:
        sheet.paste(band, (_MARGIN, y))
        y += band.height + _GAP
    return sheet
