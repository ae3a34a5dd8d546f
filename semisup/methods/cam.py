"""CAM: a classifier of image tags, whose class activation maps say where the tags are.

Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning Deep Features for Discriminative
Localization", CVPR 2016, https://arxiv.org/abs/1512.04150 (pooling "mean")
Pinheiro and Collobert, "From Image-level to Pixel-level Labeling with Convolutional Networks",
CVPR 2015, https://arxiv.org/abs/1411.6228 (pooling "lse")
Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level Supervision for Weakly
Supervised Semantic Segmentation", CVPR 2018, https://arxiv.org/abs/1803.10464 (background)

    min_S  mean_k BCE(pool_i S(u)_ik, t_k)                       k = 1..K-1, u: image with tags t
    M_ik = relu(S(u)_ik) / max_j relu(S(u)_jk)                   0 of a class that is not there
    P(k | i) ~ M_ik,   P(background | i) ~ (1 - max_k M_ik)^a

S is any segmenter. Its logits of a class are pooled over the pixels of an image and trained as one
logit of the whole image, so they are that class's activation map: for a mean, the score is the mean
of the map (Zhou et al. 2016, section 2). The pooling may also be the maximum (multiple instance
learning) or, between the two, log-sum-exp: (1/r) log mean_i exp(r S_ik) with r = 5. Grad-CAM
(Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391) is for networks whose score is not pooled
from maps. Of pooled maps it is CAM: each map is weighted by 1 / (number of pixels), which the
division by the maximum takes out again.

Which classes are there, tags say where they are known (`semisup label`, `force_classes`); else the
classifier does, where its pooled logit is above 0. The background's logit is not trained.

Differs from Zhou et al.:
1. The maps are those of a segmenter, at its own resolution, not of a classification network's last
   layer. A bias of the score layer is a part of its map.
2. Maps are cut at 0 and divided by their maximum, as by Ahn and Kwak and in IRN's code
   (jiwoon-ahn/irn, step/make_cam.py, from which the 1e-5 in the divisor is).
Differs from Ahn and Kwak, and from IRN:
3. Of several scales and a mirror (`eval.scales`, `eval.flip`) the probabilities are averaged; they
   add up the maps before the division.
4. All networks and optimisers are the recipe's: no layer is frozen, no gradient stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.losses.classification import multi_label_loss, precision_and_recall
from semisup.losses.segmentation import in_full_precision
from semisup.methods.base import Method, Task
from semisup.models.base import Segmenter
from semisup.types import Batch, Progress, Reads, Scalars, Update

Pooling = Literal["mean", "max", "lse"]

SHARPNESS = 5.0
"""r of "lse", as in Pinheiro and Collobert; towards 0 it is the mean, towards infinity the max."""

FAINT = 1e-8
"""Probability of a class that is not there, where its logarithm is taken."""

SMALLEST_MAXIMUM = 1e-5
"""Added to the maximum that a map is divided by."""


class Cam(Method):
    """Zhou et al. 2016: a classifier from image tags alone, whose maps become pseudo-masks.

    Args:
        task: network and classes; class 0 is background and no tag.
        pooling: how the logit of an image comes from those of its pixels: "mean" (CAM), "max" or
            "lse" (log-sum-exp).
        background_power: a, of the background's score; the higher, the larger the objects in the
            prediction; above 0.

    Logs:
        loss_classification: mean binary cross entropy; falls from about 0.7 to 0.2 and less.
        tag_precision: share of the labels identified in the batch that are right; above 0.8.
        tag_recall: share of the labels of the batch that are identified; above 0.7.
    """

    reads = Reads(labelled=False, weak=frozenset({"tags"}), background=True)
    story: ClassVar[tuple[str, ...]] = ("loss_classification", "tag_precision", "tag_recall")
    takes_class_weights = False

    def __init__(
        self, task: Task, *, pooling: Pooling = "mean", background_power: float = 4.0
    ) -> None:
        super().__init__()
        if background_power <= 0:
            raise ValueError(f"background_power must be above 0, but is {background_power}")
        if task.num_classes < 2:
            raise ValueError("there must be a class besides background, which is no tag")
        self.segmenter = task.build_segmenter()
        self.pooling, self.background_power = pooling, background_power

    def predictor(self) -> nn.Module:
        """The segmenter, with its activation maps as probabilities."""
        return ActivationMaps(self.segmenter, self.pooling, self.background_power)

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of the classifier."""
        weak = batch.weak
        assert weak.tags is not None, "this method reads tags"
        tags, known = weak.tags[:, 1:], weak.valid.flatten(1).any(dim=1)
        maps = self.segmenter.training_logits(weak.image)
        presence = [pool(logits[:, 1:], weak.valid, self.pooling) for logits in maps]
        factors = (1.0, *self.segmenter.auxiliary_weights)
        losses = [multi_label_loss(one, tags, known) for one in presence]
        loss = sum(
            (factor * one for factor, one in zip(factors, losses, strict=True)),
            start=losses[0].new_zeros(()),
        )
        update("segmenter", loss)
        precision, recall = precision_and_recall(presence[0].detach() > 0, tags)
        return {
            "loss_classification": losses[0].detach(),
            "tag_precision": precision,
            "tag_recall": recall,
        }


