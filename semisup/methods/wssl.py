"""WSSL: image tags as masks that the segmenter makes itself, with a bias for what is present.

Papandreou, Chen, Murphy and Yuille, "Weakly- and Semi-Supervised Learning of a Deep Convolutional
Network for Semantic Image Segmentation", ICCV 2015, https://arxiv.org/abs/1502.02734

    min_S  CE(S(x), y) + v CE(S(u), z)      z_i = argmax_k [ S(u)_ik + b_ik ], without gradient

x has a mask y, u has tags: A is background and the tagged classes. The bias (E-step) is

    EM-Fixed   b_k = b_bg of background, b_fg of a tagged class, 0 of an absent one
    EM-Adapt   absent classes are put below all of A; then background first and the tagged classes
               in random order: b_k is the smallest constant, at least 0, by which class k has its
               share of the pixels of the image

and training on z is the M-step.

Differs from the authors' code (DeepLab, bias_channel and adaptive_bias_channel layers):
1. Shares are of the pixels that are no padding, and count at the size of the image.
2. A tie goes to the class that was given its bias last, so that its share holds to the pixel.
3. The constant that the second layer subtracts from all classes of an image is left out: it changes
   no argmax.
4. Shares and biases are those of the paper by default (0.4 and 0.2; 3 and 5), not of the code (0.2
   and 0.2; 1 and 2).
5. With masks beside the tags both are in every step, each with a mean and a weight of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from semisup.losses.segmentation import count, supervised_loss
from semisup.methods.base import Method, Task, require_not_negative, require_share
from semisup.models.base import joint_training_logits
from semisup.types import IGNORE, Batch, Progress, Reads, Scalars, Update, Weak

Rule = Literal["adapt", "fixed"]


class Wssl(Method):
    """Cross entropy with masks, and on tagged images with labels biased to what is present.

    Args:
        task: network and classes; class 0 is background.
        tags_weight: v, of the term on tagged images (`data.tags`); >= 0. With 0 it is supervised
            training.
        rule: how what is present is favoured: "adapt" by shares of each image's pixels, "fixed" by
            constants.
        background_share: of an image's pixels that background has at least, with "adapt"; [0, 1].
        foreground_share: that each tagged class has at least, with "adapt"; in [0, 1].
        background_bias: added to the score of background, with "fixed"; >= 0.
        foreground_bias: added to the scores of tagged classes, with "fixed"; >= 0.

    Logs:
        loss_segmentation: mean cross entropy over valid pixels; falls from about ln K.
        loss_segmentation_tags: the same with the biased labels of tagged images; falls below 1.
        foreground_share: of the valid pixels of tagged images whose label is a tagged class; with
            "adapt" at least foreground_share where one class is tagged. Near 1, background is lost.
    """

    reads = Reads(weak=frozenset({"tags"}), background=True)
    story: ClassVar[tuple[str, ...]] = (
        "loss_segmentation",
        "loss_segmentation_tags",
        "foreground_share",
    )

    def __init__(
        self,
        task: Task,
        *,
        tags_weight: float = 1.0,
        rule: Rule = "adapt",
        background_share: float = 0.4,
        foreground_share: float = 0.2,
        background_bias: float = 3.0,
        foreground_bias: float = 5.0,
    ) -> None:
        super().__init__()
        require_not_negative(
            tags_weight=tags_weight,
            background_bias=background_bias,
            foreground_bias=foreground_bias,
        )
        require_share(background_share=background_share, foreground_share=foreground_share)
        self.segmenter = task.build_segmenter()
        self.tags_weight, self.rule = tags_weight, rule
        self.shares = background_share, foreground_share
        self.biases = background_bias, foreground_bias

    def labels(self, logits: Tensor, weak: Weak) -> Tensor:
        """The E-step: BHW, `IGNORE` where there is padding.

        Args:
            logits: BKHW; no gradient passes.
            weak: the tagged images.
        """
        assert weak.tags is not None, "this method reads tags"
        logits = logits.detach().float()
        if self.rule == "fixed":
            return fixed_labels(logits, weak.tags, weak.valid, *self.biases)
        return adapted_labels(logits, weak.tags, weak.valid, *self.shares)

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter, by one forward pass for both kinds of images."""
        labelled, weak = batch.labelled, batch.weak
        if self.tags_weight > 0:
            maps, free = joint_training_logits(self.segmenter, labelled.image, weak.image)
            labels = self.labels(free[0], weak)
            loss_weak = self.supervised_loss(free, replace(weak, partial=labels))
            share = share_of_foreground(labels)
        else:
            maps = self.segmenter.training_logits(labelled.image)
            loss_weak = share = labelled.image.new_zeros(())
        loss = self.supervised_loss(maps, labelled)
        update("segmenter", loss + self.tags_weight * loss_weak)
        return {
            "loss_segmentation": loss.detach(),
            "loss_segmentation_tags": loss_weak.detach(),
            "foreground_share": share,
        }


