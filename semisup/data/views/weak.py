"""The weak view: random scale, crop, deformation and mirror of an image and its mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.data.views.cropping import Axis, View, cut_out
from semisup.data.views.elastic import draw_displacements
from semisup.errors import RecipeError


@dataclass(frozen=True, slots=True)
class WeakView:
    """Random scale, crop, elastic deformation and flip of an image and its mask alike.

    The source window of the crop is rounded to whole source pixels: the scale along an axis is off
    by less than one source pixel over the crop. Where the scaled picture is smaller than the crop,
    it is padded at the right and the bottom (before the flip), as in most papers of the field.

    Args:
        crop: H, W of the result in pixels; None for the whole, scaled picture.
        scale: smallest and largest factor on the side lengths; drawn uniformly.
        flip: whether half of the views are mirrored.
        elastic: standard deviation of the displacements of an elastic deformation, in pixels of the
            view; 0: none, and no number is drawn for it.

    Raises:
        RecipeError: a side below 1, a scale that is no range of positive numbers, or a negative
            deviation.
    """

    crop: tuple[int, int] | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    elastic: float = 0.0

    def __post_init__(self) -> None:
        if self.crop is not None and min(self.crop) < 1:
            raise RecipeError(f"crop {self.crop}: give height and width of at least 1 pixel")
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise RecipeError(
                f"scale {self.scale}: give the smallest and the largest factor, above 0, in order"
            )
        if not 0 <= self.elastic < math.inf:
            raise RecipeError(f"elastic {self.elastic}: give a standard deviation of at least 0")

    def __call__(
        self,
        image: Tensor,
        mask: Tensor | None,
        generator: torch.Generator,
        turn: int = 0,
        border: Tensor | None = None,
    ) -> View:
        """One view, as `DrawView` says; all of its turns are alike."""
        scale, down, right, mirror = torch.rand(4, generator=generator).tolist()
        factor = self.scale[0] + scale * (self.scale[1] - self.scale[0])
        crop_height, crop_width = self.crop or (None, None)
        rows = _axis(image.shape[-2], crop_height, factor, down)
        columns = _axis(image.shape[-1], crop_width, factor, right)
        return cut_out(
            image,
            mask,
            rows,
            columns,
            crop=self.crop,
            flip=self.flip and mirror < 0.5,
            border=border,
            displacements=draw_displacements(self.elastic, generator) if self.elastic else None,
        )


def _axis(size: int, crop: int | None, scale: float, position: float) -> Axis:
    if crop is None or size * scale <= crop:
        return Axis(0, size, max(1, round(size * scale)))
    length = min(size, max(1, round(crop / scale)))
    return Axis(int(position * (size - length + 1)), length, crop)
