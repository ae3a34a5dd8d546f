"""DeepLab v3+: encoder-decoder with atrous separable convolution.

Chen, Zhu, Papandreou, Schroff and Adam, ECCV 2018, https://arxiv.org/abs/1802.02611.

Differs from the paper: the backbone is a small one (MobileNetV2) and not Xception or ResNet-101;
the image-level branch of the pyramid has a bias in place of batch normalisation, which could not
be trained with one image in a batch; no output is trained at strides other than `output_stride`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.base import ParameterGroup, Segmenter
from semisup.models.layers import conv_norm_relu, initialise, resize
from semisup.models.weights import rename_prefix

BACKBONES: Mapping[str, Callable[..., MobileNetV2Features]] = MappingProxyType(
    {"mobilenet_v2": MobileNetV2Features}
)
"""Name -> what builds it from `in_channels` and `output_stride`."""

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Output stride -> dilations of the pyramid."""

WIDTH = 256
LOW_LEVEL_WIDTH = 48


class DeepLabV3Plus(Segmenter):
    """DeepLab v3+ (Chen et al. 2018) on MobileNetV2, output stride 16 or 8.

    `training_logits` is the main map alone: there is no auxiliary head.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        backbone: a name in `BACKBONES`.
        output_stride: 16, or 8, twice as dense and about twice as slow.

    Raises:
        RecipeError: `backbone` is not in the table, or `output_stride` is neither 8 nor 16.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str = "mobilenet_v2",
        output_stride: Literal[8, 16] = 16,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if backbone not in BACKBONES:
            hint = suggest(backbone, BACKBONES)
            raise RecipeError(f"DeepLab v3+ has no backbone '{backbone}'.{hint}")
        if output_stride not in RATES:
            raise RecipeError(f"DeepLab v3+ has output_stride 8 or 16, not {output_stride}.")
        self.backbone = BACKBONES[backbone](in_channels=in_channels, output_stride=output_stride)
        self.pyramid = AtrousPyramid(self.backbone.high_channels, RATES[output_stride])
        self.reduce = conv_norm_relu(self.backbone.low_channels, LOW_LEVEL_WIDTH, 1)
        self.refine = nn.Sequential(
            separable(WIDTH + LOW_LEVEL_WIDTH, WIDTH), separable(WIDTH, WIDTH)
        )
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        for part in self._head():
            initialise(part)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of stride 4 and of the output stride (BChw) of `image` (BCHW)."""
        return list(self.backbone(image))

    @property
    def embedding_channels(self) -> int:
        """256."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The refined map BChw at stride 4."""
        low, high = features
        context = resize(self.pyramid(high), low.shape[-2:])
        merged = torch.cat([self.reduce(low), context], dim=1)
        refined: Tensor = self.refine(merged)
        return refined

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone, and the head at ten times its learning rate, as in DeepLab's own line
        of networks: the backbone starts from ImageNet, the head from nothing.
        """
        head = [p for part in self._head() for p in part.parameters()]
        return [
            ParameterGroup(list(self.backbone.parameters()), name="backbone"),
            ParameterGroup(head, lr_scale=10.0, name="head"),
        ]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's backbones have no prefix."""
        return rename_prefix(state, "features.", "backbone.features.")

    def _head(self) -> list[nn.Module]:
        return [self.pyramid, self.reduce, self.refine, self.classifier]


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: one map seen at several dilations and as a whole.

    Args:
        in_channels: C of the map.
        rates: one dilation for each 3 x 3 branch.
    """

    def __init__(self, in_channels: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_norm_relu(in_channels, WIDTH, 1),
                *(separable(in_channels, WIDTH, dilation=rate) for rate in rates),
            ]
        )
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv_norm_relu(in_channels, WIDTH, 1, batch_norm=False)
        )
        self.project = nn.Sequential(
            conv_norm_relu(WIDTH * (len(rates) + 2), WIDTH, 1), nn.Dropout(0.1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """BChw -> B(256)hw."""
        maps = [branch(features) for branch in self.branches]
        maps.append(self.whole(features).expand_as(maps[0]))
        pooled: Tensor = self.project(torch.cat(maps, dim=1))
        return pooled


def separable(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """3 x 3 convolution as depthwise and pointwise, each with its own norm and ReLU."""
    return nn.Sequential(
        conv_norm_relu(in_channels, in_channels, 3, dilation=dilation, groups=in_channels),
        conv_norm_relu(in_channels, out_channels, 1),
    )
