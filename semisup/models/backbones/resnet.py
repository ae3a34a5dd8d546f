"""ResNets as backbones (He et al., CVPR 2016, https://arxiv.org/abs/1512.03385).

torchvision's blocks and keys (`conv1.weight`, `layer1.0.conv1.weight` ...) without its classifier,
so its state dicts load by key. Strides turn into dilation as in DeepLab v3, whose public versions
differ in what no count of parameters tells apart: where the stride of a stage sits, and whether
the first block of a dilated stage is dilated itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50, resnet101, resnet152

from semisup.errors import RecipeError, suggest
from semisup.models.backbones.base import Backbone, PooledStage
from semisup.models.weights import rename_prefix

DEPTHS: Mapping[int, Callable[[], ResNet]] = MappingProxyType(
    {18: resnet18, 50: resnet50, 101: resnet101, 152: resnet152}
)
"""Layers -> torchvision's network of that many."""

RESNETS: Mapping[str, Literal[50, 101, 152]] = MappingProxyType(
    {"resnet50": 50, "resnet101": 101, "resnet152": 152}
)
"""Names of backbones in recipes -> layers."""

MULTI_GRID = (1, 2, 4)
"""Factors on the dilation of the three blocks of the last stage (Chen et al. 2017)."""

DEEP_STEM_WIDTHS = (64, 64, 128)

SEMSEG_STEM = (
    ("conv1.", "conv1.0."),
    ("bn1.", "conv1.1."),
    ("conv2.", "conv1.3."),
    ("bn2.", "conv1.4."),
    ("conv3.", "conv1.6."),
    ("bn3.", "bn1."),
)
"""Keys of a deep stem in the ImageNet files of PSPNet's authors, and here; in this order."""


class ResNetFeatures(Backbone):
    """The four stages of a ResNet at strides 4, 8, 16 and 32, or no coarser than `output_stride`.

    Args:
        depth: 18, 50, 101 or 152 layers; of 18 there is the undilated form alone.
        in_channels: C of the input image.
        output_stride: pixels of the image to one of the deepest map. 16 and 8 dilate the last
            stage, or the last two, in place of their stride of 2.
        dilate_first: whether the first block of such a stage is dilated like its others. False, as
            in torchvision, it keeps the dilation of the stage before: it reads the undilated grid.
        multi_grid: the three blocks of the last stage have once, twice and four times its
            dilation, the first one too.
        deep_stem: three 3 x 3 convolutions in place of one of 7 x 7, and 128 channels behind them.
            torchvision's weights fit all but these and the first block.
        caffe: as in Caffe's ResNets, a stage takes its stride at its first 1 x 1 convolution, not
            at the 3 x 3 one, and the pooling rounds sizes up.
    """

    channels = (256, 512, 1024, 2048)
    """C of the maps of `stages`, finest first."""

    torchvision_parts = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")

    def __init__(
        self,
        depth: Literal[18, 50, 101, 152] = 50,
        *,
        in_channels: int = 3,
        output_stride: Literal[8, 16, 32] = 32,
        dilate_first: bool = False,
        multi_grid: bool = False,
        deep_stem: bool = False,
        caffe: bool = False,
    ) -> None:
        super().__init__()
        changed = output_stride != 32 or multi_grid or deep_stem or caffe
        assert depth != 18 or not changed, "blocks of two convolutions are changed in another way"
        self.torchvision_name = f"resnet{depth}"
        whole = DEPTHS[depth]()
        self.conv1: nn.Module = whole.conv1
        self.bn1 = whole.bn1
        if in_channels != 3 and not deep_stem:
            self.conv1 = _convolution(in_channels, 64, 7, stride=2)
        self.relu, self.maxpool = whole.relu, whole.maxpool
        self.layer1, self.layer2 = whole.layer1, whole.layer2
        self.layer3, self.layer4 = whole.layer3, whole.layer4
        if deep_stem:
            self._deepen_stem(in_channels)
        self.deepest_stride = output_stride
        self._dilate(multi_grid=multi_grid, dilate_first=dilate_first)
        if caffe:
            self.maxpool.ceil_mode = True
            for stage in (self.layer2, self.layer3, self.layer4):
                stage[0].conv1.stride, stage[0].conv2.stride = stage[0].conv2.stride, (1, 1)

    def stem(self, image: Tensor) -> Tensor:
        """The map of stride 2 of `image` (BCHW), before the pooling."""
        features: Tensor = self.relu(self.bn1(self.conv1(image)))
        return features

    def stages(self, image: Tensor) -> list[PooledStage]:
        """The maps of `image` (BCHW), finest first.

        The first is reached by a pooling of stride 2, but one of overlapping windows, whose
        switches cannot be undone: no stage has any.
        """
        features = self.stem(image)
        size, features = features.shape[-2:], self.maxpool(features)
        found: list[PooledStage] = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = stage(features)
            found.append(PooledStage(features, None, size))
            size = features.shape[-2:]
        return found

    def _deepen_stem(self, in_channels: int) -> None:
        first, second, last = DEEP_STEM_WIDTHS
        self.conv1 = nn.Sequential(
            _convolution(in_channels, first, 3, stride=2),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            _convolution(first, second, 3),
            nn.BatchNorm2d(second),
            nn.ReLU(inplace=True),
            _convolution(second, last, 3),
        )
        self.bn1 = nn.BatchNorm2d(last)
        block = self.layer1[0]
        block.conv1 = _convolution(last, block.conv1.out_channels, 1)
        block.downsample[0] = _convolution(last, block.downsample[0].out_channels, 1)

    def _dilate(self, *, multi_grid: bool, dilate_first: bool) -> None:
        before = 1
        for stage, stride in ((self.layer3, 16), (self.layer4, 32)):
            dilation = before
            if stride > self.deepest_stride:
                dilation = 2 * before
                stage[0].conv2.stride = stage[0].downsample[0].stride = (1, 1)
            dilations = [dilation] * len(stage)
            if multi_grid and stage is self.layer4:
                dilations = [dilation * factor for factor in MULTI_GRID]
            elif not dilate_first:
                dilations[0] = before
            for block, own in zip(stage, dilations, strict=True):
                block.conv2.dilation = block.conv2.padding = (own, own)
            before = dilation


