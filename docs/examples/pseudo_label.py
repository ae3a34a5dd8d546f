"""Pseudo-Label: the network's own classes, where it is sure, are labels of unlabelled images.

Lee, "Pseudo-Label", ICML Workshop on Challenges in Representation Learning 2013.

    S:  min  CE(S(x), y) + w CE(S(u), argmax S(u))   where max S(u) >= t
"""

from __future__ import annotations

import semisup
from semisup.losses.segmentation import cross_entropy, masked_mean
from semisup.methods.base import Method, Task, require_not_negative, require_share
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Update


class PseudoLabel(Method):
    """Lee 2013: the network teaches itself where it is sure.

    Args:
        task: network and classes.
        unlabelled_weight: w, of the term on unlabelled images; >= 0.
        confidence_threshold: t, least probability of a label; in [0, 1].

    Logs:
        loss_segmentation: cross entropy on labelled images; falls from about ln K.
        loss_self_taught: the same on the labels that it gives itself; small, falls.
        self_taught_share: share of the unlabelled pixels that get a label; rises, below 1.
    """

    reads = Reads(unlabelled=True)

    def __init__(
        self, task: Task, *, unlabelled_weight: float = 0.5, confidence_threshold: float = 0.9
    ) -> None:
        super().__init__()
        require_not_negative(unlabelled_weight=unlabelled_weight)
        require_share(confidence_threshold=confidence_threshold)
        self.unlabelled_weight = unlabelled_weight
        self.confidence_threshold = confidence_threshold
        self.segmenter = task.build_segmenter()

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter on labelled and unlabelled images."""
        labelled, free = batch.labelled, batch.unlabelled
        maps = self.segmenter.training_logits(labelled.image)
        loss = self.supervised_loss(maps, labelled)
        taught = share = loss.new_zeros(())
        if self.unlabelled_weight > 0:  # else the images would move the batch statistics
            logits = self.segmenter(free.image)
            certainty, labels = logits.detach().softmax(dim=1).max(dim=1)
            sure = (certainty >= self.confidence_threshold) & free.valid
            taught = cross_entropy(logits, labels.masked_fill(~sure, IGNORE))
            share = masked_mean(sure.float(), free.valid)
        update("segmenter", loss + self.unlabelled_weight * taught)
        return {
            "loss_segmentation": loss.detach(),
            "loss_self_taught": taught.detach(),
            "self_taught_share": share.detach(),
        }


semisup.register("pseudo_label", PseudoLabel)
