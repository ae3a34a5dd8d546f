"""LR-ASPP: a light head of one gated and one shallow map, on MobileNetV2.

Howard et al., "Searching for MobileNetV3", ICCV 2019, https://arxiv.org/abs/1905.02244, after
torchvision's head, whose blocks, keys and initial weights it has.

Differs from the paper, as torchvision does: the gate sees the mean of the whole map, not means of
49 x 49 windows; score layers have a bias. Differs from both: the encoder is MobileNetV2 without its
last convolution (1,280 channels), and not MobileNetV3.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torchvision.models.segmentation.lraspp import LRASPPHead

from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.base import ParameterGroup, Segmenter, head_apart
from semisup.models.layers import resize
from semisup.models.weights import rename_prefix

WIDTH = 128
"""Channels of the gated map."""


class LRASPP(Segmenter):
    """LR-ASPP (Howard et al. 2019) on MobileNetV2: for studies on CPUs.

    Nothing is computed at stride 4 behind the encoder, so that a pass costs less than half of
    DeepLab v3+'s on the same encoder.

    Args:
        num_classes: K.
        in_channels: C of the input image.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1905.02244"
    year: ClassVar[int | None] = 2019

    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.backbone = MobileNetV2Features(in_channels=in_channels, output_stride=16)
        _, self.low_channels, _, high_channels = self.backbone.channels
        self.head = LRASPPHead(self.low_channels, high_channels, num_classes, WIDTH)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of strides 8 and 16 (BChw, 32 and 320 channels) of `image` (BCHW)."""
        _, low, _, high = self.backbone.stages(image)
        return [low.pooled, high.pooled]

    @property
    def embedding_channels(self) -> int:
        """160: the shallow map's 32 and the gated one's 128."""
        return self.low_channels + WIDTH

    def embed(self, features: list[Tensor]) -> Tensor:
        """The shallow map, then the gated one at its size: BChw at stride 8."""
        return torch.cat(self._maps(features), dim=1)

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself: the sum of the two maps' scores."""
        return self._score(embedding[:, : self.low_channels], embedding[:, self.low_channels :])

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits BKhw from what `encode` returned; the maps are not joined and cut again."""
        return self._score(*self._maps(features))

    def _maps(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        low, high = features
        gated = self.head.cbr(high) * self.head.scale(high)
        return low, resize(gated, low.shape[-2:])

    def _score(self, low: Tensor, gated: Tensor) -> Tensor:
        logits: Tensor = self.head.low_classifier(low) + self.head.high_classifier(gated)
        return logits

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone, and the head at ten times its learning rate, as in DeepLab v3+ here."""
        return head_apart(self, self.backbone)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's backbones have no prefix."""
        return rename_prefix(state, "features.", "backbone.features.")
