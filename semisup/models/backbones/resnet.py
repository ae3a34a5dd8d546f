"""ResNets as backbones (He et al., CVPR 2016, https://arxiv.org/abs/1512.03385).

torchvision's blocks and keys (`conv1.weight`, `layer1.0.conv1.weight` ...) without its classifier,
so its state dicts load by key.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50

from semisup.models.backbones.base import Backbone, PooledStage


class ResNetFeatures(Backbone):
    """The four stages of a ResNet at strides 4, 8, 16 and 32.

    Args:
        whole: torchvision's network.
        in_channels: C of the input image.
    """

    torchvision_parts = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")

    def __init__(self, whole: ResNet, *, in_channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        if in_channels != 3:
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.relu, self.maxpool = whole.relu, whole.maxpool
        self.layer1, self.layer2 = whole.layer1, whole.layer2
        self.layer3, self.layer4 = whole.layer3, whole.layer4

    def stem(self, image: Tensor) -> Tensor:
        """The map of stride 2 of `image` (BCHW), before the pooling."""
        features: Tensor = self.relu(self.bn1(self.conv1(image)))
        return features

    def stages(self, image: Tensor) -> list[PooledStage]:
        """The maps of strides 4, 8, 16 and 32 of `image` (BCHW), finest first.

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


class ResNet18Features(ResNetFeatures):
    """The four stages of ResNet-18: 11,176,512 parameters.

    Args:
        in_channels: C of the input image.
    """

    channels = (64, 128, 256, 512)
    """C of the maps of `stages`, finest first."""

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(resnet18(), in_channels=in_channels)


class ResNet50Features(ResNetFeatures):
    """The four stages of ResNet-50: 23,508,032 parameters.

    Args:
        in_channels: C of the input image.
    """

    channels = (256, 512, 1024, 2048)
    """C of the maps of `stages`, finest first."""

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(resnet50(), in_channels=in_channels)
