"""Scores of class maps together with their images, by a discriminator of whole images.

Mittal, Tatarchenko and Brox: "Semi-Supervised Semantic Segmentation with High- and Low-level
Consistency", TPAMI 2019, https://arxiv.org/abs/1908.05724.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from semisup.losses.discriminator_step import Scores
from semisup.losses.gan import DiscriminatorGame
from semisup.ops.masks import one_hot, without_holes
from semisup.ops.pixels import to_unit
from semisup.types import IGNORE, Labelled, Progress, Unlabelled

PairDiscriminator = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Class maps BKHW and images B3HW in [0, 1] -> logits B and features BC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScores(Scores):
    """What a discriminator says of pairs of a class map and an image: one logit for each.

    Attributes:
        features: BC, what the logits were computed from.
    """

    features: Tensor


def score_predictions(
    game: DiscriminatorGame,
    discriminator: PairDiscriminator,
    logits: Tensor,
    unlabelled: Unlabelled,
    progress: Progress,
) -> PairScores:
    """Scores of the segmenter's predictions (logits BKHW) and their images; gradients reach it."""
    maps = game.noisy(logits.softmax(dim=1), progress.fraction)
    shown, features = discriminator(*as_pair(maps, unlabelled.image, unlabelled.valid))
    known = unlabelled.valid.flatten(1).any(dim=1)
    return PairScores(logits=shown, weights=known, maps=maps, features=features)


def score_truth(
    game: DiscriminatorGame,
    discriminator: PairDiscriminator,
    logits: Tensor,
    labelled: Labelled,
    progress: Progress,
) -> PairScores:
    """Scores of ground truth and its images; its void pixels take the answer of `logits`, BKHW."""
    truth = one_hot(without_holes(labelled.mask, logits), logits.shape[1])
    known = (labelled.mask != IGNORE).flatten(1).any(dim=1)
    with game.real_input(truth.to(labelled.image), progress.fraction) as maps:
        shown, features = discriminator(*as_pair(maps, labelled.image, labelled.valid))
    return PairScores(logits=shown, weights=known, maps=maps, features=features)


def as_pair(maps: Tensor, image: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A pair as the discriminator sees it.

    Args:
        maps: BKHW, class maps.
        image: B3HW, normalised.
        valid: BHW bool, False where a crop was padded; None: nowhere.

    Returns:
        Maps BKHW and image B3HW in [0, 1], both 0 on padding.
    """
    image = to_unit(image)
    if valid is None:
        return maps, image
    padding = ~valid[:, None]
    return maps.masked_fill(padding, 0.0), image.masked_fill(padding, 0.0)
