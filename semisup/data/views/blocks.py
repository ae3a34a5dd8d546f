"""The view of a block of slices: a random place, scale, crop, mirror, turn and deformation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.data.views.cropping import View
from semisup.data.views.weak import WeakView
from semisup.data.volumes import Block
from semisup.types import IGNORE

SPACING = 32
"""Voxels between two places of the coarse grid on which displacements are drawn."""


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block of slices that follow one another, and its masks alike.

    Each slice is scaled, cropped and mirrored in the same way, by `plane`. Where that mirrors, half
    of the blocks are mirrored from top to bottom too, and half along the volume. Then the block is
    turned in its plane and deformed: voxels are resampled, masks by the nearest one. What comes
    from beyond the borders is mirrored there, and void in the masks.

    Args:
        block: depth, rotation and deformation.
        plane: scale, crop and mirror.
    """

    block: Block
    plane: WeakView

    def __call__(
        self,
        image: Tensor,
        mask: Tensor | None,
        generator: torch.Generator,
        turn: int = 0,
        border: Tensor | None = None,
    ) -> View:
        """One view, as `DrawView` says, of a slab CLHW (L >= depth) and its masks LHW.

        Returns:
            CDHW, masks and validity DHW.
        """
        assert mask is not None, "blocks are cut from labelled slices"
        assert border is None, "weights between objects are of images"
        place, *draws = torch.rand(4, generator=generator).tolist()
        first = int(place * (image.shape[1] - self.block.depth + 1))
        along = slice(first, first + self.block.depth)
        view = self.plane(image[:, along], mask[along], generator, turn)
        assert view.mask is not None
        valid = view.valid.expand_as(view.mask)
        axes = [-3 + axis for axis, draw in enumerate(draws[:2]) if self.plane.flip and draw < 0.5]
        volume, labels = view.image.flip(axes), view.mask.flip(axes)
        view = View(volume, labels, valid.flip(axes))
        angle = math.radians(self.block.rotation) * (2 * draws[2] - 1)
        if not self.block.rotation and not self.block.deformation:
            return view
        return resample(view, self._places(labels.shape, angle, generator))

    def _places(self, shape: tuple[int, ...], angle: float, generator: torch.Generator) -> Tensor:
        """Where each voxel comes from: DHW3 (z, y, x), in voxels."""
        axes = [torch.arange(side, dtype=torch.float32) for side in shape]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        middle_y, middle_x = (shape[1] - 1) / 2, (shape[2] - 1) / 2
        cos, sin = math.cos(angle), math.sin(angle)
        down, right = y - middle_y, x - middle_x
        turned = torch.stack(
            [z, middle_y + cos * down - sin * right, middle_x + sin * down + cos * right], dim=-1
        )
        if not self.block.deformation:
            return turned
        return turned + self.block.deformation * smooth_noise(shape, generator)


def smooth_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Three numbers N(0, 1) at each place of a coarse grid, joined by a cubic B-spline: DHW3."""
    weights = [_spline(side) for side in shape]
    values = torch.randn(*(w.shape[1] for w in weights), 3, generator=generator)
    for axis, weight in enumerate(weights):
        values = torch.tensordot(weight, values, ([1], [axis])).movedim(0, axis)
    return values


def _spline(side: int) -> Tensor:
    """The weight of each coarse place at each of `side` voxels: side x places."""
    at = torch.arange(side, dtype=torch.float32) / SPACING
    places = torch.arange(-1, int((side - 1) / SPACING) + 3, dtype=torch.float32)
    far = (at[:, None] - places).abs()
    near = 2 / 3 - far**2 + far**3 / 2
    return torch.where(far < 1, near, (2 - far).clamp(min=0) ** 3 / 6)


def resample(view: View, places: Tensor) -> View:
    """A block whose voxels come from elsewhere in it.

    Args:
        view: CDHW, masks and validity DHW.
        places: DHW3 (z, y, x), in voxels.
    """
    sides = torch.tensor(places.shape[:3])
    # An axis of one voxel has no length: it is sampled in its middle.
    shares = 2 * places / (sides - 1).clamp(min=1) - (sides > 1).float()
    grid = shares.flip(-1)[None]

    def sample(values: Tensor, mode: str, padding: str) -> Tensor:
        return F.grid_sample(
            values.float()[None], grid, mode=mode, padding_mode=padding, align_corners=True
        )[0]

    assert view.mask is not None
    voxels = sample(view.image, "bilinear", "reflection").round()
    voxels = voxels.clamp_(0, 2 ** (8 * view.image.itemsize) - 1).to(view.image.dtype)
    beyond = (shares.abs() > 1 + 1e-4).any(-1)
    labels, valid = sample(
        torch.stack([view.mask, view.valid.to(torch.uint8)]), "nearest", "border"
    )
    void = beyond | (valid < 0.5)
    return View(voxels, labels.to(torch.uint8).masked_fill(void, IGNORE), valid.to(torch.bool))
