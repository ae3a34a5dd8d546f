"""Losses that believe a label only in part, for labels of which some are wrong.

bootstrap       Reed et al., ICLR 2015 workshops, https://arxiv.org/abs/1412.6596
symmetric       Wang et al., ICCV 2019, https://arxiv.org/abs/1908.06112

With the probabilities q of a pixel and its label y:

    bootstrap, soft   -sum_k [b 1(k = y) + (1 - b) q_k] log q_k
    bootstrap, hard   -b log q_y - (1 - b) log max_k q_k
    symmetric         -alpha log q_y + beta A (1 - q_y),    A = 4

The first two replace a share of the label by what the network says itself; the gradient passes
through both factors of the soft form, as in the paper: it is the cross entropy plus an entropy that
is minimised. The third adds the cross entropy with label and prediction changed about, in which
log 0 is taken as -A (the authors' code takes log 1e-4 = -9.2, which is beta = 2.3 here): its
gradient falls to 0 where the network is sure that the label is wrong, whereas that of the cross
entropy is largest there.

Each is a mean over the valid pixels, as `cross_entropy` is; a batch without one gives 0 and
gradients of 0. Nothing waits for the device. Each takes half precision and computes in float32.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from semisup.losses.segmentation import Divisor, in_full_precision, mean_over_pixels
from semisup.types import IGNORE

SOFT_SHARE = 0.95
"""b of the soft form in the paper."""

HARD_SHARE = 0.8
"""b of the hard form in the paper."""

NO_LABEL = 4.0
"""A: minus the logarithm of the probability that a label gives to the other classes."""


def bootstrap(
    logits: Tensor,
    mask: Tensor,
    *,
    class_weights: Tensor | None = None,
    border_weights: Tensor | None = None,
    divisor: Divisor = "pixels",
    label_share: float = SOFT_SHARE,
    hard: bool = False,
) -> Tensor:
    """Cross entropy with a mixture of the label and the prediction (bootstrapping).

    Args:
        logits: BKHW.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K factors on the loss of the pixels of each class, by their label.
        border_weights: BHW, added to the factor of each pixel.
        divisor: of the mean with weights.
        label_share: b, of the label, in [0, 1]; 1 is the cross entropy.
        hard: mix in the most probable class in place of all probabilities.

    Returns:
        0-d.
    """
    shares = in_full_precision(logits).log_softmax(1)
    labelled = _of_label(shares, mask)
    own = -shares.amax(1) if hard else -(shares.exp() * shares).sum(1)
    losses = label_share * labelled + (1 - label_share) * own
    return mean_over_pixels(losses, mask, mask != IGNORE, class_weights, border_weights, divisor)


def symmetric(
    logits: Tensor,
    mask: Tensor,
    *,
    class_weights: Tensor | None = None,
    border_weights: Tensor | None = None,
    divisor: Divisor = "pixels",
    alpha: float = 0.1,
    beta: float = 1.0,
) -> Tensor:
    """Cross entropy and the cross entropy of the prediction by the label, weighted.

    Args:
        logits: BKHW.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K factors on the loss of the pixels of each class, by their label.
        border_weights: BHW, added to the factor of each pixel.
        divisor: of the mean with weights.
        alpha: of the cross entropy, >= 0.
        beta: of the reverse one, >= 0.

    Returns:
        0-d.
    """
    labelled = _of_label(in_full_precision(logits).log_softmax(1), mask)
    # 1 - q_y without cancellation.
    losses = alpha * labelled - beta * NO_LABEL * (-labelled).expm1()
    return mean_over_pixels(losses, mask, mask != IGNORE, class_weights, border_weights, divisor)


def _of_label(shares: Tensor, mask: Tensor) -> Tensor:
    """Minus the logarithm of the probability of each pixel's label, BHW; 0 at void pixels."""
    return F.nll_loss(shares, mask, ignore_index=IGNORE, reduction="none")
