"""SegNet, SegNet-Basic and Bayesian SegNet: decoders on the switches of the encoder's poolings.

Badrinarayanan, Kendall and Cipolla, TPAMI 2017, https://arxiv.org/abs/1511.00561; Kendall,
Badrinarayanan and Cipolla, BMVC 2017, https://arxiv.org/abs/1511.02680; after the authors' released
Caffe networks: poolings round up, each decoder stage unpools to the size before its pooling, the
decoder of SegNet-Basic has no ReLU.

As released: weights start from He et al. 2015 (fan-in), biases at zero, shifts of batch
normalisation at 0.001 (at 0 in Bayesian SegNet); biases of convolutions learn at twice the rate
without weight decay, and SegNet's shifts without weight decay.

Differs from the release: batch normalisation keeps running statistics, which Caffe's had to be
given by a pass over the training set afterwards; images of odd sides are padded by one pixel, and
the logits are cut; images come normalised, where the release has values of 0 to 255 in the order
BGR. For SegNet's first convolution, which a batch norm follows, that is a matter of scale. Not so
for the local response normalisation of SegNet-Basic: of values of 0 to 255 it compresses what is
bright (grey of 50, 128 and 255 becomes 45, 77 and 77: x / (1 + 6e-5 x^2)^0.75), while of normalised
images it changes no value by more than 0.03 %. `raw_values` gives it what the release does; no
other alpha would do, as what is subtracted cannot be scaled back.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.models.backbones.vgg import VGG16Features, adapt_vgg16, numbered_with_norms
from semisup.models.base import ParameterGroup, Segmenter, biases_apart
from semisup.models.layers import conv_norm_relu, initialise, unpool

DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64,))
"""Channels of the convolutions of each stage of SegNet's decoder, deepest first."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By which RGB is normalised, in shares of 255 (ImageNet's)."""

SHIFT = 0.001
"""Shift at which batch normalisation starts."""

CENTRAL_STAGES = (2, 3, 4)
"""The stages of Bayesian SegNet with dropout: the third to the fifth, from 0."""

CENTRAL_STAGES_OF_BASIC = (2, 3)
BASIC_WIDTH = 64
BASIC_STAGES = 4


class SwitchDecoder(Segmenter):
    """What the networks share: a decoder that unpools where the encoder's maxima were.

    A subclass has a block of the decoder for each stage, deepest first, what the maps of a stage go
    through behind its pooling and its block, finest first, and a classifier.
    """

    decoder: nn.ModuleList
    dropouts: nn.ModuleList
    classifier: nn.Conv2d

    @property
    def embedding_channels(self) -> int:
        """C of the last map, 64."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The last map BChw, of the size of the image (padded to even sides)."""
        half = len(features) // 2
        pooled, switches = features[:half], features[half:]
        sizes = [torch.Size([2 * side for side in pooled[0].shape[-2:]])]
        sizes += [maps.shape[-2:] for maps in pooled[:-1]]
        current = pooled[-1]
        for stage, block in zip(reversed(range(half)), self.decoder, strict=True):
            current = unpool(current, switches[stage], sizes[stage])
            current = self.dropouts[stage](block(current))
        return current

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw: of 3 x 3 places, or in SegNet-Basic of each place by itself."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The logits of the image without its padding."""
        height, width = size
        return logits[..., :height, :width]


class SegNet(SwitchDecoder):
    """SegNet (Badrinarayanan et al. 2017) on VGG16: 29,455,125 parameters at 21 classes.

    Args:
        num_classes: K.
        in_channels: C of the input image.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1511.00561"
    year: ClassVar[int | None] = 2017
    stride: ClassVar[int] = 32

    def __init__(self, num_classes: int, *, in_channels: int = 3) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.backbone = VGG16Features(in_channels=in_channels, batch_norm=True, ceil_mode=True)
        self.dropouts = _dropouts(len(DECODER))
        current, stages = self.backbone.channels[-1], []
        for widths in DECODER:
            pairs = itertools.pairwise((current, *widths))
            stages.append(nn.Sequential(*(conv_norm_relu(a, b, 3, bias=True) for a, b in pairs)))
            current = widths[-1]
        self.decoder = nn.ModuleList(stages)
        self.classifier = nn.Conv2d(current, num_classes, 3, padding=1)
        initialise(self.decoder)
        initialise(self.classifier)
        _fill_shifts(self, SHIFT)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The five pooled maps BChw of `image` (BCHW) and their switches, each finest first."""
        stages = self.backbone.stages(_with_even_sides(image), self.dropouts)
        switches = [stage.indices for stage in stages if stage.indices is not None]
        return [*(stage.pooled for stage in stages), *switches]

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights; biases at twice the learning rate without weight decay; shifts without it."""
        weights, biases = biases_apart(self)
        norms = [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]
        apart = {id(norm.bias) for norm in norms}
        return [
            ParameterGroup([p for p in weights.params if id(p) not in apart], name="weights"),
            biases,
            ParameterGroup([norm.bias for norm in norms], decay_scale=0.0, name="shifts"),
        ]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The convolutions of torchvision's `vgg16`, as in the paper, or its `vgg16_bn`."""
        return adapt_vgg16(numbered_with_norms(state), backbone="backbone.")


