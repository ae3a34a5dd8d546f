"""Supervised losses beside plain cross entropy, and the choice of one.

ohem      cross entropy of the hard pixels: Shrivastava et al., CVPR 2016,
          https://arxiv.org/abs/1604.03540, by pixels as in U2PL's and UniMatch's code
focal     Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002, over a softmax, without alpha
dice      Milletari et al., 3DV 2016, https://arxiv.org/abs/1606.04797, with sums instead of sums
          of squares, as in nnU-Net
lovasz    Lovasz-softmax: Berman et al., CVPR 2018, https://arxiv.org/abs/1705.08790, over the
          batch and the classes in its masks, as in the authors' code

For labels of which some are wrong: bootstrap, bootstrap_hard and symmetric (noisy_labels.py).

A batch without a valid pixel gives 0 and gradients of 0. Nothing waits for the device. Each takes
half precision and computes in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.noisy_labels import HARD_SHARE, SOFT_SHARE, bootstrap, symmetric
from semisup.losses.segmentation import (
    Divisor,
    cross_entropy,
    in_full_precision,
    mean_over_pixels,
    probabilities,
)
from semisup.ops.masks import one_hot
from semisup.system.distributed import sum_over_ranks, world
from semisup.types import IGNORE

Kind = Literal[
    "cross_entropy",
    "ohem",
    "focal",
    "dice",
    "lovasz",
    "cross_entropy+dice",
    "cross_entropy+lovasz",
    "bootstrap",
    "bootstrap_hard",
    "symmetric",
]


@dataclass(frozen=True, slots=True)
class SupervisedLoss:
    """The supervised loss that a recipe chooses, a `Criterion`.

    Attributes:
        kind: which; with + the sum of two.
        divisor: what a mean with class weights is divided by.
        ohem_threshold: as in `ohem`.
        ohem_min_kept: as in `ohem`.
        focal_gamma: as in `focal`.
        bootstrap_label_share: as in `bootstrap`; None: the paper's, of the soft or the hard form.
        symmetric_alpha: as in `symmetric`.
        symmetric_beta: as in `symmetric`.
    """

    kind: Kind = "cross_entropy"
    divisor: Divisor = "pixels"
    ohem_threshold: float = 0.7
    ohem_min_kept: int = 100_000
    focal_gamma: float = 2.0
    bootstrap_label_share: float | None = None
    symmetric_alpha: float = 0.1
    symmetric_beta: float = 1.0

    def __call__(
        self,
        logits: Tensor,
        mask: Tensor,
        *,
        class_weights: Tensor | None = None,
        border_weights: Tensor | None = None,
    ) -> Tensor:
        """Loss of one map.

        Args:
            logits: BKHW.
            mask: BHW int64, 0..K-1 and `IGNORE`.
            class_weights: K; None: all 1.
            border_weights: BHW, added to the weight of each pixel, but in the terms of dice and
                lovasz, which are of no pixel; None: all 0.

        Returns:
            0-d.
        """
        first, *others = self.kind.split("+")
        loss = self._term(first, logits, mask, class_weights, border_weights)
        for name in others:
            loss = loss + self._term(name, logits, mask, class_weights, border_weights)
        return loss

    def _term(
        self,
        name: str,
        logits: Tensor,
        mask: Tensor,
        class_weights: Tensor | None,
        border_weights: Tensor | None,
    ) -> Tensor:
        if name == "ohem":
            return ohem(
                logits,
                mask,
                class_weights=class_weights,
                border_weights=border_weights,
                divisor=self.divisor,
                threshold=self.ohem_threshold,
                min_kept=self.ohem_min_kept,
            )
        if name == "focal":
            return focal(
                logits,
                mask,
                class_weights=class_weights,
                border_weights=border_weights,
                divisor=self.divisor,
                gamma=self.focal_gamma,
            )
        if name in ("bootstrap", "bootstrap_hard"):
            hard, share = name == "bootstrap_hard", self.bootstrap_label_share
            published = HARD_SHARE if hard else SOFT_SHARE
            return bootstrap(
                logits,
                mask,
                class_weights=class_weights,
                border_weights=border_weights,
                divisor=self.divisor,
                label_share=published if share is None else share,
                hard=hard,
            )
        if name == "symmetric":
            return symmetric(
                logits,
                mask,
                class_weights=class_weights,
                border_weights=border_weights,
                divisor=self.divisor,
                alpha=self.symmetric_alpha,
                beta=self.symmetric_beta,
            )
        if name == "cross_entropy":
            return cross_entropy(
                logits,
                mask,
                class_weights=class_weights,
                border_weights=border_weights,
                divisor=self.divisor,
            )
        term = {"dice": dice, "lovasz": lovasz}[name]
        return term(logits, mask, class_weights=class_weights, divisor=self.divisor)


def ohem(
    logits: Tensor,
    mask: Tensor,
    *,
    class_weights: Tensor | None = None,
    border_weights: Tensor | None = None,
    divisor: Divisor = "pixels",
    threshold: float = 0.7,
    min_kept: int = 100_000,
) -> Tensor:
    """Mean cross entropy of the hard pixels of a batch (online hard example mining).

    Hard are those whose true class has a probability of at most `threshold`, and in any case the
    `min_kept` with the smallest ones; with fewer valid pixels than that, all are. Several processes
    keep their share of `min_kept` each, and the mean is over the pixels kept by all.

    Args:
        logits: BKHW.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K factors on the loss of the pixels of each class; the choice knows none.
        border_weights: BHW, added to the factor of each pixel; the choice knows none.
        divisor: of the mean with weights, over the pixels that are kept.
        threshold: in (0, 1].
        min_kept: pixels of a batch, above 0.

    Returns:
        0-d.
    """
    losses = _pixel_losses(logits, mask)
    valid = mask != IGNORE
    # Void pixels come last: their loss is 0, so their probability 1.
    true = losses.detach().neg().exp()
    most = min(max(1, min_kept // world()), true.numel())
    hardest = true.flatten().topk(most, largest=False, sorted=False).values.amax()
    kept = valid & (true <= hardest.clamp(min=threshold))
    return mean_over_pixels(losses, mask, kept, class_weights, border_weights, divisor)


def focal(
    logits: Tensor,
    mask: Tensor,
    *,
    class_weights: Tensor | None = None,
    border_weights: Tensor | None = None,
    divisor: Divisor = "pixels",
    gamma: float = 2.0,
) -> Tensor:
    """Mean of -(1 - p)^gamma log p, where p is the probability of a pixel's true class.

    Args:
        logits: BKHW.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K factors on the loss of the pixels of each class.
        border_weights: BHW, added to the factor of each pixel.
        divisor: of the mean with weights.
        gamma: how little easy pixels count, >= 0; with 0 it is the cross entropy.

    Returns:
        0-d.
    """
    losses = _pixel_losses(logits, mask)
    missing = -torch.expm1(-losses)  # 1 - p without cancellation
    # Above 0: for gamma below 1 the power has no finite slope there.
    factors = missing.clamp(min=torch.finfo(losses.dtype).tiny).pow(gamma)
    losses = factors * losses
    valid = mask != IGNORE
    return mean_over_pixels(losses, mask, valid, class_weights, border_weights, divisor)


def dice(
    logits: Tensor,
    mask: Tensor,
    *,
    class_weights: Tensor | None = None,
    divisor: Divisor = "pixels",
) -> Tensor:
    """Mean over the classes of 1 - 2 sum(p g) / (sum(p) + sum(g)).

    p are a class's probabilities and g is 1 where it is true; the sums are over the valid pixels of
    the batch, in all processes that share it. Classes that the masks of the batch lack are left out
    of the mean.

    Args:
        logits: BKHW.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K factors on the losses of the classes.
        divisor: "pixels": the mean is divided by the number of classes; "weights": by their
            weights.

    Returns:
        0-d.
    """
    valid = mask != IGNORE
    shares = probabilities(logits).masked_fill(~valid[:, None], 0.0)
    truth = one_hot(mask, logits.shape[1]).bool()
    pixels = sum_over_ranks(truth.sum((0, 2, 3)))
    overlap = _sum_over_batch((shares * truth).sum((0, 2, 3)))
    sizes = _sum_over_batch(shares.sum((0, 2, 3))) + pixels
    losses = 1 - 2 * overlap / sizes.clamp(min=1e-12)
    return _mean_over_classes(losses, pixels > 0, class_weights, divisor)


def lovasz(
    logits: Tensor,
    mask: Tensor,
    *,
    class_weights: Tensor | None = None,
    divisor: Divisor = "pixels",
) -> Tensor:
    """Mean over the classes of the Lovasz extension of 1 - IoU (Lovasz-softmax).

    Over the valid pixels of the batch. Classes that its masks lack are left out of the mean. Where
    several processes share a batch, each takes the pixels and the classes of its own images.

    Args:
        logits: BKHW.
        mask: BHW int64, 0..K-1 and `IGNORE`.
        class_weights: K factors on the losses of the classes.
        divisor: as in `dice`.

    Returns:
        0-d.
    """
    valid = mask != IGNORE
    truth = one_hot(mask, logits.shape[1]).bool()
    errors = (truth.to(torch.float32) - probabilities(logits)).abs()
    errors = errors.masked_fill(~valid[:, None], 0.0)
    # Class by class: what is sorted is large.
    losses = torch.stack(
        [
            (errors[:, k].flatten() * _slopes(errors[:, k].flatten(), truth[:, k].flatten())).sum()
            for k in range(logits.shape[1])
        ]
    )
    return _mean_over_classes(losses, truth.sum((0, 2, 3)) > 0, class_weights, divisor)


@torch.no_grad()
def _slopes(errors: Tensor, truth: Tensor) -> Tensor:
    """What each pixel's error adds to the Lovasz extension of 1 - IoU, per unit of the error.

    By how much 1 - IoU grows when the pixel joins those of larger errors, written out: differences
    of the IoU itself are lost to rounding on large maps.

    Args:
        errors: N, in [0, 1].
        truth: N bool.

    Returns:
        N.
    """
    order = errors.argsort(descending=True, stable=True)
    hit = truth[order]
    hits = hit.cumsum(0)
    pixels = truth.sum()
    place = torch.arange(1, len(errors) + 1, device=errors.device)
    union = (pixels + place - hits).to(errors.dtype)
    left = (pixels - hits).to(errors.dtype)
    slopes = torch.where(hit, 1 / union, left / (union * (union - 1).clamp(min=1)))
    return torch.zeros_like(slopes).scatter(0, order, slopes)


def _pixel_losses(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy of each pixel, BHW; 0 at void pixels."""
    return F.cross_entropy(in_full_precision(logits), mask, ignore_index=IGNORE, reduction="none")


def _mean_over_classes(
    losses: Tensor, present: Tensor, class_weights: Tensor | None, divisor: Divisor
) -> Tensor:
    """Mean of losses of classes (K) where `present`, by their weights."""
    counted = present.to(losses.dtype)
    factors = counted if class_weights is None else counted * class_weights
    total = factors.sum() if divisor == "weights" else counted.sum()
    return (losses * factors).sum() / total.clamp(min=1e-12)


def _sum_over_batch(values: Tensor) -> Tensor:
    """Sum over the processes that share a batch.

    Gradients are averaged over them, so that of this process is multiplied by their number.
    """
    if world() == 1:
        return values
    own = values * world()
    return own + (sum_over_ranks(values) - own).detach()
