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

Where the paper and the authors' code differ, `follows` chooses. With "code"
1. D learns that predictions on unlabelled images are fake too, from step 0 on wherever a term on
   them has a weight, and averages over the pixels of both batches;
2. D's logits go up to the size of the crop with aligned corners;
3. void pixels of the ground truth are holes (all K channels 0);
4. crop padding of unlabelled images counts like any pixel;
5. once self-teaching has begun, a batch in which no pixel passes T has no adversarial term on
   unlabelled images either.
The code passes the unlabelled images through S first, here they come second: running statistics of
batch normalisation end on the other batch, weights are the same.

Differs from both: D's true maps are those of the labelled batch; the code draws a second batch.

Differs from the paper, with `follows = "paper"`:
1. The self-taught term starts at a share of the run (0.25), not at step 5,000 of 20,000: the same
   moment for a run of the paper's length.
2. Crop padding of unlabelled images takes no part in any term.
3. The halves of D's loss are averaged, as in the code; the paper writes a sum.
4. Void pixels of the ground truth take S's own answer before they go into D. Left as holes, which
   only real maps have, VOC's outlines would give the truth away, and D would win by detecting them.
   They are in no loss either way.

The stabilisers of `game` came later than the paper and are off by default (losses/gan.py). With n
updates of D a step, those after the first are on new forward passes on the same maps.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from semisup.losses.discriminator_step import Scores, update_discriminator
from semisup.losses.gan import DiscriminatorGame
from semisup.losses.pixel_scores import PixelScores, joined
from semisup.losses.pseudo_labels import exceeds, pseudo_labels_where, self_taught_loss
from semisup.methods.base import Method, Task, require_not_negative, require_share
from semisup.models.adversarial.discriminators import FullyConvolutionalDiscriminator
from semisup.models.base import ParameterGroup
from semisup.system.distributed import sum_over_ranks
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Unlabelled, Update


