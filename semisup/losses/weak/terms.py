"""The term on the images themselves that a recipe adds to the supervised loss.

A label that says little leaves most pixels untaught; what they look like says more. Each term takes
the logits of the main map and the image, on a coarser grid:

term            grid            weight      what of the published one is kept
gated_crf       1/4             0.1         all (its authors' weight and grid)
tree_energy     1/4             0.4         all, with the tree of the colours alone
dense_crf       1/2, sigma 50   0.1         sigmas and grid; as a share, so the weight is ours
normalised_cut  1/2, sigma 50   0.01        sigmas and grid of dense_crf; the weight is ours

Logits and image are averaged over the cells of the grid (the authors' codes take the nearest pixel,
or interpolate). A cell with padding takes no part, one with a labelled pixel is labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from semisup.losses.segmentation import in_full_precision
from semisup.losses.weak.dense_crf import dense_crf
from semisup.losses.weak.gated_crf import gated_crf
from semisup.losses.weak.normalised_cut import normalised_cut
from semisup.losses.weak.tree_energy import tree_energy
from semisup.ops.pixels import RGB_FORMAT, ImageFormat, to_unit
from semisup.types import IGNORE

Term = Literal["gated_crf", "dense_crf", "tree_energy", "normalised_cut"]

WEIGHTS: dict[Term, float] = {
    "gated_crf": 0.1,
    "dense_crf": 0.1,
    "tree_energy": 0.4,
    "normalised_cut": 0.01,
}
"""What each term is multiplied by where a recipe says nothing."""

_CELLS: dict[Term, int] = {"gated_crf": 4, "dense_crf": 2, "tree_energy": 4, "normalised_cut": 2}
"""Sides of the cells of the grid, in pixels."""

_POSITION_SIGMA = 100.0
"""Of dense_crf and normalised_cut, in pixels of the image."""


@dataclass(frozen=True, slots=True)
class Regulariser:
    """A term on the images themselves.

    Attributes:
        kind: which.
        weight: what it is multiplied by in the supervised loss.
        images: how the images were normalised, so that their colours can be had in 0..255 again.
    """

    kind: Term
    weight: float
    images: ImageFormat = RGB_FORMAT

    def __call__(self, logits: Tensor, image: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
        """The term, without its weight.

        Args:
            logits: BKHW, or of another size, which is brought to that of the image.
            image: BCHW, normalised.
            mask: BHW int64, `IGNORE` where there is no label.
            valid: BHW bool, False in the padding.

        Returns:
            0-d.
        """
        logits, side = in_full_precision(logits), _CELLS[self.kind]
        if logits.shape[-2:] != image.shape[-2:]:
            logits = F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)
        logits = _averaged(logits, side)
        colours = 255 * _averaged(to_unit(image.detach().to(logits), self.images), side)
        seen = ~_any(~valid, side)
        if self.kind == "gated_crf":
            return gated_crf(logits, colours, seen)
        if self.kind == "tree_energy":
            return tree_energy(logits, colours, seen, ~_any(mask != IGNORE, side))
        term = dense_crf if self.kind == "dense_crf" else normalised_cut
        return term(logits, colours, seen, position_sigma=_POSITION_SIGMA / side)


def _averaged(values: Tensor, side: int) -> Tensor:
    """Means of BCHW over cells; those at the lower and right border may be smaller."""
    return F.avg_pool2d(values, side, ceil_mode=True, count_include_pad=False)


def _any(held: Tensor, side: int) -> Tensor:
    """BHW bool: whether a cell has a pixel for which it holds."""
    return F.max_pool2d(held[:, None].float(), side, ceil_mode=True)[:, 0] > 0
