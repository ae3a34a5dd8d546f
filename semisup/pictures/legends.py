"""What the colours of a picture mean: a strip of names to be put below it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from semisup.data.base import Colour
from semisup.data.formats.class_colours import is_background
from semisup.pictures.drawing import hatched_like_void, heat
from semisup.types import IGNORE

PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 33, 36)
PALE_INK: Colour = (95, 99, 104)
LINE = 20
"""Height of a line of text in pixels, of letters of 13."""

LEAST_WIDTH = 160
"""Of a picture with a legend, in pixels."""

LEFT_ALONE = "picture as it is"
VOID = "void: no label"

Legend = Sequence[tuple[str, Colour]]
"""Names and colours of classes."""

_BAR = 72
_COUNTED = 1 << 20
"""Pixels that are counted at once."""


def background_of(classes: Sequence[str]) -> tuple[int, ...]:
    """The labels of classes that are a background by their names."""
    return tuple(label for label, name in enumerate(classes) if is_background(name))


def present(labels: Tensor, classes: Sequence[str], palette: Sequence[Colour]) -> Legend:
    """Names and colours of the classes in a label map (uint8 HW)."""
    # In parts: of each pixel eight bytes are needed for a while.
    parts = torch.split(labels.cpu().flatten(), _COUNTED)
    counts = sum(np.bincount(part.numpy(), minlength=IGNORE + 1) for part in parts)
    assert isinstance(counts, np.ndarray)
    return [
        (name, colour)
        for label, (name, colour) in enumerate(zip(classes, palette, strict=True))
        if counts[label]
    ]


def legend_strip(
    classes: Legend,
    width: int,
    *,
    void: bool = False,
    scales: Mapping[str, tuple[str, str]] | None = None,
    scale: float = 1.0,
) -> Image.Image:
    """Names beside swatches of their colours, and bars of what the colours of maps mean.

    A class that is a background by its name has a swatch of the paper's colour, since it is left as
    the picture is.

    Args:
        classes: names and colours.
        width: of the strip in pixels.
        void: whether to name void, which is hatched.
        scales: name of a map -> what 0 and 1 mean in it.
        scale: of letters and swatches, for large pictures.
    """
    line, swatch = round(LINE * scale), round((LINE - 6) * scale)
    entries = [*_swatches(classes, swatch, void), *_bars(scales or {}, swatch, round(_BAR * scale))]
    if not entries:
        return Image.new("RGB", (width, 0), PAPER)
    letters = font(max(8, round(13 * scale)))
    gap = round(8 * scale)
    places, across, lines = [], 0, 1
    for mark, name in entries:  # side by side as words in a text
        wide = min(width, mark.width + gap + round(letters.getlength(name)) + 2 * gap)
        if across and across + wide - 2 * gap > width:
            across, lines = 0, lines + 1
        places.append((across, (lines - 1) * line))
        across += wide
    strip = Image.new("RGB", (width, lines * line), PAPER)
    draw = ImageDraw.Draw(strip)
    for (x, y), (mark, name) in zip(places, entries, strict=True):
        strip.paste(mark, (x, y + (line - mark.height) // 2))
        start = x + mark.width + gap
        write_line(draw, (start, y + line // 2), name, width - start, letters)
    return strip


def with_legend(picture: Tensor, classes: Legend, *, void: bool = False) -> Tensor:
    """A picture with its legend below: uint8 HW3 of more rows, and at least `LEAST_WIDTH` wide.

    Args:
        picture: uint8 HW3.
        classes: names and colours.
        void: whether to name void.
    """
    height, width = picture.shape[:2]
    across = max(width, LEAST_WIDTH)
    scale = max(1.0, width / 800)
    margin = round(6 * scale)
    strip = legend_strip(classes, across - 2 * margin, void=void, scale=scale)
    whole = torch.full((height + strip.height + 2 * margin, across, 3), PAPER[0], dtype=torch.uint8)
    whole[:height, :width] = picture
    below = torch.from_numpy(np.array(strip))
    whole[height + margin : height + margin + strip.height, margin : across - margin] = below
    return whole


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The typeface of all pictures."""
    # Pillow carries it: they look the same on every machine.
    return ImageFont.load_default(size)


def write_line(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    width: int,
    letters: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: Colour = INK,
) -> None:
    """One line of text; what does not fit into `width` is cut.

    Args:
        draw: on the picture.
        place: left end and middle of the line.
        text: what to write.
        width: in pixels.
        letters: the font.
        colour: of the text.
    """
    if letters.getlength(text) > width:
        while text and letters.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    draw.text(place, text, font=letters, fill=colour, anchor="lm")


def _swatches(classes: Legend, side: int, void: bool) -> list[tuple[Image.Image, str]]:
    found = []
    for name, colour in classes:
        left = is_background(name)
        mark = Image.new("RGB", (side, side), PAPER if left else colour)
        ImageDraw.Draw(mark).rectangle((0, 0, side - 1, side - 1), outline=PALE_INK)
        found.append((mark, f"{name}: {LEFT_ALONE}" if left else name))
    if void:
        grey = torch.full((side, side, 3), 128, dtype=torch.uint8)
        mark = Image.fromarray(hatched_like_void(grey, max(1, side // 10)).numpy())
        found.append((mark, VOID))
    return found


def _bars(
    scales: Mapping[str, tuple[str, str]], height: int, width: int
) -> list[tuple[Image.Image, str]]:
    shares = torch.linspace(0, 1, width).expand(height, width)
    mark = Image.fromarray(heat(shares).numpy())
    return [
        (mark, f"{name}: 0 {low} to 1 {high}" if low or high else f"{name}: 0 to 1")
        for name, (low, high) in scales.items()
    ]
