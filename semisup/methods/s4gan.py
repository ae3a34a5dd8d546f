"""s4GAN: a discriminator that judges whole images, and a classifier that names their classes.

Mittal, Tatarchenko and Brox: "Semi-Supervised Semantic Segmentation with High- and Low-level
Consistency", TPAMI 2019, https://arxiv.org/abs/1908.05724

    S:  min  CE(S(x), y) + f |mean phi(S(u), u) - mean phi(onehot(y), x)|_1
             + s CE(S(u), argmax S(u))  over images u with sigmoid(D(S(u), u)) > T
    D:  min  1/2 [BCE(D(S(u), u), 0) + BCE(D(onehot(y), x), 1)]

x, y are labelled images and masks, u unlabelled images. D gives one logit for a class map and its
image together; phi are the features that it reads it from, averaged over places, and |.|_1 is
averaged over them. An image whose map D believes is taught as a whole: S learns its own prediction
on every pixel of it.

    C:  min  BCE(C(x), tags(y)) + c(t) (sigmoid C(u') - sigmoid C*(u))^2,   C* <- average of C
    at test:  p_k(pixel)  becomes  p_k(pixel) [sigmoid C*_k(image) >= 0.2],  k not background

C is the "multi-label mean teacher" of `S4GanMultiLabel`: u' is u in other colours, c(t) rises after
a burn-in. It takes away classes that S finds in places where the whole image shows none.

One look of D at a pair serves both updates: D has not moved between them, so both gradients are
exact, but they are those of one dropout mask where the authors draw a second one. What steadies the
game came later than the paper; it is off by default (losses/gan.py). With n updates of D a step,
those after the first are on new looks at the same pairs.

Differs from the paper:
1. D sees colours in [0, 1] by the inverse of the normalisation. The code stretches them between a
   batch's extremes, so that a pair depends on its neighbours; and it divides true pairs by the
   range of another batch, a bug (train_s4GAN.py).
2. The true pairs are the labelled batch itself; the code draws a second one.
3. Void pixels of the truth take S's own answer before they go into D. The code leaves them all
   zero: holes that only true maps have, by which D could win. They are in no loss of pixels.
4. Where a crop is padded, map and image are 0 in what D sees, of true and of made pairs alike. No
   pixel of padding is taught, and an image that is nothing else (or all void) counts nowhere.
5. C is trained beside S and D on their crops, and its tags are those of the crop. The authors
   train it by itself on whole images of 320 x 320, then fuse two finished runs.
6. C is a MobileNetV2 from random weights with K - 1 labels; theirs is a ResNet-101 from ImageNet
   with K.
7. Consistency is the squared difference of probabilities; the code takes the cosine of logits
   (train_mlmt.py). c(t) is the code's ramp: 0 for a tenth of the run, then to the full weight over
   the next half of it.
8. The teacher runs in eval mode on C's running statistics; theirs is in train mode.
9. The fusion multiplies probabilities. The code multiplies logits, where the 0 of a class that is
   taken away still beats every negative one (evaluate.py).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semisup.losses.classification import multi_label_loss, precision_and_recall
from semisup.losses.gan import Form, Game, belief, feature_distance
from semisup.losses.segmentation import count, cross_entropy, masked_mean, supervised_loss
from semisup.methods.base import BuildSegmenter, Method, Update, require_not_negative, require_share
from semisup.models.adversarial.discriminators import ImageDiscriminator
from semisup.models.base import ParameterGroup, Segmenter
from semisup.models.classifiers import ClassificationNetwork
from semisup.models.layers import resize
from semisup.ops.ema import ema_decay, ema_update
from semisup.ops.masks import one_hot, tags_of_mask, without_holes
from semisup.ops.pixels import to_unit
from semisup.ops.ramps import ramp
from semisup.system.distributed import sum_over_ranks
from semisup.types import IGNORE, Batch, Labelled, Progress, Scalars, Unlabelled

GONE = -1e4
"""Log probability of a class that is taken away: 0 in any precision, and finite in half."""


@dataclass(frozen=True, slots=True)
class Judged:
    """D's look at class maps and their images.

    Attributes:
        logits: B, high where D holds the map for true.
        features: BC, what they were read from.
        known: B bool, whether there is anything to judge.
        maps: BKHW, the class maps as D was shown them, but for padding, which it sees as 0.
    """

    logits: Tensor
    features: Tensor
    known: Tensor
    maps: Tensor


class S4Gan(Method):
    """Mittal et al. 2019: segmenter against a discriminator that gives each image one score.

    Args:
        build_segmenter: gives the network.
        num_classes: K.
        feature_matching_weight: f, of the distance between D's mean features of made and of true
            pairs; >= 0.
        self_taught_weight: s, of the self-taught term; >= 0. With both at 0 D does not play.
        confidence_threshold: T in [0, 1]: images that D holds for true with more than this are
            taught; 1 takes none. 0.7 in the paper on Cityscapes.
        discriminator_width: channels of D's first layer, doubled at each of the next three; 64 in
            the paper, less for small pictures and small machines.
        form: of the game: "cross_entropy" (the paper's), "hinge" or "least_squares", where T is
            compared with D's answer itself.
        label_smoothing: in [0, 1): D is asked for 1 less this on true pairs, not for 1.
        spectral_norm: whether D's weights are divided by their largest singular values.
        gradient_penalty_weight: gamma >= 0, of R1 in D's loss: the squared slope of its logit at
            the class maps of true pairs.
        instance_noise: deviation, at the start of the run, of noise on all class maps that D is
            shown; it fades to 0 over the run; >= 0.
        discriminator_updates: updates of D for each of S; at least 1.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_feature_matching: distance of D's mean features, not weighted; below 0.5, and growing
            with D's features: it levels off where S follows.
        loss_self_taught: cross entropy with its own argmax on trusted images; small, and 0 in a
            batch without any.
        self_taught_share: share of the unlabelled images that are trusted; between 0 and 0.5 while
            D is in doubt. Near 1 the threshold chooses nothing, 0 for good it rejects everything.
        loss_discriminator: of D; near 0.7 (ln 2) it is blind, near 0 it has won. Of several
            updates, this and what follows are of the first.
        loss_gradient_penalty: R1 times gamma; well below loss_discriminator, 0 where it is off.
        d_real: mean of sigmoid(D) on true pairs; above 0.5.
        d_fake: mean of sigmoid(D) on made pairs; below 0.5.
        d_accuracy: share of pairs, true and made, that D judges rightly; 0.5 blind, 1 it has won.
    """

    streams = frozenset({"labelled", "unlabelled"})

    def __init__(
        self,
        build_segmenter: BuildSegmenter,
        num_classes: int,
        *,
        feature_matching_weight: float = 0.1,
        self_taught_weight: float = 1.0,
        confidence_threshold: float = 0.6,
        discriminator_width: int = 64,
        form: Form = "cross_entropy",
        label_smoothing: float = 0.0,
        spectral_norm: bool = False,
        gradient_penalty_weight: float = 0.0,
        instance_noise: float = 0.0,
        discriminator_updates: int = 1,
    ) -> None:
        super().__init__()
        require_not_negative(
            feature_matching_weight=feature_matching_weight, self_taught_weight=self_taught_weight
        )
        require_share(confidence_threshold=confidence_threshold)
        self.num_classes = num_classes
        self.feature_matching_weight = feature_matching_weight
        self.self_taught_weight = self_taught_weight
        self.confidence_threshold = confidence_threshold
        self.game = Game(
            form=form,
            label_smoothing=label_smoothing,
            gradient_penalty_weight=gradient_penalty_weight,
            instance_noise=instance_noise,
            discriminator_updates=discriminator_updates,
        )
        self.segmenter = build_segmenter()
        self.discriminator = ImageDiscriminator(
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
        zero = labelled.image.new_zeros(())
        terms = {
            "loss_segmentation": supervised_loss(
                maps, labelled.mask, self.segmenter.auxiliary_weights
            ),
            "loss_feature_matching": zero,
            "loss_self_taught": zero,
            "self_taught_share": zero,
        }
        names = ("loss_discriminator", "loss_gradient_penalty", "d_real", "d_fake", "d_accuracy")
        game = dict.fromkeys(names, zero)
        # Made maps are those of unlabelled images, so where no term asks for these D has nothing
        # to learn from. A look of its own would draw its dropout from the segmenter's numbers.
        plays = self.feature_matching_weight > 0 or self.self_taught_weight > 0
        if plays:
            unlabelled = batch.unlabelled
            logits = self.segmenter(unlabelled.image)
            made = self._judge_made(logits, unlabelled, progress)
            true = self._judge_true(maps[0], labelled, progress)
            if self.feature_matching_weight > 0:
                terms["loss_feature_matching"] = feature_matching_loss(made, true)
            if self.self_taught_weight > 0:
                terms["loss_self_taught"], terms["self_taught_share"] = self_taught_images_loss(
                    logits, made, self.confidence_threshold, unlabelled.valid, self.game.form
                )
        update(
            "segmenter",
            terms["loss_segmentation"]
            + self.feature_matching_weight * terms["loss_feature_matching"]
            + self.self_taught_weight * terms["loss_self_taught"],
            keep_graph=plays,
        )
        if plays:
            game = self._step_discriminator(made, true, update)
            for _ in range(self.game.discriminator_updates - 1):
                made = self._judge_made(logits.detach(), unlabelled, progress)
                true = self._judge_true(maps[0], labelled, progress)
                self._step_discriminator(made, true, update)
        return {name: value.detach() for name, value in (terms | game).items()}

    def _judge_made(self, logits: Tensor, unlabelled: Unlabelled, progress: Progress) -> Judged:
        """D's look at predictions; gradients reach S."""
        return self._judge(
            self.game.shown(logits.softmax(dim=1), progress.fraction),
            unlabelled.image,
            padding=~unlabelled.valid,
            known=unlabelled.valid.flatten(1).any(dim=1),
        )

    def _judge_true(self, logits: Tensor, labelled: Labelled, progress: Progress) -> Judged:
        """D's look at ground truth, whose void pixels take the answer of `logits`."""
        valid = labelled.mask != IGNORE
        truth = one_hot(without_holes(labelled.mask, logits), self.num_classes)
        with self.game.real_shown(truth.to(labelled.image), progress.fraction) as maps:
            return self._judge(
                maps,
                labelled.image,
                padding=~valid & looks_padded(labelled.image),
                known=valid.flatten(1).any(dim=1),
            )

    def _judge(self, maps: Tensor, image: Tensor, padding: Tensor, known: Tensor) -> Judged:
        logits, features = self.discriminator(*without_padding(maps, image, padding))
        return Judged(logits, features, known, maps)

    def _step_discriminator(self, made: Judged, true: Judged, update: Update) -> dict[str, Tensor]:
        """Teach D that made pairs are fake and true ones real."""
        paid = 0.5 * (
            masked_mean(self.game.fake(made.logits), made.known)
            + masked_mean(self.game.real(true.logits), true.known)
        )
        penalty = self.game.penalty(true.logits, true.maps, true.known)
        update("discriminator", paid + penalty)
        return {
            "loss_discriminator": paid,
            "loss_gradient_penalty": penalty,
            **self.game.standing(true.logits, made.logits, true.known, made.known),
        }

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Where D holds the prediction for true; its score is the mean of this map's logits."""
        places = self.discriminator.places(*self._pair(batch.labelled.image, logits))
        return {"discriminator": self.game.belief(resize(places, logits.shape[-2:]))}

    def _pair(self, image: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and image as D sees them, outside of training."""
        return without_padding(logits.softmax(dim=1), image, looks_padded(image))

    def trusted(self, image: Tensor, logits: Tensor) -> Tensor | None:
        """All pixels of the images that D holds for true with more than the threshold."""
        if self.self_taught_weight == 0:
            return None
        score, _ = self.discriminator(*self._pair(image, logits))
        trusted = self.game.belief(score) > self.confidence_threshold
        return trusted[:, None, None].expand(-1, *logits.shape[-2:])


class S4GanMultiLabel(S4Gan):
    """Mittal et al. 2019 with both branches: classes that a classifier does not find are removed.

    The classifier learns the tags of the labelled crops, and to agree on unlabelled ones with its
    own moving average, the teacher. Wherever the predictor is applied (image, window), the teacher
    names the classes there; the sides must be 32 pixels at least.

    Args:
        build_segmenter: gives the network.
        num_classes: K; class 0 is background and never taken away.
        feature_matching_weight: f, of the distance between D's mean features of made and of true
            pairs; >= 0.
        self_taught_weight: s, of the self-taught term; >= 0. With both at 0 D does not play.
        confidence_threshold: T in [0, 1]: images that D holds for true with more than this are
            taught; 1 takes none.
        discriminator_width: channels of D's first layer.
        form: of the game: "cross_entropy" (the paper's), "hinge" or "least_squares", where T is
            compared with D's answer itself.
        label_smoothing: in [0, 1): D is asked for 1 less this on true pairs, not for 1.
        spectral_norm: whether D's weights are divided by their largest singular values.
        gradient_penalty_weight: gamma >= 0, of R1 in D's loss: the squared slope of its logit at
            the class maps of true pairs.
        instance_noise: deviation, at the start of the run, of noise on all class maps that D is
            shown; it fades to 0 over the run; >= 0.
        discriminator_updates: updates of D for each of S; at least 1.
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
        loss_self_taught: cross entropy with its own argmax on trusted images; small.
        self_taught_share: share of the unlabelled images that are trusted; between 0 and 0.5.
        loss_discriminator: of D; near 0.7 (ln 2) it is blind, near 0 it has won. Of several
            updates, this and what follows are of the first.
        loss_gradient_penalty: R1 times gamma; well below loss_discriminator, 0 where it is off.
        d_real: mean of sigmoid(D) on true pairs; above 0.5.
        d_fake: mean of sigmoid(D) on made pairs; below 0.5.
        d_accuracy: share of pairs, true and made, that D judges rightly; 0.5 blind, 1 it has won.
        loss_classification: binary cross entropy of the tags; falls from about 0.7.
        loss_consistency: squared difference of probabilities to the teacher's, not weighted; 0
            before its start, then falls from about 0.1 to 0.01 and less.
        tag_precision: share of the labels found in the labelled batch that are right.
        tag_recall: share of the labels of the batch that are found; near 1, or the fusion takes
            away classes that are there.
    """

    strong_view = True

    def __init__(
        self,
        build_segmenter: BuildSegmenter,
        num_classes: int,
        *,
        feature_matching_weight: float = 0.1,
        self_taught_weight: float = 1.0,
        confidence_threshold: float = 0.6,
        discriminator_width: int = 64,
        form: Form = "cross_entropy",
        label_smoothing: float = 0.0,
        spectral_norm: bool = False,
        gradient_penalty_weight: float = 0.0,
        instance_noise: float = 0.0,
        discriminator_updates: int = 1,
        classification_weight: float = 1.0,
        consistency_weight: float = 1.0,
        consistency_burn_in: float = 0.1,
        teacher_decay: float = 0.999,
        presence_threshold: float = 0.2,
        classifier: str = "mobilenet_v2",
    ) -> None:
        super().__init__(
            build_segmenter,
            num_classes,
            feature_matching_weight=feature_matching_weight,
            self_taught_weight=self_taught_weight,
            confidence_threshold=confidence_threshold,
            discriminator_width=discriminator_width,
            form=form,
            label_smoothing=label_smoothing,
            spectral_norm=spectral_norm,
            gradient_penalty_weight=gradient_penalty_weight,
            instance_noise=instance_noise,
            discriminator_updates=discriminator_updates,
        )
        require_not_negative(
            classification_weight=classification_weight, consistency_weight=consistency_weight
        )
        require_share(
            consistency_burn_in=consistency_burn_in,
            teacher_decay=teacher_decay,
            presence_threshold=presence_threshold,
        )
        if num_classes < 2:
            raise ValueError("a classifier needs a class beside the background")
        self.classification_weight = classification_weight
        self.consistency_weight = consistency_weight
        self.consistency_burn_in = consistency_burn_in
        self.teacher_decay = teacher_decay
        self.presence_threshold = presence_threshold
        self.classifier = ClassificationNetwork(num_classes - 1, classifier, width=0)
        self.teacher = copy.deepcopy(self.classifier).requires_grad_(False)

    def train(self, mode: bool = True) -> S4GanMultiLabel:
        """As a module's, but the teacher always stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that alternate, and the classifier."""
        classifier = [ParameterGroup(list(self.classifier.parameters()))]
        return {**super().players(), "classifier": classifier}

    def predictor(self) -> nn.Module:
        """The segmenter, less the classes that the teacher does not find."""
        if self.classification_weight == 0:
            return self.segmenter
        return PresentClasses(self.segmenter, self.teacher, self.presence_threshold)

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, of the discriminator, of the classifier and its teacher."""
        game = super().step(batch, progress, update)
        return {**game, **self._step_classifier(batch, progress, update)}

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
            if progress.ends_step:
                decay = ema_decay(progress.step, self.teacher_decay)
                ema_update(self.teacher, self.classifier, decay)
        return {name: value.detach() for name, value in reported.items()}

    def _loss_consistency(self, unlabelled: Unlabelled) -> Tensor:
        """How far the student's probabilities are from the teacher's, in their square."""
        assert unlabelled.strong is not None, "this method asks for a strong view"
        padding = ~unlabelled.valid[:, None]
        student = _probability(self.classifier(unlabelled.strong.masked_fill(padding, 0.0)))
        with torch.no_grad():
            teacher = _probability(self.teacher(unlabelled.image.masked_fill(padding, 0.0)))
        known = unlabelled.valid.flatten(1).any(dim=1)
        return masked_mean((student - teacher).square(), known[:, None].expand_as(student))


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
        # A class that is there beats any that is not, however sure the segmenter is of the latter.
        maps = self.segmenter(image).log_softmax(dim=1).clamp(min=0.5 * GONE)
        absent = self.classifier(image).sigmoid() < self.threshold
        background = torch.zeros_like(absent[:, :1])
        taken = torch.cat([background, absent], dim=1)[:, :, None, None]
        fused: Tensor = maps.masked_fill(taken, GONE)
        return fused


def looks_padded(image: Tensor) -> Tensor:
    """Where a normalised image is padding, for void and padding of a mask carry one label.

    Padding is exactly the mean, in all channels, and a mean of ImageNet times 255 is no whole
    number: no pixel of a picture is.

    Args:
        image: B3HW.

    Returns:
        BHW bool.
    """
    return (image == 0).all(dim=1)


def without_padding(maps: Tensor, image: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
    """A pair as D sees it.

    Args:
        maps: BKHW, class maps.
        image: B3HW, normalised.
        padding: BHW bool.

    Returns:
        Maps BKHW and image B3HW in [0, 1], both 0 on padding.
    """
    padding = padding[:, None]
    return maps.masked_fill(padding, 0.0), to_unit(image).masked_fill(padding, 0.0)


def feature_matching_loss(made: Judged, true: Judged) -> Tensor:
    """L1 distance of D's mean features of made and of true pairs.

    Pairs of which nothing is known take no part.

    Args:
        made: pairs whose maps get the gradient.
        true: pairs; no gradient passes.

    Returns:
        0-d: the mean over features; 0 where one of the sides has no pair.
    """
    distance = feature_distance(_mean_features(made)[None], _mean_features(true)[None])
    pairs = sum_over_ranks(torch.stack([made.known.sum(), true.known.sum()]))
    return torch.where((pairs > 0).all(), distance, torch.zeros_like(distance))


def _mean_features(judged: Judged) -> Tensor:
    """C: this process's part of the mean over all known pairs; the mean of the parts is that."""
    total = judged.features.masked_fill(~judged.known[:, None], 0.0).sum(dim=0)
    return total / count(judged.known)


def self_taught_images_loss(
    logits: Tensor,
    judged: Judged,
    threshold: float,
    valid: Tensor,
    form: Form = "cross_entropy",
) -> tuple[Tensor, Tensor]:
    """Cross-entropy against the segmenter's own answer, on the images that D trusts.

    No gradient passes through the answers or the choice of images.

    Args:
        logits: BKHW, of the segmenter.
        judged: D's look at them; an image is trusted where D's belief is above `threshold`.
        threshold: in [0, 1].
        valid: BHW bool, False where a pixel takes no part.
        form: of the game in which D learns.

    Returns:
        The mean over the valid pixels of trusted images, 0-d, 0 where there is none, and the share
        of the known images that are trusted, 0-d and detached.
    """
    trusted = belief(judged.logits.detach(), form) > threshold
    taught = trusted[:, None, None] & valid
    answer = logits.detach().argmax(dim=1).masked_fill(~taught, IGNORE)
    share = masked_mean(trusted.float(), judged.known)
    return cross_entropy(logits, answer), share


def _probability(logits: Tensor) -> Tensor:
    # In half precision, probabilities near 1 would mostly be equal.
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
