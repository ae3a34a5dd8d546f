"""A tiny ISBI 2012: two TIFFs with a page for each slice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 30)


def make_isbi(root: Path, pages: int = 10) -> Path:
    """isbi2012/train-volume.tif and train-labels.tif with made slices; returns `root`."""
    draws = np.random.default_rng(0)
    slices = [draws.integers(0, 256, SIZE, dtype=np.uint8) for _ in range(pages)]
    masks = [(draws.random(SIZE) < 0.8).astype(np.uint8) * 255 for _ in range(pages)]
    write_pages(root / "isbi2012" / "train-volume.tif", slices)
    write_pages(root / "isbi2012" / "train-labels.tif", masks)
    return root


def write_pages(path: Path, pages: Sequence[np.ndarray]) -> Path:
    """A TIFF with these pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others)
    return path
