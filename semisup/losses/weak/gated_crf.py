"""Gated CRF loss: neighbours that look alike are to be of one class.

Obukhov, Georgoulis, Dai and Van Gool, "Gated CRF loss for weakly supervised semantic image
segmentation", 2019, https://arxiv.org/abs/1906.04651, after the code of its authors
(LEONOB2014/GatedCRFLoss). With the probabilities S_i of the pixels, at p_i with colours I_i,

    L = 1/N sum_i sum_j K(i, j) (1 - <S_i, S_j>)        j != i, at most r rows and columns from i
    K(i, j) = exp(-|p_i - p_j|^2 / 2 position_sigma^2 - |I_i - I_j|^2 / 2 colour_sigma^2)

The defaults are the code's: r = 5, position_sigma = 6 pixels of the map that the loss is computed
on, and colour_sigma = 0.1 of normalised colours, which is 5.75 of 255 levels.

What differs: the gates leave out pairs with a pixel that is not valid. The code asks that of j
alone unless it is given a second mask, so what the network says of padding counts there; and
without a mask it lets places outside of the image take part, as a constant.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from semisup.losses.segmentation import count, probabilities
from semisup.losses.weak.quadratic import quadratic

Shift = tuple[tuple[slice, slice], tuple[slice, slice]]


def gated_crf(
    logits: Tensor,
    image: Tensor,
    valid: Tensor,
    *,
    taught: Tensor | None = None,
    radius: int = 5,
    position_sigma: float = 6.0,
    colour_sigma: float = 5.75,
) -> Tensor:
    """Mean over the pixels of what their neighbours of other classes and the same colour weigh.

    Args:
        logits: BKHW.
        image: BCHW, in the unit of `colour_sigma`; no gradient passes.
        valid: BHW bool, which pixels take part.
        taught: BHW bool, the pixels i whose neighbours count, and that the mean is over; None: the
            valid ones. Those that are taught, but not valid, are no neighbours.
        radius: r, in rows and columns, above 0.
        position_sigma: in pixels of this map.
        colour_sigma: in the unit of `image`.

    Returns:
        0-d, at least 0; 0, with gradients of 0, where nothing is taught.
    """
    shares = probabilities(logits)
    taught = valid if taught is None else taught
    pairs = list(_pairs(image.to(shares), valid, taught, radius, position_sigma, colour_sigma))

    def kernel(values: Tensor) -> Tensor:
        sums = torch.zeros_like(values)
        for (here, there), weights in pairs:
            sums[..., here[0], here[1]] += weights * values[..., there[0], there[1]]
            sums[..., there[0], there[1]] += weights * values[..., here[0], here[1]]
        return sums

    alike, sums = quadratic(shares, kernel)
    # Summed over the classes, the kernel's sums are those of ones.
    return (sums.sum() - alike.sum()) / count(taught)


@torch.no_grad()
def _pairs(
    image: Tensor,
    valid: Tensor,
    taught: Tensor,
    radius: int,
    position_sigma: float,
    colour_sigma: float,
) -> list[tuple[Shift, Tensor]]:
    """Each pair of pixels once: where its two pixels are, and half of its weight (B1hw)."""
    height, width = image.shape[-2:]
    found = []
    for down, right in product(range(radius + 1), range(-radius, radius + 1)):
        if (down, right) <= (0, 0) or down >= height or abs(right) >= width:
            continue
        here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
        there = slice(down, height), slice(max(0, right), width + min(0, right))
        distance = (image[..., here[0], here[1]] - image[..., there[0], there[1]]).square().sum(1)
        exponent = distance / colour_sigma**2 + (down**2 + right**2) / position_sigma**2
        gates = (taught[:, here[0], here[1]] & valid[:, there[0], there[1]]).to(image.dtype)
        gates += taught[:, there[0], there[1]] & valid[:, here[0], here[1]]
        found.append(((here, there), (0.5 * gates * (-exponent / 2).exp())[:, None]))
    return found
