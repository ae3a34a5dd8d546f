"""Label maps and shares in colours."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.data.base import Colour
from semisup.types import IGNORE

VOID_COLOUR: Colour = (224, 224, 192)
"""Colour of void pixels, as in Pascal VOC."""

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
    labels, picture = labels.cpu(), image.cpu().permute(1, 2, 0)
    height, width = labels.shape
    line = max(1, round(max(height, width) / 300))
    edge = line // 2 if line > 1 else int(max(height, width) >= 200)
    reach = line + edge
    left = torch.tensor([*background, IGNORE], dtype=torch.uint8)
    colours, edges = _table(palette), _table([_contrast(colour) for colour in palette])
    drawn = torch.empty(height, width, 3, dtype=torch.uint8)
    for top in range(0, height, _ROWS):  # in strips, since colours are mixed in floats
        rows = slice(top, min(height, top + _ROWS))
        first = max(0, top - reach)
        around, seen = labels[first : rows.stop + reach], slice(top - first, rows.stop - first)
        own, below = labels[rows], picture[rows]
        mixed = torch.lerp(below.float(), colours[own.long()].float(), alpha)
        strip = mixed.round().to(torch.uint8)
        rim = _near_others(around, reach)[seen]
        strip[rim] = colours[own[rim].long()]
        if edge:
            rim = _near(torch.isin(around, left), edge)[seen]
            strip[rim] = edges[own[rim].long()]
        kept = torch.isin(own, left)
        strip[kept] = below[kept]
        if hatched and (own == IGNORE).any():
            strip = torch.where((own == IGNORE)[..., None], _hatch(strip, top, line), strip)
        drawn[rows] = strip
    return drawn


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


def _near_others(labels: Tensor, reach: int) -> Tensor:
    """Where a pixel of another label lies within `reach` rows and columns: bool HW."""
    return _largest(labels.float(), reach) != -_largest(-labels.float(), reach)


def _near(region: Tensor, reach: int) -> Tensor:
    """Where a pixel of a region (bool HW) lies within `reach` rows and columns: bool HW."""
    return _largest(region.float(), reach) > 0


def _largest(values: Tensor, reach: int) -> Tensor:
    """The largest value (HW) within `reach` rows and columns: float HW."""
    rows = F.max_pool2d(values[None], (2 * reach + 1, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))[0]
