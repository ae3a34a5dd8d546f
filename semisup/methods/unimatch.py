"""UniMatch: two strong views and a perturbed feature map, against one weak view.

Yang, Qi, Feng, Zhang, Shi: "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation", CVPR 2023, https://arxiv.org/abs/2208.09910.

    S:  min  CE(S(x), y) + w [1/4 CE(S(s1), l) + 1/4 CE(S(s2), l) + 1/2 CE(S~(u), l)],
             l = argmax T(u) where max T(u) >= t,     T <- average of S

As `fixmatch`, with two strong views s1 and s2 of each image, drawn apart and with boxes of their
own, and with S~: S on the weak view, half of the channels of its encoder's maps dropped.

Differs from the authors' code (LiheYoung/UniMatch, unimatch.py):
1. T is an average of S, which in their later experiments is worth more than the method itself. In
   theirs S teaches itself, in training mode on the image's own labels and in eval mode on those of
   the pasted boxes; with `teacher_decay = 0` the teacher is S in eval mode for both.
2. Channels of all maps that the encoder gives are dropped; theirs has two of them, of DeepLab v3+.
3. Labelled images and strong views share a pass; the perturbed weak view has one of its own, which
   leaves running statistics alone. In theirs labelled and weak images share a pass, whose decoder
   sees the dropped maps in the same batch, and both strong views share another.
4. What `fixmatch` says of the sum of the terms, of boxes and of padding holds here too.

With `follows = "code"` all but 2 and how a box is drawn are as theirs; then `partner`,
`teacher_decay` and `ramp_up` are not read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.losses.consistency import (
    PseudoDivisor,
    PseudoLabels,
    agreement,
    confidence,
    confident,
    confident_crops,
    labels_of_two_modes,
    mixed_view,
    pseudo_label_loss,
    teacher_agreement,
    teacher_pass_at,
)
from semisup.methods.base import (
    Method,
    Task,
    require_not_negative,
    require_own_logits,
    require_share,
)
from semisup.models.base import Segmenter, joint_training_logits
from semisup.models.layers import statistics_kept
from semisup.models.resolution import (
    Resolution,
    decoded,
    joint_pass_at,
    require_one_map,
)
from semisup.ops.cutmix import UNIMATCH
from semisup.ops.ramps import gaussian_ramp
from semisup.ops.teacher import Teacher
from semisup.types import Batch, Partner, Progress, Reads, Scalars, Unlabelled, Update

Passes = tuple[list[Tensor], list[tuple[Tensor, PseudoLabels]], Tensor, PseudoLabels]

TERMS = ("loss_pseudo", "loss_features", "self_taught_share", "strong_agreement")


class UniMatch(Method):
    """Confident labels of a teacher, taught on two strong views and through perturbed features.

    Args:
        task: network and classes.
        unlabelled_weight: w, of both terms; >= 0. With 0 it is supervised training.
        ramp_up: share of the run over which w is reached, as in `mean_teacher`; in [0, 1]. 0: at
            once, as published. For networks from random weights: until their batch norms have seen
            enough images, what they say in eval mode can be sure and wrong.
        feature_share: weight of the perturbed features' term within w, the rest is of the strong
            views, half each; in [0, 1].
        feature_dropout: share of the channels that are dropped; in [0, 1].
        confidence_threshold: t in [0, 1], smallest probability of a class that is taught.
        teacher_decay: of the moving average; in [0, 1]. 0: S teaches itself.
        cutmix: share of the images with a box of another image; in [0, 1].
        partner: whose box that is: an "other" image of the batch, or another crop of the image
            itself ("self").
        follows: the "paper", or the authors' "code" with its slips (see the head of this file).
            The code's passes leave no place for auxiliary heads.
        resolution: of the losses on unlabelled images: the "image"'s, or that of the network's own
            "logits" before they are enlarged, which is cheaper.
        divisor: what the sum over the taught pixels is divided by (losses/consistency.py).

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_pseudo: cross entropy with the taught labels on the strong views, over all pixels that
            are no padding; 0 as long as nothing is taught, then small.
        loss_features: the same through the perturbed features; below loss_pseudo.
        self_taught_share: share of the unlabelled pixels that are taught; rises from 0 to between
            0.5 and 0.95.
        strong_agreement: share of the taught pixels at which S gives the taught class on the
            strong views; between 0.8 and 0.99, 0 while nothing is taught. Below 0.5 to the end,
            the view has lost what the labels are about.
        teacher_agreement: at log points, share of the pixels of the weak view at which teacher and
            student give one class; rises to between 0.8 and 0.98. Below 0.5 late in a run, the
            teacher does not follow.
    """

    reads = Reads(unlabelled=True, unlabelled_views=2, unlabelled_numbers=2 * UNIMATCH.numbers)
    story = ("loss_segmentation", "self_taught_share", "strong_agreement")

    def __init__(
        self,
        task: Task,
        *,
        unlabelled_weight: float = 1.0,
        ramp_up: float = 0.0,
        feature_share: float = 0.5,
        feature_dropout: float = 0.5,
        confidence_threshold: float = 0.95,
        teacher_decay: float = 0.996,
        cutmix: float = 0.5,
        partner: Partner = "other",
        follows: Literal["paper", "code"] = "paper",
        resolution: Resolution = "image",
        divisor: PseudoDivisor = "valid",
    ) -> None:
        super().__init__()
        self.follows_code = follows == "code"
        in_pairs = partner == "self" or self.follows_code
        self.reads = replace(self.reads, unlabelled_partner=in_pairs)
        require_not_negative(unlabelled_weight=unlabelled_weight)
        require_share(
            ramp_up=ramp_up,
            feature_share=feature_share,
            feature_dropout=feature_dropout,
            confidence_threshold=confidence_threshold,
            teacher_decay=teacher_decay,
            cutmix=cutmix,
        )
        self.unlabelled_weight = unlabelled_weight
        self.ramp_up = 0.0 if self.follows_code else ramp_up
        self.feature_share, self.feature_dropout = feature_share, feature_dropout
        self.confidence_threshold = confidence_threshold
        self.boxes = replace(UNIMATCH, chance=cutmix)
        self.divisor: PseudoDivisor = divisor
        self.segmenter, self.resolution = task.build_segmenter(), resolution
        require_own_logits(resolution, follows, self.segmenter)
        self.teacher = Teacher(self.segmenter, 0.0 if self.follows_code else teacher_decay)
        if self.halved:
            require_one_map(self.segmenter, 'follows = "code"')

    def predictor(self) -> nn.Module:
        """The teacher; the segmenter where nothing is taught."""
        return self.teacher.network if self.unlabelled_weight > 0 else self.segmenter

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of its average."""
        labelled = batch.labelled
        zero = labelled.image.new_zeros(())
        terms = dict.fromkeys(TERMS, zero)
        if self.unlabelled_weight > 0:
            maps, terms = self._on_unlabelled(labelled.image, batch.unlabelled)
        else:
            maps = self.segmenter.training_logits(labelled.image)
        supervised = self.supervised_loss(maps, labelled)
        strong, features = 1.0 - self.feature_share, self.feature_share
        taught = strong * terms["loss_pseudo"] + features * terms["loss_features"]
        weight = self.unlabelled_weight * gaussian_ramp(progress.fraction, self.ramp_up)
        loss = supervised + weight * taught
        update("segmenter", 0.5 * loss if self.halved else loss)
        self.teacher.follow(self.segmenter, progress)
        reported = {"loss_segmentation": supervised, **terms}
        return {name: value.detach() for name, value in reported.items()}

    @property
    def halved(self) -> bool:
        """Whether half of the sum of the terms is the loss."""
        return self.follows_code and self.unlabelled_weight > 0

    def _on_unlabelled(
        self, image: Tensor, free: Unlabelled
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The maps of the labelled `image`, and the terms of the others."""
        passes = self._passes_of_the_code if self.follows_code else self._passes
        maps, pairs, perturbed, own = passes(image, free)
        losses = [pseudo_label_loss(logits, taught, self.divisor) for logits, taught in pairs]
        agreed = [agreement(logits, taught.classes, taught.taught) for logits, taught in pairs]
        return maps, {
            "loss_pseudo": 0.5 * (losses[0] + losses[1]),
            "loss_features": pseudo_label_loss(perturbed, own, self.divisor),
            "self_taught_share": own.share(),
            "strong_agreement": 0.5 * (agreed[0] + agreed[1]),
        }

    def _passes(self, image: Tensor, free: Unlabelled) -> Passes:
        """The maps of the labelled `image`; the logits of each strong view and what it is taught;
        those through dropped channels; the labels of the weak view.
        """
        teacher = teacher_pass_at(self.resolution, self.teacher)
        labels = confident_crops(teacher, free, self.confidence_threshold)
        (one, of_one), (two, of_two) = self._strong(free, labels)
        joint = joint_pass_at(self.resolution)
        maps, (first, *_), (second, *_) = joint(self.segmenter, image, one, two)
        perturbed = with_dropped_channels(
            self.segmenter, free.image, self.feature_dropout, self.resolution
        )
        return maps, [(first, of_one), (second, of_two)], perturbed, labels[0]

    def _passes_of_the_code(self, image: Tensor, free: Unlabelled) -> Passes:
        """The same; own labels are of S in training mode."""
        clean, dropped = clean_and_dropped(
            self.segmenter, torch.cat([image, free.image]), self.feature_dropout
        )
        count = len(image)
        labels = labels_of_two_modes(clean[count:], self.teacher, free, self.confidence_threshold)
        (one, of_one), (two, of_two) = self._strong(free, labels)
        (first, *_), (second, *_) = joint_training_logits(self.segmenter, one, two)
        pairs = [(first, of_one), (second, of_two)]
        return [clean[:count]], pairs, dropped[count:], labels[0]

    def _strong(
        self, free: Unlabelled, labels: list[PseudoLabels]
    ) -> list[tuple[Tensor, PseudoLabels]]:
        return [mixed_view(free, number, self.boxes, labels) for number in range(2)]

    def measure(self, batch: Batch) -> Scalars:
        """How far teacher and student agree on the weak view."""
        free = batch.unlabelled
        if self.unlabelled_weight == 0:
            return {"teacher_agreement": free.image.new_zeros(())}
        return {"teacher_agreement": teacher_agreement(self.teacher, self.segmenter, free)}

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """The probability of the class that the teacher chooses."""
        return {"confidence": confidence(logits)}

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        """The teacher's classes where they are probable enough."""
        if self.unlabelled_weight == 0:
            return None
        return confident(self.teacher(image), self.confidence_threshold, valid).as_mask()

    def labeller(self) -> nn.Module:
        """The teacher."""
        return self.teacher


def with_dropped_channels(
    network: Segmenter, image: Tensor, share: float, resolution: Resolution = "image"
) -> Tensor:
    """Logits BKHW or BKhw of `image` (BCHW), a share of the channels of the encoder's maps dropped.

    Running statistics are left alone: dropped maps vary more than those that are predicted from.
    """
    with statistics_kept(network):
        features = [_dropped(part, share) for part in network.encode(network.padded(image))]
        return decoded(network, features, image.shape[-2:], resolution)


def clean_and_dropped(network: Segmenter, image: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Logits BKHW of `image` (BCHW) as it is, and with a share of the maps' channels dropped.

    The encoder is run once; the decoder on both in one batch.
    """
    features = network.encode(network.padded(image))
    both = [torch.cat([part, _dropped(part, share)]) for part in features]
    clean, dropped = network.to_image_size(network.decode(both), image.shape[-2:]).chunk(2)
    return clean, dropped


def _dropped(part: Tensor, share: float) -> Tensor:
    return F.dropout2d(part, share) if part.is_floating_point() else part  # the rest are switches
