"""The update of a discriminator of class maps: prediction is fake, ground truth is real.

D:  min  1/2 [mean loss of "fake" on predictions + mean loss of "real" on ground truth] + R1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.losses.gan import DiscriminatorGame
from semisup.losses.segmentation import masked_mean, weighted_mean
from semisup.types import Update


@dataclass(frozen=True, slots=True)
class Scores:
    """What a discriminator says of class maps.

    Attributes:
        logits: any shape with B first; high where the maps pass for ground truth.
        weights: what each logit counts, of that shape: bool, or >= 0.
        maps: BKHW, as the discriminator was shown them; of predictions, without the noise.
        places: bool, of the shape of `maps` but for sides of 1: where the gradients of R1 count;
            None: everywhere.
    """

    logits: Tensor
    weights: Tensor
    maps: Tensor
    places: Tensor | None = None

    def mean(self, losses: Tensor) -> Tensor:
        """Mean of losses of the shape of the logits, 0-d."""
        by = masked_mean if self.weights.dtype == torch.bool else weighted_mean
        return by(losses, self.weights)


def update_discriminator(
    game: DiscriminatorGame,
    update: Update,
    fake: Scores,
    real: Scores,
    again: Callable[[], tuple[Scores, Scores]],
    *,
    player: str = "discriminator",
) -> dict[str, Tensor]:
    """All updates of a discriminator in one step of training.

    Args:
        game: its loss, its stabilisers, and how many updates.
        update: of the step.
        fake: scores of predictions. Their graph may be the one of the segmenter's update, which
            must have kept it: the discriminator's weights have not changed since.
        real: scores of ground truth.
        again: a new forward pass on the same maps, without a graph into the segmenter, for every
            update after the first: scores of predictions and of ground truth.
        player: whose parameters move.

    Returns:
        Of the first update: `loss_{player}`, `loss_gradient_penalty` and the statistics of
        `Game.statistics`; 0-d.
    """
    reported = _update_once(game, update, fake, real, player)
    for _ in range(game.discriminator_updates - 1):
        _update_once(game, update, *again(), player)
    return reported


def _update_once(
    game: DiscriminatorGame, update: Update, fake: Scores, real: Scores, player: str
) -> dict[str, Tensor]:
    loss = 0.5 * (fake.mean(game.fake(fake.logits)) + real.mean(game.real(real.logits)))
    penalty = game.penalty(real.logits, real.maps, real.weights, real.places)
    update(player, loss + penalty)
    return {
        f"loss_{player}": loss,
        "loss_gradient_penalty": penalty,
        **game.statistics(real.logits, fake.logits, real.weights > 0, fake.weights > 0),
    }
