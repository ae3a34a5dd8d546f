"""Colours as the networks see them: normalised by the mean and deviation of ImageNet's images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def standardise_(
    image: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """(image - mean) / std for a float BCHW image in [0, 1]; overwrites `image` and returns it."""
    # Fresh memory for every intermediate result took four times as long on a CPU.
    return image.sub_(per_channel(mean, image)).div_(per_channel(std, image))


def to_unit(
    image: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """A normalised BCHW image in [0, 1] again: shares of full brightness."""
    return torch.addcmul(per_channel(mean, image), image, per_channel(std, image))


def to_normalised(
    image: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """A BCHW image in [0, 1] as a network expects it, in memory of its own; gradients pass."""
    return standardise_(image.clone(), mean, std)


def to_bytes(image: Tensor) -> Tensor:
    """Shares of full brightness as uint8 of the same shape; what lies outside of [0, 1] is cut."""
    return (image.float() * 255.0).round().clamp(0, 255).to(torch.uint8)


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """C11 tensor of `values` with the type and device of `like`."""
    # Filled on the device: copying a list there would make the host wait for it at every step.
    return torch.stack([like.new_full((1, 1), value) for value in values])


def normalise(
    image: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """uint8 BCHW -> float BCHW of mean 0 and deviation 1, on the device of `image`.

    Args:
        image: uint8 BCHW or CHW.
        mean: one number a channel, for images in [0, 1].
        std: one number a channel.
    """
    return standardise_(image.float() / 255, mean, std)
