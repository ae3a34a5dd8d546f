"""CutMix with a mean teacher: predictions on two images, mixed, are the target for their mixture.

French, Laine, Aila, Mackiewicz, Finlayson: "Semi-supervised semantic segmentation needs strong,
varied perturbations", BMVC 2020, https://arxiv.org/abs/1906.01916.

    S:  min  CE(S(x), y) + w c mean |softmax S(M(u, v)) - M(softmax T(u), softmax T(v))|^2
    T  <- average of S

M shows v within a box over half of the image and u outside of it; c is the share of the pixels at
which a class of T is more probable than t. The square is summed over the classes.

Differs from the authors' code (Britefury/cutmix-semisup-seg, train_seg_semisup_mask_mt.py):
1. Padding counts neither in the mean nor in c. In theirs the loss of padding is 0 but it is in the
   divisor, and its confidence counts.
2. v is another image of the same batch; they draw a second batch.
3. The decay of the moving average starts from 0 (ops/teacher.py).
4. Norms learn; theirs are frozen on Pascal VOC.
5. Labelled images and mixtures pass through S in one batch, theirs one after the other.
6. The square of unsure pixels can be left out one by one there, by an option that is off.

With `follows = "code"` 1, 3 and 5 are as theirs, and `ramp_up` is not read; 2 stays: they draw a
second batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from semisup.losses.consistency import (
    agreement,
    confidence,
    confident,
    logits_of_crops,
    mixed_images,
    squared_differences,
    teacher_agreement,
    teacher_pass_at,
)
from semisup.losses.segmentation import masked_mean, probabilities
from semisup.methods.base import (
    Method,
    Task,
    require_not_negative,
    require_own_logits,
    require_share,
)
from semisup.models.base import separate_training_logits
from semisup.models.resolution import Resolution, joint_pass_at
from semisup.ops.cutmix import FRENCH, cut_and_mixed, sampled
from semisup.ops.ramps import gaussian_ramp
from semisup.ops.teacher import Teacher
from semisup.system.distributed import mean_over_ranks
from semisup.types import Batch, Partner, Progress, Reads, Scalars, Unlabelled, Update


class CutMixSeg(Method):
    """French et al. 2020: the teacher's probabilities of two images, mixed as the images are.

    Args:
        task: network and classes.
        consistency_weight: w; >= 0. With 0 it is supervised training.
        ramp_up: share of the run over which w is reached, as in `mean_teacher`; in [0, 1]. 0: at
            once, as published. For networks from random weights: until their batch norms have seen
            enough images, what they say in eval mode can be sure and wrong.
        confidence_threshold: t in [0, 1]; 0 leaves c at 1.
        teacher_decay: of the moving average; in [0, 1].
        partner: whose box is pasted: that of an "other" image of the batch, or of another crop of
            the image itself ("self").
        follows: the "paper", or the authors' "code" with its slips (see the head of this file).
        resolution: of the losses on unlabelled images: the "image"'s, or that of the network's own
            "logits" before they are enlarged, which is cheaper.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_consistency: squared difference of probabilities, times c; 0 while the teacher is
            unsure, then between 0.01 and 0.2.
        confident_share: c; rises from 0 to between 0.5 and 0.95.
        strong_agreement: share of the pixels of the mixture at which S gives the class that the
            teacher gives to their own image; rises to between 0.8 and 0.98.
        teacher_agreement: at log points, share of the pixels of the weak view at which teacher and
            student give one class; rises to between 0.8 and 0.98. Below 0.5 late in a run, the
            teacher does not follow.
    """

    reads = Reads(unlabelled=True, unlabelled_numbers=FRENCH.numbers)
    story = ("loss_segmentation", "confident_share", "loss_consistency")

    def __init__(
        self,
        task: Task,
        *,
        consistency_weight: float = 1.0,
        ramp_up: float = 0.0,
        confidence_threshold: float = 0.97,
        teacher_decay: float = 0.99,
        partner: Partner = "other",
        follows: Literal["paper", "code"] = "paper",
        resolution: Resolution = "image",
    ) -> None:
        super().__init__()
        self.reads = replace(self.reads, unlabelled_partner=partner == "self")
        require_not_negative(consistency_weight=consistency_weight)
        require_share(
            ramp_up=ramp_up,
            confidence_threshold=confidence_threshold,
            teacher_decay=teacher_decay,
        )
        self.consistency_weight = consistency_weight
        self.follows_code = follows == "code"
        self.ramp_up = 0.0 if self.follows_code else ramp_up
        self.confidence_threshold = confidence_threshold
        self.segmenter, self.resolution = task.build_segmenter(), resolution
        require_own_logits(resolution, follows, self.segmenter)
        self.teacher = Teacher(self.segmenter, teacher_decay, ramped=not self.follows_code)

    def predictor(self) -> nn.Module:
        """The teacher; the segmenter where nothing is taught."""
        return self.teacher.network if self.consistency_weight > 0 else self.segmenter

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of its average."""
        labelled = batch.labelled
        zero = labelled.image.new_zeros(())
        terms = dict.fromkeys(("loss_consistency", "confident_share", "strong_agreement"), zero)
        if self.consistency_weight > 0:
            maps, terms = self._on_unlabelled(labelled.image, batch.unlabelled)
        else:
            maps = self.segmenter.training_logits(labelled.image)
        supervised = self.supervised_loss(maps, labelled)
        weight = self.consistency_weight * gaussian_ramp(progress.fraction, self.ramp_up)
        update("segmenter", supervised + weight * terms["loss_consistency"])
        self.teacher.follow(self.segmenter, progress)
        reported = {"loss_segmentation": supervised, **terms}
        return {name: value.detach() for name, value in reported.items()}

    def _on_unlabelled(
        self, image: Tensor, free: Unlabelled
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The maps of the labelled `image`, and the terms of the others."""
        assert free.numbers is not None
        boxes = FRENCH.draw(free.numbers, free.valid.shape[-2:])
        target, valid = self._target(free, boxes)
        joint = joint_pass_at(self.resolution)
        passes = separate_training_logits if self.follows_code else joint
        maps, (logits, *_) = passes(self.segmenter, image, mixed_images(free, boxes))
        sure = (target.amax(dim=1) > self.confidence_threshold).to(target)
        squares, counted = squared_differences(logits, target), valid
        if self.follows_code:
            squares, counted = squares.masked_fill(~valid, 0.0), torch.ones_like(valid)
        share = mean_over_ranks(masked_mean(sure, counted))  # a factor of every process's loss
        return maps, {
            "loss_consistency": share * masked_mean(squares, counted),
            "confident_share": share,
            "strong_agreement": agreement(logits, target, valid),
        }

    def _target(self, free: Unlabelled, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's probabilities, mixed as the images are, and which of them count."""
        said = logits_of_crops(teacher_pass_at(self.resolution, self.teacher), free)
        size = said[0].shape[-2:]
        boxes = sampled(boxes, size)
        valid = (sampled(crop.valid, size) for crop in free.crops)
        return cut_and_mixed(boxes, *map(probabilities, said)), cut_and_mixed(boxes, *valid)

    def measure(self, batch: Batch) -> Scalars:
        """How far teacher and student agree on the weak view."""
        free = batch.unlabelled
        if self.consistency_weight == 0:
            return {"teacher_agreement": free.image.new_zeros(())}
        return {"teacher_agreement": teacher_agreement(self.teacher, self.segmenter, free)}

    def pictures(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """The probability of the class that the teacher chooses."""
        return {"confidence": confidence(logits)}

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        """The teacher's most probable classes: it teaches probabilities, at every pixel."""
        if self.consistency_weight == 0:
            return None
        return confident(self.teacher(image), 0.0, valid).as_mask()

    def labeller(self) -> nn.Module:
        """The teacher."""
        return self.teacher
