"""Tree energy loss: what a pixel is taught flows to it along the tree of its image.

Liang, Wang, Zhang, Sun and Shen, "Tree energy loss: towards sparsely annotated semantic
segmentation", CVPR 2022, https://arxiv.org/abs/2203.10739, after the code of its authors
(megvii-research/TreeEnergyLoss). With the probabilities P,

    L = 1/N sum over the unlabelled pixels i and the classes k of |P_i(k) - A_i(k)|
    A_i = sum_j w(i, j) P_j / sum_j w(i, j)

where w(i, j) is the product of exp(-|I_a - I_b|^2 / 2 colour_sigma^2) over the edges a, b between i
and j in the minimum spanning tree of the colours (`ops/tree.py`). With feature maps f a second
filter follows, on the tree of the features, with exp(-|f_a - f_b|^2), of what the first one gave.
Nothing is held fixed: gradients pass through P, both filters and the features.

colour_sigma is the code's: its exp(-|I_a - I_b|^2 / 0.02) of normalised colours is that of 0.1 of
them, or 5.75 of 255 levels.

What differs: padding is in no path and in no sum, where the code lets it take part; edges of equal
weight have an order that does not depend on the machine; no code for CUDA is needed.
"""

from __future__ import annotations

import math

from torch import Tensor

from semisup.losses.segmentation import in_full_precision, masked_mean, probabilities
from semisup.ops.tree import edge_differences, minimum_spanning_forest, tree_sums, with_parents


def tree_energy(
    logits: Tensor,
    image: Tensor,
    valid: Tensor,
    unlabelled: Tensor,
    *,
    features: Tensor | None = None,
    colour_sigma: float = 5.75,
) -> Tensor:
    """How far the unlabelled pixels are from the mean along the tree of their image.

    A GPU waits for the trees, which are made on the CPU.

    Args:
        logits: BKHW.
        image: BCHW, in the unit of `colour_sigma`; no gradient passes.
        valid: BHW bool, which pixels take part.
        unlabelled: BHW bool, the pixels that are taught; those that are not valid never are.
        features: BCHW, of a second filter; gradients pass. None: there is none.
        colour_sigma: in the unit of `image`.

    Returns:
        0-d, in [0, 2]; 0, with gradients of 0, where nothing is taught.
    """
    shares = probabilities(logits)
    means = tree_means(shares, image.detach().to(shares), valid, colour_sigma)
    if features is not None:
        means = tree_means(means, in_full_precision(features), valid, math.sqrt(0.5))
    return masked_mean((shares - means).abs().sum(1), unlabelled & valid)


def tree_means(values: Tensor, features: Tensor, valid: Tensor, sigma: float) -> Tensor:
    """Means along the minimum spanning tree of the features: A of the head of this file.

    Args:
        values: BKHW, float32 or float64; gradients pass.
        features: BCHW; gradients pass through the weights of the edges.
        valid: BHW bool, which pixels take part.
        sigma: standard deviation of the Gaussian of an edge, in the unit of the features.

    Returns:
        BKHW; 0 where a pixel is not valid.
    """
    forest = minimum_spanning_forest(features, valid)
    factors = (-edge_differences(features, forest) / (2 * sigma**2)).exp()
    factors = factors.masked_fill(~with_parents(valid, forest), 0.0)
    known = valid[:, None].to(values)
    sums = tree_sums(values.masked_fill(~valid[:, None], 0.0), factors, forest)
    return sums / tree_sums(known, factors, forest).clamp(min=0.5)
