"""s4GAN: a discriminator of whole images.

Mittal, Tatarchenko and Brox: "Semi-Supervised Semantic Segmentation with High- and Low-level
Consistency", TPAMI 2019, https://arxiv.org/abs/1908.05724

    S:  min  CE(S(x), y) + f |mean phi(S(u), u) - mean phi(onehot(y), x)|_1
             + s CE(S(u), argmax S(u))  over images u with sigmoid(D(S(u), u)) > T
    D:  min  1/2 [BCE(D(S(u), u), 0) + BCE(D(onehot(y), x), 1)]

x, y are labelled images and masks, u unlabelled images. D gives one logit for a class map and its
image together; phi are the features that it is computed from, averaged over places, and |.|_1 is
averaged over them. An image whose map D accepts is taught as a whole: S learns its own prediction
on every pixel of it. The paper's second branch is added in `s4gan_multi_label`.

One forward pass of D on a pair serves both updates: D's weights have not changed in between, so
both gradients are exact, but they are those of one dropout mask where the authors draw a second
one. The stabilisers of `game` came later than the paper and are off by default (losses/gan.py).
With n updates of D a step, those after the first are on new forward passes on the same pairs.

Differs from the paper:
1. D sees colours in [0, 1] by the inverse of the normalisation. The code stretches them between a
   batch's extremes, so that a pair depends on its neighbours; and it divides true pairs by the
   range of another batch, a bug (train_s4GAN.py).
2. The true pairs are the labelled batch itself; the code draws a second one.
3. Void pixels of the truth take S's own answer before they go into D. The code leaves them all
   zero: holes that only true maps have, by which D could win. They are in no loss of pixels.
4. Where a crop is padded, map and image are 0 in what D sees, of true pairs and of predictions
   alike. No pixel of padding is taught, and an image that is nothing else (or all void) counts
   nowhere.
"""

from __future__ import annotations

from torch import Tensor

from semisup.losses.discriminator_step import update_discriminator
from semisup.losses.gan import DiscriminatorGame, feature_distance
from semisup.losses.pairs import PAIR_SCALARS, Pairs
from semisup.losses.pseudo_labels import exceeds, self_taught_loss
from semisup.methods.base import Method, Task, require_not_negative, require_share
from semisup.models.adversarial.discriminators import ImageDiscriminator
from semisup.models.base import ParameterGroup
from semisup.types import Batch, Progress, Reads, Scalars, Update


class S4Gan(Method):
    """Mittal et al. 2019: segmenter against a discriminator that gives each image one score.

    Args:
        task: network and classes.
        feature_matching_weight: f, of the distance between D's mean features of predictions and of
            true pairs; >= 0.
        self_taught_weight: s, of the self-taught term; >= 0. With both at 0 D is not trained.
        confidence_threshold: T in [0, 1]: images that D holds for true with more than this are
            taught; 0 takes all, 1 takes none. 0.7 in the paper on Cityscapes. With least squares it
            is compared with D's output.
        discriminator_width: channels of D's first layer, doubled at each of the next three; 64 in
            the paper, less for small pictures and small machines.
        game: loss of the game ("cross_entropy" in the paper) and its stabilisers.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_feature_matching: distance of D's mean features, not weighted; below 0.5, and growing
            with D's features: it levels off where S follows.
        loss_self_taught: cross entropy with its own argmax on accepted images; small, and 0 in a
            batch without any.
        self_taught_share: share of the unlabelled images that are accepted; between 0 and 0.5 while
            D is in doubt. Near 1 the threshold chooses nothing, 0 for good it rejects everything.
        loss_discriminator: of D; near 0.7 (ln 2) it is blind, near 0 it has won. Of several
            updates, this and what follows are of the first.
        loss_gradient_penalty: R1 times gamma; well below loss_discriminator, 0 where it is off.
        d_real: mean of sigmoid(D) on true pairs; above 0.5.
        d_fake: mean of sigmoid(D) on predictions; below 0.5.
        d_hard: at log points, the same on their one-hot argmax, errors and all; near d_real, D
            tells soft maps from hard ones and not wrong from right.
        d_accuracy: share of the pairs of both that D classifies rightly; 0.5 blind, 1 it has won.
    """

    reads = Reads(unlabelled=True, rgb=True)
    story = ("loss_segmentation", "d_accuracy", "self_taught_share")

    def __init__(
        self,
        task: Task,
        *,
        feature_matching_weight: float = 0.1,
        self_taught_weight: float = 1.0,
        confidence_threshold: float = 0.6,
        discriminator_width: int = 64,
        game: DiscriminatorGame = DiscriminatorGame(),
    ) -> None:
        super().__init__()
        require_not_negative(
            feature_matching_weight=feature_matching_weight, self_taught_weight=self_taught_weight
        )
        require_share(confidence_threshold=confidence_threshold)
        self.feature_matching_weight = feature_matching_weight
        self.self_taught_weight = self_taught_weight
        self.confidence_threshold = confidence_threshold
        self.game = game
        self.segmenter = task.build_segmenter()
        self.discriminator = ImageDiscriminator(
            task.num_classes, width=discriminator_width, spectral_norm=game.spectral_norm
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
        terms = dict.fromkeys(PAIR_SCALARS, labelled.image.new_zeros(()))
        terms["loss_segmentation"] = self.supervised_loss(maps, labelled)
        if self.trains_discriminator:
            logits = self.segmenter(batch.unlabelled.image)
            fake, real = self.pairs.scores(logits, maps[0], batch, progress)
            if self.feature_matching_weight > 0:
                terms["loss_feature_matching"] = feature_distance(
                    fake.features, real.features, fake.weights, real.weights
                )
            if self.self_taught_weight > 0:
                accepted = exceeds(fake.logits, self.confidence_threshold, self.game.loss)
                terms["loss_self_taught"], terms["self_taught_share"] = self_taught_loss(
                    logits, accepted, batch.unlabelled.valid
                )
        update(
            "segmenter",
            terms["loss_segmentation"]
            + self.feature_matching_weight * terms["loss_feature_matching"]
            + self.self_taught_weight * terms["loss_self_taught"],
            keep_graph=self.trains_discriminator,
        )
        if self.trains_discriminator:
            terms |= update_discriminator(
                self.game,
                update,
                fake,
                real,
                again=lambda: self.pairs.scores(logits.detach(), maps[0], batch, progress),
            )
        return {name: value.detach() for name, value in terms.items()}

    @property
    def trains_discriminator(self) -> bool:
        """Not where no term asks for predictions on unlabelled images: D has nothing to learn."""
        return self.feature_matching_weight > 0 or self.self_taught_weight > 0

    @property
    def pairs(self) -> Pairs:
        """How class maps and images are shown to D."""
        return Pairs(self.game, self.discriminator)

    def measure(self, batch: Batch) -> Scalars:
        """D's probability of "ground truth" for the prediction without its softness."""
        if not self.trains_discriminator:
            return {"d_hard": batch.unlabelled.image.new_zeros(())}
        return self.pairs.without_softness(self.segmenter, batch.unlabelled)

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Where D holds the prediction for true."""
        return {"discriminator": self.pairs.picture(logits, batch.labelled)}

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        """S's own classes on the images that D holds for true with more than the threshold."""
        if self.self_taught_weight == 0:
            return None
        logits = self.segmenter(image)
        return self.pairs.pseudo_labels(logits, image, valid, self.confidence_threshold)
