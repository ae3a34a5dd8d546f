"""Dense conditional random field: every pixel of an image speaks to every other one.

Kraehenbuehl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge
potentials", NIPS 2011, https://arxiv.org/abs/1210.5644.

The energy of a labelling x of the pixels i, at p_i with colours I_i, is

    E(x) = sum_i -log P_i(x_i) + sum_{i<j} [x_i != x_j] (w1 a(i, j) + w2 s(i, j))
    a(i, j) = exp(-|p_i - p_j|^2 / 2 appearance_sigma^2 - |I_i - I_j|^2 / 2 colour_sigma^2)
    s(i, j) = exp(-|p_i - p_j|^2 / 2 smoothness_sigma^2)

with the network's P, and is minimised in the mean-field approximation: all marginals at once,

    Q_i(k) <- softmax over k of  log P_i(k) + w1 sum_j a(i, j) Q_j(k) + w2 sum_j s(i, j) Q_j(k)

which starts at Q = P. (The Potts term is written as what equal labels earn instead of what
different ones cost: a constant of the pixel.)

Two things differ from the text of the paper. Weights in the literature are meant for the authors'
published program, which has both, so here too:

- Each kernel a, s is normalised symmetrically, D^-1/2 K D^-1/2 with D_i = sum_j K(i, j). So a
  weight does not depend on the size of the image, and the messages stay symmetric.
- The sums hold j = i: a pixel messages itself, and D counts it. The matrix then has no negative
  eigenvalue, and no approximation of K need know its own diagonal. On most pixels it is a small
  share of the message. A pixel whose colour is like no other's hears mainly itself.

The smoothness kernel is separable and summed exactly, along one axis and then the other. Of the
appearance kernel the sums are exact over all pairs for images of up to `EXACT_PIXELS`, or at any
size if asked; else they are made on a permutohedral lattice (`ops/lattice.py`).

What the lattice costs in accuracy, measured with `benchmarks/crf.py` after 10 iterations with 21
classes, on six photographs of VOC at a quarter of their size and of the position sigmas: from all
pairs the marginals of a pixel differ by 0.0006 to 0.0019 (total variation, mean over the image),
and 99.77 to 99.95 % of the labels are the same. The tests allow 0.005 and 99 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from semisup.ops.crf_settings import CrfSettings as CrfSettings
from semisup.ops.lattice import Lattice

EXACT_PIXELS = 4096
"""Images of up to so many pixels are exact without asking: their kernel, 64 MiB, is kept."""

_TINY = 1e-20
"""Marginals are held above it, and kernels above exp(-40): a smaller product is a denormal number,
on which a CPU is several times slower."""

_LOWEST_EXPONENT = -40.0

_STRIP = 32
"""Rows that the smoothness kernel is applied to at a time: it is zero far from them."""

_SIGMAS = 6.0
"""Where it is taken as zero: what lies beyond is less than 1e-8 of the whole."""

Message = Callable[[Tensor], Tensor]
"""Marginals HWK -> for each pixel and class, the normalised sum over all pixels."""


@torch.no_grad()
def dense_crf(logits: Tensor, images: Tensor, settings: CrfSettings) -> Tensor:
    """Refine the scores of images by what their pixels look like.

    One image after the other, so that an image's scores do not depend on its batch, and memory
    does not grow with it.

    Args:
        logits: BKHW float32 or float64; of probabilities, their logarithm.
        images: B3HW RGB in 0..255, uint8 or floating point, on the same device.
        settings: the parameters.

    Returns:
        BKHW, logits too: their softmax are the marginals. Without weights they are `logits`.
    """
    assert images.shape == (len(logits), 3, *logits.shape[2:]), (images.shape, logits.shape)
    unary = logits.permute(0, 2, 3, 1).contiguous()
    scores = [_mean_field(*pair, settings) for pair in zip(unary, images, strict=True)]
    return torch.stack(scores).permute(0, 3, 1, 2)


def _mean_field(unary: Tensor, image: Tensor, settings: CrfSettings) -> Tensor:
    """Scores HWK of one image, from its logits HWK and its picture 3HW."""
    messages = list(_messages(image.to(unary.dtype), settings))
    scores = unary
    for _ in range(settings.iterations if messages else 0):
        marginals = scores.softmax(-1).clamp_(min=_TINY)
        scores = unary
        for weight, message in messages:
            heard = message(marginals)
            scores = torch.add(scores, heard, alpha=weight, out=heard)
    return scores


def _messages(image: Tensor, settings: CrfSettings) -> Iterator[tuple[float, Message]]:
    if settings.smoothness_weight:
        yield settings.smoothness_weight, _smoothness(image, settings.smoothness_sigma)
    if settings.appearance_weight:
        yield settings.appearance_weight, _appearance(image, settings)


def _smoothness(image: Tensor, sigma: float) -> Message:
    rows, columns = (_axis_kernel(side, sigma, image) for side in image.shape[-2:])
    reach = int(min(_SIGMAS * sigma, max(image.shape))) + 1

    def message(marginals: Tensor) -> Tensor:
        down = _along(marginals.flatten(1), rows, reach).view_as(marginals)
        return _along(down, columns, reach)

    return message


def _axis_kernel(length: int, sigma: float, like: Tensor) -> Tensor:
    """The normalised kernel of one axis: the D of a product of kernels is the product of theirs."""
    place = torch.arange(length, dtype=torch.float64, device=like.device)
    kernel = (-((place[:, None] - place) ** 2) / (2 * sigma**2)).exp()
    scale = kernel.sum(1).rsqrt()
    return (scale[:, None] * kernel * scale).to(like.dtype)


def _along(values: Tensor, kernel: Tensor, reach: int) -> Tensor:
    """`kernel` times `values` along their last dimension but one."""
    out = torch.empty_like(values)
    for start in range(0, len(kernel), _STRIP):
        rows = slice(start, start + _STRIP)
        seen = slice(max(0, start - reach), start + _STRIP + reach)
        out[..., rows, :] = kernel[rows, seen] @ values[..., seen, :]
    return out


def _appearance(image: Tensor, settings: CrfSettings) -> Message:
    features = bilateral_features(image, settings.appearance_sigma, settings.colour_sigma)
    exact = settings.exact or len(features) <= EXACT_PIXELS
    total: Message = AllPairs(features) if exact else Lattice(features)
    scale = total(features.new_ones(len(features), 1)).rsqrt()

    def message(marginals: Tensor) -> Tensor:
        return total(marginals.flatten(0, 1) * scale).mul_(scale).view_as(marginals)

    return message


def bilateral_features(image: Tensor, sigma: float, colour_sigma: float) -> Tensor:
    """N x 5: position and colour of each pixel in standard deviations, around their mean."""
    height, width = image.shape[-2:]
    y = torch.arange(height, dtype=image.dtype, device=image.device)
    x = torch.arange(width, dtype=image.dtype, device=image.device)
    place = torch.stack(torch.meshgrid(y, x, indexing="ij")) / sigma
    features = torch.cat([place, image / colour_sigma]).flatten(1).T
    return (features - features.mean(0)).contiguous()


class AllPairs:
    """Sums over all points, weighted by a Gaussian of their distance, pair by pair.

    Above `EXACT_PIXELS` points the pairs are made anew each time, a tile after the other: 2^20 of
    them on a CPU (4 MiB of float32), 2^26 on a GPU.

    Args:
        features: N x d floating point, in units of the standard deviation, near 0.
    """

    def __init__(self, features: Tensor) -> None:
        half = features.square().sum(1, keepdim=True) / 2
        one = torch.ones_like(half)
        self._left = torch.cat([features, -half, one], 1)
        self._right = torch.cat([features, one, -half], 1).T.contiguous()
        every = slice(None)
        self._kernel = self._tile(every, every) if len(features) <= EXACT_PIXELS else None

    def __call__(self, values: Tensor) -> Tensor:
        """N x K -> N x K, the weighted sums."""
        if self._kernel is not None:
            return self._kernel @ values
        total = torch.zeros_like(values)
        side = 1 << (13 if values.is_cuda else 10)
        parts = [slice(start, start + side) for start in range(0, len(values), side)]
        for rows in parts:
            for columns in parts:
                total[rows].addmm_(self._tile(rows, columns), values[columns])
        return total

    def _tile(self, rows: slice, columns: slice) -> Tensor:
        """exp(-|f_i - f_j|^2 / 2) for some i and j, by the inner product of f_i and f_j."""
        exponent = self._left[rows] @ self._right[:, columns]
        return exponent.clamp_(_LOWEST_EXPONENT, 0.0).exp_()
