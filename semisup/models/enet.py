"""ENet: a deep neural network architecture for real-time semantic segmentation.

Paszke, Chaurasia, Kim and Culurciello 2016, https://arxiv.org/abs/1606.02147, after the authors'
released code. That differs from the paper, and is followed here: the middle convolutions of the
bottlenecks and the first convolution have biases (the paper has none); the decoder has ReLUs and
not PReLUs; a 5 x 5 convolution in two steps goes along the rows first.

Differs from the release: an image is padded with zeros at its right and bottom to sides that 8
divides, and the logits are cut; scales of batch normalisation start at 1 and not from U(0, 1);
dropout scales up in training and not down at test; the encoder is trained on logits that are
interpolated to the size of the mask, not on a mask of an eighth of its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.models.base import Segmenter
from semisup.models.layers import next_multiple, resize, unpool

STRIDE = 8
"""Pixels of the image to one of the deepest map."""

INITIAL_CHANNELS = 13
"""Filters of the first convolution; the pooled image is appended to them."""

REDUCTION = 4
"""Channels of a bottleneck to one of its middle convolution."""

EPSILON = 1e-3
"""Of all batch norms."""

Activation = Callable[[int], nn.Module]
"""Number of channels -> an activation."""


class ENet(Segmenter):
    """ENet (Paszke et al. 2016): 364,441 parameters at 21 classes.

    Trained in two stages: an encoder (`decoder=False`) first, whose weights the whole network then
    starts from. Weights start from U(-1 / sqrt(n), 1 / sqrt(n)) at n inputs, as in the release.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        decoder: whether there is one. Without it, a 1 x 1 convolution classifies the encoder's
            map of stride 8.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1606.02147"
    year: ClassVar[int | None] = 2016
    stride: ClassVar[int] = STRIDE

    def __init__(self, num_classes: int, *, in_channels: int = 3, decoder: bool = True) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        self.initial = InitialBlock(in_channels)
        width = self.initial.out_channels
        self.down1 = DownsamplingBottleneck(width, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(64, dropout=0.01) for _ in range(4)))
        self.down2 = DownsamplingBottleneck(64, 128, dropout=0.1)
        self.stage2 = _dilated_stage(128)
        self.stage3 = _dilated_stage(128)
        self.decoder = Decoder(128, 64, width) if decoder else None
        if decoder:
            self.classifier = nn.ConvTranspose2d(width, num_classes, 2, stride=2)
            _initialise(self.classifier)
        else:
            self.encoder_classifier = nn.Conv2d(128, num_classes, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps BChw of strides 4 and 8 of `image` (BCHW), and the switches of both poolings.

        The image is padded at its right and bottom to sides that 8 divides.
        """
        features = self.initial(F.pad(image, _padding(image)))
        finer, finer_switches = self.down1(features)
        finer = self.stage1(finer)
        deepest, switches = self.down2(finer)
        deepest = self.stage3(self.stage2(deepest))
        return [finer, deepest, finer_switches, switches]

    @property
    def embedding_channels(self) -> int:
        """16 of an RGB image; 128 without a decoder."""
        return 128 if self.decoder is None else self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The decoder's last map BChw, of stride 2; without one the encoder's, of stride 8."""
        _, deepest, finer_switches, switches = features
        if self.decoder is None:
            return deepest
        decoded: Tensor = self.decoder(deepest, switches, finer_switches)
        return decoded

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits of BChw: at stride 1, each place of `embedding` for 2 x 2 pixels; without a
        decoder at stride 8.
        """
        layer = self.encoder_classifier if self.decoder is None else self.classifier
        logits: Tensor = layer(embedding)
        return logits

    def covered_size(self, size: torch.Size) -> torch.Size:
        """The next multiples of 8."""
        return torch.Size(next_multiple(side, STRIDE) for side in size)

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The logits of the image without its padding."""
        if self.decoder is None:
            logits = resize(logits, torch.Size([STRIDE * side for side in logits.shape[-2:]]))
        height, width = size
        return logits[..., :height, :width]


class InitialBlock(nn.Module):
    """13 filters of stride 2 beside the image itself, pooled.

    Args:
        in_channels: C of the input image.

    Attributes:
        out_channels: C of the result.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = INITIAL_CHANNELS + in_channels
        self.conv = nn.Conv2d(in_channels, INITIAL_CHANNELS, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(self.out_channels, EPSILON)
        self.activation = nn.PReLU(self.out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """BCHW -> BC'hw of half the size."""
        both = torch.cat([self.conv(image), F.max_pool2d(image, 2)], dim=1)
        features: Tensor = self.activation(self.norm(both))
        return features


class Bottleneck(nn.Module):
    """A residual block whose convolution works on a quarter of the channels.

    Args:
        channels: C of input and output.
        dropout: rate at which maps of the main path are dropped.
        dilation: of the middle convolution.
        asymmetric: the middle convolution is one of 5 x 5 in two steps.
        activation: builds each activation.
    """

    def __init__(
        self,
        channels: int,
        *,
        dropout: float = 0.0,
        dilation: int = 1,
        asymmetric: bool = False,
        activation: Activation = nn.PReLU,
    ) -> None:
        super().__init__()
        width = channels // REDUCTION
        self.main = _main_path(
            nn.Conv2d(channels, width, 1, bias=False),
            _rows_then_columns(width) if asymmetric else [_three_by_three(width, dilation)],
            channels,
            dropout=dropout,
            activation=activation,
        )
        self.activation = activation(channels)

    def forward(self, features: Tensor) -> Tensor:
        """BChw -> BChw."""
        summed: Tensor = self.activation(self.main(features) + features)
        return summed


class DownsamplingBottleneck(nn.Module):
    """A bottleneck of stride 2; its shortcut is pooled, and the channels it lacks are zero.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        dropout: rate at which maps of the main path are dropped.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float) -> None:
        super().__init__()
        width = out_channels // REDUCTION
        self.lacking = out_channels - in_channels
        self.main = _main_path(
            nn.Conv2d(in_channels, width, 2, stride=2, bias=False),
            [_three_by_three(width)],
            out_channels,
            dropout=dropout,
            activation=nn.PReLU,
        )
        self.activation = nn.PReLU(out_channels)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """BChw -> a map of half the size, and where in `features` the maxima of its shortcut were.

        The switches have the channels of the input.
        """
        shortcut, switches = F.max_pool2d(features, 2, return_indices=True)
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.lacking))
        return self.activation(self.main(features) + shortcut), switches


class UpsamplingBottleneck(nn.Module):
    """A bottleneck of twice the size; its shortcut goes where the encoder's maxima were.

    Args:
        in_channels: C of the input.
        out_channels: C of the output, and of the switches.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = out_channels // REDUCTION
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels, EPSILON),
        )
        self.main = _main_path(
            nn.Conv2d(in_channels, width, 1, bias=False),
            [nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)],
            out_channels,
            activation=_relu,
        )
        self.activation = _relu(out_channels)

    def forward(self, features: Tensor, switches: Tensor) -> Tensor:
        """BChw -> a map of twice the size."""
        size = torch.Size([2 * side for side in features.shape[-2:]])
        shortcut = unpool(self.shortcut(features), switches, size)
        summed: Tensor = self.activation(self.main(features) + shortcut)
        return summed


