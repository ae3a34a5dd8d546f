"""From probabilities to a pseudo-mask: the most probable class where it is probable enough."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from semisup.types import IGNORE


class PseudoMask(NamedTuple):
    """What is taught of one image.

    Attributes:
        labels: uint8 HW, 0..K-1, and 255 below the threshold.
        confidence: uint8 HW, 255 times the probability of the most probable class, rounded.
    """

    labels: Tensor
    confidence: Tensor


def pseudo_mask(
    probabilities: Tensor, threshold: float, tags: Collection[int] | None = None
) -> PseudoMask:
    """The most probable class of each pixel, void where its probability is below the threshold.

    Tags exclude classes: with A, background and the classes of the tags,

        P(k | A) = P(k) [k in A] / sum_{j in A} P(j)

    A pixel where no class of A has any probability is void, with confidence 0. So is one whose
    probabilities are not finite.

    Args:
        probabilities: KHW, which sum to 1 at each pixel.
        threshold: in [0, 1]; 0 labels every pixel.
        tags: the foreground classes that are known to be in the image, and none besides; None:
            nothing is known of it.
    """
    known = probabilities.float()
    if tags is not None:
        absent = torch.ones(len(known), dtype=torch.bool, device=known.device)
        absent[[0, *tags]] = False
        known = known.masked_fill(absent[:, None, None], 0.0)
        known = known / known.sum(dim=0, keepdim=True)
    known = known.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    confidence, labels = known.max(dim=0)
    unsure = (confidence < threshold) | (confidence <= 0)
    return PseudoMask(
        labels.masked_fill(unsure, IGNORE).to(torch.uint8),
        (confidence * 255).round().to(torch.uint8),
    )
