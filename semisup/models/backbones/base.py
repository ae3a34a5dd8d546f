"""What every backbone is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class PooledStage:
    """What a stage gives and what a decoder needs to undo its pooling.

    Attributes:
        pooled: BChw, the output of the stage.
        indices: BChw int64, where in each unpooled map the maxima were, for
            `torch.nn.functional.max_unpool2d`; None where the stage has a stride and no pooling.
        size: height and width before the pooling.
    """

    pooled: Tensor
    indices: Tensor | None
    size: torch.Size


class Backbone(nn.Module, ABC):
    """What a segmentation network is built on: an image's maps at ever coarser strides."""

    channels: tuple[int, ...]
    """C of the maps of `stages`, finest first."""

    deepest_stride: int = 32
    """Pixels of the image to one of the deepest map."""

    has_switches: bool = False
    """Whether every stage ends in a pooling whose `PooledStage.indices` undo it."""

    torchvision_parts: tuple[str, ...] = ("features.",)
    """What the keys of torchvision's state dict begin with, as far as they are this backbone's."""

    torchvision_name: str = ""
    """The network of torchvision whose ImageNet weights are this backbone's; empty: none."""

    @abstractmethod
    def stages(self, image: Tensor) -> list[PooledStage]:
        """The maps of `image` (BCHW), finest first."""

    def padded_size(self, size: torch.Size) -> torch.Size:
        """H and W of what the maps of an image of `size` cover: it, or more where it is padded."""
        return size
