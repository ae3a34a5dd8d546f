"""What sizes and lengths fit the pictures and the machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

_MULTIPLE = 32
_SMALLEST_CROP = 64
_LARGE = 3_000_000
"""Pixels of a photograph from which decoding takes longer than training."""

MODEL = "lraspp"
_WEIGHTS = "mobilenet_v2-b0353104.pth"
"""Where torch.hub keeps torchvision's weights of the backbone, if they were fetched."""


@dataclass(frozen=True)
class Plan:
    """How a recipe trains.

    Attributes:
        factor: from the size of the pictures to that which the network is shown.
        crop: (height, width).
        batch: crops of each kind.
        steps: of the optimiser.
        cache: MiB that hold all decoded pictures; 0: too many for the memory.
        gpu: whether there is one.
        large: whether the pictures are so large that decoding them takes longer than training.
    """

    factor: float
    crop: tuple[int, int]
    batch: int
    steps: int
    cache: int
    gpu: bool
    large: bool


def plan_for(sizes: Sequence[tuple[int, int]], images: int) -> Plan:
    """A plan for pictures of these sizes on this machine.

    On a CPU the network is shown pictures of some 192 pixels on the longer side, for 300 steps; on
    a GPU 512 pixels, for 3,000.

    Args:
        sizes: (height, width) of pictures.
        images: how many there are.
    """
    gpu = torch.cuda.is_available()
    height = median(size[0] for size in sizes)
    width = median(size[1] for size in sizes)
    target = 512 if gpu else 192
    factor = min(1.0, target / max(height, width))
    factor = round(factor, 2) if factor >= 0.1 else float(f"{factor:.1g}")
    # A square fits pictures upright and on their side alike.
    short = factor * min(height, width)
    side = max(_SMALLEST_CROP, int(short) // _MULTIPLE * _MULTIPLE)
    mebibytes = images * height * width * 4 / 2**20  # of the image three, of its mask one
    fits = mebibytes < memory_in_mebibytes() / 8
    return Plan(
        factor=factor,
        crop=(side, side),
        batch=8,
        steps=3000 if gpu else 300,
        cache=int(mebibytes * 1.2) + 16 if fits else 0,
        gpu=gpu,
        large=height * width > _LARGE,
    )


def memory_in_mebibytes() -> float:
    """The memory of this machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    except (ValueError, OSError, AttributeError):  # a system that does not say
        return 4096.0


def weights_at_hand() -> str:
    """ "torchvision" where the ImageNet weights of the network were fetched before; else empty."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / _WEIGHTS
    return "torchvision" if path.is_file() else ""
