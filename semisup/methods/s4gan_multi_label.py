"""s4GAN with a classifier of whole images that removes classes it does not find.

Mittal, Tatarchenko and Brox: "Semi-Supervised Semantic Segmentation with High- and Low-level
Consistency", TPAMI 2019, https://arxiv.org/abs/1908.05724

    S, D as in `s4gan`, and
    C:  min  BCE(C(x), tags(y)) + c(t) (sigmoid C(u') - sigmoid C*(u))^2,   C* <- average of C
    at test:  p_k(pixel)  becomes  p_k(pixel) [sigmoid C*_k(image) >= 0.2],  k not background

C is the "multi-label mean teacher": u' is u in other colours, c(t) rises after a burn-in. It
removes classes that S finds in places where the whole image shows none.

Differs from the paper, beside what `s4gan` names:
1. C is trained beside S and D on their crops, and its tags are those of the crop. The authors
   train it by itself on whole images of 320 x 320, then fuse two finished runs.
2. C is a MobileNetV2 from random weights with K - 1 labels; theirs is a ResNet-101 from ImageNet
   with K.
3. Consistency is the squared difference of probabilities; the code takes the cosine of logits
   (train_mlmt.py). c(t) is the code's ramp: 0 for a tenth of the run, then to the full weight over
   the next half of it.
4. The teacher runs in eval mode; theirs is in train mode.
5. The fusion multiplies probabilities. The code multiplies logits, where the 0 of a class that is
   removed still beats every negative one (evaluate.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semisup.losses.classification import multi_label_loss, precision_and_recall
from semisup.losses.discriminator_step import update_discriminator
from semisup.losses.gan import DiscriminatorGame, feature_distance
from semisup.losses.pairs import PAIR_SCALARS, Pairs
from semisup.losses.pseudo_labels import exceeds, self_taught_loss
from semisup.losses.segmentation import masked_mean
from semisup.methods.base import Method, Task, require_not_negative, require_share
from semisup.models.adversarial.discriminators import ImageDiscriminator
from semisup.models.base import ParameterGroup, SeesAround, Segmenter
from semisup.models.classifiers import ClassificationNetwork
from semisup.ops.masks import tags_of_mask
from semisup.ops.ramps import ramp
from semisup.ops.teacher import Teacher
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Unlabelled, Update

GONE = -1e4
"""Log probability of a class that is removed: 0 in any precision, and finite in half."""


class S4GanMultiLabel(Method):
    """Mittal et al. 2019 with both branches: classes that a classifier does not find are removed.

    The classifier learns the tags of the labelled crops, and to agree on unlabelled ones with its
    own moving average, the teacher. Wherever the predictor is applied (image, window), the teacher
    names the classes there; the sides must be 32 pixels at least.

    Args:
        task: network and classes; class 0 is background and never removed.
        feature_matching_weight: f, of the distance between D's mean features of predictions and of
            true pairs; >= 0.
        self_taught_weight: s, of the self-taught term; >= 0. With both at 0 D is not trained.
        confidence_threshold: T in [0, 1]: images that D holds for true with more than this are
            taught; 0 takes all, 1 takes none.
        discriminator_width: channels of D's first layer.
        game: loss of the game ("cross_entropy" in the paper) and its stabilisers.
        classification_weight: of the tags' term; >= 0. With 0 the segmenter predicts alone.
        consistency_weight: of the classifier's consistency term at its full height; >= 0.
        consistency_burn_in: share of the run before the consistency term, which then rises over
            half a run; in [0, 1].
        teacher_decay: of the moving average; in [0, 1].
        presence_threshold: smallest probability of a class that the teacher finds; in [0, 1].
        classifier: "mobilenet_v2", "resnet50", "vgg16" or "vgg16_bn".

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_feature_matching: distance of D's mean features, not weighted; levels off below 0.5.
        loss_self_taught: cross entropy with its own argmax on accepted images; small.
        self_taught_share: share of the unlabelled images that are accepted; between 0 and 0.5.
        loss_discriminator: of D; near 0.7 (ln 2) it is blind, near 0 it has won. Of several
            updates, this and what follows are of the first.
        loss_gradient_penalty: R1 times gamma; well below loss_discriminator, 0 where it is off.
        d_real: mean of sigmoid(D) on true pairs; above 0.5.
        d_fake: mean of sigmoid(D) on predictions; below 0.5.
        d_hard: at log points, the same on their one-hot argmax, errors and all; near d_real, D
            tells soft maps from hard ones and not wrong from right.
        d_accuracy: share of the pairs of both that D classifies rightly; 0.5 blind, 1 it has won.
        loss_classification: binary cross entropy of the tags; falls from about 0.7.
        loss_consistency: squared difference of probabilities to the teacher's, not weighted; 0
            before its start, then falls from about 0.1 to 0.01 and less.
        tag_precision: share of the labels found in the labelled batch that are right.
        tag_recall: share of the labels of the batch that are found; near 1, or the fusion removes
            classes that are there.
    """

    reads = Reads(unlabelled=True, unlabelled_views=1, rgb=True, background=True)
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
        classification_weight: float = 1.0,
        consistency_weight: float = 1.0,
        consistency_burn_in: float = 0.1,
        teacher_decay: float = 0.999,
        presence_threshold: float = 0.2,
        classifier: str = "mobilenet_v2",
    ) -> None:
        super().__init__()
        require_not_negative(
            feature_matching_weight=feature_matching_weight,
            self_taught_weight=self_taught_weight,
            classification_weight=classification_weight,
            consistency_weight=consistency_weight,
        )
        require_share(
            confidence_threshold=confidence_threshold,
            consistency_burn_in=consistency_burn_in,
            teacher_decay=teacher_decay,
            presence_threshold=presence_threshold,
        )
        if task.num_classes < 2:
            raise ValueError("a classifier needs a class beside the background")
        self.num_classes = task.num_classes
        self.feature_matching_weight = feature_matching_weight
        self.self_taught_weight = self_taught_weight
        self.confidence_threshold = confidence_threshold
        self.game = game
        self.classification_weight = classification_weight
        self.consistency_weight = consistency_weight
        self.consistency_burn_in = consistency_burn_in
        self.presence_threshold = presence_threshold
        self.segmenter = task.build_segmenter()
        self.discriminator = ImageDiscriminator(
            task.num_classes, width=discriminator_width, spectral_norm=game.spectral_norm
        )
        self.classifier = ClassificationNetwork(task.num_classes - 1, classifier, width=0)
        self.teacher = Teacher(self.classifier, teacher_decay)

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate, and the classifier."""
        return {
            "segmenter": self.segmenter.parameter_groups(),
            "discriminator": [ParameterGroup(list(self.discriminator.parameters()))],
            "classifier": [ParameterGroup(list(self.classifier.parameters()))],
        }

    def predictor(self) -> nn.Module:
        """The segmenter, less the classes that the teacher does not find."""
        if self.classification_weight == 0:
            return self.segmenter
        return PresentClasses(self.segmenter, self.teacher.network, self.presence_threshold)

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, of the discriminator, of the classifier and its teacher."""
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
        terms |= self._step_classifier(batch, progress, update)
        return {name: value.detach() for name, value in terms.items()}

    def _step_classifier(
        self, batch: Batch, progress: Progress, update: Update
    ) -> dict[str, Tensor]:
        labelled = batch.labelled
        zero = labelled.image.new_zeros(())
        names = ("loss_classification", "loss_consistency", "tag_precision", "tag_recall")
        reported = dict.fromkeys(names, zero)
        height = self.consistency_weight * ramp(progress.fraction, self.consistency_burn_in)
        if self.classification_weight > 0:
            presence = self.classifier(labelled.image)
            known = (labelled.mask != IGNORE).flatten(1).any(dim=1)
            tags = tags_of_mask(labelled.mask, self.num_classes)
            found = (presence.detach().sigmoid() >= self.presence_threshold) & known[:, None]
            reported["loss_classification"] = multi_label_loss(presence, tags, known)
            reported["tag_precision"], reported["tag_recall"] = precision_and_recall(found, tags)
        if height > 0:
            reported["loss_consistency"] = self._loss_consistency(batch.unlabelled)
        if self.classification_weight > 0 or height > 0:
            update(
                "classifier",
                self.classification_weight * reported["loss_classification"]
                + height * reported["loss_consistency"],
            )
            self.teacher.follow(self.classifier, progress)
        return reported

    def _loss_consistency(self, unlabelled: Unlabelled) -> Tensor:
        """How far the student's probabilities are from the teacher's, in their square."""
        padding = ~unlabelled.valid[:, None]
        student = _probability(self.classifier(unlabelled.views[0].masked_fill(padding, 0.0)))
        teacher = _probability(self.teacher(unlabelled.image.masked_fill(padding, 0.0)))
        known = unlabelled.valid.flatten(1).any(dim=1)
        return masked_mean((student - teacher).square(), known[:, None].expand_as(student))

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


class PresentClasses(nn.Module):
    """A segmenter without the classes that a classifier does not find in the image.

    Args:
        segmenter: gives logits BKHW.
        classifier: gives logits BL of the L = K - 1 classes behind the background.
        threshold: smallest probability of a class that is found.
    """

    def __init__(
        self, segmenter: Segmenter, classifier: ClassificationNetwork, threshold: float
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.classifier = classifier
        self.threshold = threshold

    def forward(self, image: Tensor) -> Tensor:
        """Logits BKHW of `image` (B3HW): log probabilities, `GONE` for a class that is not there.

        Those that are left do not sum to 1; their softmax does.
        """
        return self._present(self.segmenter(image), image)

    def forward_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits of a window, as `SeesAround` says; classes are looked for in the window."""
        window = image[..., rows, columns]
        if not isinstance(self.segmenter, SeesAround):
            fused: Tensor = self(window)
            return fused
        return self._present(self.segmenter.forward_window(image, rows, columns), window)

    def _present(self, logits: Tensor, image: Tensor) -> Tensor:
        # A class that is there beats any that is not, however sure the segmenter is of the latter.
        maps = logits.log_softmax(dim=1).clamp(min=0.5 * GONE)
        absent = self.classifier(image).sigmoid() < self.threshold
        background = torch.zeros_like(absent[:, :1])
        taken = torch.cat([background, absent], dim=1)[:, :, None, None]
        fused: Tensor = maps.masked_fill(taken, GONE)
        return fused


def _probability(logits: Tensor) -> Tensor:
    # In half precision, probabilities near 1 would mostly be equal.
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
