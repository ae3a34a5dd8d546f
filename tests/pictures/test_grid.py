"""A grid of pictures: their order, their size on it, and the text above."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from semisup.errors import RunError
from semisup.pictures.grid import image_grid


def grid(
    path: Path, images: torch.Tensor, caption: list[str], columns: int = 8
) -> NDArray[np.int_]:
    image_grid(path, images, caption, columns=columns)
    with Image.open(path) as picture:
        return np.array(picture)


def flat(count: int, height: int, width: int) -> torch.Tensor:
    """Pictures of one shade each: 10, 20, ..."""
    shades = 10 * torch.arange(1, count + 1, dtype=torch.uint8)
    return shades.view(-1, 1, 1, 1).expand(count, 3, height, width)


def test_pictures_lie_row_by_row_enlarged_by_whole_factors(tmp_path: Path) -> None:
    pixels = grid(tmp_path / "grid.png", flat(5, 40, 50), ["a line"], columns=3)[..., 0]
    inside = pixels[:, 16:-16]
    bottom = len(pixels) - 16 - 40
    assert inside.shape[1] == max(3 * 104 - 4, 4 * 96)
    for row, shades in ((bottom - 84, [10, 20, 30]), (bottom, [40, 50, 255])):
        assert [int(inside[row, 104 * n + 50]) for n in range(3)] == shades
    assert (pixels == 10).sum() == 80 * 100


def test_large_pictures_are_shrunk(tmp_path: Path) -> None:
    pixels = grid(tmp_path / "grid.png", flat(1, 240, 320), [])
    assert (pixels[..., 0] == 10).sum() == 120 * 160


def test_a_long_caption_is_broken_and_not_cut(tmp_path: Path) -> None:
    short = grid(tmp_path / "short.png", flat(1, 96, 96), ["word"])
    long = grid(tmp_path / "long.png", flat(1, 96, 96), ["word " * 100])
    assert long.shape[1] == short.shape[1]
    lines = 1 + (len(long) - len(short)) // 20
    assert lines > 4
    for line in range(lines):
        assert (long[16 + 20 * line : 36 + 20 * line, 16:-16] < 200).any(), line


def test_an_earlier_file_stays_where_none_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        image_grid(tmp_path / "none" / "grid.png", flat(1, 8, 8), [])
