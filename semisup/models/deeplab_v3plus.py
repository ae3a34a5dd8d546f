"""DeepLab v3+: encoder-decoder with atrous separable convolution.

Chen, Zhu, Papandreou, Schroff and Adam, ECCV 2018, https://arxiv.org/abs/1802.02611.

On MobileNetV2 it differs from the paper in this: the backbone is a small one and not Xception or
ResNet-101; the image-level branch of the pyramid has a bias in place of batch normalisation, which
could not be trained with one image in a batch; no output is trained at strides other than
`output_stride`.

On a ResNet it is the network of the semi-supervised literature (ST++ and UniMatch,
LiheYoung/UniMatch: model/semseg/deeplabv3plus.py), which differs from the paper too: full
convolutions, not separable ones; no dropout; maps resized with their corners aligned; the head
starts from torch's own initial weights. It needs two images in a batch.

On an encoder of timm it has the head that it has on MobileNetV2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.backbones.base import Backbone
from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.backbones.resnet import RESNETS, ResNetFeatures, adapt_resnet
from semisup.models.backbones.timm import TimmFeatures, adapt_timm, is_timm, unknown_backbone
from semisup.models.base import ParameterGroup, Segmenter, head_apart
from semisup.models.layers import (
    conv_norm_relu,
    initialise,
    laid_out_as,
    resize,
    resize_and_cut,
)
from semisup.models.weights import rename_prefix

BACKBONES: Mapping[str, Callable[..., Backbone]] = MappingProxyType(
    {
        "mobilenet_v2": MobileNetV2Features,
        **{name: partial(ResNetFeatures, depth) for name, depth in RESNETS.items()},
    }
)
"""Name -> what builds it from `in_channels` and `output_stride`."""

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Output stride -> dilations of the pyramid."""

WIDTH = 256
LOW_LEVEL_WIDTH = 48

UNIMATCH_KEYS = (
    ("module.", ""),
    *((f"head.b{number}.", f"pyramid.branches.{number}.") for number in range(4)),
    ("head.b4.gap.1.", "pyramid.whole.1.0."),
    ("head.b4.gap.2.", "pyramid.whole.1.1."),
    ("head.project.", "pyramid.project.0."),
    ("fuse.0.", "refine.0.0."),
    ("fuse.1.", "refine.0.1."),
    ("fuse.3.", "refine.1.0."),
    ("fuse.4.", "refine.1.1."),
)
"""Heads of the keys in files of UniMatch, and here."""


