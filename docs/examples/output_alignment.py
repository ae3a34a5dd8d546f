"""Output-space alignment: predictions on unlabelled images shall look like those on labelled ones.

Tsai et al., "Learning to Adapt Structured Output Space for Semantic Segmentation", CVPR 2018,
https://arxiv.org/abs/1802.10349

    S:  min  CE(S(x), y) + a BCE(D(S(u)), 1)
    D:  min  BCE(D(S(x)), 1) + BCE(D(S(u)), 0)

Differs from the paper: one level of outputs instead of two; x and u come from one data set; a is
0.01 by default and not 0.001.
"""

from __future__ import annotations

from torch import Tensor

import semisup
from semisup.losses.gan import Game
from semisup.losses.segmentation import masked_mean
from semisup.methods.base import Method, Task, require_not_negative
from semisup.models.adversarial.discriminators import FullyConvolutionalDiscriminator
from semisup.models.base import ParameterGroup
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Update


class OutputAlignment(Method):
    """Tsai et al. 2018: a discriminator tells labelled from unlabelled images by their predictions.

    Args:
        task: network and classes.
        adversarial_weight: a, of the adversarial term; >= 0.
        discriminator_width: channels of the first layer of D.
        game: loss of the game; its noise and its penalty are not used here.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_adversarial: of S on unlabelled images; near 0.7 (ln 2) while D cannot tell.
        loss_discriminator: of D, summed over its two halves; near 1.4 while it cannot tell.
    """

    reads = Reads(unlabelled=True)

    def __init__(
        self,
        task: Task,
        *,
        adversarial_weight: float = 0.01,
        discriminator_width: int = 64,
        game: Game = Game(),
    ) -> None:
        super().__init__()
        require_not_negative(adversarial_weight=adversarial_weight)
        self.num_classes = task.num_classes
        self.adversarial_weight = adversarial_weight
        self.game = game
        self.segmenter = task.build_segmenter()
        self.discriminator = FullyConvolutionalDiscriminator(
            task.num_classes, width=discriminator_width
        )

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate."""
        return {
            "segmenter": self.segmenter.parameter_groups(),
            "discriminator": [ParameterGroup(list(self.discriminator.parameters()))],
        }

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of the discriminator."""
        labelled, unlabelled = batch.labelled, batch.unlabelled
        known = labelled.mask != IGNORE

        maps = self.segmenter.training_logits(labelled.image)
        loss_segmentation = self.supervised_loss(maps, labelled)
        free = self._predict(unlabelled.image)
        loss_adversarial = masked_mean(self.game.fool(self._score(free)), unlabelled.valid)
        update("segmenter", loss_segmentation + self.adversarial_weight * loss_adversarial)

        bound = maps[0].detach().softmax(dim=1)
        loss_discriminator = masked_mean(self.game.real(self._score(bound)), known) + masked_mean(
            self.game.fake(self._score(free.detach())), unlabelled.valid
        )
        update("discriminator", loss_discriminator)
        return {
            "loss_segmentation": loss_segmentation.detach(),
            "loss_adversarial": loss_adversarial.detach(),
            "loss_discriminator": loss_discriminator.detach(),
        }

    def _score(self, maps: Tensor) -> Tensor:
        """Logits BHW of D for class maps BKHW."""
        return self.discriminator(maps).squeeze(1)

    def _predict(self, image: Tensor) -> Tensor:
        """Class probabilities BKHW; uniform where the term is off.

        The network must not see unlabelled images then: they would move its batch statistics.
        """
        if self.adversarial_weight > 0:
            probabilities: Tensor = self.segmenter(image).softmax(dim=1)
            return probabilities
        batch, _, height, width = image.shape
        return image.new_full((batch, self.num_classes, height, width), 1 / self.num_classes)


semisup.register("output_alignment", OutputAlignment)
