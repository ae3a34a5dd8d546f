"""Panels for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.data.base import Colour
from semisup.pictures.drawing import colourise, heat

_SEPARATOR = 4


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
