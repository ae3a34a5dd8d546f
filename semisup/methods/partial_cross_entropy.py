"""Partial cross entropy: masks of some images, and of others what points or scribbles say.

    min_S  sum_i w_i [ CE(S_i(x), y) + v CE(S_i(u), z) ]
                                          i over the main map and the auxiliary ones, w_0 = 1

z is void where nobody has said anything, and the mean of its cross entropy is over the pixels that
have a label: the first term of the losses of Bearman et al., What's the Point, ECCV 2016 (points)
and of Tang et al., On Regularized Losses for Weakly-supervised CNN Segmentation, ECCV 2018
(scribbles). Their further terms are not here.
"""

from __future__ import annotations

from semisup.methods.base import Method, Task, require_not_negative
from semisup.models.base import joint_training_logits
from semisup.types import Batch, Progress, Reads, Scalars, Update


class PartialCrossEntropy(Method):
    """Cross entropy on images with masks, and on the labelled pixels of weakly labelled ones.

    Args:
        task: network and classes.
        weak_weight: v, of the term on images with weak masks (`data.weak_masks`).

    Logs:
        loss_segmentation: mean cross entropy over valid pixels; falls from about ln K.
        loss_segmentation_weak: the same over the labelled pixels of the weak masks; 0 where a batch
            has none.
    """

    reads = Reads(weak=frozenset({"partial"}))
    story = ("loss_segmentation", "loss_segmentation_weak")

    def __init__(self, task: Task, *, weak_weight: float = 1.0) -> None:
        super().__init__()
        require_not_negative(weak_weight=weak_weight)
        self.segmenter = task.build_segmenter()
        self.weak_weight = weak_weight

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, by one forward pass for both kinds of images."""
        labelled, weak = batch.labelled, batch.weak
        if self.weak_weight > 0:
            maps, partial = joint_training_logits(self.segmenter, labelled.image, weak.image)
            loss_weak = self.supervised_loss(partial, weak)
        else:
            maps = self.segmenter.training_logits(labelled.image)
            loss_weak = labelled.image.new_zeros(())
        loss = self.supervised_loss(maps, labelled)
        update("segmenter", loss + self.weak_weight * loss_weak)
        return {"loss_segmentation": loss.detach(), "loss_segmentation_weak": loss_weak.detach()}
