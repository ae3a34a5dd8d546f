"""Adversarial learning for semi-supervised semantic segmentation.

Hung, Tsai, Liou, Lin, Yang: "Adversarial Learning for Semi-Supervised Semantic Segmentation",
BMVC 2018, https://arxiv.org/abs/1802.07934

    S:  min  CE(S(x), y) + a BCE(D(S(x)), 1) + a' BCE(D(S(u)), 1)
             + s CE(S(u), argmax S(u)) where sigmoid(D(S(u))) > T
    D:  min  BCE(D(S(x)), 0) + BCE(D(onehot(y)), 1)

x, y are labelled images and masks, u unlabelled images. D is fully convolutional: a logit per
pixel says whether the class map there looks like ground truth. Where it does, S is taught its own
prediction. S takes probabilities (softmax) to D, ground truth goes in as one-hot.

S is stepped first. D has not moved in between, so its one look at S(x) gives both gradients,
exactly as two looks would.

Where the paper and the authors' code differ, `follows` chooses. In the paper D learns from labelled
images only. In the code it also sees predictions on unlabelled ones as fake, void pixels of the
ground truth are holes (all K channels 0), and crop padding of unlabelled images counts like any
pixel. The segmenter of the code, with its quirks, is a matter of the catalogue.

Differs from the paper, with `follows = "paper"`:
1. The self-taught term starts at a share of the run (0.25), not at step 5,000 of 20,000: the same
   moment for a run of the paper's length.
2. Crop padding of unlabelled images takes no part in any term.
3. The halves of D's loss are averaged, as in the code; the paper writes a sum.
4. Void pixels of the ground truth take S's own answer before they go into D. As all-zero columns,
   which the code leaves them, they are holes that only real maps have: VOC's outlines would give
   the truth away, and D would win by looking for them. They are in no loss either way.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from semisup.losses.adversarial import (
    binary_cross_entropy_map,
    one_hot,
    self_taught_loss,
    without_holes,
)
from semisup.losses.game import standing
from semisup.losses.segmentation import supervised_loss
from semisup.methods.base import (
    BuildSegmenter,
    Method,
    Update,
    require_not_negative,
    require_share,
)
from semisup.models.base import ParameterGroup
from semisup.models.discriminators import FullyConvolutionalDiscriminator
from semisup.types import IGNORE, Batch, Labelled, Progress, Scalars, Unlabelled

Judged = tuple[Tensor, Tensor]
"""D's logits B1HW, and BHW bool: which of them count."""


