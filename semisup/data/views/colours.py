"""The sets of colour changes that a strong view may be drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.data.views.augseg import apply_augseg, draw_augseg
from semisup.data.views.strong import apply_strong, draw_strong
from semisup.types import ColourSetName


@dataclass(frozen=True, slots=True)
class ColourSet:
    """How the colours of a strong view are drawn and changed.

    Attributes:
        draw: generator -> the parameters of one image, on the worker.
        apply: images BCHW in [0, 1], their parameters on the CPU and what is valid (BHW bool) ->
            the images in other colours, on their device.
    """

    draw: Callable[[torch.Generator], Tensor]
    apply: Callable[[Tensor, Tensor, Tensor], Tensor]


def _apply_strong(images: Tensor, parameters: Tensor, valid: Tensor) -> Tensor:
    return apply_strong(images, parameters.to(images.device, non_blocking=True), valid)


COLOUR_SETS: dict[ColourSetName, ColourSet] = {
    "unimatch": ColourSet(draw_strong, _apply_strong),
    "augseg": ColourSet(draw_augseg, apply_augseg),
}
