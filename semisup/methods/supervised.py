"""Supervised training: cross entropy on the labelled images, and nothing else.

    min_S  sum_i w_i CE(S_i(x), y)        i over the main map and the auxiliary ones, w_0 = 1

The baseline that every semi-supervised method is compared with, at the same number of masks.
"""

from __future__ import annotations

from semisup.methods.base import Method, Task
from semisup.types import Batch, Progress, Reads, Scalars, Update


class Supervised(Method):
    """Cross entropy on the labelled images: the baseline.

    Args:
        task: network and classes.

    Logs:
        loss_segmentation: mean cross entropy over valid pixels; falls from about ln K.
    """

    reads = Reads(volumes=True)

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.segmenter = task.build_segmenter()

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter."""
        labelled = batch.labelled
        maps = self.segmenter.training_logits(labelled.image)
        loss = self.supervised_loss(maps, labelled)
        update("segmenter", loss)
        return {"loss_segmentation": loss.detach()}
