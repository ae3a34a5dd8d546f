"""FCN: fully convolutional networks on VGG16 and AlexNet, and FCN-8s' skips on MobileNetV2.

Long, Shelhamer and Darrell, CVPR 2015, https://arxiv.org/abs/1411.4038, and the authors' released
networks, whose padding of 100, Caffe pooling and crop offsets belong together: every offset below
puts a score back on the centre of the pixels that it was computed from.

Differs from the release: the fixed bilinear upsampling is a depthwise transposed convolution, the
same map as their diagonal C x C kernel, and no part of the state dict; fc6 and fc7 start from
He et al. 2015 where no ImageNet classifier is loaded. `alexnet` is torchvision's, whose weights
load; the release's is `bvlc_alexnet`. `FCN8sMobileNetV2` is no network of the paper: it is the
paper's idea on a backbone that two CPU cores can train.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.backbones import alexnet
from semisup.models.backbones.base import Backbone
from semisup.models.backbones.mobilenet import MobileNetV2Features
from semisup.models.backbones.vgg import FC6_SHAPE, VGG16Features, adapt_vgg16
from semisup.models.base import ParameterGroup, Segmenter, biases_apart, head_apart
from semisup.models.layers import initialise, resize
from semisup.models.weights import rename_prefix

FIRST_PADDING = 100
"""Zero padding of the first convolution, in pixels."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A pooled map that adds its own scores.

    Attributes:
        pool: which pooling it follows, from 1.
        channels: C of the map.
        crop: offset, in pixels of the map, at which its scores meet the coarser ones.
        scale: fixed factor on the map before it is scored.
    """

    pool: int
    channels: int
    crop: int
    scale: float = 1.0

    @property
    def name(self) -> str:
        """What the paper calls the map, such as "pool4"."""
        return f"pool{self.pool}"


class BilinearUpsampling(nn.Module):
    """Fixed transposed convolution that interpolates bilinearly; never trained, never stored.

    A map of side n becomes one of side (n + 1) * factor, `factor / 2` pixels wider on every side
    than what the scores cover.

    With an odd kernel the first score lies on a pixel, half a pixel further in, and the map is one
    pixel smaller.

    Args:
        factor: how many times finer; even.
        odd: a kernel of side 2 * factor - 1.
    """

    kernel: Tensor

    def __init__(self, factor: int, *, odd: bool = False) -> None:
        super().__init__()
        self.factor = factor
        side = 2 * factor - odd
        taps = 1 - (torch.arange(side) - (side - 1) / 2).abs() / factor
        self.register_buffer("kernel", torch.outer(taps, taps)[None, None], persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        """BKhw -> BK(h+1)*factor(w+1)*factor."""
        classes = scores.shape[1]
        kernel = self.kernel.expand(classes, -1, -1, -1)
        return F.conv_transpose2d(scores, kernel, stride=self.factor, groups=classes)


class FCN(Segmenter):
    """What the four networks share; one of them is a list of skips and a last upsampling.

    Score layers start at zero, as in the release: a network loaded from its coarser parent's
    weights starts as the parent. At a very first step, then, only score layers have a gradient.

    With skips there is no `embed`: each map is scored at its own stride, and only scores are added.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        width: channels of fc6 and fc7; less makes it fit for tests and small machines.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1411.4038"
    year: ClassVar[int | None] = 2015
    stride: ClassVar[int] = 1
    skips: ClassVar[tuple[Skip, ...]] = ()
    """Skips in the order in which they are added, coarsest first."""
    last_factor: ClassVar[int]
    """How many times the summed scores are upsampled."""
    last_crop: int
    """Offset of the image in the upsampled scores, in pixels."""

    def __init__(self, num_classes: int, *, in_channels: int = 3, width: int = 4096) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.backbone, fc6_shape = self._below_fc6()
        self.fc6 = nn.Conv2d(fc6_shape[0], width, fc6_shape[1:])
        self.fc7 = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(0.5)
        initialise(self.fc6)
        initialise(self.fc7)
        self.score = nn.ModuleDict({"fc7": zero_scores(width, num_classes)})
        for skip in self.skips:
            self.score[skip.name] = zero_scores(skip.channels, num_classes)
        self.upsample_twice = BilinearUpsampling(2)
        self.upsample_last = BilinearUpsampling(self.last_factor)

    def _below_fc6(self) -> tuple[Backbone, tuple[int, int, int]]:
        """The backbone, and what of its deepest map one unit of fc6 sees."""
        backbone = VGG16Features(
            in_channels=self.in_channels, ceil_mode=True, first_padding=FIRST_PADDING
        )
        return backbone, FC6_SHAPE

    def encode(self, image: Tensor) -> list[Tensor]:
        """The skips' pooled maps, finest first, and the map after fc7, all BChw."""
        pooled = self.backbone(image)
        features = self.dropout(F.relu(self.fc6(pooled[-1])))
        features = self.dropout(F.relu(self.fc7(features)))
        return [*(pooled[skip.pool - 1] for skip in reversed(self.skips)), features]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Upsampled scores BKhw; the image's own start at pixel `last_crop` of both axes."""
        *finer, deepest = features
        scores: Tensor = self.score["fc7"](deepest)
        for skip, pooled in zip(self.skips, reversed(finer), strict=True):
            scores = self.upsample_twice(scores)
            own = self.score[skip.name](pooled * skip.scale)
            scores = scores + crop(own, skip.crop, scores.shape[-2:])
        upsampled: Tensor = self.upsample_last(scores)
        return upsampled

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The scores of the image, which begin at pixel `last_crop`."""
        return crop(logits, self.last_crop, size)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights, and biases at twice the learning rate without weight decay."""
        return biases_apart(self)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's VGG16: convolutions to the backbone, the classifier to fc6 and fc7."""
        return adapt_vgg16(state, backbone="backbone.", fc6="fc6.", fc7="fc7.")


