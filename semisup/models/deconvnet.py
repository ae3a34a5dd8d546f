"""DeconvNet: a deconvolution network on the switches of VGG16's poolings.

Noh, Hong and Han, ICCV 2015, https://arxiv.org/abs/1505.04366, after the authors' released network:
VGG16 with batch normalisation, fc6 and fc7 as convolutions, and their mirror image.

As released: the decoder and the scores start from a Gaussian of deviation 0.01 and biases of 0;
biases learn at twice the rate, without weight decay.

Differs from the release: a deconvolution of stride 1 is a convolution with its kernel turned round,
and is written as one; fc6 and fc7 start from He et al. 2015 where no ImageNet classifier is loaded;
shifts of batch normalisation start at 0, not at 0.001; images of any size (they are padded to 224
pixels a side where they are smaller); one stage of training on crops in place of two on proposals,
and no ensemble with FCN.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.models.backbones.base import PooledStage
from semisup.models.backbones.vgg import VGG16Features, adapt_vgg16
from semisup.models.base import ParameterGroup, Segmenter, biases_apart
from semisup.models.layers import (
    WideDeconvolution,
    conv_norm_relu,
    initialise,
    next_multiple,
    of_rows,
    resize,
    unpool,
)

Upsampling = Literal["switches", "bilinear", "skip"]

STRIDE = 32
"""Pixels of the image to one of the deepest map."""


class DeconvNet(Segmenter):
    """DeconvNet (Noh et al. 2015): 251,805,653 parameters at 21 classes.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        width: channels of fc6 and fc7; less makes it fit for tests and small machines.
        kernel: side of fc6; images are padded to 32 times that at least.
    """

    exceptions: ClassVar[Mapping[str, str]] = {
        "channels_last": "the deconvolution of 7 x 7 on few pixels is a matrix product"
    }
    paper: ClassVar[str] = "https://arxiv.org/abs/1505.04366"
    year: ClassVar[int | None] = 2015
    stride: ClassVar[int] = 1

    def __init__(
        self, num_classes: int, *, in_channels: int = 3, width: int = 4096, kernel: int = 7
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        for name, value in (("width", width), ("kernel", kernel)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.smallest = STRIDE * kernel
        self.backbone = VGG16Features(in_channels=in_channels, batch_norm=True)
        channels = self.backbone.channels
        self.fc6 = conv_norm_relu(channels[-1], width, kernel, padding=0, bias=True)
        self.fc7 = conv_norm_relu(width, width, 1, bias=True)
        self.decoder = DeconvDecoder(width, channels, kernel)
        self.score = nn.Conv2d(self.decoder.out_channels, num_classes, 1)
        for layer in (self.fc6, self.fc7):
            initialise(layer)
        for fresh in (self.decoder, self.score):
            fill_with_gaussian(fresh)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The five pooled maps BChw of `image` (BCHW) and their switches, each finest first.

        The image is padded at its right and bottom to sides that the five poolings divide.
        """
        stages = self.backbone.stages(F.pad(image, _padding(image, self.smallest)))
        switches = [stage.indices for stage in stages if stage.indices is not None]
        return [*(stage.pooled for stage in stages), *switches]

    @property
    def embedding_channels(self) -> int:
        """C of the last deconvolution, 64."""
        return self.decoder.out_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The last map BChw, of the size of the padded image."""
        half = len(features) // 2
        stages = [
            PooledStage(pooled, switches, torch.Size([2 * side for side in pooled.shape[-2:]]))
            for pooled, switches in zip(features[:half], features[half:], strict=True)
        ]
        decoded: Tensor = self.decoder(self.fc7(self.fc6(features[half - 1])), stages)
        return decoded

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself."""
        logits: Tensor = self.score(embedding)
        return logits

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The logits of the image without its padding."""
        height, width = size
        return logits[..., :height, :width]

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights, and biases at twice the learning rate without weight decay."""
        return biases_apart(self)

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's `vgg16_bn`: convolutions to the backbone, the classifier to fc6 and fc7."""
        return adapt_vgg16(state, backbone="backbone.", fc6="fc6.0.", fc7="fc7.0.")