class ActivationMaps(nn.Module):
    """A classifier's activation maps as the probabilities of the pixels.

    Args:
        segmenter: gives logits BKHW; class 0 is background, whose logit is not read.
        pooling: that it was trained with.
        background_power: a, of the background's score.
    """

    def __init__(self, segmenter: Segmenter, pooling: Pooling, background_power: float) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.pooling = pooling
        self.background_power = background_power
        self._forced: tuple[int, ...] | None = None

    def force_classes(self, classes: Sequence[int] | None) -> None:
        """From now on show the maps of just these classes (1..K-1); None: of those it finds."""
        for label in classes or ():
            if not 0 < label < self.segmenter.num_classes:
                raise ValueError(f"class {label} is not in 1..{self.segmenter.num_classes - 1}")
        self._forced = None if classes is None else tuple(sorted(set(classes)))

    def forward(self, image: Tensor) -> Tensor:
        """Logarithms of the probabilities, BKHW, of `image` (BCHW); their exponentials sum to 1.

        A class that is not there has log(1e-8).
        """
        shares = class_probabilities(self.maps(image), self.background_power)
        return shares.clamp(min=FAINT).log()

    def forward_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits of a window, as `SeesAround` says: maps are divided by the maximum of the image.

        In a window alone a class of the image would be found wherever its map is highest.
        """
        logits: Tensor = self(image)
        return logits[..., rows, columns]

    def maps(self, image: Tensor) -> Tensor:
        """The map of each class 1..K-1, B(K-1)HW in [0, 1]; 0 of a class that is not there."""
        logits = in_full_precision(self.segmenter(image))[:, 1:]
        return activation_maps(logits, self._present(logits))

    def _present(self, logits: Tensor) -> Tensor:
        """BL bool, which classes are there."""
        if self._forced is None:
            everywhere = torch.ones_like(logits[:, 0], dtype=torch.bool)
            return pool(logits, everywhere, self.pooling) > 0
        forced = torch.zeros(logits.shape[:2], dtype=torch.bool, device=logits.device)
        forced[:, [label - 1 for label in self._forced]] = True
        return forced

    def explain(self, image: Tensor) -> dict[int, dict[str, Tensor]]:
        """For each class that is there in one image, its map and its probabilities.

        Args:
            image: 1CHW.

        Returns:
            Class -> "saliency" and "map", HW in [0, 1]; class 0 has the highest map and the
            probability of background.
        """
        maps = self.maps(image)
        shares = class_probabilities(maps, self.background_power)[0]
        found = [label for label, own in enumerate(maps[0], start=1) if own.any()]
        if not found:
            return {}
        saliency = torch.cat([maps.amax(dim=1), maps[0]])
        return {label: {"saliency": saliency[label], "map": shares[label]} for label in (0, *found)}


def pool(logits: Tensor, valid: Tensor, pooling: Pooling) -> Tensor:
    """One logit of each image from those of its pixels.

    Args:
        logits: BLHW.
        valid: BHW bool, which pixels count; of an image without any, all do.
        pooling: "mean", "max", or "lse": (1/r) log mean exp(r logit), r = `SHARPNESS`.

    Returns:
        BL, in float32 at least.
    """
    rows, seen = in_full_precision(logits).flatten(2), valid.flatten(1)
    seen = seen | ~seen.any(dim=1, keepdim=True)
    outside, number = ~seen[:, None], seen.sum(dim=1, keepdim=True)
    if pooling == "mean":
        return rows.masked_fill(outside, 0.0).sum(dim=2) / number
    rows = rows.masked_fill(outside, -torch.inf)
    if pooling == "max":
        return rows.amax(dim=2)
    return (SHARPNESS * rows).logsumexp(dim=2).sub(number.to(rows).log()) / SHARPNESS


def activation_maps(logits: Tensor, present: Tensor) -> Tensor:
    """Logits above 0 as shares of their maximum over the image.

    Args:
        logits: BLHW.
        present: BL bool, which classes are in the image.

    Returns:
        BLHW in [0, 1]; 0 of a class that is not there, or whose logits are all below 0.
    """
    maps = logits.relu() * present[..., None, None]
    return maps / (maps.amax(dim=(2, 3), keepdim=True) + SMALLEST_MAXIMUM)


def class_probabilities(maps: Tensor, background_power: float) -> Tensor:
    """Probabilities from activation maps: (1 - max_k M_k)^a and M_k, divided by their sum.

    Args:
        maps: B(K-1)HW in [0, 1].
        background_power: a.

    Returns:
        BKHW.
    """
    background = (1 - maps.amax(dim=1, keepdim=True)).clamp(min=0) ** background_power
    scores = torch.cat([background, maps], dim=1)
    return scores / scores.sum(dim=1, keepdim=True)
