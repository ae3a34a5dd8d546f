"""Losses of a segmenter and a discriminator that scores every pixel.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", BMVC 2018,
https://arxiv.org/abs/1802.07934.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.gan import Game
from semisup.losses.segmentation import masked_mean


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
