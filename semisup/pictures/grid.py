"""A grid of pictures of one size, with lines of text above it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from semisup.system.files import write_atomically

_PAPER, _INK = (255, 255, 255), (32, 33, 36)
_MARGIN, _GAP, _LINE = 16, 4, 20
_SMALLEST, _LARGEST = 96, 160
"""Width of a picture on the grid in pixels: smaller ones are enlarged by whole factors."""


def image_grid(path: Path, images: Tensor, caption: Sequence[str], *, columns: int = 8) -> None:
    """Write pictures as one PNG, row by row in their order.

    Args:
        path: where to; appears whole or not at all.
        images: B3HW uint8, at least one.
        caption: lines above the grid; what does not fit is broken into more lines.
        columns: pictures in a row.

    Raises:
        RunError: the file cannot be written.
    """
    size = _shown_size(images.shape[-2], images.shape[-1])
    across = min(columns, len(images))
    rows = -(-len(images) // across)
    width = max(across * (size[0] + _GAP) - _GAP, 4 * _SMALLEST)
    font = ImageFont.load_default(13)
    lines = [part for line in caption for part in _broken(line, font, width)]
    top = _MARGIN + _LINE * len(lines) + _GAP
    height = top + rows * (size[1] + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width + 2 * _MARGIN, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        y = _MARGIN + _LINE * number + _LINE // 2
        draw.text((_MARGIN, y), line, font=font, fill=_INK, anchor="lm")
    for place, image in enumerate(images.cpu()):
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        row, column = divmod(place, across)
        corner = (_MARGIN + column * (size[0] + _GAP), top + row * (size[1] + _GAP))
        # A box filter averages where it shrinks and leaves pixels sharp where it enlarges.
        sheet.paste(picture.resize(size, Image.Resampling.BOX), corner)
    write_atomically(path, lambda file: sheet.save(file, format="PNG", compress_level=3))


def _shown_size(height: int, width: int) -> tuple[int, int]:
    """Width and height of a picture on the grid."""
    factor: float = max(1, -(-_SMALLEST // width))
    if width > _LARGEST:
        factor = _LARGEST / width
    return round(width * factor), max(1, round(height * factor))


def _broken(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """`line` in parts of at most `width` pixels, broken at spaces."""
    parts: list[str] = []
    for word in line.split():
        longer = f"{parts[-1]} {word}" if parts else word
        if parts and font.getlength(longer) <= width:
            parts[-1] = longer
        else:
            parts.append(word)
    return parts
