"""Label maps and shares in colours."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semisup.data.base import Colour
from semisup.types import IGNORE

VOID_COLOUR: Colour = (224, 224, 192)
"""Colour of void pixels, as in Pascal VOC."""

_Bytes = NDArray[np.uint8]

_DARK: Colour = (48, 48, 48)
_ROWS = 128
"""Of a picture that are drawn at once."""

HEAT = "viridis"
"""matplotlib's colours of shares: even steps look even, to the colour-blind and in grey too."""


def heat(values: Tensor) -> Tensor:
    """A map of shares in colours, dark blue (0) over green to yellow (1).

    Args:
        values: HW float in [0, 1].

    Returns:
        uint8 HW3.
    """
    table = matplotlib.colormaps[HEAT](np.arange(256), bytes=True)[:, :3]
    level = (values.detach().float().cpu() * 255.0).round().clamp(0, 255).long()
    return torch.from_numpy(np.ascontiguousarray(table))[level]


def overlay(
    image: Tensor,
    labels: Tensor,
    palette: Sequence[Colour],
    *,
    background: Sequence[int] = (),
    alpha: float = 0.5,
    hatched: bool = True,
) -> Tensor:
    """A label map laid over its image: objects filled and outlined in the colours of their classes.

    Whatever is drawn of an object lies within it, so that a background is as in the image to the
    pixel. Outlines have an edge towards what is left as it is, white around dark colours and black
    around light ones, which is seen on dark and on light pictures.

    Args:
        image: uint8 3HW.
        labels: HW uint8, 0..K-1 and `IGNORE`.
        palette: K colours (R, G, B).
        background: labels that are left as the image is.
        alpha: weight of the class colour within the outline, in [0, 1].
        hatched: whether void is hatched; False: it is left as the image is.

    Returns:
        uint8 HW3.
    """
    values, pixels = labels.cpu().numpy(), image.cpu().numpy()
    height, width = values.shape
    line = max(1, round(max(height, width) / 300))
    edge = line // 2 if line > 1 else int(max(height, width) >= 200)
    reach = line + edge
    left = np.zeros(IGNORE + 1, np.bool_)
    left[[*background, IGNORE]] = True
    colours = _table(palette).numpy()
    edges = _table([_contrast(colour) for colour in palette]).numpy()
    mixed = _mixed(colours, left, alpha)
    drawn = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):  # in strips, which stay in the cache of a core
        rows = slice(top, min(height, top + _ROWS))
        first = max(0, top - reach)
        around, seen = values[first : rows.stop + reach], slice(top - first, rows.stop - first)
        own, strip = values[rows], drawn[rows]
        above = own.astype(np.uint16) << 8
        for channel in range(3):
            strip[..., channel] = mixed[channel][above | pixels[channel, rows]]
        filled = ~left[own]
        if filled.any():
            _paint(strip, own, colours, _near_others(around, reach)[seen] & filled)
            if edge:
                _paint(strip, own, edges, _near(left[around], edge)[seen] & filled)
        if hatched and (own == IGNORE).any():
            under = torch.from_numpy(strip)
            void = torch.from_numpy(own == IGNORE)[..., None]
            strip[:] = torch.where(void, _hatch(under, top, line), under).numpy()
    return torch.from_numpy(drawn)


def _mixed(colours: _Bytes, left: NDArray[np.bool_], alpha: float) -> _Bytes:
    """Of each channel, a label's colour over each value of the picture: uint8 3 x 65536.

    The place is 256 times the label plus the value; labels that are left alone give the value.
    """
    levels = torch.arange(256, dtype=torch.float32)
    ends = torch.from_numpy(colours).T.float()[:, :, None].expand(3, 256, 256)
    table = torch.lerp(levels.expand(3, 256, 256), ends, alpha).round().to(torch.uint8).numpy()
    table[:, left] = np.arange(256, dtype=np.uint8)
    return table.reshape(3, -1)


def _paint(strip: _Bytes, labels: _Bytes, colours: _Bytes, where: NDArray[np.bool_]) -> None:
    """Give pixels of a strip (HW3) the colours of their labels."""
    places = np.flatnonzero(where)
    strip.reshape(-1, 3)[places] = colours[labels.reshape(-1)[places]]


def hatched_like_void(picture: Tensor, line: int = 1) -> Tensor:
    """A picture (uint8 HW3) under the stripes that stand for void.

    Args:
        picture: uint8 HW3.
        line: width of a stripe in pixels.
    """
    return _hatch(picture, 0, line)


def _hatch(picture: Tensor, top: int, line: int) -> Tensor:
    """Diagonal stripes, one light and one dark, with the picture between them."""
    height, width = picture.shape[:2]
    diagonal = torch.arange(top, top + height)[:, None] + torch.arange(width)
    place = (diagonal % (8 * line)) // line
    stripes = picture.clone()
    stripes[place == 0] = torch.tensor(VOID_COLOUR, dtype=torch.uint8)
    stripes[place == 1] = torch.tensor(_DARK, dtype=torch.uint8)
    return stripes


def _table(colours: Sequence[Colour]) -> Tensor:
    """The colour of each value of a label map: uint8 256x3; black for what has none."""
    table = torch.zeros(IGNORE + 1, 3, dtype=torch.uint8)
    table[: len(colours)] = torch.tensor(colours, dtype=torch.uint8).reshape(-1, 3)
    return table


def _contrast(colour: Colour) -> Colour:
    """White beside a dark colour, black beside a light one."""
    red, green, blue = colour
    return (255, 255, 255) if 299 * red + 587 * green + 114 * blue < 128_000 else (0, 0, 0)


def _near_others(labels: _Bytes, reach: int) -> NDArray[np.bool_]:
    """Where a pixel of another label lies within `reach` rows and columns: bool HW."""
    differs: NDArray[np.bool_] = _largest(labels, reach) != ~_largest(~labels, reach)
    return differs


def _near(region: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Where a pixel of a region (bool HW) lies within `reach` rows and columns: bool HW."""
    near: NDArray[np.bool_] = _largest(region.view(np.uint8), reach) > 0
    return near


def _largest(values: _Bytes, reach: int) -> _Bytes:
    """The largest value (uint8 HW) within `reach` rows and columns: HW.

    By windows of twice the length, each the larger of two: their number grows with the logarithm
    of the reach.
    """
    for axis in (0, 1):
        sides = [(reach, reach) if one == axis else (0, 0) for one in (0, 1)]
        values, length = np.pad(values, sides), 1
        while length < 2 * reach + 1:
            step = min(length, 2 * reach + 1 - length)
            count = values.shape[axis] - step
            first, other = (
                values[(slice(None),) * axis + (slice(start, start + count),)]
                for start in (0, step)
            )
            values, length = np.maximum(first, other), length + step
    return values
