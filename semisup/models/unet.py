"""U-Net: convolutional networks for biomedical image segmentation.

Ronneberger, Fischer and Brox, MICCAI 2015, https://arxiv.org/abs/1505.04597: the network of the
paper's figure, with up-convolutions that halve the channels and without ReLU after them.

Differs from the paper: convolutions are padded unless `padding="valid"`, so that any size works;
pooled sizes are rounded up and the upsampled map is cut to its skip, which changes nothing at even
sizes. The paper's "drop-out layers at the end of the contracting path", which its figure lacks, are
an option, `dropout`; they lie where the authors' released network has them: behind the second ReLU
of the two deepest levels, so that the skip of the fourth is dropped too. That network (a ReLU after
each up-convolution as well, 31,100,354 parameters) is another one and is not built here.

On an encoder of timm the decoder is the same, as far up as the encoder has maps; its logits are
resized to the image.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from semisup.errors import RecipeError, suggest
from semisup.models.backbones.timm import TimmFeatures, adapt_timm, is_timm, unknown_backbone
from semisup.models.base import Segmenter
from semisup.models.layers import (
    conv_norm_relu,
    initialise_by_connections,
    laid_out_as,
    mirrored,
    resize_and_cut,
)

LEVELS = 5
"""Resolutions, the full one included."""

POOLED = 16
"""Pixels of the input to one of the deepest map, per axis."""

DROPPED = 2
"""Levels with dropout, the deepest ones."""

MARGIN = 184
"""Pixels by which the output of valid convolutions is smaller than the input, per axis."""


def legal_size(size: int) -> int:
    """Smallest legal input side of the valid network (16 k + 60, at least 188) from `size` up."""
    return 60 + 16 * max(8, (size - 45) // 16)


class UNet(Segmenter):
    """U-Net (Ronneberger et al. 2015), padded, or with the paper's valid convolutions.

    Weights start from N(0, sqrt(2 / N)) with N incoming connections, biases at zero, as in the
    paper.

    Args:
        num_classes: K.
        in_channels: C of the input image.
        width: channels at full resolution; they double at each of the four poolings. On an encoder
            of timm, of the decoder's last map; they double from each of its maps to the one below.
        padding: "same" pads every convolution with zeros; "valid" is the paper's network, whose
            `forward` mirrors the image at its borders so that the output covers it (the paper's
            overlap-tile strategy). "valid" costs more: even 16 x 16 pixels pass as 204 x 204.
        batch_norm: normalise after every 3 x 3 convolution; not in the paper. Training then needs
            more than one image, or more than 16 pixels a side.
        dropout: share of the values that training drops at the end of the contracting path, in the
            maps of the two deepest levels; 0.5 in the authors' network.
        backbone: "timm:" and the name of an encoder of timm; empty: U-Net's own.

    Raises:
        RecipeError: `padding` is neither "same" nor "valid", or not "same" on an encoder of timm,
            or `dropout` is not 0 there; or there is no such encoder.
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
        dropout: float = 0.0,
        backbone: str = "",
    ) -> None:
        super().__init__(num_classes, in_channels=in_channels)
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {dropout}")
        if padding not in ("same", "valid"):
            hint = suggest(padding, ("same", "valid"))
            raise RecipeError(f"U-Net has no padding '{padding}'.{hint}")
        if backbone and not is_timm(backbone):
            raise unknown_backbone("U-Net", backbone, ())
        if backbone and padding == "valid":
            raise RecipeError(
                f"U-Net has padding 'valid' on its own encoder alone, not on '{backbone}'; leave "
                "one of the two out."
            )
        if backbone and dropout:
            raise RecipeError(
                f"U-Net has dropout in its own encoder alone, not on '{backbone}'; leave one of "
                "the two out."
            )
        self.padding = padding
        self.backbone: TimmFeatures | None = None

        def pair(channels: int, out: int) -> nn.Sequential:
            edge = 1 if padding == "same" else 0
            return nn.Sequential(
                conv_norm_relu(channels, out, 3, padding=edge, batch_norm=batch_norm),
                conv_norm_relu(out, out, 3, padding=edge, batch_norm=batch_norm),
            )

        if backbone:
            self.backbone = TimmFeatures(backbone, "U-Net", in_channels=in_channels)
            *skips, deepest = self.backbone.channels
        else:
            *skips, deepest = encoded = [width * 2**level for level in range(LEVELS)]
            self.pool = nn.MaxPool2d(2, ceil_mode=True)
            self.down = nn.ModuleList(
                pair(channels, out)
                for channels, out in zip([in_channels, *skips], encoded, strict=True)
            )
        widths = [width * 2**level for level in reversed(range(len(skips)))]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, out, 2, stride=2)
            for below, out in zip([deepest, *widths[:-1]], widths, strict=True)
        )
        self.merge = nn.ModuleList(
            pair(skip + out, out) for skip, out in zip(reversed(skips), widths, strict=True)
        )
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.drop = nn.Dropout(dropout) if dropout else nn.Identity()
        for part in (child for child in self.children() if child is not self.backbone):
            part.apply(initialise_by_connections)

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of the five resolutions (BChw) of `image` (BCHW), finest first.

        On an encoder of timm, all that it has, of an image that may be padded.

        Raises:
            ValueError: with valid convolutions, a side of `image` is not legal (`legal_size`).
        """
        if self.backbone is not None:
            return [stage.pooled for stage in self.backbone.stages(image)]
        if self.padding == "valid":
            _check_legal(image)
        features: list[Tensor] = []
        for level, block in enumerate(self.down):
            image = block(self.pool(image) if level else image)
            if level >= LEVELS - DROPPED:
                image = self.drop(image)
            features.append(image)
        return features

    @property
    def embedding_channels(self) -> int:
        """The network's `width`."""
        return self.classifier.in_channels

    def embed(self, features: list[Tensor]) -> Tensor:
        """The last map BChw.

        It has the image's size when padded, and is 184 pixels smaller per axis when valid. On an
        encoder of timm it has the size of the finest map.
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

    def covered_size(self, size: torch.Size) -> torch.Size:
        """As the backbone pads it, where there is one."""
        return size if self.backbone is None else self.backbone.padded_size(size)

    def to_image_size(self, logits: Tensor, size: torch.Size) -> Tensor:
        """The logits of the image, which lies at the top left of what was decoded."""
        if self.backbone is not None:
            return resize_and_cut(logits, self.covered_size(size), size)
        height, width = size
        return logits[..., :height, :width]

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """timm's encoders have no prefix."""
        return state if self.backbone is None else adapt_timm(state, self.backbone)

    def padded(self, image: Tensor) -> Tensor:
        """`image`, mirrored at its borders where convolutions are valid."""
        return mirror_pad(image) if self.padding == "valid" else image

    def forward_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Logits of a window of `image`, as `SeesAround` says.

        With valid convolutions they are those of the whole image at once, whatever the window: the
        network is shown what surrounds the window in the image, and the image is mirrored at its
        own borders alone (the paper's overlap-tile strategy).
        """
        if self.padding == "same":
            logits: Tensor = self(image[..., rows, columns])
            return logits
        seen = (_aligned(rows), _aligned(columns))
        logits = self.decode(self.encode(mirror_pad(image, *seen)))
        top, left = (
            kept.start - part.start for kept, part in zip((rows, columns), seen, strict=True)
        )
        bottom, right = top + rows.stop - rows.start, left + columns.stop - columns.start
        return logits[..., top:bottom, left:right]


def mirror_pad(image: Tensor, rows: slice | None = None, columns: slice | None = None) -> Tensor:
    """A window of `image` with what surrounds it, of legal sides whose output covers it.

    92 pixels go before each axis, at least as many behind it. Beyond the image it is mirrored; the
    border itself is not repeated; an image smaller than the margin is mirrored again and again, and
    a single row or column repeated.

    Args:
        image: BCHW.
        rows: of the window; None: all.
        columns: of the window; None: all.
    """
    padded = image
    for axis, part in ((-2, rows), (-1, columns)):
        start, stop = (part.start, part.stop) if part is not None else (0, image.shape[axis])
        padded = mirrored(padded, axis, start - MARGIN // 2, legal_size(stop - start + MARGIN))
    return laid_out_as(padded, image)


def _aligned(part: slice) -> slice:
    """The window from a pixel on at which the whole image is pooled too."""
    return slice(part.start // POOLED * POOLED, part.stop)


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
