"""LinkNet: exploiting encoder representations for efficient semantic segmentation.

Chaurasia and Culurciello, VCIP 2017, https://arxiv.org/abs/1707.03718, after the authors' released
code: the input of each encoder stage, not its output, is added to the output of its decoder block.
As there, the convolutions of the decoder have biases, and the first norm of the head has an epsilon
of 1e-5 where all others behind the encoder have 1e-3. The ReLU that the release has behind each sum
is left out: both summands come out of ReLUs, so that it changes nothing.

Differs from the release: images of any size (a map that comes out of a decoder block is cut to its
skip, which changes nothing where 32 divides the sides). On an encoder of timm, whose stages' inputs
are not to be had before the first, the last decoder block has no skip.
"""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import ClassVar

import torch
from torch import Tensor, nn

from semisup.models.backbones.resnet import ResNet18Features, adapt_resnet
from semisup.models.backbones.timm import TimmFeatures, adapt_timm, is_timm, unknown_backbone
from semisup.models.base import Segmenter

EPSILON = 1e-3
"""Of the decoder's batch norms."""

HEAD_WIDTH = 32

STRIDES = (4, 8, 16, 32)
"""Of the encoder's four stages."""


class LinkNet(Segmenter):
    """LinkNet (Chaurasia and Culurciello 2017) on ResNet-18: 11,536,949 parameters at 21 classes.

    Weights of the decoder start from N(0, sqrt(2 / n)) at n outputs, as in the release.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        backbone: "resnet18", or "timm:" and the name of an encoder of timm with maps of stride 4,
            8, 16 and 32.

    Raises:
        RecipeError: there is no such backbone.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1707.03718"
    year: ClassVar[int | None] = 2017
    stride: ClassVar[int] = 32

    def __init__(
        self, num_classes: int, *, in_channels: int = 3, backbone: str = "resnet18"
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if backbone != "resnet18" and not is_timm(backbone):
            raise unknown_backbone("LinkNet", backbone, ("resnet18",))
        self.backbone = (
            TimmFeatures(backbone, "LinkNet", in_channels=in_channels, reductions=STRIDES)
            if is_timm(backbone)
            else ResNet18Features(in_channels=in_channels)
        )
        channels = self.backbone.channels
        finest = channels[0]
        self.decoder = nn.ModuleList(
            decoder_block(below, out, stride=2)
            for below, out in zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True)
        )
        self.decoder.append(decoder_block(finest, finest, stride=1))
        self.head = nn.Sequential(
            nn.ConvTranspose2d(finest, HEAD_WIDTH, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(HEAD_WIDTH),
            nn.ReLU(inplace=True),
            nn.Conv2d(HEAD_WIDTH, HEAD_WIDTH, 3, padding=1),
            nn.BatchNorm2d(HEAD_WIDTH, EPSILON),
            nn.ReLU(inplace=True),
        )
        self.classifier = nn.ConvTranspose2d(HEAD_WIDTH, num_classes, 2, stride=2)
        for part in (self.decoder, self.head, self.classifier):
            _initialise(part)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The pooled map of the stem and those of the four stages (BChw), finest first.

        The first two have stride 4, the others 8, 16 and 32. Of an encoder of timm there are those
        of the stages alone, of an image that may be padded.
        """
        backbone = self.backbone
        if isinstance(backbone, TimmFeatures):
            return [stage.pooled for stage in backbone.stages(image)]
        features = [backbone.maxpool(backbone.stem(image))]
        for stage in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
            features.append(stage(features[-1]))
        return features

    @property
    def embedding_channels(self) -> int:
        """C of the head's last map, 32."""
        return HEAD_WIDTH

    def embed(self, features: list[Tensor]) -> Tensor:
        """The head's last map BChw, of stride 2 and at least half the image's size."""
        *skips, current = features
        for block, skip in zip_longest(self.decoder, reversed(skips)):
            current = block(current)
            if skip is not None:
                height, width = skip.shape[-2:]
                current = current[..., :height, :width] + skip
        embedding: Tensor = self.head(current)
        return embedding

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place of it for 2 x 2 pixels."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The logits of the image, which lies at their top left."""
        height, width = size
        return logits[..., :height, :width]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's ResNet-18 and timm's encoders have no prefix."""
        if isinstance(self.backbone, TimmFeatures):
            return adapt_timm(state, self.backbone)
        return adapt_resnet(state, backbone="backbone.")


def decoder_block(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    """Down to a quarter of the channels, a transposed convolution, and to the next skip's channels.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        stride: how many times larger the output is, 1 or 2.
    """
    width = in_channels // 4
    larger = nn.ConvTranspose2d(
        width, width, 3, stride=stride, padding=1, output_padding=stride - 1
    )
    layers: list[nn.Module] = []
    for layer in (nn.Conv2d(in_channels, width, 1), larger, nn.Conv2d(width, out_channels, 1)):
        norm = nn.BatchNorm2d(layer.out_channels, EPSILON)
        layers += [layer, norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            outputs = math.prod(layer.kernel_size) * layer.out_channels
            nn.init.normal_(layer.weight, std=math.sqrt(2 / outputs))
