"""3D U-Net: learning dense volumetric segmentation from sparse annotation.

Cicek, Abdulkadir, Lienkamp, Brox and Ronneberger, MICCAI 2016, https://arxiv.org/abs/1606.06650:
the network of the paper's figure 2. Channels are doubled before each pooling, up-convolutions keep
theirs and have no bias, and batch norm stands before each ReLU. With three channels, three classes
and without batch norm it has 19,069,955 parameters, the number that the paper states.

Differs from the paper: convolutions are padded unless `padding="valid"`, so that any size works,
such as a stack of thirty slices, which the 88 voxels of margin would not leave anything of; pooled
sizes are rounded up and the upsampled map is cut to its skip, which changes nothing at even sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.base import Segmenter
from semisup.models.layers import initialise_by_connections, mirrored

LEVELS = 4
"""Resolutions, the full one included."""

MARGIN = 88
"""Voxels by which the output of valid convolutions is smaller than the input, per axis."""


def legal_size(size: int) -> int:
    """Smallest legal input side of the valid network (8 k + 4, at least 92) from `size` up."""
    return 4 + 8 * max(11, (size + 3) // 8)


class UNet3D(Segmenter):
    """3D U-Net (Cicek et al. 2016), for volumes: padded, or with the paper's valid convolutions.

    It maps volumes BCDHW to logits BKDHW, and takes an image BCHW for a volume of one slice.
    Convolutions start from N(0, sqrt(2 / N)) with N incoming connections, biases at zero.

    Args:
        num_classes: K.
        in_channels: C of the input.
        width: channels of the first convolution; the paper's 32.
        padding: "same" pads every convolution with zeros; "valid" is the paper's network, whose
            `forward` mirrors the volume at its borders so that the output covers it. "valid" costs
            more: even 4 x 4 x 4 voxels pass as 92 x 92 x 92.
        batch_norm: normalise before every ReLU, as in the paper.

    Raises:
        RecipeError: `padding` is neither "same" nor "valid".
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1606.06650"
    year: ClassVar[int | None] = 2016
    stride: ClassVar[int] = 8
    reads_volumes: ClassVar[bool] = True
    exceptions: ClassVar[Mapping[str, str]] = {
        "channels_last": "the channels of volumes lie last as NDHWC, and an image is one slice"
    }

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 32,
        padding: Literal["same", "valid"] = "same",
        batch_norm: bool = True,
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        if padding not in ("same", "valid"):
            hint = suggest(padding, ("same", "valid"))
            raise RecipeError(f"3D U-Net has no padding '{padding}'.{hint}")
        self.padding = padding
        widths = [2 * width * 2**level for level in range(LEVELS)]

        def pair(channels: int, between: int, out: int) -> nn.Sequential:
            edge = 1 if padding == "same" else 0
            layers = [
                layer
                for source, target in ((channels, between), (between, out))
                for layer in _convolution(source, target, edge, batch_norm)
            ]
            return nn.Sequential(*layers)

        self.pool = nn.MaxPool3d(2, ceil_mode=True)
        self.down = nn.ModuleList(
            pair(channels, out // 2, out)
            for channels, out in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(out, out, 2, stride=2, bias=False) for out in reversed(widths[1:])
        )
        self.merge = nn.ModuleList(pair(3 * out, out, out) for out in reversed(widths[:-1]))
        self.classifier = nn.Conv3d(widths[0], num_classes, 1)
        self.apply(initialise_by_connections)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of the four resolutions (BCdhw) of `image` (BCDHW), finest first.

        Of an image BCHW, maps BChw.

        Raises:
            ValueError: with valid convolutions, a side of `image` is not legal (`legal_size`).
        """
        if image.ndim == 4:
            return [features.squeeze(2) for features in self.encode(image.unsqueeze(2))]
        if self.padding == "valid":
            _check_legal(image)
        features: list[Tensor] = []
        for level, block in enumerate(self.down):
            image = block(self.pool(image) if level else image)
            features.append(image)
        return features

    @property
    def embedding_channels(self) -> int:
        """Twice the network's `width`."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The last map BCdhw.

        It has the volume's size when padded, and is 88 voxels smaller per axis when valid.
        """
        if features[0].ndim == 4:
            return self.embed([maps.unsqueeze(2) for maps in features]).squeeze(2)
        *skips, current = features
        for skip, up, merge in zip(reversed(skips), self.up, self.merge, strict=True):
            current = up(current)
            if self.padding == "same":
                current = _corner(current, skip.shape[2:])
            else:
                skip = _centre(skip, current.shape[2:])
            current = merge(torch.cat([skip, current], dim=1))
        return current

    def classify(self, embedding: Tensor) -> Tensor:
        """Logits BKdhw of BCdhw, each place by itself."""
        if embedding.ndim == 4:
            return self.classify(embedding.unsqueeze(2)).squeeze(2)
        logits: Tensor = self.classifier(embedding)
        return logits

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The logits of the volume (`size` D, H, W), which lies in the corner of what was decoded.

        Of an image, whose `size` is H, W, those of its one slice.
        """
        return _corner(logits, size)

    def forward(self, image: Tensor) -> Tensor:
        """Logits BKDHW of `image` (BCDHW), or BKHW of BCHW."""
        if image.ndim == 4:
            single: Tensor = self(image.unsqueeze(2)).squeeze(2)
            return single
        padded = mirror_pad(image) if self.padding == "valid" else image
        return self.to_image_size(self.decode(self.encode(padded)), image.shape[2:])


def mirror_pad(volume: Tensor) -> Tensor:
    """`volume` (BCDHW) mirrored at its borders to legal sides whose output covers all of it.

    44 voxels go before each axis, at least as many behind it. The border itself is not repeated; a
    volume smaller than the margin is mirrored again and again, and a single slice repeated.
    """
    for axis in (2, 3, 4):
        volume = mirrored(volume, axis, -MARGIN // 2, legal_size(volume.shape[axis] + MARGIN))
    return volume


def _convolution(channels: int, out: int, edge: int, batch_norm: bool) -> list[nn.Module]:
    """3 x 3 x 3 convolution, batch norm, ReLU."""
    norm = [nn.BatchNorm3d(out)] if batch_norm else []
    return [nn.Conv3d(channels, out, 3, padding=edge), *norm, nn.ReLU(inplace=True)]


def _corner(maps: Tensor, size: Sequence[int]) -> Tensor:
    """`maps` cut to `size` along the last axes, from the first place on."""
    for axis, side in enumerate(size, start=-len(size)):
        maps = maps.narrow(axis, 0, side)
    return maps


def _centre(maps: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of `maps` (BCDHW)."""
    for axis, side in enumerate(size, start=2):
        maps = maps.narrow(axis, (maps.shape[axis] - side) // 2, side)
    return maps


def _check_legal(volume: Tensor) -> None:
    for side in volume.shape[2:]:
        if legal_size(side) != side:
            raise ValueError(
                f"3D U-Net with valid convolutions takes sides of 8 k + 4, at least 92, not {side}:"
                f" give {legal_size(side)}, or call the network itself, which pads"
            )
