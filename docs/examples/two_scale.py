"""A small network of two scales, as an example of a segmenter."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import semisup
from semisup.models.base import Segmenter
from semisup.models.layers import conv_norm_relu, initialise


class TwoScale(Segmenter):
    """Local features at full resolution, and dilated ones of wider reach at a quarter of it.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        width: channels at full resolution; twice as many at the quarter.
    """

    stride: ClassVar[int] = 4

    def __init__(self, num_classes: int, *, in_channels: int = 3, width: int = 32) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.fine = conv_norm_relu(in_channels, width, 3)
        self.coarse = nn.Sequential(
            conv_norm_relu(width, 2 * width, 3, dilation=2),
            conv_norm_relu(2 * width, 2 * width, 3, dilation=4),
        )
        self.classifier = nn.Conv2d(3 * width, num_classes, 1)
        initialise(self)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The map at full resolution and that at a quarter (BChw) of `image` (BCHW)."""
        fine = self.fine(image)
        return [fine, self.coarse(F.max_pool2d(fine, 4))]

    @property
    def embedding_channels(self) -> int:
        """Three times the network's `width`."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """Both maps at full resolution, BCHW."""
        fine, coarse = features
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, coarse], dim=1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKHW."""
        logits: Tensor = self.classifier(embedding)
        return logits


semisup.register("two_scale", TwoScale)
