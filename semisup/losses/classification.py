"""Losses and counts of image tags."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from semisup.losses.segmentation import count, masked_mean


def multi_label_loss(presence: Tensor, tags: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of each label of each image, averaged over both.

    An image without a valid pixel takes no part; without any such image the loss and its gradients
    are 0.

    Args:
        presence: BL logits, is the label in the image?
        tags: BL bool.
        known: B bool, whether there is a picture at all.

    Returns:
        0-d.
    """
    losses = F.binary_cross_entropy_with_logits(presence, tags.to(presence), reduction="none")
    return masked_mean(losses, known[:, None].expand_as(losses))


def precision_and_recall(found: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the found labels that are right, and of the right ones that were found.

    Args:
        found: BL bool.
        tags: BL bool.

    Returns:
        Two 0-d shares; 0 where there is none to divide by.
    """
    right = (found & tags).sum()
    return right / count(found), right / count(tags)
