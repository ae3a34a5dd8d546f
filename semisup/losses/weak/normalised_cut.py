"""Normalised cut: each class is to hold together more than it holds to the rest.

Tang, Djelouah, Perazzi, Boykov and Schroers, "Normalized cut loss for weakly-supervised CNN
segmentation", CVPR 2018, https://arxiv.org/abs/1804.01346. With the probabilities S_k of class k as
a vector over the pixels, W as in `dense_crf` and d = W 1,

    L = sum_k S_k^T W (1 - S_k) / d^T S_k = sum_k (1 - S_k^T W S_k / d^T S_k)

and the mean over the images; in [0, K]. The authors released no code of it. What differs from the
text: W is the Gaussian kernel of all pairs (the paper has one of nearest neighbours too), with j =
i, and a class that has no probability counts 1.
"""

from __future__ import annotations

from torch import Tensor

from semisup.losses.segmentation import count, probabilities
from semisup.losses.weak.dense_crf import kernels_of_images
from semisup.losses.weak.quadratic import quadratic


def normalised_cut(
    logits: Tensor,
    image: Tensor,
    valid: Tensor,
    *,
    position_sigma: float = 100.0,
    colour_sigma: float = 15.0,
) -> Tensor:
    """Sum over the classes of what they are cut from, as a share; the mean over the images.

    Args:
        logits: BKHW.
        image: BCHW, in 0..255; no gradient passes.
        valid: BHW bool, which pixels take part.
        position_sigma: in pixels of this map.
        colour_sigma: in levels of 0 to 255.

    Returns:
        0-d, in [0, K]; 0, with gradients of 0, without a valid pixel.
    """
    losses = logits.new_zeros((), dtype=probabilities(logits[:0]).dtype)
    for shares, kernel in kernels_of_images(logits, image, valid, position_sigma, colour_sigma):
        alike, sums = quadratic(shares, kernel)
        degrees = sums.sum(1, keepdim=True)
        held = (degrees * shares).sum(0).clamp(min=1e-12)
        losses = losses + (1 - alike.sum(0) / held).sum()
    return losses / count(valid.flatten(1).any(1)) + 0 * logits.sum()
