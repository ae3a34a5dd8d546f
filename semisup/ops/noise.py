"""Instance noise: what is real and what is made are blurred before a judge sees them.

Two distributions of images, or of class maps, lie on thin surfaces that hardly touch, so that a
judge can part them without fail and teaches the maker nothing. Noise on both makes them overlap:
Sønderby et al. 2017, https://arxiv.org/abs/1610.04490; Arjovsky and Bottou 2017,
https://arxiv.org/abs/1701.04862.
"""

from __future__ import annotations

import torch
from torch import Tensor


def with_noise(tensor: Tensor, sigma: float, fraction: float) -> Tensor:
    """`tensor` and Gaussian noise that fades in a straight line over the run; gradients pass.

    Args:
        tensor: any shape, floating point.
        sigma: deviation of the noise at the start of the run; with 0 the tensor itself is given
            back and no random number drawn.
        fraction: share of the run that is behind, in [0, 1].
    """
    if sigma == 0:
        return tensor
    return tensor + sigma * (1.0 - fraction) * torch.randn_like(tensor)
