"""Losses against a network's own predictions, where a discriminator trusts them.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", BMVC 2018,
https://arxiv.org/abs/1802.07934.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semisup.losses.gan import Form
from semisup.losses.segmentation import count, cross_entropy
from semisup.types import IGNORE


def self_taught_loss(
    logits: Tensor,
    confidence: Tensor,
    threshold: float,
    valid: Tensor | None = None,
    form: Form = "cross_entropy",
) -> tuple[Tensor, Tensor]:
    """Cross-entropy against the segmenter's own answer, where the discriminator trusts it.

    No gradient passes through the answers or the choice of pixels.

    Args:
        logits: BKHW, of the segmenter.
        confidence: B1HW logits, of the discriminator on this prediction.
        threshold: in [0, 1]; see `trusted_pixels`.
        valid: BHW bool, False where a pixel takes no part; None takes all.
        form: of the game in which the discriminator learns.

    Returns:
        The mean over the trusted pixels, 0-d, and the share of the valid pixels that are trusted,
        0-d and detached.
    """
    trusted = trusted_pixels(confidence, threshold, form)
    valid = torch.ones_like(trusted) if valid is None else valid
    trusted = trusted & valid
    answer = logits.detach().argmax(1).masked_fill(~trusted, IGNORE)
    share = trusted.sum() / count(valid)
    return cross_entropy(logits, answer), share


def trusted_pixels(confidence: Tensor, threshold: float, form: Form = "cross_entropy") -> Tensor:
    """Where the discriminator holds a prediction for true with more than `threshold`.

    Args:
        confidence: B1HW logits.
        threshold: in [0, 1], of the sigmoid, or of what is said itself where least squares ask for
            1 or 0; 0 trusts all pixels and 1 none.
        form: of the game.

    Returns:
        BHW bool.
    """
    logits = confidence.detach().squeeze(1)
    if form == "least_squares" and 0 < threshold < 1:
        return logits > threshold
    return logits > _logit(threshold)


def _logit(share: float) -> float:
    # Compared with the logits themselves: a sigmoid in float32 rounds to exactly 0 and 1, where
    # "above 0" would no longer hold for every pixel.
    assert 0.0 <= share <= 1.0, share
    if share in (0.0, 1.0):
        return math.copysign(math.inf, share - 0.5)
    return math.log(share) - math.log1p(-share)