class FCN32s(FCN):
    """FCN-32s on VGG16 or AlexNet: scores of fc7 alone, upsampled 32 times.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        width: channels of fc6 and fc7; less makes it fit for tests and small machines.
        backbone: "vgg16"; "alexnet", torchvision's; or "bvlc_alexnet", Caffe's.

    Raises:
        RecipeError: `backbone` is none of these.
    """

    last_factor = 32
    last_crop = 19

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 4096,
        backbone: str = "vgg16",
    ) -> None:
        names = ["vgg16", *alexnet.FORMS]
        if backbone not in names:
            raise RecipeError(f"FCN-32s has no backbone '{backbone}'.{suggest(backbone, names)}")
        self.backbone_name = backbone  # which `_below_fc6` reads
        super().__init__(num_classes, in_channels=in_channels, width=width)
        if self.on_alexnet:
            self.last_crop = 18
            self.upsample_last = BilinearUpsampling(self.last_factor, odd=True)

    @property
    def on_alexnet(self) -> bool:
        """Whether the backbone is one of the two AlexNets."""
        return self.backbone_name in alexnet.FORMS

    def _below_fc6(self) -> tuple[Backbone, tuple[int, int, int]]:
        if not self.on_alexnet:
            return super()._below_fc6()
        backbone = alexnet.AlexNetFeatures(
            alexnet.FORMS[self.backbone_name],
            in_channels=self.in_channels,
            ceil_mode=True,
            first_padding=FIRST_PADDING,
        )
        return backbone, alexnet.FC6_SHAPE

    @property
    def embedding_channels(self) -> int:
        """The network's `width`."""
        return self.fc7.out_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The map BChw after fc7, the only one."""
        (deepest,) = features
        return deepest

    def classify(self, embedding: Tensor) -> Tensor:
        """Scores BKHW of BChw, upsampled 32 times."""
        return self.decode([embedding])

    def parameter_groups(self) -> list[ParameterGroup]:
        """As of all FCNs; on AlexNet the score's bias alone is apart, as in the release."""
        if not self.on_alexnet:
            return super().parameter_groups()
        weights, biases = biases_apart(self.score)
        scored = {id(p) for p in self.score.parameters()}
        others = [p for p in self.parameters() if id(p) not in scored]
        return [ParameterGroup([*others, *weights.params], name=weights.name), biases]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's network: convolutions to the backbone, the classifier to fc6 and fc7."""
        if not self.on_alexnet:
            return super().adapt_weights(state)
        return alexnet.adapt_alexnet(state, backbone="backbone.", fc6="fc6.", fc7="fc7.")


class FCN16s(FCN):
    """FCN-16s: adds the scores of pool4; meant to start from a trained `FCN32s`."""

    skips = (Skip(pool=4, channels=512, crop=5),)
    last_factor = 16
    last_crop = 27


class FCN8s(FCN):
    """FCN-8s: adds the scores of pool4 and pool3; meant to start from a trained `FCN16s`."""

    skips = (Skip(pool=4, channels=512, crop=5), Skip(pool=3, channels=256, crop=9))
    last_factor = 8
    last_crop = 31


class FCN8sAtOnce(FCN8s):
    """FCN-8s in one stage: fixed factors keep the large finer maps from taking over."""

    skips = (
        Skip(pool=4, channels=512, crop=5, scale=0.01),
        Skip(pool=3, channels=256, crop=9, scale=0.0001),
    )


class FCN8sMobileNetV2(Segmenter):
    """FCN-8s' skips on MobileNetV2: scores of strides 32, 16 and 8, summed coarse to fine.

    The backbone pads every map itself, so nothing is padded by 100 or cut, and there is no fc6 or
    fc7: it is for comparisons on small machines, at about a hundredth of the cost of `FCN8s`.
    As there, only scores are added, and there is no `embed`.

    Args:
        num_classes: K.
        in_channels: C of the input image.
    """

    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.backbone = MobileNetV2Features(in_channels=in_channels, output_stride=32)
        scored = self.backbone.channels[1:]
        self.score = nn.ModuleList([zero_scores(channels, num_classes) for channels in scored])

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of strides 8, 16 and 32 (BChw) of `image` (BCHW)."""
        return [stage.pooled for stage in self.backbone.stages(image)[1:]]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits BKhw at stride 8."""
        own = [score(maps) for score, maps in zip(self.score, features, strict=True)]
        scores: Tensor = own.pop()
        while own:
            finer = own.pop()
            scores = finer + resize(scores, finer.shape[-2:])
        return scores

    def parameter_groups(self) -> list[ParameterGroup]:
        """The backbone, and the scores, which start at zero, at ten times its learning rate."""
        return head_apart(self, self.backbone, name="scores")

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's MobileNetV2 has no prefix."""
        return rename_prefix(state, "features.", "backbone.features.")


def zero_scores(channels: int, num_classes: int) -> nn.Conv2d:
    """A 1 x 1 score layer that gives zero until it is trained."""
    layer = nn.Conv2d(channels, num_classes, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def crop(maps: Tensor, offset: int, size: torch.Size) -> Tensor:
    """`maps` (BCHW) cut to `size`, from pixel `offset` of both axes on."""
    height, width = size
    return maps[..., offset : offset + height, offset : offset + width]