class Adversarial(Method):
    """Hung et al. 2018: segmenter against a fully convolutional discriminator.

    Args:
        task: network and classes.
        adversarial_weight: a, of the adversarial term on labelled images; >= 0.
        adversarial_weight_unlabelled: a', of the same term on unlabelled images; >= 0.
        self_taught_weight: s, of the self-taught term; >= 0.
        confidence_threshold: T in [0, 1]: pixels that D holds for true with more than this are
            taught. 0 takes all, 1 takes none. With least squares it is compared with D's output.
        self_taught_start: share of the run after which the self-taught term acts; in [0, 1].
        discriminator_width: channels of D's first layer, doubled at each of the next three; 64 in
            the paper, less for small pictures and small machines.
        follows: the "paper" or the authors' "code", where they differ (see the head of this file).
        game: loss of the game ("cross_entropy" in the paper) and its stabilisers.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_adversarial: of S on labelled images; hovers around 0.7 (ln 2) while neither wins.
        loss_adversarial_unlabelled: the same on unlabelled images; 0 where it does not act.
        loss_self_taught: cross entropy with its own argmax on accepted pixels; 0 before the start.
        self_taught_share: share of the unlabelled pixels that are accepted; between 0.2 and 0.8
            where the term helps. 0 for good means that D rejects everything.
        loss_discriminator: of D; near 0.7 it is blind, near 0 it has won. Of several updates, this
            and what follows are of the first.
        loss_gradient_penalty: R1 times gamma; well below loss_discriminator, 0 where it is off.
        d_real: mean of sigmoid(D) on ground truth; above 0.5.
        d_fake: mean of sigmoid(D) on predictions; below 0.5.
        d_hard: at log points, the same on the one-hot argmax of the predictions for labelled
            images, errors and all; near d_real, D tells soft maps from hard ones and not wrong
            from right; near d_fake, it sees more than that.
        d_accuracy: share of the pixels of both that D classifies rightly; 0.5 blind, 1 it has won.
    """

    reads = Reads(unlabelled=True)
    story = ("loss_segmentation", "d_accuracy", "self_taught_share")

    def __init__(
        self,
        task: Task,
        *,
        adversarial_weight: float = 0.01,
        adversarial_weight_unlabelled: float = 0.001,
        self_taught_weight: float = 0.1,
        confidence_threshold: float = 0.2,
        self_taught_start: float = 0.25,
        discriminator_width: int = 64,
        follows: Literal["paper", "code"] = "paper",
        game: DiscriminatorGame = DiscriminatorGame(),
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
        self.adversarial_weight = adversarial_weight
        self.adversarial_weight_unlabelled = adversarial_weight_unlabelled
        self.self_taught_weight = self_taught_weight
        self.confidence_threshold, self.self_taught_start = confidence_threshold, self_taught_start
        self.follows_code, self.game = follows == "code", game
        self.segmenter = task.build_segmenter()
        self.discriminator = FullyConvolutionalDiscriminator(
            task.num_classes,
            width=discriminator_width,
            spectral_norm=game.spectral_norm,
            align_corners=self.follows_code,
        )

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate."""
        discriminator = [ParameterGroup(list(self.discriminator.parameters()))]
        return {"segmenter": self.segmenter.parameter_groups(), "discriminator": discriminator}

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of the discriminator."""
        labelled = batch.labelled
        logits = self.segmenter.training_logits(labelled.image)
        predicted = logits[0].softmax(dim=1)
        fake = self.pixels.of_predictions(predicted, labelled.mask != IGNORE, progress)
        unlabelled, others = self._on_unlabelled(batch.unlabelled, progress)
        terms = {
            "loss_segmentation": self.supervised_loss(logits, labelled),
            "loss_adversarial": fake.mean(self.game.fool(fake.logits)),
            **unlabelled,
        }
        update(
            "segmenter",
            terms["loss_segmentation"]
            + self.adversarial_weight * terms["loss_adversarial"]
            + self.adversarial_weight_unlabelled * terms["loss_adversarial_unlabelled"]
            + self.self_taught_weight * terms["loss_self_taught"],
            keep_graph=True,
        )
        fakes = [fake, *others]

        def again() -> tuple[Scores, Scores]:
            new = self.pixels.anew(fakes, progress)
            return new, self.pixels.of_truth(labelled.mask, predicted, progress)

        real = self.pixels.of_truth(labelled.mask, predicted, progress)
        terms |= update_discriminator(self.game, update, joined(fakes), real, again)
        return {name: value.detach() for name, value in terms.items()}

    def _on_unlabelled(self, free: Unlabelled, progress: Progress) -> tuple[Scalars, list[Scores]]:
        """The adversarial and the self-taught term, not yet weighted; what else is fake to D.

        The unlabelled images pass through S only where a term counts: batch statistics of a
        network that is trained on labels alone must not depend on them.
        """
        names = ("loss_adversarial_unlabelled", "loss_self_taught", "self_taught_share")
        terms = dict.fromkeys(names, free.image.new_zeros(()))
        taught = self.self_taught_weight > 0
        teach = taught and progress.fraction >= self.self_taught_start
        if not (teach or (taught and self.follows_code) or self.adversarial_weight_unlabelled > 0):
            return terms, []
        logits, valid = self.segmenter(free.image), free.valid | self.follows_code
        fake = self.pixels.of_predictions(logits.softmax(dim=1), valid, progress)
        adversarial = fake.mean(self.game.fool(fake.logits))
        if teach:
            accepted = self._accepted(fake.logits)
            terms["loss_self_taught"], share = self_taught_loss(logits, accepted, valid)
            terms["self_taught_share"] = share
            if self.follows_code:
                adversarial = adversarial * (sum_over_ranks(share) > 0)
        terms["loss_adversarial_unlabelled"] = adversarial
        return terms, [fake] if self.follows_code else []

    @property
    def pixels(self) -> PixelScores:
        """How class maps are shown to D."""
        return PixelScores(self.game, self.discriminator, holes=self.follows_code)

    def _accepted(self, logits: Tensor) -> Tensor:
        """Which predictions are taught, given D's logits for them."""
        return exceeds(logits, self.confidence_threshold, self.game.loss)

    def measure(self, batch: Batch) -> Scalars:
        """D's probability of "ground truth" for the prediction without its softness."""
        return self.pixels.without_softness(self.segmenter, batch.labelled)

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """The confidence map of D on the prediction."""
        return {"discriminator": self.game.probability(self.discriminator(logits.softmax(dim=1)))}

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        """S's own classes at the pixels that D holds for true with more than the threshold."""
        if self.self_taught_weight == 0:
            return None
        logits = self.segmenter(image)
        scores = self.discriminator(logits.softmax(dim=1)).squeeze(1)
        return pseudo_labels_where(logits, self._accepted(scores))
