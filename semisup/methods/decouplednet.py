"""DecoupledNet: learn what is there from many tags, and where it is from few masks.

Hong, Noh and Han, "Decoupled Deep Neural Network for Semi-supervised Semantic Segmentation", NIPS
2015, https://arxiv.org/abs/1506.04924

    stage 1   C:  min  sum_l BCE(mean over places of C_l(u), tag_l)           u: tagged images
    stage 2   S:  min  CE(S(C(x), saliency of A in C(x)), y in A)             x, y: a crop for A

C is the classification network, S the bridge layers and the segmentation network. A is a non-empty
subset of the classes of an image: the crop was cut to hold enough of A, and its mask becomes two
channels, the pixels of A and all others (combinatorial cropping). C is frozen in stage 2, so the
few masks are left with one question that is the same for every class.

The networks are in `models/decouplednet.py`, the crops in `data/views/class_crops.py`. The two
stages are two recipes; the second names the first in `[init] from`.

Differs from the paper:
1. How C is trained is not in the authors' release: here by plain SGD on the tags of random crops.
2. The windows of the crops come from a stated rule on the mask, not from object proposals.
3. Running statistics of batch normalisation are those of training, not averaged in a pass after it.
4. `DecoupledNetJoint` is ours: both stages at once, where the paper never touches C again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.losses.classification import multi_label_loss, precision_and_recall
from semisup.losses.segmentation import count, cross_entropy
from semisup.methods.base import Method, Task
from semisup.models.base import ParameterGroup
from semisup.models.decouplednet import DecoupledNet, ScoreMaps
from semisup.models.layers import in_eval_mode
from semisup.types import IGNORE, Batch, Labelled, Progress, Reads, Scalars, Update, Weak


class DecoupledNetClassifier(Method):
    """Hong et al. 2015, stage 1: the classification network, from image tags alone.

    What is scored and stored is the classification network; its score maps, enlarged, are the
    prediction.

    Args:
        task: a `decouplednet` and the classes; class 0 is background and no tag.

    Logs:
        loss_classification: mean binary cross entropy; falls from about 0.7 to 0.1 and less.
        tag_precision: share of the labels identified in the batch that are right; above 0.8.
        tag_recall: share of the labels of the batch that are identified; above 0.7.
    """

    reads = Reads(labelled=False, weak=frozenset({"tags"}), background=True)
    story = ("loss_classification", "tag_precision", "tag_recall")
    takes_class_weights = False
    segmenter: ScoreMaps

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.segmenter = ScoreMaps(_decouplednet(task))

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The classification network."""
        return {"classifier": self.segmenter.parameter_groups()}

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the classification network."""
        return _step_classifier(self.segmenter.classifier, batch.weak, update)


class DecoupledNetSegmentation(Method):
    """Hong et al. 2015, stage 2: bridge and segmentation network, from few masks.

    Starts from a trained classification network and leaves it as it is.

    Args:
        task: a `decouplednet` and the classes; class 0 is background.

    Logs:
        loss_segmentation: cross entropy of the two channels; falls from about 0.7 (ln 2).
        chosen_iou: IoU of the pixels of the chosen classes in the batch; rises to 0.7 and more.
        chosen_share: share of the valid pixels that are of the chosen classes; between 0.1 and 0.6.
    """

    reads = Reads(class_crops=True, trained_weights=True, background=True)
    story = ("loss_segmentation", "chosen_iou")
    takes_class_weights = False
    segmenter: DecoupledNet

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.segmenter = _decouplednet(task)
        self.segmenter.classifier.requires_grad_(False)

    def train(self, mode: bool = True) -> DecoupledNetSegmentation:
        """As a module's, but the frozen network always stays in eval mode, statistics and all."""
        super().train(mode)
        self.segmenter.classifier.eval()
        return self

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The bridge layers and the segmentation network."""
        return {"segmenter": self.segmenter.segmentation_groups()}

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmentation network."""
        return _step_segmentation(self.segmenter, batch.labelled, update)


