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
from semisup.losses.pseudo_labels import exceeds, pseudo_labels_where
from semisup.losses.segmentation import masked_mean
from semisup.models.adversarial.discriminators import ImageDiscriminator
from semisup.models.layers import resize
from semisup.ops.masks import one_hot, without_holes
from semisup.ops.pixels import to_unit
from semisup.types import IGNORE, Batch, Labelled, Progress, Unlabelled

PAIR_SCALARS = (
    "loss_feature_matching",
    "loss_self_taught",
    "self_taught_share",
    "loss_discriminator",
    "loss_gradient_penalty",
    "d_real",
    "d_fake",
    "d_accuracy",
)
"""What a method with such a discriminator reports of it; 0 where a term is off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScores(Scores):
    """What a discriminator says of pairs of a class map and an image: one logit for each.

    Attributes:
        features: BC, what the logits were computed from.
    """

    features: Tensor


@dataclass(frozen=True)
class Pairs:
    """A discriminator of class maps with their images, and how both are shown to it.

    Attributes:
        game: its noise, its R1, and what a probability is.
        discriminator: class maps BKHW and images B3HW in [0, 1] -> logits B and features BC.
    """

    game: DiscriminatorGame
    discriminator: ImageDiscriminator

    def scores(
        self, logits: Tensor, labelled_logits: Tensor, batch: Batch, progress: Progress
    ) -> tuple[PairScores, PairScores]:
        """Scores of predictions on the unlabelled images, and of ground truth.

        Args:
            logits: BKHW, of the unlabelled images; gradients reach the segmenter.
            labelled_logits: BKHW, which fill the void pixels of ground truth.
            batch: labelled and unlabelled images.
            progress: of the run.
        """
        return (
            self.of_predictions(logits, batch.unlabelled, progress),
            self.of_truth(labelled_logits, batch.labelled, progress),
        )

    def of_predictions(
        self, logits: Tensor, unlabelled: Unlabelled, progress: Progress
    ) -> PairScores:
        """Scores of predictions (logits BKHW) and their images; gradients reach the segmenter."""
        maps = self.game.noisy(logits.softmax(dim=1), progress.fraction)
        shown, features = self.discriminator(*as_pair(maps, unlabelled.image, unlabelled.valid))
        return PairScores(logits=shown, weights=_known(unlabelled), maps=maps, features=features)

    def of_truth(self, logits: Tensor, labelled: Labelled, progress: Progress) -> PairScores:
        """Scores of ground truth and its images; void pixels take the answer of `logits`, BKHW."""
        truth = one_hot(without_holes(labelled.mask, logits), logits.shape[1])
        known = (labelled.mask != IGNORE).flatten(1).any(dim=1)
        with self.game.real_input(truth.to(labelled.image), progress.fraction) as maps:
            shown, features = self.discriminator(*as_pair(maps, labelled.image, labelled.valid))
        return PairScores(logits=shown, weights=known, maps=maps, features=features)

    def without_softness(
        self, segmenter: Callable[[Tensor], Tensor], unlabelled: Unlabelled
    ) -> dict[str, Tensor]:
        """What is said of predictions that have lost their softness, errors and all.

        Args:
            segmenter: image B3HW -> logits BKHW.
            unlabelled: images; those that are all padding count nowhere.

        Returns:
            `d_hard`: the mean probability of "ground truth" for the one-hot argmax, without noise;
            0-d.
        """
        logits = segmenter(unlabelled.image)
        hard = one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)
        found, _ = self.discriminator(*as_pair(hard, unlabelled.image, unlabelled.valid))
        return {"d_hard": masked_mean(self.game.probability(found.float()), _known(unlabelled))}

    def pseudo_labels(
        self, logits: Tensor, image: Tensor, valid: Tensor | None, threshold: float
    ) -> Tensor:
        """The segmenter's own classes on the images that are accepted, void on others.

        Args:
            logits: BKHW.
            image: B3HW, normalised.
            valid: BHW bool, False where a crop was padded; None: nowhere.
            threshold: see `exceeds`.

        Returns:
            BHW int64, 0..K-1 and `IGNORE`.
        """
        scores, _ = self.discriminator(*as_pair(logits.softmax(dim=1), image, valid))
        accepted = exceeds(scores, threshold, self.game.loss)
        return pseudo_labels_where(logits, accepted[:, None, None].expand(-1, *logits.shape[-2:]))

    def picture(self, logits: Tensor, labelled: Labelled) -> Tensor:
        """Where predictions (logits BKHW) are held for true: B1HW in [0, 1].

        The score of a pair is the mean of the logits of this map.
        """
        pair = as_pair(logits.softmax(dim=1), labelled.image, labelled.valid)
        places = self.discriminator.places(*pair)
        return self.game.probability(resize(places, logits.shape[-2:]))


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


def _known(unlabelled: Unlabelled) -> Tensor:
    """Which images, B bool, are not all padding."""
    return unlabelled.valid.flatten(1).any(dim=1)
