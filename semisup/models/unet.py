"""U-Net: convolutional networks for biomedical image segmentation.

Ronneberger, Fischer and Brox, MICCAI 2015, https://arxiv.org/abs/1505.04597: the network of the
paper's figure, with up-convolutions that halve the channels and without ReLU after them.

Differs from the paper: convolutions are padded unless `padding="valid"`, so that any size works;
pooled sizes are rounded up and the upsampled map is cut to its skip, which changes nothing at even
sizes. The authors' released network (dropout, a ReLU after each up-convolution, 31,100,354
parameters) is another one and is not built here.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.base import Segmenter
from semisup.models.layers import conv_norm_relu, laid_out_as

LEVELS = 5
"""Resolutions, the full one included."""

MARGIN = 184
"""Pixels by which the output of valid convolutions is smaller than the input, per axis."""


def legal_size(size: int) -> int:
    """Smallest legal input side of the valid network (16 k + 60, at least 188) from `size` up."""
    return 60 + 16 * max(8, math.ceil((size - 60) / 16))


class UNet(Segmenter):
    """U-Net (Ronneberger et al. 2015), padded, or with the paper's valid convolutions.

    Weights start from N(0, sqrt(2 / N)) with N incoming connections, biases at zero, as in the
    paper.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        width: channels at full resolution; they double at each of the four poolings.
        padding: "same" pads every convolution with zeros; "valid" is the paper's network, whose
            `forward` mirrors the image at its borders so that the output covers it (the paper's
            overlap-tile strategy). "valid" costs more: even 16 x 16 pixels pass as 204 x 204.
        batch_norm: normalise after every 3 x 3 convolution; not in the paper. Training then needs
            more than one image, or more than 16 pixels a side.

    Raises:
        RecipeError: `padding` is neither "same" nor "valid".
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1505.04597"
    year: ClassVar[int | None] = 2015
    stride: ClassVar[int] = 16

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 64,
        padding: Literal["same", "valid"] = "same",
        batch_norm: bool = False,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        if padding not in ("same", "valid"):
            hint = suggest(padding, ("same", "valid"))
            raise RecipeError(f"U-Net has no padding '{padding}'.{hint}")
        self.padding = padding
        widths = [width * 2**level for level in range(LEVELS)]

        def pair(channels: int, out: int) -> nn.Sequential:
            edge = 1 if padding == "same" else 0
            return nn.Sequential(
                conv_norm_relu(channels, out, 3, padding=edge, batch_norm=batch_norm),
                conv_norm_relu(out, out, 3, padding=edge, batch_norm=batch_norm),
            )

        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.down = nn.ModuleList(
            pair(channels, out)
            for channels, out in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * out, out, 2, stride=2) for out in reversed(widths[:-1])
        )
        self.merge = nn.ModuleList(pair(2 * out, out) for out in reversed(widths[:-1]))
        self.classifier = nn.Conv2d(width, num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                _initialise(layer)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of the five resolutions (BChw) of `image` (BCHW), finest first.

        Raises:
            ValueError: with valid convolutions, a side of `image` is not legal (`legal_size`).
        """
        if self.padding == "valid":
            _check_legal(image)
        features: list[Tensor] = []
        for level, block in enumerate(self.down):
            image = block(self.pool(image) if level else image)
            features.append(image)
        return features

    @property
    def embedding_channels(self) -> int:
        """The network's `width`."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The last map BChw.

        It has the image's size when padded, and is 184 pixels smaller per axis when valid.
        """
        *skips, current = features
        for skip, up, merge in zip(reversed(skips), self.up, self.merge, strict=True):
            current = up(current)
            if self.padding == "same":
                current = current[..., : skip.shape[-2], : skip.shape[-1]]
            else:
                skip = _centre_crop(skip, *current.shape[-2:])
            current = merge(torch.cat([skip, current], dim=1))
        return current

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKhw of BChw, each place by itself."""
        logits: Tensor = self.classifier(embedding)
        return logits

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The logits of the image, which lies at the top left of what was decoded."""
        height, width = size
        return logits[..., :height, :width]

    def forward(self, image: Tensor) -> Tensor:
        """Logits BKHW of `image` (BCHW)."""
        padded = mirror_pad(image) if self.padding == "valid" else image
        return self.to_image_size(self.decode(self.encode(padded)), image.shape[-2:])


def mirror_pad(image: Tensor) -> Tensor:
    """`image` (BCHW) mirrored at its borders to legal sides whose output covers all of it.

    92 pixels go before each axis, at least as many behind it. The border itself is not repeated;
    an image smaller than the margin is mirrored again and again.
    """
    mirrored = image
    for axis in (-2, -1):
        side = image.shape[axis]
        position = torch.arange(legal_size(side + MARGIN), device=image.device) - MARGIN // 2
        folded = position % (2 * side - 2)
        mirrored = mirrored.index_select(axis, torch.minimum(folded, 2 * side - 2 - folded))
    return laid_out_as(mirrored, image)


def _centre_crop(features: Tensor, height: int, width: int) -> Tensor:
    """The middle `height` x `width` of `features` (BCHW)."""
    top = (features.shape[-2] - height) // 2
    left = (features.shape[-1] - width) // 2
    return features[..., top : top + height, left : left + width]


def _check_legal(image: Tensor) -> None:
    for side in image.shape[-2:]:
        if legal_size(side) != side:
            raise ValueError(
                f"U-Net with valid convolutions takes sides of 16 k + 60, at least 188, not {side}:"
                f" give {legal_size(side)}, or call the network itself, which pads"
            )


def _initialise(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    # A pixel that leaves a 2 x 2 up-convolution of stride 2 was reached by one tap per channel.
    taps = math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 1
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (taps * layer.in_channels)))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
