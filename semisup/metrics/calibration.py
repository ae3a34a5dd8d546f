"""Whether predictions are right as often as their probabilities say."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15
"""Of equal width, as in Guo et al., "On Calibration of Modern Neural Networks", 2017."""


def calibration_counts(confidence: Tensor, right: Tensor) -> Tensor:
    """What predictions add to their bins; counts of several batches are added up.

    Args:
        confidence: N, probability of each prediction, in [0, 1].
        right: N bool.

    Returns:
        3 x `BINS` float64 on the CPU: predictions, right ones, and the sum of their probabilities.
    """
    confidence, right = confidence.detach().cpu().double(), right.cpu()
    place = (confidence * BINS).long().clamp(max=BINS - 1)  # 1 belongs to the last bin
    parts = (torch.ones_like(confidence), right.double(), confidence)
    return torch.stack([torch.bincount(place, part, minlength=BINS) for part in parts])


def calibration_error(counts: Tensor) -> float:
    """Expected calibration error: |accuracy - mean probability| of each bin, by its predictions.

    0 where in each bin as many are right as their probabilities say; NaN without predictions.

    Args:
        counts: as of `calibration_counts`.
    """
    predictions, right, confidence = counts
    return float((right - confidence).abs().sum() / predictions.sum())
