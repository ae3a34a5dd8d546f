"""VGG16's thirteen convolutions (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556).

The keys are torchvision's (`features.0.weight` ...), so its `vgg16` and `vgg16_bn` state dicts load
by key. The classifier is not here: each segmentation network makes of it what its paper does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semisup.models.layers import initialise

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of each stage; a 2 x 2 maximum pooling closes every stage."""


@dataclass(frozen=True, slots=True)
class PooledStage:
    """What a stage gives and what `torch.nn.functional.max_unpool2d` needs to undo its pooling.

    Attributes:
        pooled: BChw, the output of the stage.
        indices: BChw int64, where in each unpooled map the maxima were.
        size: height and width before the pooling.
    """

    pooled: Tensor
    indices: Tensor
    size: torch.Size


class VGG16Features(nn.Module):
    """The convolutional part of VGG16: 14,714,688 parameters at three channels.

    Weights start from He et al. 2015 (fan-in), biases at zero.

    Args:
        in_channels: C of the input image.
        batch_norm: normalise after every convolution (torchvision's `vgg16_bn`).
        ceil_mode: round pooled sizes up, as Caffe does, and not down.
        first_padding: zero padding of the very first convolution, in pixels (100 in FCN).
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        batch_norm: bool = False,
        ceil_mode: bool = False,
        first_padding: int = 1,
    ) -> None:
        super().__init__()
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
        return [stage.pooled for stage in self.forward_with_indices(image)]

    def forward_with_indices(self, image: Tensor) -> list[PooledStage]:
        """The five stages of `image` (BCHW), finest first, for networks that unpool."""
        stages: list[PooledStage] = []
        features = image
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                size = features.shape[-2:]
                features, indices = layer(features)
                stages.append(PooledStage(features, indices, size))
            else:
                features = layer(features)
        return stages
