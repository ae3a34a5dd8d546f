"""Adversarial learning for semi-supervised semantic segmentation.

Hung, Tsai, Liou, Lin, Yang: "Adversarial Learning for Semi-Supervised Semantic Segmentation",
BMVC 2018, https://arxiv.org/abs/1802.07934

    S:  min  CE(S(x), y) + a BCE(D(S(x)), 1) + a' BCE(D(S(u)), 1)
             + s CE(S(u), argmax S(u)) where sigmoid(D(S(u))) > T
    D:  min  BCE(D(S(x)), 0) + BCE(D(onehot(y)), 1)

x, y are labelled images and masks, u unlabelled images. D is fully convolutional: a logit per
pixel says whether the class map there looks like ground truth. Where it does, S is taught its own
prediction. S takes probabilities (softmax) to D, ground truth goes in as one-hot.

S is stepped first. D's weights have not changed yet, so one forward pass on S(x) serves both
updates and gives the gradients of two.

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

What steadies the game came later than the paper; it is off by default (losses/gan.py). With n
updates of D a step, the first is on the looks that S's step has used, the others on new looks at
the same maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from semisup.losses.adversarial import PixelGame
from semisup.losses.gan import Form
from semisup.losses.pseudo_labels import self_taught_loss, trusted_pixels
from semisup.losses.segmentation import masked_mean, supervised_loss
from semisup.methods.base import BuildSegmenter, Method, Update, require_not_negative, require_share
from semisup.models.adversarial.discriminators import FullyConvolutionalDiscriminator
from semisup.models.base import ParameterGroup
from semisup.ops.masks import one_hot, without_holes
from semisup.types import IGNORE, Batch, Labelled, Progress, Scalars, Unlabelled


@dataclass(frozen=True, slots=True)
class Look:
    """D's look at predictions.

    Attributes:
        maps: BKHW, the class probabilities that were judged.
        logits: BHW, high where D holds them for true.
        valid: BHW bool, which of them count.
    """

    maps: Tensor
    logits: Tensor
    valid: Tensor


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
        form: of the game: "cross_entropy" (the paper's), "hinge" or "least_squares", where T is
            compared with D's answer itself.
        label_smoothing: in [0, 1): D is asked for 1 less this on ground truth, not for 1.
        spectral_norm: whether D's weights are divided by their largest singular values.
        gradient_penalty_weight: gamma >= 0, of R1 in D's loss: the squared slope of the mean of
            its map at ground truth.
        instance_noise: deviation, at the start of the run, of noise on all maps that D is shown;
            it fades to 0 over the run; >= 0.
        discriminator_updates: updates of D for each of S; at least 1.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_adversarial: of S on labelled images; hovers around 0.7 (ln 2) while neither wins.
        loss_adversarial_unlabelled: the same on unlabelled images.
        loss_self_taught: cross entropy with its own argmax on trusted pixels; 0 before the start.
        self_taught_share: share of the unlabelled pixels that are trusted; between 0.2 and 0.8
            where the term helps. 0 for good means that D rejects everything.
        loss_discriminator: of D; near 0.7 it is blind, near 0 it has won. Of several updates, this
            and what follows are of the first.
        loss_gradient_penalty: R1 times gamma; well below loss_discriminator, 0 where it is off.
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
        form: Form = "cross_entropy",
        label_smoothing: float = 0.0,
        spectral_norm: bool = False,
        gradient_penalty_weight: float = 0.0,
        instance_noise: float = 0.0,
        discriminator_updates: int = 1,
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
        self.game = PixelGame(
            form=form,
            label_smoothing=label_smoothing,
            gradient_penalty_weight=gradient_penalty_weight,
            instance_noise=instance_noise,
            discriminator_updates=discriminator_updates,
        )
        self.segmenter = build_segmenter()
        self.discriminator = FullyConvolutionalDiscriminator(
            num_classes, width=discriminator_width, spectral_norm=spectral_norm
        )

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate."""
        return {
            "segmenter": self.segmenter.parameter_groups(),
            "discriminator": [ParameterGroup(list(self.discriminator.parameters()))],
        }

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of the discriminator."""
        labelled = batch.labelled
        maps = self.segmenter.training_logits(labelled.image)
        predicted = maps[0].softmax(dim=1)
        look = self._look(predicted, labelled.mask != IGNORE, progress)
        loss_segmentation = supervised_loss(maps, labelled.mask, self.segmenter.auxiliary_weights)
        loss_adversarial = masked_mean(self.game.fool(look.logits), look.valid)
        unlabelled, looks = self._unlabelled_terms(batch.unlabelled, progress)
        update(
            "segmenter",
            loss_segmentation
            + self.adversarial_weight * loss_adversarial
            + self.adversarial_weight_unlabelled * unlabelled["loss_adversarial_unlabelled"]
            + self.self_taught_weight * unlabelled["loss_self_taught"],
            keep_graph=True,
        )
        looks = [look, *(looks if self.follows == "code" else [])]
        reported = {
            "loss_segmentation": loss_segmentation,
            "loss_adversarial": loss_adversarial,
            **unlabelled,
            **self._step_discriminator(looks, labelled, progress, update),
        }
        return {name: value.detach() for name, value in reported.items()}

    def _look(self, maps: Tensor, valid: Tensor, progress: Progress) -> Look:
        """D's look at predictions, the probabilities BKHW."""
        shown = self.game.shown(maps, progress.fraction)
        return Look(maps, self.discriminator(shown).squeeze(1), valid)

    def _unlabelled_terms(
        self, unlabelled: Unlabelled, progress: Progress
    ) -> tuple[dict[str, Tensor], list[Look]]:
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
        look = self._look(logits.softmax(dim=1), valid, progress)
        terms["loss_adversarial_unlabelled"] = masked_mean(self.game.fool(look.logits), valid)
        if teach:
            terms["loss_self_taught"], terms["self_taught_share"] = self_taught_loss(
                logits, look.logits[:, None], self.confidence_threshold, valid, self.game.form
            )
        return terms, [look]

    def _step_discriminator(
        self, looks: list[Look], labelled: Labelled, progress: Progress, update: Update
    ) -> dict[str, Tensor]:
        """Teach D that predictions are fake and ground truth is real.

        Args:
            looks: D's at predictions, of which its first update may still use the graphs. The first
                is at those for the labelled images.
            labelled: their truth.
            progress: where the run stands.
            update: of the engine.
        """
        truth = labelled.mask
        if self.follows == "paper":
            truth = without_holes(truth, looks[0].maps)
        real = one_hot(truth, self.num_classes).to(looks[0].maps.dtype)
        reported = self._update_discriminator(looks, real, progress, update)
        for _ in range(self.game.discriminator_updates - 1):
            looks = [self._look(look.maps.detach(), look.valid, progress) for look in looks]
            self._update_discriminator(looks, real, progress, update)
        return reported

    def _update_discriminator(
        self, looks: list[Look], truth: Tensor, progress: Progress, update: Update
    ) -> dict[str, Tensor]:
        """One update on `looks` and a look at `truth`, BKHW, which is valid where the first is."""
        valid = looks[0].valid
        with self.game.real_shown(truth, progress.fraction) as shown:
            real = self.discriminator(shown).squeeze(1)
        fake = torch.cat([look.logits for look in looks])
        valid_fake = torch.cat([look.valid for look in looks])
        paid = 0.5 * (
            masked_mean(self.game.fake(fake), valid_fake) + masked_mean(self.game.real(real), valid)
        )
        penalty = self.game.penalty(real, shown, valid, valid[:, None])
        loss = paid + penalty
        update("discriminator", loss)
        return {
            "loss_discriminator": paid,
            "loss_gradient_penalty": penalty,
            **self.game.standing(real, fake, valid, valid_fake),
        }

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """The confidence map of D on the prediction."""
        return {"discriminator": self.game.belief(self.discriminator(logits.softmax(dim=1)))}

    def trusted(self, image: Tensor, logits: Tensor) -> Tensor | None:
        """Pixels that D holds for true with more than the threshold."""
        if self.self_taught_weight == 0:
            return None
        confidence = self.discriminator(logits.softmax(dim=1))
        return trusted_pixels(confidence, self.confidence_threshold, self.game.form)
