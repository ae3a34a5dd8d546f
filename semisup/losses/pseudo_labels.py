"""Pseudo-labels: the segmenter's own predictions, taught where a discriminator accepts them.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", BMVC 2018,
https://arxiv.org/abs/1802.07934 (pixel by pixel); Mittal et al., "Semi-Supervised Semantic
Segmentation with High- and Low-level Consistency", TPAMI 2019, https://arxiv.org/abs/1908.05724
(whole images).
"""

from __future__ import annotations

import math

from torch import Tensor

from semisup.losses.gan import Loss
from semisup.losses.segmentation import cross_entropy, masked_mean
from semisup.types import IGNORE


def pseudo_labels_where(logits: Tensor, accepted: Tensor) -> Tensor:
    """The most probable classes as ground truth, void elsewhere; no gradient passes.

    Args:
        logits: BKHW.
        accepted: BHW bool.

    Returns:
        BHW int64, 0..K-1 and `IGNORE`.
    """
    return logits.detach().argmax(dim=1).masked_fill(~accepted, IGNORE)


def self_taught_loss(logits: Tensor, accepted: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy against the segmenter's own prediction where it is accepted.

    No gradient passes through the predictions or the choice of pixels.

    Args:
        logits: BKHW, of the segmenter.
        accepted: which of them are taught: BHW bool, or B for whole images.
        valid: where pixels count, BHW bool.

    Returns:
        The mean over the accepted valid pixels, 0-d, 0 where there is none; and the share of the
        valid pixels (or of the images that have one) that are accepted, 0-d and detached.
    """
    if accepted.dim() == 1:
        known = valid.flatten(1).any(dim=1)
        share = masked_mean(accepted.float(), known)
        accepted = accepted[:, None, None]
    else:
        share = masked_mean(accepted.float(), valid)
    return cross_entropy(logits, pseudo_labels_where(logits, accepted & valid)), share


def exceeds(logits: Tensor, threshold: float, loss: Loss = "cross_entropy") -> Tensor:
    """Where a discriminator's probability of "ground truth" is above `threshold`.

    Args:
        logits: of the discriminator, any shape; no gradient passes.
        threshold: in [0, 1], of the sigmoid, or of the output itself where the targets of least
            squares are 1 and 0; a threshold of 0 accepts everything and one of 1 nothing.
        loss: of the game in which the discriminator learns.

    Returns:
        Bool, of the shape of `logits`.
    """
    logits = logits.detach()
    if loss == "least_squares" and 0 < threshold < 1:
        return logits > threshold
    return logits > _logit(threshold)


def _logit(share: float) -> float:
    # Compared with the logits themselves: a sigmoid in float32 rounds to exactly 0 and 1, where
    # "above 0" would no longer hold for every pixel.
    assert 0.0 <= share <= 1.0, share
    if share in (0.0, 1.0):
        return math.copysign(math.inf, share - 0.5)
    return math.log(share) - math.log1p(-share)
