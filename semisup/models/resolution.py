"""Logits at the resolution that a network gives them, before they are enlarged to the image's.

A loss of pseudo-labels needs no more: teacher and student give a logit for the same place, and what
lies between is interpolated from both alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from semisup.errors import RecipeError
from semisup.models.base import Segmenter, joint_training_logits

Resolution = Literal["image", "logits"]
"""At which a loss of unlabelled images is computed."""


def decoded(
    network: Segmenter, features: list[Tensor], size: torch.Size, resolution: Resolution
) -> Tensor:
    """Logits of what `encode` gave of images of a size: at that size, or at their own resolution.

    Their own is that of `decode`, where it is a coarser grid over the image. Where `decode` gives
    no less, or covers more than the image (padding), it is the image's.
    """
    logits = network.decode(features)
    if resolution == "image":
        return network.to_image_size(logits, size)
    return _of_image(network, logits, size)


def own_logits(network: Segmenter, image: Tensor) -> Tensor:
    """Logits BKhw of `image` (BCHW) at their own resolution."""
    features = network.encode(network.padded(image))
    return decoded(network, features, image.shape[-2:], "logits")


def joint_own_logits(network: Segmenter, image: Tensor, *others: Tensor) -> list[list[Tensor]]:
    """As `joint_training_logits`, but all batches after the first at their own resolution.

    Args:
        network: of one map, in training mode.
        image: BCHW, whose map BKHW has its size.
        others: BCHW each.
    """
    if len({images.shape[1:] for images in (image, *others)}) > 1:
        return [network.training_logits(image), *([own_logits(network, o)] for o in others)]
    batches, size = (image, *others), image.shape[-2:]
    logits = network.decode(network.encode(network.padded(torch.cat(batches))))
    first, *rest = torch.split(logits, [len(images) for images in batches])
    return [
        [network.to_image_size(first, size)],
        *([_of_image(network, part, size)] for part in rest),
    ]


def _of_image(network: Segmenter, logits: Tensor, size: torch.Size) -> Tensor:
    coarser = all(own < side for own, side in zip(logits.shape[-2:], size, strict=True))
    if coarser and network.covered_size(size) == size:
        return logits
    return network.to_image_size(logits, size)


def pass_at(resolution: Resolution, network: Segmenter) -> Callable[[Tensor], Tensor]:
    """What gives a network's logits of images."""
    return partial(own_logits, network) if resolution == "logits" else network


def joint_pass_at(resolution: Resolution) -> Callable[..., list[list[Tensor]]]:
    """What gives the maps of labelled images, and the logits of others, from one pass."""
    return joint_own_logits if resolution == "logits" else joint_training_logits


def require_one_map(network: Segmenter, key: str) -> None:
    """Refuse a network with auxiliary maps, which are not among what `decode` gives.

    Args:
        network: of the recipe.
        key: the option that needs one map alone, with its value.

    Raises:
        RecipeError: it has some.
    """
    if network.auxiliary_weights:
        raise RecipeError(
            f"method.{key} takes a network that is trained by one map, and "
            f"{type(network).__name__} has auxiliary ones. Take one without, such as "
            "'deeplab_v3plus', or leave the key out."
        )
