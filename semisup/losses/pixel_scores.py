"""Scores of class maps by a discriminator of every pixel.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", BMVC 2018,
https://arxiv.org/abs/1802.07934.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from semisup.losses.discriminator_step import Scores
from semisup.losses.gan import DiscriminatorGame
from semisup.losses.segmentation import masked_mean
from semisup.ops.masks import one_hot, without_holes
from semisup.types import IGNORE, Progress

PixelDiscriminator = Callable[[Tensor], Tensor]
"""Class maps BKHW -> logits B1HW."""


def of_predictions(
    game: DiscriminatorGame,
    discriminator: PixelDiscriminator,
    maps: Tensor,
    valid: Tensor,
    progress: Progress,
) -> Scores:
    """Scores of predictions; gradients reach the segmenter.

    Args:
        game: its noise.
        discriminator: of pixels.
        maps: BKHW, class probabilities.
        valid: BHW bool, which pixels count.
        progress: of the run.

    Returns:
        Whose maps are without the noise.
    """
    shown = game.noisy(maps, progress.fraction)
    return Scores(discriminator(shown).squeeze(1), valid, maps)


def of_truth(
    game: DiscriminatorGame,
    discriminator: PixelDiscriminator,
    mask: Tensor,
    predicted: Tensor,
    progress: Progress,
    *,
    holes: bool = False,
) -> Scores:
    """Scores of ground truth.

    Args:
        game: its noise, and R1.
        discriminator: of pixels.
        mask: BHW int64, 0..K-1 and `IGNORE`; void pixels count nowhere.
        predicted: BKHW, class probabilities, which fill the void pixels.
        progress: of the run.
        holes: whether void pixels are shown as holes, 0 in all K channels, and not filled.
    """
    filled = mask if holes else without_holes(mask, predicted)
    valid, truth = mask != IGNORE, one_hot(filled, predicted.shape[1])
    with game.real_input(truth.to(predicted.dtype), progress.fraction) as shown:
        return Scores(discriminator(shown).squeeze(1), valid, shown, valid[:, None])


def joined(parts: Sequence[Scores]) -> Scores:
    """Scores of predictions for several batches, whose sizes may differ, as those of one batch.

    Args:
        parts: at least one; with bool weights.

    Returns:
        All logits in a row, so that a mean is over the pixels of all; the maps are the first's, for
        nothing is asked of those of predictions.
    """
    if len(parts) == 1:
        return parts[0]
    logits = torch.cat([part.logits.flatten() for part in parts])
    weights = torch.cat([part.weights.flatten() for part in parts])
    return Scores(logits, weights, parts[0].maps)


def without_softness(
    game: DiscriminatorGame, discriminator: PixelDiscriminator, logits: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """What a discriminator says of predictions that have lost their softness, errors and all.

    Args:
        game: says what a probability is.
        discriminator: of pixels.
        logits: BKHW, of the segmenter.
        mask: BHW int64, void pixels count nowhere.

    Returns:
        `d_hard`: the mean probability of "ground truth" for the one-hot argmax, without noise; 0-d.
    """
    hard = one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)
    found = game.probability(discriminator(hard).squeeze(1).float())
    return {"d_hard": masked_mean(found, mask != IGNORE)}
