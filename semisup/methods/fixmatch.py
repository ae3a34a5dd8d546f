"""FixMatch for segmentation: confident labels of the weak view, taught on a strong one.

Sohn et al., "FixMatch", NeurIPS 2020, https://arxiv.org/abs/2001.07685; for segmentation as in
Yang, Qi, Feng, Zhang, Shi: "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic
Segmentation", CVPR 2023, https://arxiv.org/abs/2208.09910, and its successor UniMatch V2, TPAMI
2025, https://arxiv.org/abs/2410.10777.

    S:  min  CE(S(x), y) + w CE(S(s), argmax T(u)) where max T(u) >= t  [ + terms of weak labels ]
    T <- average of S

x, y are labelled images and masks, u the weak view of an unlabelled image (scale, crop, flip) and s
its strong view: other colours, grey, blur, and in half of the images a box of another image,
whose labels are pasted with it. The teacher T is the moving average of S. The sum over the taught
pixels is divided by all that are no padding, so that what is taught counts more as T grows
confident.

Labelled and strong images pass through S together, in one batch.

Images with weak masks and tags can teach beside them, as in `partial_cross_entropy`: so masks of
some images, points of others, tags of others and no label of the rest make one run. They pass
through S alone, and are taught no more than their labels. All three terms are off by default.

Differs from the authors' code (LiheYoung/UniMatch, fixmatch.py; UniMatch-V2, fixmatch.py):
1. T is an average of S, as in the second. In the first S teaches itself: in training mode for an
   image's own labels, in eval mode for those of the boxes (`teacher_decay = 0`: in eval mode).
2. The loss is the sum of the terms and not half of it. With SGD, their rate r and weight decay d
   are r / 2 and 2 d here.
3. Boxes are pasted from another image of the same batch, as in the second. In the first both come
   from one order of the images when several processes train: an image gets a box of itself, as
   with `partner = "self"`.
4. Labelled images and strong views share a pass, as in the second. In the first, labelled images
   and weak views do, and the strong views have their own.
5. In a sum over pixels padding is left out by its own mask, not by a label of 254.

With `follows = "code"` 1 to 4 are as in the first code; then `partner`, `teacher_decay` and
`ramp_up` are not read. How a box is drawn stays as here (ops/cutmix.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

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
from semisup.losses.weak.presence import presence_loss
from semisup.methods.base import (
    Method,
    Task,
    require_not_negative,
    require_own_logits,
    require_share,
)
from semisup.models.base import joint_training_logits
from semisup.models.resolution import Resolution, joint_pass_at
from semisup.ops.cutmix import UNIMATCH
from semisup.ops.ramps import gaussian_ramp
from semisup.ops.teacher import Teacher
from semisup.types import Batch, Partner, Progress, Reads, Scalars, Unlabelled, Update, Weak

OF_WEAK_LABELS = ("loss_segmentation_weak", "loss_absence", "loss_presence")
"""What it reports of weak labels."""


class FixMatch(Method):
    """Confident labels of a teacher's weak view, taught on a strong view with CutMix.

    Args:
        task: network and classes.
        unlabelled_weight: w, of the pseudo-labels' term; >= 0. With 0 it is supervised training.
        ramp_up: share of the run over which w is reached, as in `mean_teacher`; in [0, 1]. 0: at
            once, as published. For networks from random weights: until their batch norms have seen
            enough images, what they say in eval mode can be sure and wrong.
        confidence_threshold: t in [0, 1], smallest probability of a class that is taught; 0
            teaches all pixels (the first code on Cityscapes), 1 next to none.
        teacher_decay: of the moving average; in [0, 1]. 0: S teaches itself.
        cutmix: share of the images with a box of another image; in [0, 1].
        partner: whose box that is: an "other" image of the batch, or another crop of the image
            itself ("self").
        follows: the "paper", or the authors' first "code" with its slips (see the head of this
            file).
        resolution: of the losses on unlabelled images: the "image"'s, or that of the network's own
            "logits" before they are enlarged, which is cheaper.
        divisor: what the sum over the taught pixels is divided by (losses/consistency.py).
        weak_weight: of the cross entropy on images with weak masks (`data.weak_masks`); >= 0.
        absence_weight: of the term that says of each class outside of an image's tags
            (`data.tags`) that no pixel is of it; >= 0. As in `partial_cross_entropy`.
        presence_weight: of the term that says of each tag, and of background, that some pixel is of
            it; >= 0. For `data.crop = "whole"`.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_pseudo: cross entropy with the taught labels, over all pixels that are no padding; 0 as
            long as nothing is taught, then rises to a tenth of loss_segmentation's start, or less.
        self_taught_share: share of the unlabelled pixels that are taught; rises from 0 to between
            0.5 and 0.95. Near 1 from the start, the threshold selects nothing; 0 to the end, no
            pixel was ever sure enough.
        strong_agreement: share of the taught pixels at which S gives the taught class on the
            strong view; between 0.8 and 0.99, 0 while nothing is taught. Below 0.5 to the end,
            the view has lost what the labels are about.
        loss_segmentation_weak: cross entropy over the labelled pixels of weak masks; falls from
            about ln K. 0 where it is off.
        loss_absence: of absent classes, not weighted; rises first, then falls to below 0.5. 0 where
            it is off.
        loss_presence: of present ones, not weighted; falls from about ln K to below 0.5. 0 where it
            is off.
        teacher_agreement: at log points, share of the pixels of the weak view at which teacher and
            student give one class; rises to between 0.8 and 0.98. Below 0.5 late in a run, the
            teacher does not follow.
    """

    reads = Reads(unlabelled=True, unlabelled_views=1, unlabelled_numbers=UNIMATCH.numbers)
    story = ("loss_segmentation", "self_taught_share", "strong_agreement")

    def __init__(
        self,
        task: Task,
        *,
        unlabelled_weight: float = 1.0,
        ramp_up: float = 0.0,
        confidence_threshold: float = 0.95,
        teacher_decay: float = 0.996,
        cutmix: float = 0.5,
        partner: Partner = "other",
        follows: Literal["paper", "code"] = "paper",
        resolution: Resolution = "image",
        divisor: PseudoDivisor = "valid",
        weak_weight: float = 0.0,
        absence_weight: float = 0.0,
        presence_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.follows_code = follows == "code"
        in_pairs = partner == "self" or self.follows_code
        require_not_negative(
            unlabelled_weight=unlabelled_weight,
            weak_weight=weak_weight,
            absence_weight=absence_weight,
            presence_weight=presence_weight,
        )
        self.reads_tags = absence_weight > 0 or presence_weight > 0
        masks = Reads(weak=frozenset({"partial"} if weak_weight > 0 else ())).weak
        tags = Reads(weak=frozenset({"tags"} if self.reads_tags else ())).weak
        self.reads = replace(self.reads, unlabelled_partner=in_pairs, weak=masks | tags)
        self.weak_weight = weak_weight
        self.absence_weight = absence_weight
        self.presence_weight = presence_weight
        require_share(
            ramp_up=ramp_up,
            confidence_threshold=confidence_threshold,
            teacher_decay=teacher_decay,
            cutmix=cutmix,
        )
        self.unlabelled_weight = unlabelled_weight
        self.ramp_up = 0.0 if self.follows_code else ramp_up
        self.confidence_threshold = confidence_threshold
        self.boxes = replace(UNIMATCH, chance=cutmix)
        self.divisor: PseudoDivisor = divisor
        self.segmenter, self.resolution = task.build_segmenter(), resolution
        require_own_logits(resolution, follows, self.segmenter)
        self.teacher = Teacher(self.segmenter, 0.0 if self.follows_code else teacher_decay)

    def predictor(self) -> nn.Module:
        """The teacher; the segmenter where nothing is taught."""
        return self.teacher.network if self.unlabelled_weight > 0 else self.segmenter

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of its average."""
        labelled = batch.labelled
        if self.unlabelled_weight > 0:
            passes = self._passes_of_the_code if self.follows_code else self._passes
            maps, logits, mixed = passes(labelled.image, batch.unlabelled)
            taught, share = pseudo_label_loss(logits, mixed, self.divisor), mixed.share()
            agreed = agreement(logits, mixed.classes, mixed.taught)
        else:
            maps = self.segmenter.training_logits(labelled.image)
            taught = share = agreed = labelled.image.new_zeros(())
        supervised = self.supervised_loss(maps, labelled)
        weight = self.unlabelled_weight * gaussian_ramp(progress.fraction, self.ramp_up)
        loss = supervised + weight * taught
        of_weak: Scalars = {}
        if self.reads.weak:
            more, of_weak = self._of_weak_labels(batch.weak)
            loss = loss + more
        update("segmenter", 0.5 * loss if self.halved else loss)
        self.teacher.follow(self.segmenter, progress)
        return {
            "loss_segmentation": supervised.detach(),
            "loss_pseudo": taught.detach(),
            "self_taught_share": share,
            "strong_agreement": agreed,
            **{name: of_weak.get(name, taught.new_zeros(())) for name in OF_WEAK_LABELS},
        }

    def _of_weak_labels(self, weak: Weak) -> tuple[Tensor, Scalars]:
        """What weak labels add to the loss, and the terms without their weights."""
        maps = self.segmenter.training_logits(weak.image)
        partial = presence = absence = weak.image.new_zeros(())
        if self.weak_weight > 0:
            partial = self.supervised_loss(maps, weak)
        if self.reads_tags:
            assert weak.tags is not None, "this method reads tags"
            presence, absence = presence_loss(maps[0], weak.tags, weak.valid)
        of_tags = self.absence_weight * absence + self.presence_weight * presence
        terms = (partial.detach(), absence.detach(), presence.detach())
        return (
            self.weak_weight * partial + of_tags,
            dict(zip(OF_WEAK_LABELS, terms, strict=True)),
        )

    @property
    def halved(self) -> bool:
        """Whether half of the sum of the terms is the loss."""
        return self.follows_code and self.unlabelled_weight > 0

    def _passes(self, image: Tensor, free: Unlabelled) -> tuple[list[Tensor], Tensor, PseudoLabels]:
        """The maps of the labelled `image`; logits of the strong view, and what it is taught."""
        teacher = teacher_pass_at(self.resolution, self.teacher)
        labels = confident_crops(teacher, free, self.confidence_threshold)
        strong, mixed = mixed_view(free, 0, self.boxes, labels)
        maps, (logits, *_) = joint_pass_at(self.resolution)(self.segmenter, image, strong)
        return maps, logits, mixed

    def _passes_of_the_code(
        self, image: Tensor, free: Unlabelled
    ) -> tuple[list[Tensor], Tensor, PseudoLabels]:
        """The same; own labels are of S in training mode."""
        maps, (weak, *_) = joint_training_logits(self.segmenter, image, free.image)
        labels = labels_of_two_modes(weak, self.teacher, free, self.confidence_threshold)
        strong, mixed = mixed_view(free, 0, self.boxes, labels)
        logits, *_ = self.segmenter.training_logits(strong)
        return maps, logits, mixed

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
