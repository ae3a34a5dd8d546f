"""Mean Teacher: predictions on unlabelled images shall be those of an average of past networks.

Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
https://arxiv.org/abs/1703.01780

    S:  min  CE(S(x), y) + a r(t) mean |softmax S(v(u)) - softmax T(u)|^2
    T:  moving average of S

u is the weak view of an unlabelled image, v(u) a strong one of the same crop. Differs from the
paper: r rises in a straight line over half of the run; T sees no noise, and is in eval mode; all
unlabelled pixels count, and labelled images are in no consistency term.
"""

from __future__ import annotations

from torch import Tensor, nn

import semisup
from semisup.losses.segmentation import masked_mean
from semisup.methods.base import Method, Task, require_not_negative, require_share
from semisup.ops.ramps import ramp
from semisup.ops.teacher import Teacher
from semisup.types import Batch, Progress, Reads, Scalars, Unlabelled, Update


class MeanTeacher(Method):
    """Tarvainen and Valpola 2017: consistency with a moving average; the teacher predicts.

    Args:
        task: network and classes.
        consistency_weight: a, of the consistency term; >= 0.
        teacher_decay: of the moving average; in [0, 1].

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_consistency: squared difference of probabilities, summed over classes; in [0, 2].
    """

    reads = Reads(unlabelled=True, unlabelled_views=1)

    def __init__(
        self, task: Task, *, consistency_weight: float = 1.0, teacher_decay: float = 0.99
    ) -> None:
        super().__init__()
        require_not_negative(consistency_weight=consistency_weight)
        require_share(teacher_decay=teacher_decay)
        self.consistency_weight = consistency_weight
        self.segmenter = task.build_segmenter()
        self.teacher = Teacher(self.segmenter, teacher_decay)

    def predictor(self) -> nn.Module:
        """The teacher."""
        return self.teacher.network

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, which the teacher then follows."""
        labelled, free = batch.labelled, batch.unlabelled
        maps = self.segmenter.training_logits(labelled.image)
        loss = self.supervised_loss(maps, labelled)
        weight = self.consistency_weight * ramp(progress.fraction, 0.0)
        distance = self._distance(free) if weight > 0 else loss.new_zeros(())
        update("segmenter", loss + weight * distance)
        self.teacher.follow(self.segmenter, progress)
        return {"loss_segmentation": loss.detach(), "loss_consistency": distance.detach()}

    def _distance(self, free: Unlabelled) -> Tensor:
        """Mean over pixels of the squared difference between student and teacher, 0-d."""
        student = self.segmenter(free.views[0]).softmax(dim=1)
        teacher = self.teacher(free.image).softmax(dim=1)
        return masked_mean((student - teacher).square().sum(dim=1), free.valid)


semisup.register("my_mean_teacher", MeanTeacher)