class Adversarial(Method):
    """Hung et al. 2018: segmenter against a fully convolutional discriminator.

    Args:
        build_segmenter: gives the network.
        num_classes: K.
        adversarial_weight: a, of the adversarial term on labelled images; >= 0.
        adversarial_weight_unlabelled: a', of the same term on unlabelled images; >= 0.
        self_taught_weight: s, of the self-taught term; >= 0.
        confidence_threshold: T in [0, 1]: pixels that D holds for true with more than this are
            taught. 0 takes all, 1 takes none.
        self_taught_start: share of the run after which the self-taught term acts; in [0, 1].
        discriminator_width: channels of D's first layer, doubled at each of the next three; 64 in
            the paper, less for small pictures and small machines.
        follows: the "paper" or the authors' "code", where they differ (see the head of this file).

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_adversarial: of S on labelled images; hovers around 0.7 (ln 2) while neither wins.
        loss_adversarial_unlabelled: the same on unlabelled images.
        loss_self_taught: cross entropy with its own argmax on trusted pixels; 0 before the start.
        self_taught_share: share of the unlabelled pixels that are trusted; between 0.2 and 0.8
            where the term helps. 0 for good means that D rejects everything.
        loss_discriminator: of D; near 0.7 it is blind, near 0 it has won.
        d_real: mean of sigmoid(D) on ground truth; above 0.5.
        d_fake: mean of sigmoid(D) on predictions; below 0.5.
        d_accuracy: share of the pixels of both that D judges rightly; 0.5 blind, 1 it has won.
    """

    streams = frozenset({"labelled", "unlabelled"})

    def __init__(
        self,
        build_segmenter: BuildSegmenter,
        num_classes: int,
        *,
        adversarial_weight: float = 0.01,
        adversarial_weight_unlabelled: float = 0.001,
        self_taught_weight: float = 0.1,
        confidence_threshold: float = 0.2,
        self_taught_start: float = 0.25,
        discriminator_width: int = 64,
        follows: Literal["paper", "code"] = "paper",
    ) -> None:
        super().__init__()
        require_not_negative(
            adversarial_weight=adversarial_weight,
            adversarial_weight_unlabelled=adversarial_weight_unlabelled,
            self_taught_weight=self_taught_weight,
        )
        require_share(
            confidence_threshold=confidence_threshold, self_taught_start=self_taught_start
        )
        self.num_classes = num_classes
        self.adversarial_weight = adversarial_weight
        self.adversarial_weight_unlabelled = adversarial_weight_unlabelled
        self.self_taught_weight = self_taught_weight
        self.confidence_threshold = confidence_threshold
        self.self_taught_start = self_taught_start
        self.follows = follows
        self.segmenter = build_segmenter()
        self.discriminator = FullyConvolutionalDiscriminator(num_classes, width=discriminator_width)

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate."""
        return {
            "segmenter": self.segmenter.parameter_groups(),
            "discriminator": [ParameterGroup(list(self.discriminator.parameters()))],
        }

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of the discriminator."""
        labelled = batch.labelled
        valid = labelled.mask != IGNORE
        maps = self.segmenter.training_logits(labelled.image)
        predicted = maps[0].softmax(dim=1)
        judged = self.discriminator(predicted)
        loss_segmentation = supervised_loss(maps, labelled.mask, self.segmenter.auxiliary_weights)
        loss_adversarial = binary_cross_entropy_map(judged, 1.0, valid)
        unlabelled, fakes = self._unlabelled_terms(batch.unlabelled, progress)
        update(
            "segmenter",
            loss_segmentation
            + self.adversarial_weight * loss_adversarial
            + self.adversarial_weight_unlabelled * unlabelled["loss_adversarial_unlabelled"]
            + self.self_taught_weight * unlabelled["loss_self_taught"],
            keep_graph=True,
        )
        fakes = [(judged, valid), *(fakes if self.follows == "code" else [])]
        reported = {
            "loss_segmentation": loss_segmentation,
            "loss_adversarial": loss_adversarial,
            **unlabelled,
            **self._step_discriminator(predicted.detach(), labelled, fakes, update),
        }
        return {name: value.detach() for name, value in reported.items()}

    def _unlabelled_terms(
        self, unlabelled: Unlabelled, progress: Progress
    ) -> tuple[dict[str, Tensor], list[Judged]]:
        """The adversarial and the self-taught term, not yet weighted, and D's look at them.

        The unlabelled images pass through S only where a term counts: batch statistics of a
        network that is trained on labels alone must not depend on them.
        """
        zero = unlabelled.image.new_zeros(())
        terms = {
            "loss_adversarial_unlabelled": zero,
            "loss_self_taught": zero,
            "self_taught_share": zero,
        }
        teach = self.self_taught_weight > 0 and progress.fraction >= self.self_taught_start
        if not teach and self.adversarial_weight_unlabelled == 0:
            return terms, []
        valid = unlabelled.valid if self.follows == "paper" else torch.ones_like(unlabelled.valid)
        logits = self.segmenter(unlabelled.image)
        judged = self.discriminator(logits.softmax(dim=1))
        terms["loss_adversarial_unlabelled"] = binary_cross_entropy_map(judged, 1.0, valid)
        if teach:
            terms["loss_self_taught"], terms["self_taught_share"] = self_taught_loss(
                logits, judged.detach(), self.confidence_threshold, valid
            )
        return terms, [(judged, valid)]

    def _step_discriminator(
        self, predicted: Tensor, labelled: Labelled, fakes: list[Judged], update: Update
    ) -> dict[str, Tensor]:
        """Teach D that predictions are fake and ground truth is real.

        Args:
            predicted: BKHW, the probabilities that S gives the labelled images.
            labelled: their truth.
            fakes: what D has said of predictions: its step may still use the graph.
            update: of the engine.
        """
        valid = labelled.mask != IGNORE
        truth = labelled.mask
        if self.follows == "paper":
            truth = without_holes(truth, predicted)
        real = self.discriminator(one_hot(truth, self.num_classes).to(predicted.dtype))
        fake, valid_fake = (torch.cat(parts) for parts in zip(*fakes, strict=True))
        loss = 0.5 * (
            binary_cross_entropy_map(fake, 0.0, valid_fake)
            + binary_cross_entropy_map(real, 1.0, valid)
        )
        update("discriminator", loss)
        stands = standing(real.squeeze(1), fake.squeeze(1), valid, valid_fake)
        return {"loss_discriminator": loss, **stands}

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """The confidence map of D on the prediction."""
        return {"discriminator": torch.sigmoid(self.discriminator(logits.softmax(dim=1)))}
