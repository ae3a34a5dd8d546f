"""Scores of class maps by a discriminator of every pixel.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", BMVC 2018,
https://arxiv.org/abs/1802.07934.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.losses.discriminator_step import Scores
from semisup.losses.gan import DiscriminatorGame
from semisup.losses.segmentation import masked_mean
from semisup.ops.masks import one_hot, without_holes
from semisup.types import IGNORE, Labelled, Progress


@dataclass(frozen=True)
class PixelScores:
    """A discriminator of every pixel, and how class maps are shown to it.

    Attributes:
        game: its noise, its R1, and what a probability is.
        discriminator: class maps BKHW -> logits B1HW.
        holes: whether void pixels of the truth are shown as holes, 0 in all K channels, and not
            filled with the prediction.
    """

    game: DiscriminatorGame
    discriminator: Callable[[Tensor], Tensor]
    holes: bool = False

    def of_predictions(self, maps: Tensor, valid: Tensor, progress: Progress) -> Scores:
        """Scores of predictions; gradients reach the segmenter.

        Args:
            maps: BKHW, class probabilities.
            valid: BHW bool, which pixels count.
            progress: of the run.

        Returns:
            Whose maps are without the noise.
        """
        shown = self.game.noisy(maps, progress.fraction)
        return Scores(self.discriminator(shown).squeeze(1), valid, maps)

    def anew(self, parts: Sequence[Scores], progress: Progress) -> Scores:
        """Predictions scored before, joined, from a new forward pass on the same maps."""
        return joined([self.of_predictions(p.maps.detach(), p.weights, progress) for p in parts])

    def of_truth(self, mask: Tensor, predicted: Tensor, progress: Progress) -> Scores:
        """Scores of ground truth.

        Args:
            mask: BHW int64, 0..K-1 and `IGNORE`; void pixels count nowhere.
            predicted: BKHW, class probabilities, which fill the void pixels.
            progress: of the run.
        """
        filled = mask if self.holes else without_holes(mask, predicted)
        valid, truth = mask != IGNORE, one_hot(filled, predicted.shape[1])
        with self.game.real_input(truth.to(predicted.dtype), progress.fraction) as shown:
            return Scores(self.discriminator(shown).squeeze(1), valid, shown, valid[:, None])

    def without_softness(
        self, segmenter: Callable[[Tensor], Tensor], labelled: Labelled
    ) -> dict[str, Tensor]:
        """What is said of predictions that have lost their softness, errors and all.

        Args:
            segmenter: image BCHW -> logits BKHW.
            labelled: images and masks; void pixels count nowhere.

        Returns:
            `d_hard`: the mean probability of "ground truth" for the one-hot argmax, without noise;
            0-d.
        """
        logits = segmenter(labelled.image)
        hard = one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)
        found = self.game.probability(self.discriminator(hard).squeeze(1).float())
        return {"d_hard": masked_mean(found, labelled.mask != IGNORE)}


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
