"""PSPNet: pyramid scene parsing network.

Zhao, Shi, Qi, Wang and Jia, CVPR 2017, https://arxiv.org/abs/1612.01105, after the authors' PyTorch
code (hszhao/semseg: model/pspnet.py, model/resnet.py): a ResNet of output stride 8 with a deep stem
whose dilated stages dilate their first block too, the pyramid's maps behind the backbone's own in
the order 1, 2, 3, 6 (their Caffe release: 6, 3, 2, 1), maps resized with their corners aligned.

On an encoder of timm that can be dilated to output stride 8 the rest is the same.

Differs from the code: images of any size are taken, where it asserts that 8 divides each side less
one; the auxiliary head is there in eval mode too, unused. Differs from the Caffe release as the
code does: whole channels are dropped, and labels are not reduced. It needs two images in a batch.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.backbones.base import Backbone
from semisup.models.backbones.resnet import RESNETS, adapt_resnet, named_resnet
from semisup.models.backbones.timm import TimmFeatures, adapt_timm, is_timm, unknown_backbone
from semisup.models.base import ParameterGroup, Segmenter, head_apart
from semisup.models.layers import BinMeans, conv_norm_relu, laid_out_as, resize, resize_and_cut
from semisup.models.weights import rename_prefix

BINS = (1, 2, 3, 6)
"""Sides of the pyramid's pooled maps."""

WIDTH = 512
AUXILIARY_WIDTH = 256
DROPOUT = 0.1

SEMSEG_KEYS = (
    ("module.", ""),
    *((f"layer0.{number}.", f"conv1.{number}.") for number in (0, 1, 3, 4, 6)),
    ("layer0.7.", "bn1."),
    *((f"ppm.features.{n}.1.", f"pyramid.levels.{n}.1.0.") for n in range(len(BINS))),
    *((f"ppm.features.{n}.2.", f"pyramid.levels.{n}.1.1.") for n in range(len(BINS))),
    ("cls.0.", "merge.0.0."),
    ("cls.1.", "merge.0.1."),
    ("cls.4.", "classifier."),
    ("aux.0.", "auxiliary.0.0."),
    ("aux.1.", "auxiliary.0.1."),
    ("aux.4.", "auxiliary.2."),
)
"""Heads of the keys in files of the authors' code, and here."""


class PSPNet(Segmenter):
    """PSPNet (Zhao et al. 2017) on a ResNet or an encoder of timm, output stride 8.

    `training_logits` has, beside the main map, that of an auxiliary head on the third stage. The
    new layers start from torch's own initial weights, as in the authors' code.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        backbone: "resnet50", "resnet101" or "resnet152"; or "timm:" and the name of an encoder of
            timm that can have output stride 8.
        deep_stem: three 3 x 3 convolutions first, as in the authors' code; False, one of 7 x 7,
            which torchvision's weights fit. timm's encoders have stems of their own.
        auxiliary_weight: of the auxiliary head's loss; 0 leaves that head out.

    Raises:
        RecipeError: there is no such backbone, or `auxiliary_weight` is negative or not finite.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1612.01105"
    year: ClassVar[int | None] = 2017

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str = "resnet50",
        deep_stem: bool = True,
        auxiliary_weight: float = 0.4,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if not (math.isfinite(auxiliary_weight) and auxiliary_weight >= 0):
            raise RecipeError(
                f"PSPNet has an auxiliary_weight of at least 0, not {auxiliary_weight}."
            )
        self.backbone = _backbone(backbone, in_channels, deep_stem)
        *_, third, last = self.backbone.channels
        self.pyramid = PoolingPyramid(last, last // len(BINS))
        self.merge = nn.Sequential(conv_norm_relu(2 * last, WIDTH, 3), nn.Dropout2d(DROPOUT))
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        self.auxiliary: nn.Sequential | None = None
        if auxiliary_weight:
            self.auxiliary_weights = (auxiliary_weight,)
            self.auxiliary = nn.Sequential(
                conv_norm_relu(third, AUXILIARY_WIDTH, 3),
                nn.Dropout2d(DROPOUT),
                nn.Conv2d(AUXILIARY_WIDTH, num_classes, 1),
            )

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of the third and of the last stage, both of stride 8, of `image` (BCHW)."""
        *_, third, last = self.backbone.stages(image)
        return [third.pooled, last.pooled]

    @property
    def embedding_channels(self) -> int:
        """512."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The map BChw of stride 8 that merges the last stage's and its pyramid."""
        merged: Tensor = self.merge(self.pyramid(features[-1]))
        return merged

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def covered_size(self, size: torch.Size) -> torch.Size:
        """As the backbone pads it."""
        return self.backbone.padded_size(size)

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Logits BKHW, resized from those of `decode`, corners on corners."""
        return resize_and_cut(logits, self.covered_size(size), size, align_corners=True)

    def training_logits(self, image: Tensor) -> list[Tensor]:
        """The main map and, where there is an auxiliary head, its map, both BKHW."""
        features = self.encode(image)
        maps = [self.decode(features)]
        if self.auxiliary is not None:
            maps.append(self.auxiliary(features[0]))
        return [self.to_image_size(logits, image.shape[-2:]) for logits in maps]

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone, and all else at ten times its learning rate."""
        return head_apart(self, self.backbone)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's and timm's have no prefix; files of the authors' code have other names."""
        if isinstance(self.backbone, TimmFeatures):
            return adapt_timm(state, self.backbone)
        for theirs, ours in SEMSEG_KEYS:
            state = rename_prefix(state, theirs, ours)
        return adapt_resnet(state, backbone="backbone.")


def _backbone(name: str, in_channels: int, deep_stem: bool) -> Backbone:
    if is_timm(name):
        return TimmFeatures(
            name, "PSPNet", in_channels=in_channels, reductions=(8,), output_stride=8
        )
    if name not in RESNETS:
        raise unknown_backbone("PSPNet", name, RESNETS)
    return named_resnet(
        name,
        "PSPNet",
        in_channels=in_channels,
        output_stride=8,
        dilate_first=True,
        deep_stem=deep_stem,
    )


class PoolingPyramid(nn.Module):
    """A map, and beside it averages over ever smaller parts of it.

    Args:
        in_channels: C of the map.
        width: channels of each of the pooled maps.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(BinMeans(side), conv_norm_relu(in_channels, width, 1)) for side in BINS
        )

    def forward(self, features: Tensor) -> Tensor:
        """BChw -> B(C + 4 * width)hw: the map itself and those of 1, 2, 3 and 6 bins a side."""
        size = features.shape[-2:]
        pooled = [resize(level(features), size, align_corners=True) for level in self.levels]
        pooled = [laid_out_as(maps, features) for maps in pooled]
        return torch.cat([features, *pooled], dim=1)
