"""Folders of pictures and masks as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 32)
"""Height and width."""


def photo(path: Path, seed: int = 0, size: tuple[int, int] = SIZE, orientation: int = 1) -> None:
    """Noise, which is like no other; with an EXIF orientation where one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


def labels(*values: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Vertical stripes of these values, uint8 HW."""
    return np.array(values, np.uint8)[np.arange(size[1]) * len(values) // size[1]][None].repeat(
        size[0], axis=0
    )


def mask(path: Path, *values: int, size: tuple[int, int] = SIZE) -> None:
    """A grey mask of stripes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels(*values, size=size)).save(path)


def coloured(path: Path, *colours: tuple[int, int, int]) -> None:
    """A mask of stripes in colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = np.array(colours, np.uint8)
    Image.fromarray(table[labels(*range(len(colours)))]).save(path)


def pets_in(root: Path) -> Path:
    """Twelve photographs in two folders, six masks of 0 and 255 in other ones."""
    for number in range(12):
        kind = ("cats", "dogs")[number % 2]
        photo(root / "photos" / kind / f"{number:02}.jpg", number)
        if number < 6:
            mask(root / "masks" / kind / f"{number:02}.png", 0, 255)
    return root
