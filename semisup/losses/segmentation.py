"""Losses against ground truth, in which void pixels take no part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.system.distributed import sum_over_ranks, world
from semisup.types import IGNORE

Divisor = Literal["pixels", "weights"]
"""What a loss with class weights is divided by: the number of valid pixels, or their weights."""


class Criterion(Protocol):
    """A loss of one map of logits against masks."""

    def __call__(
        self,
        logits: Tensor,
        mask: Tensor,
        *,
        class_weights: Tensor | None = None,
        border_weights: Tensor | None = None,
    ) -> Tensor:
        """Args as of `cross_entropy`; 0-d."""


def cross_entropy(
    logits: Tensor,
    mask: Tensor,
    *,
    class_weights: Tensor | None = None,
    border_weights: Tensor | None = None,
    divisor: Divisor = "pixels",
    reduction: Literal["mean", "sum"] = "mean",
) -> Tensor:
    """Cross-entropy of each pixel's class, void pixels left out.

    The mean divides by the number of valid pixels, with class weights too: Caffe's rule, by which
    FCN and SegNet were trained. For losses a, b of two pixels with weights 1 and 3 that is
    (a + 3b) / 2, where torch's own weighted mean, which divides by the weights, is (a + 3b) / 4:
    `divisor="weights"`.
    A batch without a valid pixel gives 0 and gradients of 0. Nothing waits for the device. Where
    several processes share a batch, the mean of their losses is the loss of the whole batch.

    Args:
        logits: BKHW.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K factors on the loss of the pixels of each class; None is 1 for all.
        border_weights: BHW, added to the factor of each pixel's class; None is 0 for all.
        divisor: of the mean with weights.
        reduction: "mean" over the valid pixels of the batch, or "sum" over them: FCN's unnormalised
            loss (Shelhamer et al. 2017).

    Returns:
        0-d.
    """
    by_class = class_weights if border_weights is None else None
    losses = F.cross_entropy(logits, mask, weight=by_class, ignore_index=IGNORE, reduction="none")
    if border_weights is not None:
        losses = losses * pixel_weights(mask, class_weights, border_weights)
    # Summed here: torch has no deterministic form of its own sum over maps on a GPU.
    total = losses.sum()
    if reduction == "sum":
        return total * world()
    if divisor == "weights" and not (class_weights is None and border_weights is None):
        return total / total_over_ranks(pixel_weights(mask, class_weights, border_weights))
    return total / count(mask != IGNORE)


def pixel_weights(
    mask: Tensor, class_weights: Tensor | None, border_weights: Tensor | None = None
) -> Tensor:
    """The weight of each pixel: that of its true class, and its own; 0 at void pixels.

    Args:
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K; None: 1 for all.
        border_weights: BHW, added; None: 0 for all.

    Returns:
        BHW.
    """
    void = mask == IGNORE
    if class_weights is not None:
        weights = class_weights[mask.masked_fill(void, 0)]
    else:
        weights = torch.ones((), device=mask.device).expand(mask.shape)
    if border_weights is not None:
        weights = weights + border_weights
    return weights.masked_fill(void, 0.0)


def weights_by_confidence(
    mask: Tensor,
    confidence: Tensor,
    class_weights: Tensor | None,
    border_weights: Tensor | None = None,
) -> Tensor:
    """`border_weights` by which each pixel has `confidence` times the weight that it would have.

    Args:
        mask: BHW int64, 0..K-1 and `IGNORE`.
        confidence: BHW, in [0, 1].
        class_weights: as in `pixel_weights`.
        border_weights: as in `pixel_weights`.

    Returns:
        BHW, at most 0 where there are no `border_weights`.
    """
    whole = pixel_weights(mask, class_weights, border_weights)
    return confidence * whole - pixel_weights(mask, class_weights)


def supervised_loss(
    maps: Sequence[Tensor],
    mask: Tensor,
    auxiliary_weights: Sequence[float] = (),
    *,
    class_weights: Tensor | None = None,
    border_weights: Tensor | None = None,
    criterion: Criterion = cross_entropy,
) -> Tensor:
    """Loss of a network's main map and, weighted, of its auxiliary ones.

    Args:
        maps: BKHW logits, the main map first, as `Segmenter.training_logits` gives them.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        auxiliary_weights: one factor for each map after the first.
        class_weights: as in `cross_entropy`.
        border_weights: as in `cross_entropy`.
        criterion: the loss of one map.

    Returns:
        0-d.
    """
    weights = (1.0, *auxiliary_weights)
    assert len(maps) == len(weights), (len(maps), auxiliary_weights)
    losses = (
        criterion(logits, mask, class_weights=class_weights, border_weights=border_weights)
        for logits in maps
    )
    return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()


def in_full_precision(logits: Tensor) -> Tensor:
    """In float32 at least: autocast leaves a softmax in half precision on a CPU."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes (BKHW), in float32 at least."""
    return in_full_precision(logits).softmax(dim=1)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of `values` where `valid`; 0, with gradients of 0, where nothing is.

    Args:
        values: any shape.
        valid: bool, of the same shape.

    Returns:
        0-d.
    """
    assert values.shape == valid.shape, (values.shape, valid.shape)
    return values.masked_fill(~valid, 0.0).sum() / count(valid)


def count(valid: Tensor) -> Tensor:
    """What a sum over the pixels of this process is divided by for a mean over valid pixels.

    Where several processes share a batch, their gradients are averaged. For that to be the gradient
    of the mean over the whole batch, whichever process its void pixels fall to, this is the mean of
    their numbers of valid pixels. All processes must call it.

    Args:
        valid: bool, any shape.

    Returns:
        0-d, above 0.
    """
    pixels = sum_over_ranks(valid.sum()).clamp(min=1)
    return pixels if world() == 1 else pixels / world()


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of `values` by `weights` >= 0; 0, with gradients of 0, where all weights are 0.

    Where several processes share a batch, the mean of their results is that of the whole batch.

    Args:
        values: any shape.
        weights: of the same shape.

    Returns:
        0-d.
    """
    return (values * weights).sum() / total_over_ranks(weights)


def total_over_ranks(weights: Tensor) -> Tensor:
    """What a weighted sum over the pixels of this process is divided by for a weighted mean.

    All processes must call it, as `count`.

    Args:
        weights: >= 0, any shape.

    Returns:
        0-d, above 0.
    """
    total = sum_over_ranks(weights.sum()) / world()
    return total.clamp(min=1e-12)


def mean_over_pixels(
    losses: Tensor,
    mask: Tensor,
    kept: Tensor,
    class_weights: Tensor | None,
    border_weights: Tensor | None,
    divisor: Divisor,
) -> Tensor:
    """Mean of losses of pixels where `kept`, by their weights; 0 where nothing is kept.

    Args:
        losses: BHW, finite at void pixels too.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        kept: BHW bool.
        class_weights: as in `pixel_weights`.
        border_weights: as in `pixel_weights`.
        divisor: of the mean with weights.

    Returns:
        0-d.
    """
    if class_weights is None and border_weights is None:
        return masked_mean(losses, kept)
    weights = pixel_weights(mask, class_weights, border_weights)
    if divisor == "weights":
        return weighted_mean(losses, weights.masked_fill(~kept, 0.0))
    return masked_mean(losses * weights, kept)
