"""Mask R-CNN's training: find objects, say what they are, and mask them.

He et al., ICCV 2017, https://arxiv.org/abs/1703.06870

    min_S  L_objectness + L_region + L_class + L_box + L_mask

The first two are of the region proposals, the others of the boxes that are sampled from them: 256
anchors and 512 boxes of an image, a quarter of the boxes at most on objects. L_mask is the binary
cross entropy of the map of an object's own class alone, so that classes do not compete in it.

The losses are torchvision's; the network is in `models/mask_rcnn.py`. It learns from objects, one
mask each (`Labelled.instances`), and never from the mask of classes. Regions of crowds are no
objects to it, as in torchvision's and Detectron's training.

Differs from the paper: boxes are those around the masks of a crop, not the annotated ones: less
than a pixel apart where nothing was cut off.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semisup.errors import RecipeError
from semisup.methods.base import Method, Task
from semisup.models.mask_rcnn import MaskRCNN
from semisup.types import Batch, Instances, Progress, Reads, Scalars, Update


class MaskRCNNTraining(Method):
    """He et al. 2017: Mask R-CNN from images whose objects are told apart.

    Args:
        task: a `mask_rcnn` and the classes; class 0 is background and no object.

    Logs:
        loss_detection: the sum of the five; what is minimised.
        loss_objectness: cross entropy of the sampled anchors, object or not; from 0.69 down.
        loss_rpn_box_reg: smooth L1 of the region proposals; small from the start.
        loss_classifier: cross entropy of the sampled boxes; from ln K down.
        loss_box_reg: smooth L1 of their boxes; rises at first, when objects are found at all.
        loss_mask: binary cross entropy of the masks; from above 0.69 down to 0.4 and less.
    """

    reads = Reads(instances=True, background=True)
    story = ("loss_detection", "loss_classifier", "loss_mask")
    takes_class_weights = False
    segmenter: MaskRCNN

    def __init__(self, task: Task) -> None:
        super().__init__()
        network = task.build_segmenter()
        if not isinstance(network, MaskRCNN):
            raise RecipeError(
                "method 'mask_rcnn' trains model.name = 'mask_rcnn', not a "
                f"{type(network).__name__}."
            )
        self.segmenter = network

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the detector."""
        instances = batch.labelled.instances
        assert instances is not None, "this method reads objects"
        losses = self.segmenter.losses(batch.labelled.image, [_target(one) for one in instances])
        loss = torch.stack([*losses.values()]).sum()
        update("segmenter", loss)
        parts = {name: value.detach() for name, value in losses.items()}
        return {"loss_detection": loss.detach(), **parts}


def _target(instances: Instances) -> dict[str, Tensor]:
    """Objects as torchvision takes them."""
    return {"boxes": instances.boxes, "labels": instances.labels, "masks": instances.masks}
