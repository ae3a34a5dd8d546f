"""Masks as class maps and as tags."""

from __future__ import annotations

import torch
from torch import Tensor

from semisup.types import IGNORE


def one_hot(mask: Tensor, num_classes: int) -> Tensor:
    """The mask as a discriminator sees it: 1 in the channel of the pixel's class, else 0.

    Args:
        mask: BHW, any integer dtype, 0..K-1 and `IGNORE`.
        num_classes: K.

    Returns:
        BKHW float32; all K channels are 0 at a void pixel.
    """
    classes = torch.arange(num_classes, device=mask.device).view(1, -1, 1, 1)
    return (mask.unsqueeze(1) == classes).float()


def without_holes(mask: Tensor, scores: Tensor) -> Tensor:
    """The mask with the segmenter's own answer where it is void.

    A discriminator would know ground truth by its void pixels, which no prediction has.

    Args:
        mask: BHW int64, 0..K-1 and `IGNORE`.
        scores: BKHW, logits or probabilities; no gradient passes.

    Returns:
        BHW int64, 0..K-1.
    """
    return torch.where(mask == IGNORE, scores.argmax(dim=1), mask)


def tags_of_mask(mask: Tensor, num_classes: int) -> Tensor:
    """Which classes but the background have a pixel in the mask.

    Args:
        mask: BHW int64, 0..K-1 and `IGNORE`.
        num_classes: K.

    Returns:
        BL bool, L = K - 1.
    """
    labels = torch.zeros(len(mask), IGNORE + 1, dtype=torch.bool, device=mask.device)
    return labels.scatter_(1, mask.flatten(1), True)[:, 1:num_classes]
