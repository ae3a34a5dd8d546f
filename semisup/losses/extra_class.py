"""Losses of a segmenter that is its own discriminator: K classes and "generated".

Souly, Spampinato and Shah 2017, https://arxiv.org/abs/1703.09695, after Salimans et al. 2016,
https://arxiv.org/abs/1606.03498. With logits l_1 .. l_K and l_G of a pixel, p(G) is a sigmoid:

    log (1 - p(G)) = LSE(l_1 .. l_K) - LSE(l_1 .. l_K, l_G) = -softplus(-realness)
    log p(G)       = l_G             - LSE(l_1 .. l_K, l_G) = -softplus(+realness)
    realness       = LSE(l_1 .. l_K) - l_G

so the game over "generated" is that of `losses/gan.py` on the map of `realness`, and nothing
overflows however sure the network is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semisup.losses.segmentation import masked_mean


def realness(logits: Tensor) -> Tensor:
    """The logit of "not generated" at each pixel.

    Args:
        logits: B(K+1)HW, "generated" last.

    Returns:
        BHW.
    """
    return logits[:, :-1].logsumexp(dim=1) - logits[:, -1]


def tag_set_loss(logits: Tensor, tags: Tensor, valid: Tensor) -> Tensor:
    """Each pixel is of one of the image's classes, whichever: -log sum over tags of p(k).

    Args:
        logits: B(K+1)HW, "generated" last.
        tags: BK bool, which classes the image holds; at least one.
        valid: BHW bool, False where a pixel takes no part.

    Returns:
        0-d: the mean over the valid pixels, 0 where there is none.
    """
    absent = torch.cat([~tags, torch.ones_like(tags[:, :1])], dim=1)[:, :, None, None]
    of_tags = logits.masked_fill(absent, -torch.inf).logsumexp(dim=1)
    return masked_mean(logits.logsumexp(dim=1) - of_tags, valid)
