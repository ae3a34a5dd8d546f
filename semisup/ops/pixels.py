"""The values of images, and what the networks see of them.

8-bit RGB is normalised by the mean and deviation of ImageNet's images, all else by its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a recorded result is read without it
    import torch
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class ImageKind:
    """How many channels the images of a data set have, and how many bits a value has.

    Attributes:
        channels: C.
        bits: 8 or 16; values are whole numbers in 0..2**bits - 1.
    """

    channels: int = 3
    bits: int = 8

    @property
    def dtype(self) -> torch.dtype:
        """Of a decoded image."""
        import torch

        return torch.uint8 if self.bits == 8 else torch.uint16

    def __str__(self) -> str:
        if self in (RGB, GREY):
            return "8-bit RGB" if self == RGB else "8-bit grey"
        return f"{self.channels} channel{'s' * (self.channels > 1)} of {self.bits} bits"


RGB = ImageKind(3, 8)
GREY = ImageKind(1, 8)


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """What the values of images are, and how the networks see them: (share - mean) / std.

    Attributes:
        mean: of each of the C channels, in shares of the largest value.
        std: of each channel, likewise; above 0.
        bits: of a value as it is stored, 8 or 16.

    Raises:
        ValueError: mean and std differ in length, or a number is none of these.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bits: int

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not 0 < len(self.mean) == len(self.std) or not finite or min(self.std) <= 0:
            raise ValueError("mean and std must be finite, one of each for a channel, std above 0")
        if self.bits not in (8, 16):
            raise ValueError(f"bits must be 8 or 16, not {self.bits}")

    @property
    def kind(self) -> ImageKind:
        """Channels and bits."""
        return ImageKind(len(self.mean), self.bits)

    def shares(self, image: Tensor) -> Tensor:
        """Whole numbers (uint8 or uint16) of any shape as float shares of the largest value."""
        return image.float().div_(2**self.bits - 1)


RGB_FORMAT = ImageFormat(IMAGENET_MEAN, IMAGENET_STD, 8)
"""8-bit RGB, normalised as ImageNet's images."""


def standardise_(image: Tensor, images: ImageFormat = RGB_FORMAT) -> Tensor:
    """(image - mean) / std for a float BCHW or BCDHW image in [0, 1]; overwrites and returns it."""
    # Fresh memory for every intermediate result took four times as long on a CPU.
    return image.sub_(per_channel(images.mean, image)).div_(per_channel(images.std, image))


def to_unit(image: Tensor, images: ImageFormat = RGB_FORMAT) -> Tensor:
    """A normalised BCHW image in [0, 1] again: shares of full brightness."""
    import torch

    return torch.addcmul(per_channel(images.mean, image), image, per_channel(images.std, image))


def to_normalised(image: Tensor) -> Tensor:
    """RGB B3HW in [0, 1] as a network expects it, in memory of its own; gradients pass."""
    return standardise_(image.clone())


def to_bytes(image: Tensor) -> Tensor:
    """Shares of full brightness as uint8 of the same shape; what lies outside of [0, 1] is cut."""
    import torch

    return (image.float() * 255.0).round().clamp(0, 255).to(torch.uint8)


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """C11 tensor of `values` (C111 for a batch of volumes) with the type and device of `like`."""
    import torch

    places = (1, 1, 1) if like.ndim == 5 else (1, 1)
    # Filled on the device: copying a list there would make the host wait for it at every step.
    return torch.stack([like.new_full(places, value) for value in values])


def normalise(image: Tensor, images: ImageFormat = RGB_FORMAT) -> Tensor:
    """Whole numbers -> float of mean 0 and deviation 1, on the device of `image`.

    Args:
        image: BCHW, CHW or BCDHW of the type of `images`.
        images: whose mean and deviation.
    """
    return standardise_(images.shares(image), images)


def as_shown(image: Tensor, kind: ImageKind = RGB) -> Tensor:
    """An image as people look at it: uint8 3HW, on the CPU.

    8-bit RGB stays as it is, and grey is shown grey. Of others the first three channels are shown
    as red, green and blue (of two the first alone, in grey), each stretched so that 1 % of its
    pixels are black and 1 % white.

    Args:
        image: CHW, whole numbers.
        kind: of the image.
    """
    image = image.cpu()
    if kind != RGB:
        image = image[: 3 if kind.channels >= 3 else 1]
        image = image if kind.bits == 8 and kind.channels in (1, 3) else _stretched(image)
    return image.expand(3, -1, -1)


def normalised_as_shown(image: Tensor, images: ImageFormat = RGB_FORMAT) -> Tensor:
    """Normalised BCHW as people look at it: uint8 B3HW, on the CPU.

    RGB gets its colours back; of others two deviations below the mean are black, and two above it
    white.
    """
    image = image.detach().float().cpu()
    if images.kind in (RGB, GREY):
        return to_bytes(to_unit(image, images)).expand(-1, 3, -1, -1)
    image = image[:, : 3 if images.kind.channels >= 3 else 1]
    return to_bytes(image / 4 + 0.5).expand(-1, 3, -1, -1)


def _stretched(image: Tensor) -> Tensor:
    """CHW as uint8: of each channel the lowest and highest percent become black and white."""
    values = image.float().flatten(1)
    ordered = values.sort(dim=1).values
    last = values.shape[1] - 1
    low, high = ordered[:, round(0.01 * last)], ordered[:, round(0.99 * last)]
    shares = (values - low[:, None]) / (high - low).clamp(min=1)[:, None]
    return to_bytes(shares).view(image.shape)
