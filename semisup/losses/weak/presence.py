"""What tags and a prior of objects say of an image's pixels.

Bearman, Russakovsky, Ferrari and Fei-Fei, "What's the point: semantic segmentation with point
supervision", ECCV 2016, https://arxiv.org/abs/1506.02106, after the authors' layer for the GPU
(abearman/whats-the-point1). With the probabilities S_i(k) of the pixels, each class at its most
probable one, m_k = max_i S_i(k):

    presence    mean over the classes of the image of -log m_k, background among them
    absence     mean over the other classes of -log (1 - m_k)
    objectness  mean over the pixels without a label of -[P log S(0) + (1 - P) log (1 - S(0))]

where P is the prior probability that the pixel is background.

What differs: the mean over the images of a batch; the authors' layer reads one image alone.
Logarithms are taken of logits, so nothing overflows however sure the network is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semisup.losses.segmentation import in_full_precision, masked_mean


def presence_loss(logits: Tensor, tags: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """What tags say: each class of the image is somewhere, each other one nowhere.

    Args:
        logits: BKHW.
        tags: BK bool, column 0, background, too; of an image whose tags nobody knows, all False: it
            takes no part.
        valid: BHW bool, which pixels take part.

    Returns:
        Two of 0-d, presence and absence; 0, with gradients of 0, without a valid pixel or known
        tags, and where no class is present, or absent.
    """
    rows = in_full_precision(logits).flatten(2)
    known = valid.flatten(1)
    with torch.no_grad():
        shares = rows.log_softmax(1).masked_fill(~known[:, None], -torch.inf)
        best = shares.argmax(2)
    # B x K x K: all logits of the pixel at which a class is the most probable.
    of_best = rows.gather(2, best[:, None].expand(-1, rows.shape[1], -1)).transpose(1, 2)
    whole = of_best.logsumexp(2)
    own = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
    without = of_best.masked_fill(own, -torch.inf).logsumexp(2)
    found = whole - of_best.diagonal(dim1=1, dim2=2)
    counted = (known.any(1) & tags.any(1))[:, None]
    return (
        _mean_of_images(found, tags & counted),
        _mean_of_images(whole - without, ~tags & counted),
    )


def _mean_of_images(losses: Tensor, counted: Tensor) -> Tensor:
    """Mean over the images of the mean over the classes that count (BK each)."""
    shares = losses.masked_fill(~counted, 0.0).sum(1) / counted.sum(1).clamp(min=1)
    return masked_mean(shares, counted.any(1))


def objectness_loss(logits: Tensor, background: Tensor, unlabelled: Tensor) -> Tensor:
    """Cross entropy of background against the rest, with a prior of where background is.

    The authors' prior of a map of objectness O in 0..255 is 1 - (O + 1) / 257.

    Args:
        logits: BKHW; class 0 is background.
        background: BHW, the prior probability of it, in [0, 1].
        unlabelled: BHW bool, the pixels that take part; padding must not.

    Returns:
        0-d; 0, with gradients of 0, where no pixel takes part.
    """
    logits = in_full_precision(logits)
    whole = logits.logsumexp(1)
    of_background, of_others = logits[:, 0] - whole, logits[:, 1:].logsumexp(1) - whole
    prior = background.to(logits)
    return masked_mean(-(prior * of_background + (1 - prior) * of_others), unlabelled)
