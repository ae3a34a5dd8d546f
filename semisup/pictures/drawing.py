"""Label maps and shares in colours."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from torch import Tensor

from semisup.data.base import Colour
from semisup.types import IGNORE

VOID_COLOUR: Colour = (224, 224, 192)
"""Colour of void pixels, as in Pascal VOC."""


HEAT = "viridis"
"""matplotlib's colours of shares: even steps look even, to the colour-blind and in grey too."""


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
    table = matplotlib.colormaps[HEAT](np.arange(256), bytes=True)[:, :3]
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