class ResNet18Features(ResNetFeatures):
    """The four stages of ResNet-18 at strides 4, 8, 16 and 32: 11,176,512 parameters.

    Args:
        in_channels: C of the input image.
    """

    channels = (64, 128, 256, 512)

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(18, in_channels=in_channels)


class ResNet50Features(ResNetFeatures):
    """The four stages of ResNet-50 at strides 4, 8, 16 and 32: 23,508,032 parameters.

    Args:
        in_channels: C of the input image.
    """

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(50, in_channels=in_channels)


def named_resnet(name: str, network: str, **options: Any) -> ResNetFeatures:
    """The backbone that a recipe names.

    Args:
        name: one of `RESNETS`.
        network: what asks for it, for the error.
        options: of `ResNetFeatures`.

    Raises:
        RecipeError: there is none of that name.
    """
    if name not in RESNETS:
        raise RecipeError(f"{network} has no backbone '{name}'.{suggest(name, RESNETS)}")
    return ResNetFeatures(RESNETS[name], **options)


def adapt_resnet(state: dict[str, Tensor], *, backbone: str) -> dict[str, Tensor]:
    """A ResNet's state dict with the keys of a network built on it.

    It is torchvision's, or one of PSPNet's authors, whose deep stem has other names. Other keys
    pass unchanged.

    Args:
        state: key -> tensor.
        backbone: prefix of a `ResNetFeatures`, such as "backbone.".
    """
    if "conv3.weight" in state:
        for old, new in SEMSEG_STEM:
            state = rename_prefix(state, old, new)
    for part in ResNetFeatures.torchvision_parts:
        state = rename_prefix(state, part, backbone + part)
    return state


def _convolution(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    """One without bias that keeps the size but for its stride, filled as torchvision fills them."""
    layer = nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
