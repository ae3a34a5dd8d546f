"""Cross pseudo supervision: two networks teach each other their classes.

Chen, Yuan, Zeng, Wang: "Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision", CVPR
2021, https://arxiv.org/abs/2106.01226.

    S1:  min  CE(S1(x), y) + w CE(S1(M(u, v)), M(argmax S2(u), argmax S2(v)))
    S2:  min  CE(S2(x), y) + w CE(S2(M(u, v)), M(argmax S1(u), argmax S1(v)))

The two have one architecture and different random weights. M shows v within three boxes and u
outside of them. All pixels are taught, whatever their probability. S1 is what is tested.

Differs from the authors' code (charlesCXK/TorchSemiSeg, exp.voc):
1. Labels of mixed images come from the networks in eval mode; theirs are in training mode, so that
   running statistics move on images that are not mixed too.
2. v is another image of the same batch. They read a second batch, in the very same order when
   several processes train, so that v is u in another crop, as with `partner = "self"`.
3. Their losses are divided by the number of processes twice.
4. Padding is not taught.
5. Labelled images and mixtures pass through a network in one batch; theirs have four passes.
6. Without boxes (`cutmix = 0`) the cross terms are of unlabelled images alone; theirs are of the
   labelled ones too.

With `follows = "code"` 1, 2, 4 and 5 are as theirs; then `partner` and `ramp_up` are not read.
3 is a matter of learning rates, and 6 stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.losses.consistency import (
    PseudoLabels,
    confident,
    confident_crops,
    mixed_images,
    pseudo_label_loss,
)
from semisup.losses.segmentation import masked_mean
from semisup.methods.base import (
    Method,
    Task,
    require_not_negative,
    require_own_logits,
    require_share,
)
from semisup.models.base import (
    ParameterGroup,
    Segmenter,
    separate_training_logits,
)
from semisup.models.layers import in_eval_mode
from semisup.models.resolution import Resolution, joint_pass_at, pass_at
from semisup.ops.cutmix import CPS, sampled
from semisup.ops.ramps import gaussian_ramp
from semisup.types import Batch, Partner, Progress, Reads, Scalars, Unlabelled, Update

NAMES = ("segmenter", "second_segmenter")


class CrossPseudoSupervision(Method):
    """Chen et al. 2021: two networks, each taught the other one's classes.

    Args:
        task: network and classes; the network is built twice.
        cross_weight: w; >= 0. With 0 the two train alone, each as by supervised training. The
            authors have 1 with boxes and 1.5 without on Pascal VOC, 5 and 6 on Cityscapes.
        ramp_up: share of the run over which w is reached, as in `mean_teacher`; in [0, 1]. 0: at
            once, as published. For networks from random weights: until their batch norms have seen
            enough images, what they say in eval mode can be sure and wrong.
        cutmix: share of the images with boxes of another image; in [0, 1].
        partner: whose boxes those are: of an "other" image of the batch, or of another crop of the
            image itself ("self").
        follows: the "paper", or the authors' "code" with its slips (see the head of this file).
        resolution: of the losses on unlabelled images: the "image"'s, or that of the network's own
            "logits" before they are enlarged, which is cheaper.

    Logs:
        loss_segmentation: cross entropy of S1 on labelled images; falls from about ln K.
        loss_segmentation_second: the same of S2.
        loss_cross: cross entropy of S1 with S2's classes, not weighted; falls from about ln K to
            between 0.05 and 0.5.
        loss_cross_second: the same of S2 with S1's.
        agreement: share of the unlabelled pixels, before they are mixed, to which both give one
            class; rises to between 0.8 and 0.98. At 1, neither can teach the other.
    """

    reads = Reads(unlabelled=True, unlabelled_numbers=CPS.numbers)
    story = ("loss_segmentation", "loss_cross", "agreement")

    def __init__(
        self,
        task: Task,
        *,
        cross_weight: float = 1.0,
        ramp_up: float = 0.0,
        cutmix: float = 1.0,
        partner: Partner = "other",
        follows: Literal["paper", "code"] = "paper",
        resolution: Resolution = "image",
    ) -> None:
        super().__init__()
        self.follows_code = follows == "code"
        in_pairs = partner == "self" or self.follows_code
        self.reads = replace(self.reads, unlabelled_partner=in_pairs)
        require_not_negative(cross_weight=cross_weight)
        require_share(ramp_up=ramp_up, cutmix=cutmix)
        self.cross_weight = cross_weight
        self.ramp_up = 0.0 if self.follows_code else ramp_up
        self.boxes = replace(CPS, chance=cutmix)
        self.segmenter = task.build_segmenter()
        self.second_segmenter = task.build_segmenter()
        _require_difference(*self.networks)
        self.resolution = resolution
        require_own_logits(resolution, follows, self.segmenter)

    @property
    def networks(self) -> tuple[Segmenter, Segmenter]:
        """Both, in the order of their names."""
        return self.segmenter, self.second_segmenter

    def players(self) -> dict[str, list[ParameterGroup]]:
        """The two that teach each other."""
        pairs = zip(NAMES, self.networks, strict=True)
        return {name: network.parameter_groups() for name, network in pairs}

    def step(self, batch: Batch, progress: Progress, update: Update) -> Scalars:
        """One step of each network, on labels that were made before either moved."""
        labelled, zero = batch.labelled, batch.labelled.image.new_zeros(())
        images, agreement = [labelled.image], zero
        taught: list[PseudoLabels] = []
        if self.cross_weight > 0:
            mixed, taught, agreement = self._labels(batch.unlabelled)
            images.append(mixed)
        reported = {"agreement": agreement}
        weight = self.cross_weight * gaussian_ramp(progress.fraction, self.ramp_up)
        for number, (name, network) in enumerate(zip(NAMES, self.networks, strict=True)):
            maps, *others = self._training_logits(network, images)
            supervised = self.supervised_loss(maps, labelled)
            cross = pseudo_label_loss(others[0][0], taught[number]) if taught else zero
            update(name, supervised + weight * cross)
            suffix = "_second" if number else ""
            reported[f"loss_segmentation{suffix}"] = supervised.detach()
            reported[f"loss_cross{suffix}"] = cross.detach()
        return reported

    def _training_logits(self, network: Segmenter, images: list[Tensor]) -> list[list[Tensor]]:
        """The maps of each batch of images; the code has mixtures before labelled images."""
        if self.follows_code:
            return separate_training_logits(network, *reversed(images))[::-1]
        return joint_pass_at(self.resolution)(network, *images)

    def _labels(self, free: Unlabelled) -> tuple[Tensor, list[PseudoLabels], Tensor]:
        """Images with boxes of others, what each network is taught there, and how far they agree.

        Each is taught the classes of the other one.
        """
        assert free.numbers is not None
        boxes = self.boxes.draw(free.numbers, free.valid.shape[-2:])
        first, second = (self._classes(network, free) for network in self.networks)
        same = first[0].classes == second[0].classes
        taught = [labels[0].pasted(boxes, *labels[1:]) for labels in (second, first)]
        valid = sampled(free.valid, same.shape[-2:])
        return mixed_images(free, boxes), taught, masked_mean(same.float(), valid)

    @torch.no_grad()
    def _classes(self, network: Segmenter, free: Unlabelled) -> list[PseudoLabels]:
        """Of each crop; by the code in training mode, in the padding too."""
        if self.follows_code:
            return [confident(network(crop.image), 0.0, None) for crop in free.crops]
        with in_eval_mode(network):
            return confident_crops(pass_at(self.resolution, network), free, 0.0)

    def pseudo_labels(self, image: Tensor, valid: Tensor | None = None) -> Tensor | None:
        """What S1 is taught: S2's classes, at every pixel."""
        if self.cross_weight == 0:
            return None
        return confident(self.second_segmenter(image), 0.0, valid).as_mask()

    def labeller(self) -> nn.Module:
        """S2."""
        return self.second_segmenter


def _require_difference(first: Segmenter, second: Segmenter) -> None:
    """Refuse two networks that start from the same weights: they would stay the same."""
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    known = not any(one.is_meta for one, _ in pairs)
    if known and all(torch.equal(one, other) for one, other in pairs):
        raise RecipeError(
            "cps: both networks start from the same weights, so that neither can teach the other. "
            "Take model.weights of a backbone alone, so that their heads differ."
        )
