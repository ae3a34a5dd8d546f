"""Losses of a segmenter and a discriminator that scores every pixel.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", BMVC 2018,
https://arxiv.org/abs/1802.07934.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.game import Form
from semisup.losses.judge import Game
from semisup.losses.segmentation import count, cross_entropy, masked_mean
from semisup.types import IGNORE


def binary_cross_entropy_map(logits: Tensor, target: float, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of a map of logits against one answer for all pixels.

    The discriminator's loss (1 for ground truth, 0 for a prediction) and, with 1 for a prediction,
    the segmenter's adversarial loss.

    Args:
        logits: B1HW.
        target: the answer, 0 or 1 (between them for smoothed labels).
        valid: BHW bool, False where a pixel takes no part; None takes all.

    Returns:
        0-d: the mean over the valid pixels, 0 where there is none.
    """
    loss = _binary_cross_entropy(logits, target)
    return loss.mean() if valid is None else masked_mean(loss.squeeze(1), valid)


class PixelGame(Game):
    """A `Game` whose cross entropy is torch's, by which this method has always been trained.

    That of `Game` is the same but for the last bits.
    """

    def fake(self, logits: Tensor) -> Tensor:
        """What the judge pays for made maps."""
        if self.form == "cross_entropy":
            return _binary_cross_entropy(logits, 0.0)
        return super().fake(logits)

    def fool(self, logits: Tensor) -> Tensor:
        """What the segmenter pays for its maps."""
        if self.form == "cross_entropy":
            return _binary_cross_entropy(logits, 1.0)
        return super().fool(logits)


def _binary_cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        logits, torch.full_like(logits, target), reduction="none"
    )


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