class Decoder(nn.Module):
    """Two bottlenecks that double the size, each with regular ones behind it.

    Args:
        deepest: C of the encoder's map.
        finer: C of the map of stride 4.
        finest: C of the map of stride 2.
    """

    def __init__(self, deepest: int, finer: int, finest: int) -> None:
        super().__init__()
        self.up1 = UpsamplingBottleneck(deepest, finer)
        self.stage1 = nn.Sequential(*(Bottleneck(finer, activation=_relu) for _ in range(2)))
        self.up2 = UpsamplingBottleneck(finer, finest)
        self.stage2 = Bottleneck(finest, activation=_relu)

    def forward(self, deepest: Tensor, switches: Tensor, finer_switches: Tensor) -> Tensor:
        """The map of stride 2, from that of stride 8 and the switches of both poolings."""
        finer = self.stage1(self.up1(deepest, switches))
        finest: Tensor = self.stage2(self.up2(finer, finer_switches))
        return finest


def _main_path(
    first: nn.Conv2d,
    middle: Sequence[nn.Module],
    channels: int,
    *,
    dropout: float = 0.0,
    activation: Activation,
) -> nn.Sequential:
    width = first.out_channels
    layers = [
        first,
        nn.BatchNorm2d(width, EPSILON),
        activation(width),
        *middle,
        nn.BatchNorm2d(width, EPSILON),
        activation(width),
        nn.Conv2d(width, channels, 1, bias=False),
        nn.BatchNorm2d(channels, EPSILON),
    ]
    return nn.Sequential(*layers, *([nn.Dropout2d(dropout)] if dropout else []))


def _three_by_three(width: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)


def _rows_then_columns(width: int) -> list[nn.Module]:
    return [
        nn.Conv2d(width, width, (1, 5), padding=(0, 2), bias=False),
        nn.Conv2d(width, width, (5, 1), padding=(2, 0)),
    ]


def _dilated_stage(channels: int) -> nn.Sequential:
    """Regular, dilated, 5 x 5 and dilated bottlenecks, twice, with dilations of 2, 4, 8 and 16."""
    blocks: list[nn.Module] = []
    for before, behind in ((2, 4), (8, 16)):
        blocks += [
            Bottleneck(channels, dropout=0.1),
            Bottleneck(channels, dropout=0.1, dilation=before),
            Bottleneck(channels, dropout=0.1, asymmetric=True),
            Bottleneck(channels, dropout=0.1, dilation=behind),
        ]
    return nn.Sequential(*blocks)


def _relu(channels: int) -> nn.Module:
    return nn.ReLU(inplace=True)


def _initialise(layer: nn.ConvTranspose2d) -> None:
    # torch counts the outputs of a transposed convolution, the release the inputs.
    bound = (4 * layer.in_channels) ** -0.5
    assert layer.bias is not None
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.uniform_(layer.bias, -bound, bound)


def _padding(image: Tensor) -> tuple[int, int, int, int]:
    """Left, right, top and bottom, to sides that the deepest stride divides."""
    height, width = image.shape[-2:]
    return (0, -width % STRIDE, 0, -height % STRIDE)
