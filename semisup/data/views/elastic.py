"""Elastic deformation: an image and its mask are bent alike, smoothly and at random.

As in U-Net (Ronneberger, Fischer and Brox, MICCAI 2015, https://arxiv.org/abs/1505.04597): random
displacements on a coarse 3 x 3 grid over the crop, normal with a standard deviation of 10 pixels,
and bicubic interpolation of them to its pixels. The outer points of the grid lie at the corners and
the middles of the sides of the crop. Pixels are fetched from where they come from in the picture,
also from beyond the crop; beyond the picture it is mirrored.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 3
"""Points along each axis at which displacements are drawn."""

_SHARPNESS = -0.75
"""Parameter of the cubic kernel, as in torch's bicubic interpolation."""


def draw_displacements(deviation: float, generator: torch.Generator) -> Tensor:
    """Displacements at the points of the grid: 2 x 3 x 3 float64, down and to the right, in pixels.

    Args:
        deviation: standard deviation of each.
        generator: source of the numbers.
    """
    return deviation * torch.randn(2, GRID, GRID, generator=generator, dtype=torch.float64)


def displacement_field(displacements: Tensor, height: int, width: int) -> Tensor:
    """Displacement of each pixel, bicubic between the points of the grid: 2HW float64.

    Args:
        displacements: 2 x 3 x 3, as drawn.
        height: pixels down.
        width: pixels across.
    """
    # Sums of products, term by term: a matrix product may round otherwise with other threads.
    down, across = _cubic_weights(height), _cubic_weights(width)
    columns = sum(down[:, n, None] * displacements[:, None, n] for n in range(GRID))
    assert isinstance(columns, Tensor)
    field = sum(across[:, n] * columns[:, :, n, None] for n in range(GRID))
    assert isinstance(field, Tensor)
    return field


def _cubic_weights(size: int) -> Tensor:
    """The weight of each point of the grid at each of `size` pixels: size x 3 float64."""
    place = torch.linspace(0, GRID - 1, size, dtype=torch.float64)
    first = place.floor().clamp(max=GRID - 2).long() - 1
    weights = torch.zeros(size, GRID, dtype=torch.float64)
    for tap in range(4):
        point = first + tap
        weight = _cubic((place - point).abs())[:, None]
        weights.scatter_add_(1, point.clamp(0, GRID - 1)[:, None], weight)
    return weights


def _cubic(distance: Tensor) -> Tensor:
    """Keys' kernel of cubic convolution, at distances of at most 2."""
    a = _SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance <= 1, near, far)


def sample_bilinear(picture: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`picture` between its pixels, mirrored beyond them: CHW float32.

    Args:
        picture: Chw.
        rows: HW, in pixels of the picture; 0 is the middle of the first one.
        columns: HW, as rows.
    """
    height, width = picture.shape[-2:]
    across, down = (columns + 0.5) * 2 / width - 1, (rows + 0.5) * 2 / height - 1
    return F.grid_sample(
        picture.float()[None],
        torch.stack([across, down], dim=-1).float()[None],
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )[0]


def sample_nearest(picture: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of `picture` nearest to each place, with the arguments of `sample_bilinear`."""
    height, width = picture.shape[-2:]
    return picture[..., _folded(rows, height), _folded(columns, width)]


def _folded(place: Tensor, size: int) -> Tensor:
    """The nearest of `size` pixels to each place, where the picture is mirrored at its edges."""
    turned = (place + 0.5).floor().long() % (2 * size)
    return torch.minimum(turned, 2 * size - 1 - turned)