class DeconvDecoder(nn.Module):
    """fc6 turned round, then for each stage of the encoder, deepest first: up, and convolutions.

    Args:
        in_channels: C of the map that fc7 gives.
        channels: C of the encoder's stages, finest first.
        kernel: side of the encoder's fc6.
        width: C of the deepest group; 512 in the paper. The next ones have a half, a quarter, and
            then an eighth of it.
        upsampling: "switches" puts each value where the encoder's maximum was, with zeros around
            it; "bilinear" interpolates, for encoders without poolings; "skip" interpolates and
            appends the encoder's own map of that size.

    Attributes:
        out_channels: C of the result.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        kernel: int,
        *,
        width: int | None = None,
        upsampling: Upsampling = "switches",
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        wide = channels[-1] if width is None else width
        self.fc6 = nn.Sequential(
            WideDeconvolution(in_channels, wide, kernel),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
        )
        groups, current = [], wide
        for place in reversed(range(len(channels))):
            depth = len(channels) - 1 - place
            ends = max(1, wide >> min(depth, 3))
            skipped = channels[place - 1] if upsampling == "skip" and place else 0
            inside = current if depth else wide
            count = 2 if depth in (3, 4) else 3
            groups.append(_group(current + skipped, inside, ends, count))
            current = ends
        self.groups = nn.ModuleList(groups)
        self.out_channels = current

    def forward(
        self, features: Tensor, stages: Sequence[PooledStage], rows: Tensor | None = None
    ) -> Tensor:
        """The map of the size of the first stage before its pooling.

        Args:
            features: NChw, from fc7.
            stages: of the encoder, for B images, finest first.
            rows: N, which of the B images each map belongs to; None for all B in order.
        """
        features = self.fc6(features)
        for place, group in zip(reversed(range(len(stages))), self.groups, strict=True):
            stage = stages[place]
            features = self._up(features, stage, rows)
            if self.upsampling == "skip" and place:
                finer = stages[place - 1].pooled
                features = torch.cat([features, of_rows(finer, rows)], dim=1)
            features = group(features)
        return features

    def _up(self, features: Tensor, stage: PooledStage, rows: Tensor | None) -> Tensor:
        if self.upsampling == "switches":
            assert stage.indices is not None, "this encoder has no switches"
            return unpool(features, of_rows(stage.indices, rows), stage.size)
        return resize(features, stage.size)

    def bytes_of_a_row(self, stages: Sequence[PooledStage]) -> int:
        """Memory that one map takes at most on its way, without gradients, in bytes.

        The largest layer's input, its output before and after normalisation, and its switches.
        """
        needs = []
        for place, group in zip(reversed(range(len(stages))), self.groups, strict=True):
            pixels = stages[place].size[0] * stages[place].size[1]
            layers = [layer for layer in group.modules() if isinstance(layer, nn.Conv2d)]
            widest = max(layer.in_channels + 2 * layer.out_channels for layer in layers)
            switches = 2 * layers[0].in_channels if self.upsampling == "switches" else 0
            needs.append(4 * pixels * max(widest, switches))
        return max(needs)


def fill_with_gaussian(module: nn.Module, deviation: float = 0.01) -> None:
    """Fill every convolution in `module`, as the authors do: normal weights of one deviation
    whatever the size of the layer, zero biases.
    """
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or layer.weight.is_meta:
            continue  # there is nothing to fill
        nn.init.normal_(layer.weight, std=deviation)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def _group(in_channels: int, inside: int, out_channels: int, count: int) -> nn.Sequential:
    widths = [in_channels, *[inside] * (count - 1), out_channels]
    return nn.Sequential(
        *(conv_norm_relu(a, b, 3, bias=True) for a, b in itertools.pairwise(widths))
    )


def _padding(image: Tensor, smallest: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom, to a multiple of the deepest stride that fc6 fits into."""
    height, width = (max(smallest, next_multiple(side, STRIDE)) for side in image.shape[-2:])
    return (0, width - image.shape[-1], 0, height - image.shape[-2])
