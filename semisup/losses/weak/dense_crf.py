"""Dense CRF loss: all pixels of an image that look alike are to be of one class.

Tang, Perazzi, Djelouah, Ben Ayed, Schroers and Boykov, "On regularized losses for weakly-supervised
CNN segmentation", ECCV 2018, https://arxiv.org/abs/1803.09569: the Potts energy of a dense CRF,
relaxed to probabilities. With the probabilities S_k of class k as a vector over the pixels,

    E = sum_k S_k^T W (1 - S_k) = 1^T W 1 - sum_k S_k^T W S_k
    W(i, j) = exp(-|p_i - p_j|^2 / 2 position_sigma^2 - |I_i - I_j|^2 / 2 colour_sigma^2)

at pixels p_i with colours I_i. Here

    L = E / 1^T W 1,    the share of the kernel that lies between different classes, in [0, 1]

and the mean over the images. The sums are exact for images of up to `crf.EXACT_PIXELS`, else made
on our permutohedral lattice (`ops/lattice.py`). The kernel is symmetric, so the gradient is
-2 W S / 1^T W 1, from the sums that gave the value.

What differs from the code of the authors (meng-tang/rloss): theirs is -sum_k S_k^T W S_k, which has
the same gradients up to 1^T W 1. That factor grows with the number of pixels, and its unit is that
of a lattice (about half of W), so their weight, 2e-9 for crops of 513, means nothing for another
crop or another lattice. A share needs neither. The sums hold j = i, as theirs do.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from semisup.losses.segmentation import count, probabilities
from semisup.losses.weak.quadratic import Kernel, quadratic
from semisup.ops.crf import EXACT_PIXELS, AllPairs, bilateral_features
from semisup.ops.lattice import Lattice


def dense_crf(
    logits: Tensor,
    image: Tensor,
    valid: Tensor,
    *,
    position_sigma: float = 100.0,
    colour_sigma: float = 15.0,
) -> Tensor:
    """Share of the kernel between pixels of different classes, the mean over the images.

    Images of more than `crf.EXACT_PIXELS` pixels wait for the device.

    Args:
        logits: BKHW.
        image: BCHW, in 0..255; no gradient passes.
        valid: BHW bool, which pixels take part.
        position_sigma: in pixels of this map.
        colour_sigma: in levels of 0 to 255.

    Returns:
        0-d, in [0, 1]; 0, with gradients of 0, without a valid pixel.
    """
    losses = logits.new_zeros((), dtype=probabilities(logits[:0]).dtype)
    for shares, kernel in kernels_of_images(logits, image, valid, position_sigma, colour_sigma):
        alike, sums = quadratic(shares, kernel)
        losses = losses + 1 - alike.sum() / sums.sum().clamp(min=1e-12)
    return losses / count(valid.flatten(1).any(1)) + 0 * logits.sum()


def kernels_of_images(
    logits: Tensor, image: Tensor, valid: Tensor, position_sigma: float, colour_sigma: float
) -> Iterator[tuple[Tensor, Kernel]]:
    """Of each image with a valid pixel: the probabilities there, N x K, and W on such a table.

    Args:
        logits: BKHW.
        image: BCHW, in 0..255.
        valid: BHW bool.
        position_sigma: in pixels.
        colour_sigma: in levels.
    """
    rows = probabilities(logits).movedim(1, -1)
    for own, picture, known in zip(rows, image.detach().to(rows), valid, strict=True):
        features = bilateral_features(picture, position_sigma, colour_sigma)[known.flatten()]
        if len(features):
            exact = len(features) <= EXACT_PIXELS
            with torch.autocast(logits.device.type, enabled=False):
                yield own[known], AllPairs(features) if exact else Lattice(features)