class DeepLabV3Plus(Segmenter):
    """DeepLab v3+ (Chen et al. 2018) on MobileNetV2, a ResNet or an encoder of timm.

    `training_logits` is the main map alone: there is no auxiliary head.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        backbone: "mobilenet_v2", or "resnet50", "resnet101" or "resnet152", whose head has full
            convolutions where that of MobileNetV2 has separable ones; or "timm:" and the name of an
            encoder of timm that has a map of stride 4 and can be dilated to `output_stride`.
        output_stride: 16, or 8, twice as dense and about twice as slow.
        multi_grid: of a ResNet: the last three blocks have once, twice and four times the dilation
            of their stage.
        deep_stem: of a ResNet: three 3 x 3 convolutions first, not one of 7 x 7, as in UniMatch;
            torchvision's weights do not fit these and the first block.

    Raises:
        RecipeError: there is no such backbone, `output_stride` is neither 8 nor 16, or another
            backbone is to have what is of a ResNet.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1802.02611"
    year: ClassVar[int | None] = 2018

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        backbone: str = "mobilenet_v2",
        output_stride: Literal[8, 16] = 16,
        multi_grid: bool = False,
        deep_stem: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if backbone not in BACKBONES and not is_timm(backbone):
            raise unknown_backbone("DeepLab v3+", backbone, BACKBONES)
        if output_stride not in RATES:
            raise RecipeError(f"DeepLab v3+ has output_stride 8 or 16, not {output_stride}.")
        self.on_resnet = backbone in RESNETS
        given = {"multi_grid": multi_grid, "deep_stem": deep_stem}
        options = {option: True for option, wanted in given.items() if wanted}
        if options and not self.on_resnet:
            raise RecipeError(
                f"DeepLab v3+ has {' and '.join(options)} on a ResNet alone, not on '{backbone}'; "
                "choose backbone = 'resnet50' or 'resnet101'."
            )
        self.backbone = _builder(backbone)(
            in_channels=in_channels, output_stride=output_stride, **options
        )
        low, *_, high = self.backbone.channels
        self.pyramid = AtrousPyramid(high, RATES[output_stride], full=self.on_resnet)
        self.reduce = conv_norm_relu(low, LOW_LEVEL_WIDTH, 1)
        convolution = full_convolution if self.on_resnet else separable
        self.refine = nn.Sequential(
            convolution(WIDTH + LOW_LEVEL_WIDTH, WIDTH), convolution(WIDTH, WIDTH)
        )
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)
        if not self.on_resnet:
            for part in self._head():
                initialise(part)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of stride 4 and of the output stride (BChw) of `image` (BCHW)."""
        first, *_, last = self.backbone.stages(image)
        return [first.pooled, last.pooled]

    @property
    def embedding_channels(self) -> int:
        """256."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The refined map BChw at stride 4."""
        low, high = features
        context = resize(self.pyramid(high), low.shape[-2:], align_corners=self.on_resnet)
        merged = torch.cat([self.reduce(low), context], dim=1)
        refined: Tensor = self.refine(merged)
        return refined

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def covered_size(self, size: torch.Size) -> torch.Size:
        """As the backbone pads it."""
        return self.backbone.padded_size(size)

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Logits BKHW, resized from those of `decode`."""
        padded = self.covered_size(size)
        return resize_and_cut(logits, padded, size, align_corners=self.on_resnet)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone, and the head at ten times its learning rate, as in DeepLab's own line
        of networks: the backbone starts from ImageNet, the head from nothing.
        """
        return head_apart(self, self.backbone)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's and timm's have no prefix; UniMatch's heads have other names."""
        if isinstance(self.backbone, TimmFeatures):
            return adapt_timm(state, self.backbone)
        if not self.on_resnet:
            return rename_prefix(state, "features.", "backbone.features.")
        for theirs, ours in UNIMATCH_KEYS:
            state = rename_prefix(state, theirs, ours)
        return adapt_resnet(state, backbone="backbone.")

    def _head(self) -> list[nn.Module]:
        return [self.pyramid, self.reduce, self.refine, self.classifier]


def _builder(name: str) -> Callable[..., Backbone]:
    if is_timm(name):
        return partial(TimmFeatures, name, "DeepLab v3+", reductions=(4,))
    return BACKBONES[name]


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: one map seen at several dilations and as a whole.

    Args:
        in_channels: C of the map.
        rates: one dilation for each 3 x 3 branch.
        full: full convolutions, a batch norm in the image-level branch and no dropout.
    """

    def __init__(self, in_channels: int, rates: tuple[int, ...], *, full: bool = False) -> None:
        super().__init__()
        convolution = full_convolution if full else separable
        self.branches = nn.ModuleList(
            [
                conv_norm_relu(in_channels, WIDTH, 1),
                *(convolution(in_channels, WIDTH, dilation=rate) for rate in rates),
            ]
        )
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv_norm_relu(in_channels, WIDTH, 1, batch_norm=full)
        )
        self.project = nn.Sequential(conv_norm_relu(WIDTH * (len(rates) + 2), WIDTH, 1))
        if not full:
            self.project.append(nn.Dropout(0.1))

    def forward(self, features: Tensor) -> Tensor:
        """BChw -> B(256)hw."""
        maps = [branch(features) for branch in self.branches]
        maps.append(laid_out_as(self.whole(features).expand_as(maps[0]), maps[0]))
        pooled: Tensor = self.project(torch.cat(maps, dim=1))
        return pooled


def separable(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """3 x 3 convolution as depthwise and pointwise, each with its own norm and ReLU."""
    return nn.Sequential(
        conv_norm_relu(in_channels, in_channels, 3, dilation=dilation, groups=in_channels),
        conv_norm_relu(in_channels, out_channels, 1),
    )


def full_convolution(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """3 x 3 convolution, norm and ReLU."""
    return conv_norm_relu(in_channels, out_channels, 3, dilation=dilation)