class WsslTags(Wssl):
    """Labels biased to what is present, from image tags alone.

    Args:
        task: network and classes; class 0 is background.
        rule: how what is present is favoured: "adapt" by shares of each image's pixels, "fixed" by
            constants.
        background_share: of an image's pixels that background has at least, with "adapt"; [0, 1].
        foreground_share: that each tagged class has at least, with "adapt"; in [0, 1].
        background_bias: added to the score of background, with "fixed"; >= 0.
        foreground_bias: added to the scores of tagged classes, with "fixed"; >= 0.

    Logs:
        loss_segmentation_tags: mean cross entropy with the biased labels of tagged images; falls
            below 1.
        foreground_share: of the valid pixels of tagged images whose label is a tagged class; with
            "adapt" at least foreground_share where one class is tagged. Near 1, background is lost.
    """

    reads = Reads(labelled=False, weak=frozenset({"tags"}), background=True)
    story = ("loss_segmentation_tags", "foreground_share")
    takes_class_weights = False

    def __init__(
        self,
        task: Task,
        *,
        rule: Rule = "adapt",
        background_share: float = 0.4,
        foreground_share: float = 0.2,
        background_bias: float = 3.0,
        foreground_bias: float = 5.0,
    ) -> None:
        super().__init__(
            task,
            rule=rule,
            background_share=background_share,
            foreground_share=foreground_share,
            background_bias=background_bias,
            foreground_bias=foreground_bias,
        )

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the segmenter."""
        weak = batch.weak
        maps = self.segmenter.training_logits(weak.image)
        labels = self.labels(maps[0], weak)
        loss = supervised_loss(maps, labels, self.segmenter.auxiliary_weights)
        update("segmenter", loss)
        return {
            "loss_segmentation_tags": loss.detach(),
            "foreground_share": share_of_foreground(labels),
        }


def fixed_labels(
    logits: Tensor, tags: Tensor, valid: Tensor, background: float, foreground: float
) -> Tensor:
    """EM-Fixed: the highest score of each pixel after a constant for what is present.

    Args:
        logits: BKHW.
        tags: BK bool, background always True.
        valid: BHW bool, False in padding.
        background: constant of class 0.
        foreground: constant of each other class that is present.

    Returns:
        BHW int64, 0..K-1, and `IGNORE` where not valid.
    """
    bias = tags.to(logits) * foreground
    bias[:, 0] = background
    return (logits + bias[..., None, None]).argmax(dim=1).masked_fill(~valid, IGNORE)


def adapted_labels(
    logits: Tensor, tags: Tensor, valid: Tensor, background: float, foreground: float
) -> Tensor:
    """EM-Adapt: the highest score after the constants by which each class has its share.

    Background is given its constant first and the tagged classes in random order; a class that
    comes early can lose pixels to later ones, and the last one has its share for certain.

    Args:
        logits: BKHW.
        tags: BK bool, background always True.
        valid: BHW bool, False in padding.
        background: share of class 0 of the valid pixels of its image, in [0, 1].
        foreground: share of each other class that is present.

    Returns:
        BHW int64, a class that is present, and `IGNORE` where not valid.
    """
    num_classes = tags.shape[1]
    scores = logits.flatten(2).masked_fill(~tags[..., None], -torch.inf)
    seen = valid.flatten(1)
    # Background, the tagged classes in random order, and those that are absent.
    turn = torch.rand(tags.shape, device=tags.device) + 2 * ~tags
    turn[:, 0] = -1
    order = turn.argsort(dim=1)
    highest, winner = scores.max(dim=1)
    # Nothing happens in the turns of absent classes. A GPU would have to be waited for to leave
    # them out.
    turns = int(tags.sum(dim=1).max()) if tags.device.type == "cpu" else num_classes
    for place in range(turns):
        label = order[:, place : place + 1]
        own = scores.gather(1, label[..., None].expand(-1, -1, scores.shape[2]))[:, 0]
        share = background if place == 0 else foreground
        wanted = (share * seen.sum(dim=1, keepdim=True)).round().long()
        has = ((winner == label) & seen).sum(dim=1, keepdim=True)
        # What the class lacks at each pixel: >= 0, and 0 where it is ahead.
        lacks = (highest - own).masked_fill(~seen, torch.inf)
        bias = lacks.sort(dim=1).values.gather(1, (wanted - 1).clamp(min=0))
        treated = tags.gather(1, label) & (has < wanted)
        # By what is lacking and not by the sums, which are rounded.
        ahead = treated & (lacks <= bias) & seen
        highest = torch.where(ahead, torch.maximum(own + bias, highest), highest)
        winner = torch.where(ahead, label, winner)
    return winner.view_as(valid).masked_fill(~valid, IGNORE)


def share_of_foreground(labels: Tensor) -> Tensor:
    """Share of the labelled pixels (of BHW) that are no background; 0-d, 0 where there is none."""
    valid = labels != IGNORE
    return ((labels > 0) & valid).sum() / count(valid)
