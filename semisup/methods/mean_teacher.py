"""Mean Teacher: the student's probabilities of one view against its own average's of another.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
https://arxiv.org/abs/1703.01780.

    S:  min  CE(S(x), y) + w r(t) mean (softmax S(s) - softmax T(u))^2,     T <- average of S

u is the weak view of an unlabelled image (scale, crop, flip) and s the same crop in other colours.
The mean is over pixels and classes; r(t) rises as exp(-5 (1 - t)^2) over the first part of the run.

Differs from the authors' code (CuriousAI/mean-teacher), which classifies images:
1. The student's view differs from the teacher's in colours, grey and blur. In theirs both views are
   noisy, with shifts that a label map would have to follow.
2. The consistency term is of unlabelled images alone; theirs is of the labelled ones too.
3. The teacher is in eval mode and has averages of running statistics; theirs is in training mode.

The form that is compared with in segmentation (charlesCXK/TorchSemiSeg, "MeanTeacher") has the same
w = 100, but shows both networks the very same image, without a ramp; labelled images count, the
average moves before the step, and the student is tested. There teacher and student differ by their
weights alone. `follows = "code"` is that form: the teacher is in training mode with statistics of
its own, its weights follow at the full decay between the labelled and the unlabelled images, all
pixels count, padding too, and each batch has a pass of its own. `ramp_up` is not read then.
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
from semisup.ops.cutmix import sampled
from semisup.ops.ramps import gaussian_ramp
from semisup.ops.teacher import Teacher
from semisup.types import Batch, Progress, Reads, Scalars, Unlabelled, Update

Passes = tuple[list[Tensor], Tensor, Tensor, Tensor]


class MeanTeacher(Method):
    """Tarvainen and Valpola 2017: agreement with the student's own moving average.

    Args:
        task: network and classes.
        consistency_weight: w, of the mean over pixels and classes; >= 0. With 0 it is supervised
            training.
        ramp_up: share of the run over which w is reached; in [0, 1].
        teacher_decay: of the moving average; in [0, 1].
        follows: the "paper", or the "code" that is compared with in segmentation (see the head of
            this file).
        resolution: of the losses on unlabelled images: the "image"'s, or that of the network's own
            "logits" before they are enlarged, which is cheaper.

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_consistency: squared difference of probabilities, mean over pixels and classes, not
            weighted; below 0.01, 0 when teacher and student give the same probabilities.
        strong_agreement: share of the pixels at which the student gives in other colours the class
            that the teacher gives to the plain view; rises to between 0.8 and 0.98.
        teacher_agreement: at log points, share of the pixels of the weak view at which teacher and
            student give one class; rises to between 0.8 and 0.98. Below 0.5 late in a run, the
            teacher does not follow.
    """

    reads = Reads(unlabelled=True, unlabelled_views=1)
    story = ("loss_segmentation", "loss_consistency", "strong_agreement")

    def __init__(
        self,
        task: Task,
        *,
        consistency_weight: float = 100.0,
        ramp_up: float = 0.25,
        teacher_decay: float = 0.99,
        follows: Literal["paper", "code"] = "paper",
        resolution: Resolution = "image",
    ) -> None:
        super().__init__()
        require_not_negative(consistency_weight=consistency_weight)
        require_share(ramp_up=ramp_up, teacher_decay=teacher_decay)
        self.follows_code = follows == "code"
        self.consistency_weight = consistency_weight
        self.ramp_up = 0.0 if self.follows_code else ramp_up
        self.segmenter, self.resolution = task.build_segmenter(), resolution
        require_own_logits(resolution, follows, self.segmenter)
        as_published = not self.follows_code
        self.teacher = Teacher(
            self.segmenter, teacher_decay, ramped=as_published, statistics=as_published
        )
        self.reads = replace(self.reads, unlabelled_views=int(as_published))

    def predictor(self) -> nn.Module:
        """The teacher; the segmenter where nothing is taught, and with the code."""
        taught = self.consistency_weight > 0 and not self.follows_code
        return self.teacher.network if taught else self.segmenter

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, then one of its average."""
        labelled = batch.labelled
        if self.consistency_weight > 0:
            passes = self._passes_of_the_code if self.follows_code else self._passes
            maps, logits, target, valid = passes(labelled.image, batch.unlabelled, progress)
            squares = squared_differences(logits, target) / target.shape[1]
            consistency = masked_mean(squares, valid)
            agreed = agreement(logits, target, valid)
        else:
            maps = self.segmenter.training_logits(labelled.image)
            consistency = agreed = labelled.image.new_zeros(())
        supervised = self.supervised_loss(maps, labelled)
        weight = self.consistency_weight * gaussian_ramp(progress.fraction, self.ramp_up)
        update("segmenter", supervised + weight * consistency)
        if not self.follows_code:
            self.teacher.follow(self.segmenter, progress)
        return {
            "loss_segmentation": supervised.detach(),
            "loss_consistency": consistency.detach(),
            "strong_agreement": agreed,
        }

    def _passes(self, image: Tensor, free: Unlabelled, progress: Progress) -> Passes:
        """The maps of the labelled `image`; logits, their targets, and which pixels count."""
        target = probabilities(teacher_pass_at(self.resolution, self.teacher)(free.image))
        joint = joint_pass_at(self.resolution)
        maps, (logits, *_) = joint(self.segmenter, image, free.views[0])
        return maps, logits, target, sampled(free.valid, target.shape[-2:])

    def _passes_of_the_code(self, image: Tensor, free: Unlabelled, progress: Progress) -> Passes:
        """The same, of labelled and unlabelled images."""
        self.teacher.network.train()
        targets = [self.teacher(image)]
        self.teacher.follow(self.segmenter, progress)
        targets.append(self.teacher(free.image))
        self.teacher.network.eval()
        maps, (others, *_) = separate_training_logits(self.segmenter, image, free.image)
        logits, target = torch.cat([maps[0], others]), probabilities(torch.cat(targets))
        return maps, logits, target, torch.ones_like(target[:, 0], dtype=torch.bool)

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
