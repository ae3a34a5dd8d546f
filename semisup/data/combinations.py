"""Crops of an image for every combination of its classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.data.transforms import View


@dataclass(frozen=True, slots=True)
class CombinationView:
    """A crop of the labelled stream that is cut for a subset of the classes in its mask."""

    crop: tuple[int, int]
    flip: bool = True

    def __call__(
        self, image: Tensor, mask: Tensor | None, generator: torch.Generator, turn: int = 0
    ) -> View:
        """One view, cut for subset number `turn` of the classes in the mask."""
        raise NotImplementedError