class BayesianSegNet(SegNet):
    """Bayesian SegNet (Kendall et al. 2017): SegNet with dropout in its central six stages.

    In eval mode dropout is off, as in every network; `semisup.models.layers.dropout_active` makes
    each forward pass a sample of the network.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        dropout: rate behind the poolings and the decoder stages 3 to 5.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1511.02680"
    year: ClassVar[int | None] = 2017

    def __init__(self, num_classes: int, *, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.dropouts = _dropouts(len(DECODER), CENTRAL_STAGES, dropout)
        _fill_shifts(self, 0.0)


class SegNetBasic(SwitchDecoder):
    """SegNet-Basic (Badrinarayanan et al. 2017): 1,417,237 parameters at 21 classes.

    Four stages of one 7 x 7 convolution of 64 channels, and as many back. With dropout it is
    Bayesian SegNet-Basic (see `BayesianSegNet`).

    Args:
        num_classes: K.
        in_channels: C of the input image.
        dropout: rate behind the poolings and the decoder stages 3 and 4; 0.5 in Bayesian
            SegNet-Basic.
        raw_values: turn 8-bit RGB back into its values of 0 to 255 first, as in the release, so
            that the local response normalisation compresses what is bright.

    Raises:
        RecipeError: raw values of other than three channels.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1511.00561"
    year: ClassVar[int | None] = 2017
    stride: ClassVar[int] = 16

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        dropout: float = 0.0,
        raw_values: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if raw_values and in_channels != 3:
            raise RecipeError(
                "model.raw_values: the values of 8-bit RGB alone are known, and the images have "
                f"{in_channels} channels. Set it to false."
            )
        width = BASIC_WIDTH
        self.raw_values = raw_values
        self.normalise = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.encoder = nn.ModuleList(
            conv_norm_relu(channels, width, 7, bias=True)
            for channels in (in_channels, *[width] * (BASIC_STAGES - 1))
        )
        self.dropouts = _dropouts(BASIC_STAGES, CENTRAL_STAGES_OF_BASIC, dropout)
        self.decoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 7, padding=3), nn.BatchNorm2d(width))
            for _ in range(BASIC_STAGES)
        )
        self.classifier = nn.Conv2d(width, num_classes, 1)
        initialise(self)
        _fill_shifts(self, SHIFT)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The four pooled maps BChw of `image` (BCHW) and their switches, each finest first."""
        features = _with_even_sides(image)
        features = self.normalise(_raw_values(features) if self.raw_values else features)
        pooled, switches = [], []
        for block, dropout in zip(self.encoder, self.dropouts, strict=True):
            features, places = F.max_pool2d(block(features), 2, ceil_mode=True, return_indices=True)
            features = dropout(features)
            pooled.append(features)
            switches.append(places)
        return [*pooled, *switches]

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights, and biases of convolutions at twice the learning rate without weight decay."""
        return biases_apart(self)


def _dropouts(stages: int, dropped: Sequence[int] = (), rate: float = 0.0) -> nn.ModuleList:
    """For each stage, finest first, what the maps behind its pooling and its decoder go through."""
    return nn.ModuleList(
        nn.Dropout(rate) if stage in dropped and rate else nn.Identity() for stage in range(stages)
    )


def _fill_shifts(module: nn.Module, value: float) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.bias, value)


def _raw_values(image: Tensor) -> Tensor:
    """Values of 0 to 255 of a normalised RGB image B3HW."""
    # Constants filled on the device: a list copied there would make the host wait.
    mean, std = (
        torch.stack([image.new_full((1, 1), 255 * share) for share in shares])
        for shares in (MEAN, STD)
    )
    return torch.addcmul(mean, image, std)


def _with_even_sides(image: Tensor) -> Tensor:
    # The size to unpool to is that of the stage before; of the image itself it must be known.
    height, width = image.shape[-2:]
    return F.pad(image, (0, width % 2, 0, height % 2))