class DecoupledNetJoint(Method):
    """Both networks of Hong et al. 2015 in one run, each from its own labels.

    The decoupling stays: tags move the classification network alone, masks the segmentation network
    alone. But the second has to follow a first that moves.

    Args:
        task: a `decouplednet` and the classes; class 0 is background.

    Logs:
        loss_classification: mean binary cross entropy of the tags.
        tag_precision: share of the labels identified in the weak batch that are right.
        tag_recall: share of the labels of the weak batch that are identified.
        loss_segmentation: cross entropy of the two channels.
        chosen_iou: IoU of the pixels of the chosen classes in the labelled batch.
        chosen_share: share of the valid pixels that are of the chosen classes.
    """

    reads = Reads(weak=frozenset({"tags"}), class_crops=True, background=True)
    story = ("loss_segmentation", "loss_classification", "chosen_iou")
    takes_class_weights = False
    segmenter: DecoupledNet

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.segmenter = _decouplednet(task)

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two networks."""
        return {
            "classifier": self.segmenter.classifier_groups(),
            "segmenter": self.segmenter.segmentation_groups(),
        }

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of each."""
        classifier = self.segmenter.classifier
        scalars = _step_classifier(classifier, batch.weak, update)
        with in_eval_mode(classifier):  # masks and scores as in a prediction, without dropout
            return {**scalars, **_step_segmentation(self.segmenter, batch.labelled, update)}


def _step_classifier(classifier: nn.Module, weak: Weak, update: Update) -> dict[str, Tensor]:
    """Teach the classification network which labels the images hold."""
    presence = classifier(weak.image)
    assert weak.tags is not None, "this method reads tags"
    tags = weak.tags[:, 1:]
    known = weak.valid.flatten(1).any(dim=1)
    loss = multi_label_loss(presence, tags, known)
    update("classifier", loss)
    precision, recall = precision_and_recall(presence.detach() > 0, tags)
    return {
        "loss_classification": loss.detach(),
        "tag_precision": precision,
        "tag_recall": recall,
    }


def _step_segmentation(
    network: DecoupledNet, labelled: Labelled, update: Update
) -> dict[str, Tensor]:
    """Teach the segmentation network where the chosen classes are."""
    selection = labelled.selection
    assert selection is not None, "this method reads crops for classes"
    with torch.no_grad():  # the decoupling: masks do not reach the classification network
        encoded = network.classifier.encode(labelled.image)
        saliency = network.saliency_of(encoded, selection)
    logits = network.segment(encoded, saliency, labelled.mask.shape[-2:])
    target = chosen_pixels(labelled.mask, selection)
    loss = cross_entropy(logits, target)
    update("segmenter", loss)
    valid = target != IGNORE
    found, true = logits.detach().argmax(dim=1) == 1, target == 1
    either = (found | true) & valid
    return {
        "loss_segmentation": loss.detach(),
        "chosen_iou": (found & true).sum() / count(either),
        "chosen_share": true.sum() / count(valid),
    }


def chosen_pixels(mask: Tensor, selection: Tensor) -> Tensor:
    """The mask of a selection: 1 where a pixel's class is chosen, 0 elsewhere, void stays void.

    Args:
        mask: BHW int64, 0..K-1 and `IGNORE`.
        selection: BK bool.

    Returns:
        BHW int64.
    """
    void = mask == IGNORE
    labels = mask.masked_fill(void, 0).flatten(1)
    chosen = selection.long().gather(1, labels).view_as(mask)
    return chosen.masked_fill(void, IGNORE)


def _decouplednet(task: Task) -> DecoupledNet:
    network = task.build_segmenter()
    if not isinstance(network, DecoupledNet):
        raise RecipeError(
            f"DecoupledNet's methods train model.name = 'decouplednet', not a "
            f"{type(network).__name__}."
        )
    return network
