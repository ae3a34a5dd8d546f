"""Sums over all pairs of pixels whose kernel is known only by what it makes of values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
"""Values -> their sums over all pixels by a symmetric kernel, of the same shape."""


def quadratic(values: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """v_i (Wv)_i of each pixel, whose sum over the pixels is v^T W v, and Wv itself.

    W is symmetric, so the gradient of the sum is 2 W v, which is known with the value: the kernel
    is applied once, and no gradient passes through it.

    Args:
        values: of any shape; float32 or float64.
        kernel: W, linear and symmetric; may compute in place, but not on its argument.

    Returns:
        Two of the shape of `values`; the second without gradient.
    """
    known = values.detach()
    # Autocast would leave products of matrices in half precision.
    with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
        sums = kernel(known)
    return (2 * values - known) * sums, sums
