"""Blocks: some squares of an image with all their pixels labelled, and nothing else.

Lin et al., Block Annotation: Better Image Annotation with Sub-Image Decomposition, ICCV 2019,
https://arxiv.org/abs/2002.06626.
"""

from __future__ import annotations

import math

from semisup.data.weak_labels.base import ImageRandom, Labels, Truth, WeakKind, unlabelled
from semisup.data.weak_labels.costs import Content, Costs
from semisup.errors import RecipeError


class Blocks(WeakKind):
    """Squares of a grid, chosen at random.

    Args:
        share: of the blocks that are labelled, rounded up.
        grid: blocks along the longer side of the image; 10 in the paper.

    Raises:
        RecipeError: an option is out of its range.
    """

    name = "blocks"

    def __init__(self, *, share: float = 0.12, grid: int = 10) -> None:
        if not 0 < share <= 1 or grid < 1:
            raise RecipeError(
                f"blocks need share above 0 and up to 1 and grid >= 1, not {share} and {grid}"
            )
        self.share, self.grid = share, grid

    def label(self, truth: Truth, draws: ImageRandom) -> Labels:
        """See `WeakKind.label`."""
        height, width = truth.mask.shape
        side = math.ceil(max(height, width) / self.grid)
        corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
        labels = unlabelled(truth)
        for _ in range(math.ceil(self.share * len(corners))):
            y, x = corners.pop(draws.below(len(corners)))
            block = slice(y, y + side), slice(x, x + side)
            labels[block] = truth.mask[block]
        return labels

    def seconds(self, costs: Costs, content: Content) -> float:
        """See `WeakKind.seconds`."""
        return costs.blocks(content, self.share)
