"""Panels for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from semisup.data.base import Colour
from semisup.pictures.drawing import heat, overlay
from semisup.pictures.legends import (
    LINE,
    PAPER,
    background_of,
    font,
    legend_strip,
    present,
    write_line,
)
from semisup.types import IGNORE

_SEPARATOR = 4
_LEAST_WIDTH = 160
"""Of an image in a panel, in pixels."""


def training_panel(
    images: Tensor,
    labels: Mapping[str, Tensor],
    classes: Sequence[str],
    palette: Sequence[Colour],
    *,
    extra: Mapping[str, Tensor] | None = None,
    ends: Mapping[str, tuple[str, str]] | None = None,
    max_rows: int = 4,
) -> Tensor:
    """A few images of a batch with their maps beside them, for TensorBoard.

    Small images are enlarged by whole factors, so that titles fit and single pixels are seen.

    Args:
        images: B3HW uint8.
        labels: title -> label maps BHW with void as `IGNORE`, such as ground truth (where there is
            one) and prediction: a column each.
        classes: K names.
        palette: K colours (R, G, B).
        extra: title -> maps B1hw in [0, 1], such as a discriminator's: a column each.
        ends: title of such a map -> what 0 and 1 mean in it.
        max_rows: images shown at most.

    Returns:
        uint8 3HW: titles, one row for each image with thin white lines between, and a legend of the
        classes that are seen.
    """
    extra = extra or {}
    images = images[:max_rows].cpu()
    maps = {title: own[:max_rows].cpu() for title, own in labels.items()}
    factor = max(1, -(-_LEAST_WIDTH // images.shape[-1]))
    images = _enlarged(images, factor)
    size, background = images.shape[-2:], background_of(classes)
    wide = [
        F.interpolate(own[:max_rows].detach().float().cpu(), size=size) for own in extra.values()
    ]
    rows = []
    for i, image in enumerate(images):
        columns = [image]
        for own in maps.values():
            drawn = overlay(image, _enlarged(own[i], factor), palette, background=background)
            columns.append(drawn.permute(2, 0, 1))
        columns += [heat(own[i, 0]).permute(2, 0, 1) for own in wide]
        rows.append(_join(columns, dim=2))
    body = _join(rows, dim=1)
    titles = _titles(["image", *maps, *extra], size[1], body.shape[-1])
    seen = torch.cat(
        [own.flatten() for own in maps.values()] or [torch.empty(0, dtype=torch.uint8)]
    )
    legend = legend_strip(
        present(seen, classes, palette),
        body.shape[-1],
        void=bool((seen == IGNORE).any()),
        scales={title: (ends or {}).get(title, ("", "")) for title in extra},
    )
    return torch.cat([titles, body, *[_pixels(legend)] * (legend.height > 0)], dim=1)


def _titles(titles: Sequence[str], column: int, width: int) -> Tensor:
    """The titles of columns of `column` pixels: uint8 3HW."""
    band = Image.new("RGB", (width, LINE), PAPER)
    draw = ImageDraw.Draw(band)
    for number, title in enumerate(titles):
        write_line(draw, (number * (column + _SEPARATOR), LINE // 2), title, column, font(13))
    return _pixels(band)


def _pixels(picture: Image.Image) -> Tensor:
    """uint8 3HW."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _enlarged(maps: Tensor, factor: int) -> Tensor:
    """Each pixel of maps (...HW) as a square of `factor` pixels."""
    return maps.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


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
