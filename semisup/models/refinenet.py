"""RefineNet: four blocks that refine a ResNet's maps from coarse to fine, without dilation.

Lin, Milan, Shen and Reid, CVPR 2017, https://arxiv.org/abs/1611.06612, in the form of the released
networks as ported to PyTorch (DrSleep/refinenet-pytorch): three residual units at the end of a
block, where the paper's text has one, and four poolings in its chain, where it has two; dropout on
the two coarsest maps and before the classifier.

In the release the backbone's batch norms normalise by the statistics of ImageNet, in training too,
and their scales and shifts are trained (guosheng/refinenet: +dagnn/BatchNorm.m, and
`fix_batch_norm_resnet`): `frozen_statistics`. It is an option because statistics that stay fit
loaded weights alone: in a fresh ResNet nothing would be normalised.

Differs from the release: the gradient of the bilinear enlargement is its own, not a plain
reduction. Weights of the head start as torch fills them, as in the port.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from semisup.models.backbones.resnet import adapt_resnet, named_resnet
from semisup.models.base import ParameterGroup, Segmenter, head_apart
from semisup.models.layers import resize


class RefineNet(Segmenter):
    """RefineNet (Lin et al. 2017) on ResNet-50, -101 or -152: logits at stride 4.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        backbone: resnet50, resnet101 or resnet152.
        width: channels of the blocks, twice as many in the deepest; less makes it fit for tests.
        frozen_statistics: the backbone's batch norms keep the running statistics that were loaded,
            and normalise by them in training too, as in the release.

    Raises:
        RecipeError: there is no such backbone.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1611.06612"
    year: ClassVar[int | None] = 2017

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str = "resnet101",
        width: int = 256,
        frozen_statistics: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.backbone = named_resnet(backbone, "RefineNet", in_channels=in_channels)
        *finer, deepest = self.backbone.channels
        below = 2 * width
        self.blocks = nn.ModuleList([RefineBlock(deepest, below)])
        for channels in reversed(finer):
            self.blocks.append(RefineBlock(channels, width, below=below))
            below = width
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Conv2d(width, num_classes, 3, padding=1)
        self.frozen_statistics = frozen_statistics
        self.train()

    def train(self, mode: bool = True) -> RefineNet:
        """Training or eval mode; batch norms with frozen statistics are always in eval mode."""
        super().train(mode)
        if self.frozen_statistics:
            for layer in self.backbone.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of strides 4, 8, 16 and 32 (BChw) of `image` (BCHW)."""
        first, second, third, fourth = (stage.pooled for stage in self.backbone.stages(image))
        return [first, second, self.dropout(third), self.dropout(fourth)]

    @property
    def embedding_channels(self) -> int:
        """The network's `width`."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The last block's map BChw, at stride 4."""
        deepest, *finer = self.blocks
        current: Tensor = deepest(features[-1])
        for block, maps in zip(finer, reversed(features[:-1]), strict=True):
            current = block(maps, current)
        return current

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each from 3 x 3 places."""
        logits: Tensor = self.classifier(self.dropout(embedding))
        return logits

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone, and the head at ten times its learning rate, as in the release."""
        return head_apart(self, self.backbone)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's backbones have no prefix."""
        return adapt_resnet(state, backbone="backbone.")


class RefineBlock(nn.Module):
    """One map adapted, joined with the block below, pooled in a chain, and adapted once more.

    Args:
        channels: C of the map.
        width: C of the result.
        below: C of the result of the block below; None for the deepest, which has none.
    """

    def __init__(self, channels: int, width: int, *, below: int | None = None) -> None:
        super().__init__()
        self.reduce = _convolution(channels, width)
        self.adapt = nn.Sequential(*(ResidualUnit(width) for _ in range(2)))
        if below is not None:
            self.join = _convolution(width, width)
            self.join_below = _convolution(below, width)
        self.pooling = ChainedPooling(width, 4)
        self.output = nn.Sequential(*(ResidualUnit(width) for _ in range(3)))

    def forward(self, maps: Tensor, below: Tensor | None = None) -> Tensor:
        """BChw of `maps` (BChw) and of what the block `below` gave, at a coarser size."""
        adapted: Tensor = self.adapt(self.reduce(maps))
        if below is not None:
            coarser = resize(self.join_below(below), maps.shape[-2:], align_corners=True)
            adapted = self.join(adapted) + coarser
        refined: Tensor = self.output(self.pooling(F.relu(adapted)))
        return refined


class ResidualUnit(nn.Module):
    """Two convolutions, each behind a ReLU, and the input added: no normalisation.

    Args:
        channels: C of input and result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = _convolution(channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """BChw of BChw, which is added as it is: the ReLU is not in place."""
        residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(maps)), inplace=True))
        return maps + residual


class ChainedPooling(nn.Module):
    """Poolings of 5 x 5, each with a convolution and on top of the one before; all are added.

    Args:
        channels: C of input and result.
        count: number of poolings.
    """

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_convolution(channels, channels) for _ in range(count))

    def forward(self, maps: Tensor) -> Tensor:
        """BChw of BChw."""
        total = top = maps
        for conv in self.convs:
            top = conv(F.max_pool2d(top, 5, stride=1, padding=2))
            total = total + top
        return total


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
