"""Consistency: targets for one view of an image, made from predictions on another.

A target is the most probable class where it is probable enough, with cross entropy (FixMatch, Sohn
et al. 2020, https://arxiv.org/abs/2001.07685), or all probabilities, with their squared difference
(Mean Teacher, Tarvainen and Valpola 2017, https://arxiv.org/abs/1703.01780). No gradient passes
through a target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.losses.segmentation import count, masked_mean, probabilities
from semisup.models.base import Segmenter
from semisup.models.resolution import Resolution, pass_at
from semisup.ops.cutmix import BoxRule, cut_and_mixed, sampled
from semisup.ops.teacher import Teacher
from semisup.types import IGNORE, Unlabelled

PseudoDivisor = Literal["valid", "taught", "all"]
"""What the sum over the taught pixels is divided by.

"valid": the pixels that are no padding, taught or not, as in FixMatch for segmentation and
UniMatch: the fewer pixels are taught, the less they count. "taught": those pixels alone, a mean as
in DMT and the self-taught terms of GANs. "all": padding counts too, as in AugSeg and CutMix-Seg.
"""


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """What a student is taught on images without masks.

    Attributes:
        classes: BHW int64, 0..K-1, at every pixel.
        taught: BHW bool, where the class is probable enough to be taught; never in the padding.
        valid: BHW bool, False in the padding.
    """

    classes: Tensor
    taught: Tensor
    valid: Tensor

    def pasted(self, boxes: Tensor, inside: PseudoLabels | None = None) -> PseudoLabels:
        """Those of the images whose boxes (BHW bool) show their partners, or those of `inside`.

        Coarser labels take the boxes at the middle of their cells.
        """
        boxes = sampled(boxes, self.valid.shape[-2:])
        others = (None, None, None) if inside is None else inside._parts
        pairs = zip(self._parts, others, strict=True)
        return PseudoLabels(*(cut_and_mixed(boxes, *pair) for pair in pairs))

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.classes, self.taught, self.valid

    def as_mask(self) -> Tensor:
        """BHW int64, `IGNORE` where nothing is taught."""
        return self.classes.masked_fill(~self.taught, IGNORE)

    def share(self) -> Tensor:
        """Share of the pixels that are taught, padding left out; 0-d."""
        return masked_mean(self.taught.float(), self.valid)


def confident(logits: Tensor, threshold: float, valid: Tensor | None) -> PseudoLabels:
    """The most probable classes, taught where they are probable enough.

    Args:
        logits: BKHW; no gradient passes.
        threshold: smallest probability, in [0, 1]; 0 takes all pixels.
        valid: BHW bool, False in the padding, of the logits' size or finer; None: there is none.
    """
    probability, classes = probabilities(logits.detach()).max(dim=1)
    if valid is None:
        valid = torch.ones_like(classes, dtype=torch.bool)
    valid = sampled(valid, classes.shape[-2:])
    return PseudoLabels(classes, (probability >= threshold) & valid, valid)


def teacher_pass_at(
    resolution: Resolution, teacher: Teacher[Segmenter]
) -> Callable[[Tensor], Tensor]:
    """What gives a teacher's logits; at the image's size, the module that training compiles."""
    return teacher if resolution == "image" else pass_at(resolution, teacher.network)


def logits_of_crops(network: Callable[[Tensor], Tensor], free: Unlabelled) -> tuple[Tensor, ...]:
    """Logits BKHW of the weak view of each of `free.crops`, from one pass over all of them.

    Args:
        network: in eval mode, so that images of one batch do not change one another.
        free: with or without a second crop of each image.
    """
    logits = network(torch.cat([crop.image for crop in free.crops]))
    return torch.split(logits, len(free.image))


def confident_crops(
    network: Callable[[Tensor], Tensor], free: Unlabelled, threshold: float
) -> list[PseudoLabels]:
    """`confident` of each of `free.crops`, by a network in eval mode."""
    pairs = zip(logits_of_crops(network, free), free.crops, strict=True)
    return [confident(logits, threshold, crop.valid) for logits, crop in pairs]


def labels_of_two_modes(
    logits: Tensor, network: nn.Module, free: Unlabelled, threshold: float
) -> list[PseudoLabels]:
    """`confident` of the first crops by `logits`, of the second ones by a network in eval mode.

    As UniMatch's code has it: an image's own labels come from the pass that trains.

    Args:
        logits: BKHW, of the first crops in training mode.
        network: in eval mode.
        free: with a second crop of each image.
        threshold: as in `confident`.
    """
    assert free.partner is not None
    own = confident(logits, threshold, free.valid)
    return [own, *confident_crops(network, free.partner, threshold)]


def mixed_images(free: Unlabelled, boxes: Tensor, view: int | None = None) -> Tensor:
    """A view whose boxes show another image, or the second crop where there is one.

    Args:
        free: the images.
        boxes: BHW bool.
        view: number of the strong view; None: the weak one.

    Returns:
        BCHW, 0 wherever there is no picture.
    """
    pictures = [crop.image if view is None else crop.views[view] for crop in free.crops]
    pairs = zip(pictures, free.crops, strict=True)
    return cut_and_mixed(boxes, *(shown.masked_fill(~c.valid[:, None], 0.0) for shown, c in pairs))


def mixed_view(
    free: Unlabelled, number: int, rule: BoxRule, labels: Sequence[PseudoLabels]
) -> tuple[Tensor, PseudoLabels]:
    """A strong view with boxes of other images or crops, and what is taught on it.

    Args:
        free: with R numbers for each of its views, R as `rule` takes.
        number: of the view.
        rule: of its boxes.
        labels: of the weak view of each of `free.crops`.

    Returns:
        BCHW, and the labels with those of the boxes.
    """
    assert free.numbers is not None
    boxes = rule.draw(free.numbers[:, number * rule.numbers :], free.valid.shape[-2:])
    own, *inside = labels
    return mixed_images(free, boxes, number), own.pasted(boxes, *inside)


def pseudo_label_loss(
    logits: Tensor, labels: PseudoLabels, divisor: PseudoDivisor = "valid"
) -> Tensor:
    """Cross entropy with the labels of the taught pixels; 0 where there is none.

    Args:
        logits: BKHW, of the student.
        labels: of the same images.
        divisor: what the sum is divided by.

    Returns:
        0-d.
    """
    losses = F.cross_entropy(logits, labels.as_mask(), ignore_index=IGNORE, reduction="none")
    counted = {
        "valid": labels.valid,
        "taught": labels.taught,
        "all": torch.ones_like(labels.valid),
    }
    # Summed here: torch has no deterministic form of its own sum over maps on a GPU.
    return losses.sum() / count(counted[divisor])


def squared_differences(logits: Tensor, target: Tensor) -> Tensor:
    """Squared differences of probabilities, summed over the classes, of each pixel.

    Args:
        logits: BKHW, of the student.
        target: BKHW, probabilities; no gradient passes.

    Returns:
        BHW.
    """
    return (probabilities(logits) - target.detach()).square().sum(dim=1)


@torch.no_grad()
def agreement(logits: Tensor, other: Tensor, counted: Tensor) -> Tensor:
    """Share of the pixels at which two maps of logits have one most probable class.

    Args:
        logits: BKHW.
        other: BKHW, or BHW classes.
        counted: BHW bool, which pixels count.

    Returns:
        0-d; 0 where no pixel counts.
    """
    classes = other.argmax(dim=1) if other.ndim == logits.ndim else other
    return masked_mean((logits.argmax(dim=1) == classes).float(), counted)


def teacher_agreement(teacher: nn.Module, student: nn.Module, free: Unlabelled) -> Tensor:
    """Share of the pixels of the weak view at which teacher and student give one class; 0-d."""
    return agreement(student(free.image), teacher(free.image), free.valid)


def confidence(logits: Tensor) -> Tensor:
    """The probability of the most probable class, B1HW."""
    return probabilities(logits).amax(dim=1, keepdim=True)
