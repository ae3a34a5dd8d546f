"""MobileNetV2 as a backbone, with its strides turned into dilation.

Sandler et al., CVPR 2018, https://arxiv.org/abs/1801.04381. torchvision's blocks and keys
(`features.0.0.weight` ...), up to the last bottleneck: the 1280-channel convolution behind it
(`features.18`) serves classification alone.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from semisup.models.backbones.base import Backbone, PooledStage

LAST_BLOCK = 17
STAGE_BLOCKS = (3, 6, 13, LAST_BLOCK)
"""The last blocks of strides 4, 8, 16 and 32."""

STRIDED_BLOCKS: dict[int, tuple[int, ...]] = {32: (), 16: (14,), 8: (7, 14)}
"""Output stride -> blocks that give up their stride of 2."""


class MobileNetV2Features(Backbone):
    """Bottlenecks of MobileNetV2: a map of stride 4 and one of `output_stride`.

    Args:
        in_channels: C of the input image.
        output_stride: pixels of the image to one of the deepest map. 16 and 8 see the same pixels
            as the original stride of 32, two and four times as densely.
    """

    torchvision_name = "mobilenet_v2"
    low_channels = 24
    high_channels = 320
    channels = (24, 32, 96, 320)
    """C of the maps of `stages`, finest first."""

    def __init__(self, *, in_channels: int = 3, output_stride: Literal[8, 16, 32] = 16) -> None:
        super().__init__()
        self.features: nn.Sequential = mobilenet_v2().features[: LAST_BLOCK + 1]
        if in_channels != 3:
            self.features[0][0] = nn.Conv2d(in_channels, 32, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(self.features[0][0].weight, mode="fan_out")
        self.deepest_stride = output_stride
        dilation = 1
        for index, block in enumerate(self.features):
            strided = index in STRIDED_BLOCKS[output_stride]
            _dilate(block, dilation, drop_stride=strided)
            dilation *= 2 if strided else 1

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of stride 4 (24 channels) and of the output stride (320) of `image` (BCHW)."""
        stages = self.stages(image)
        return stages[0].pooled, stages[-1].pooled

    def stages(self, image: Tensor) -> list[PooledStage]:
        """The maps of strides 4, 8, 16 and 32 of `image` (BCHW), finest first.

        Deeper ones are no coarser than the output stride; then the size that a decoder would go
        back to is their own.
        """
        features, size = image, image.shape[-2:]
        found: list[PooledStage] = []
        for number, block in enumerate(self.features):
            before = features.shape[-2:]
            features = block(features)
            if features.shape[-2:] != before:
                size = before
            if number in STAGE_BLOCKS:
                found.append(PooledStage(features, None, size))
                size = features.shape[-2:]
        return found


def _dilate(block: nn.Module, dilation: int, *, drop_stride: bool) -> None:
    # A block that loses its stride still reads the old grid, so its own taps keep their spacing.
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            if drop_stride:
                layer.stride = (1, 1)
            layer.dilation = layer.padding = (dilation, dilation)
