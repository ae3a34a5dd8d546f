"""VGG16's thirteen convolutions (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556).

The keys are torchvision's (`features.0.weight` ...), so its `vgg16` and `vgg16_bn` state dicts load
by key. The classifier is not here: each segmentation network makes of it what its paper does.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from semisup.models.backbones.base import Backbone, PooledStage
from semisup.models.layers import initialise
from semisup.models.weights import rename_prefix

FC6_SHAPE = (512, 7, 7)
"""What one unit of VGG16's first fully connected layer sees."""

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of each stage; a 2 x 2 maximum pooling closes every stage."""


class VGG16Features(Backbone):
    """The convolutional part of VGG16: 14,714,688 parameters at three channels.

    Weights start from He et al. 2015 (fan-in), biases at zero.

    Args:
        in_channels: C of the input image.
        batch_norm: normalise after every convolution (torchvision's `vgg16_bn`).
        ceil_mode: round pooled sizes up, as Caffe does, and not down.
        first_padding: zero padding of the very first convolution, in pixels (100 in FCN).
    """

    channels = tuple(stage[-1] for stage in STAGES)
    """C of the five pooled maps, finest first."""

    has_switches = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        batch_norm: bool = False,
        ceil_mode: bool = False,
        first_padding: int = 1,
    ) -> None:
        super().__init__()
        self.torchvision_name = "vgg16_bn" if batch_norm else "vgg16"
        layers: list[nn.Module] = []
        channels, padding = in_channels, first_padding
        for stage in STAGES:
            for width in stage:
                layers.append(nn.Conv2d(channels, width, 3, padding=padding))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels, padding = width, 1
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=ceil_mode, return_indices=True))
        self.features = nn.Sequential(*layers)
        initialise(self.features)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The five pooled maps BChw of `image` (BCHW), finest first."""
        return [stage.pooled for stage in self.stages(image)]

    def stages(
        self, image: Tensor, after_pooling: nn.ModuleList | None = None
    ) -> list[PooledStage]:
        """The five stages of `image` (BCHW), finest first, for networks that unpool.

        Args:
            image: BCHW.
            after_pooling: a module for each stage, which its pooled map passes through.
        """
        stages: list[PooledStage] = []
        features = image
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                size = features.shape[-2:]
                features, indices = layer(features)
                if after_pooling is not None:
                    features = after_pooling[len(stages)](features)
                stages.append(PooledStage(features, indices, size))
            else:
                features = layer(features)
        return stages


def numbered_with_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's `vgg16` with the numbers of its `vgg16_bn`, in which norms lie between.

    For networks with batch normalisation that start from the classifier without. What is not the
    convolutions of a `vgg16` comes out as it went in.
    """
    if "features.2.weight" not in state:  # where vgg16_bn has its first ReLU
        return state
    plain, with_norms = 0, 0
    numbers: dict[str, int] = {}
    for stage in STAGES:
        for _ in stage:
            numbers[f"{plain}"] = with_norms
            plain, with_norms = plain + 2, with_norms + 3
        plain, with_norms = plain + 1, with_norms + 1
    return {_renumbered(key, numbers): value for key, value in state.items()}


def _renumbered(key: str, numbers: dict[str, int]) -> str:
    head, _, rest = key.partition(".")
    number, _, kind = rest.partition(".")
    if head != "features" or number not in numbers:
        return key
    return f"{head}.{numbers[number]}.{kind}"


def adapt_vgg16(
    state: dict[str, Tensor], *, backbone: str, fc6: str = "", fc7: str = ""
) -> dict[str, Tensor]:
    """torchvision's `vgg16` or `vgg16_bn` state dict with the keys of a network built on it.

    Keys that are not torchvision's pass unchanged, and so does a classifier of another shape.

    Args:
        state: key -> tensor; its first two fully connected layers become convolutions.
        backbone: prefix of a `VGG16Features`, such as "backbone.".
        fc6: prefix of the convolution that takes the first of them; empty where there is none.
        fc7: likewise of the second.
    """
    state = rename_prefix(state, "features.", f"{backbone}features.")
    first = state.get("classifier.0.weight")
    if not fc6 or first is None or first.shape[1:] != (math.prod(FC6_SHAPE),):
        return state  # no classifier, or that of another network
    state["classifier.0.weight"] = first.reshape(-1, *FC6_SHAPE)
    if "classifier.3.weight" in state:
        state["classifier.3.weight"] = state["classifier.3.weight"][..., None, None]
    state = rename_prefix(state, "classifier.0.", fc6)
    return rename_prefix(state, "classifier.3.", fc7)
