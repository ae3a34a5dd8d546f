"""Partial cross entropy: masks of some images, and of others what points, scribbles or tags say.

    min_S  sum_i w_i [ CE(S_i(x), y) + v CE(S_i(u), z) ]  +  a A(S_0(u), t)  +  b P(S_0(u), t)
                                          i over the main map and the auxiliary ones, w_0 = 1

z is void where nobody has said anything, and the mean of its cross entropy is over the pixels that
have a label: the first term of the losses of Bearman et al., What's the Point, ECCV 2016 (points)
and of Tang et al., On Regularized Losses for Weakly-supervised CNN Segmentation, ECCV 2018
(scribbles). A and P are the former's absence and presence of the classes in the tags t, at weight 1
there and off here; the terms of the latter are `train.regulariser`, which any method takes.
"""

from __future__ import annotations

from dataclasses import replace

from semisup.losses.weak.presence import presence_loss
from semisup.methods.base import Method, Task, require_not_negative
from semisup.models.base import joint_training_logits
from semisup.types import Batch, Progress, Reads, Scalars, Update


class PartialCrossEntropy(Method):
    """Cross entropy on images with masks, and on the labelled pixels of weakly labelled ones.

    Args:
        task: network and classes.
        weak_weight: v, of the term on images with weak masks (`data.weak_masks`).
        absence_weight: a, of the term that says of each class outside of an image's tags
            (`data.tags`) that no pixel is of it. Above 0 the weakly labelled images are those with
            a weak mask, tags or both, and each term is of those that have what it reads; with
            `weak_weight` = 0 they are those with tags.
        presence_weight: b, likewise of the term that says of each tag, and of background (class 0),
            that some pixel is of it. Tags are those of whole images: a crop may have lost what they
            name, and is then taught what is not so. For `data.crop = "whole"`.

    Logs:
        loss_segmentation: mean cross entropy over valid pixels; falls from about ln K.
        loss_segmentation_weak: the same over the labelled pixels of the weak masks; 0 where a batch
            has none.
        loss_absence: A, not weighted; rises first, while the network begins to be sure of some
            pixels, and falls then to below 0.5. 0 where it is off.
        loss_presence: P, not weighted; falls from about ln K to below 0.5. 0 where it is off.
    """

    reads = Reads(weak=frozenset({"partial"}))
    story = ("loss_segmentation", "loss_segmentation_weak")

    def __init__(
        self,
        task: Task,
        *,
        weak_weight: float = 1.0,
        absence_weight: float = 0.0,
        presence_weight: float = 0.0,
    ) -> None:
        super().__init__()
        require_not_negative(
            weak_weight=weak_weight,
            absence_weight=absence_weight,
            presence_weight=presence_weight,
        )
        self.reads_tags = absence_weight > 0 or presence_weight > 0
        if self.reads_tags:
            tags = Reads(weak=frozenset({"tags"}))
            self.reads = tags if weak_weight == 0 else replace(tags, weak=tags.weak | {"partial"})
        self.segmenter = task.build_segmenter()
        self.weak_weight = weak_weight
        self.absence_weight = absence_weight
        self.presence_weight = presence_weight

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, by one forward pass for both kinds of images."""
        labelled, weak = batch.labelled, batch.weak
        loss_weak = presence = absence = labelled.image.new_zeros(())
        if self.weak_weight > 0 or self.reads_tags:
            maps, partial = joint_training_logits(self.segmenter, labelled.image, weak.image)
            if self.weak_weight > 0:
                loss_weak = self.supervised_loss(partial, weak)
            if self.reads_tags:
                assert weak.tags is not None, "this method reads tags"
                presence, absence = presence_loss(partial[0], weak.tags, weak.valid)
        else:
            maps = self.segmenter.training_logits(labelled.image)
        loss = self.supervised_loss(maps, labelled)
        of_tags = self.absence_weight * absence + self.presence_weight * presence
        update("segmenter", loss + self.weak_weight * loss_weak + of_tags)
        return {
            "loss_segmentation": loss.detach(),
            "loss_segmentation_weak": loss_weak.detach(),
            "loss_absence": absence.detach(),
            "loss_presence": presence.detach(),
        }
