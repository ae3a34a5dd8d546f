"""Borders between classes are sharp in sound masks, and smooth after smooth resizing."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from semisup.data.labels.seams import Seams, seams_of
from semisup.data.sets.scenes.drawing import draw_scene
from semisup.data.sets.scenes.pairs import PAIRS

SMOOTH = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


def seams(*rows: list[int]) -> Seams:
    return seams_of(torch.tensor(rows, dtype=torch.uint8))


def regions(seed: int, size: int = 60) -> np.ndarray:
    """Slanted stripes of the labels 0, 4, 9 and 15."""
    place = np.arange(size) + np.arange(size)[:, None] * (seed % 3)
    return np.array([0, 9, 4, 15], np.uint8)[place // 12 % 4]


def resized(labels: np.ndarray, factor: float, how: Image.Resampling) -> np.ndarray:
    size = tuple(round(factor * side) for side in labels.shape[::-1])
    return np.array(Image.fromarray(labels).resize(size, how))


@pytest.mark.parametrize(
    ("row", "smooth", "sharp"),
    [
        ([0, 0, 0, 2, 2, 2], 0, 1),
        ([0, 0, 0, 1, 1, 1], 0, 0),  # neighbours in number have nothing between them
        ([0, 0, 0, 1, 2, 2, 2], 1, 0),
        ([5, 5, 5, 4, 3, 1, 1, 1], 1, 0),  # downwards too
        ([0, 0, 0, 1, 1, 1, 1, 2, 2, 2], 0, 0),  # four pixels are a region
        ([0, 0, 0, 3, 2, 2, 2], 0, 0),  # 3 is not between 0 and 2
        ([0, 0, 0, 1, 0, 0, 0], 0, 0),
        ([0, 0, 0, 1, 255, 255, 255], 0, 0),  # a thin object beside void
        ([2, 2, 2, 255, 0, 0, 0], 0, 0),  # a void border
    ],
)
def test_borders_along_a_row(row: list[int], smooth: int, sharp: int) -> None:
    assert seams(row)[:2] == (smooth, sharp)


def test_rows_do_not_meet_and_what_is_between_is_named() -> None:
    found = seams([0, 0, 0, 1, 3, 3, 3], [9, 9, 9, 9, 9, 9, 9], [4, 4, 4, 6, 6, 7, 7])
    assert found == Seams(1, 0, frozenset({1}))


@pytest.mark.parametrize("labels", [[[]], [[7]], [[1, 2]]])
def test_the_smallest_masks_have_no_border(labels: list[list[int]]) -> None:
    assert seams(*labels) == Seams()


@pytest.mark.parametrize("seed", range(4))
def test_sound_masks_have_sharp_borders(seed: int) -> None:
    for labels in (regions(seed), draw_scene((90, 120), np.random.default_rng(seed), PAIRS).mask):
        for factor in (0.5, 1.0, 2.3):
            smaller = resized(labels, factor, Image.Resampling.NEAREST)
            assert not seams_of(torch.from_numpy(smaller)).prevail


@pytest.mark.parametrize("how", SMOOTH, ids=[how.name for how in SMOOTH])
@pytest.mark.parametrize("factor", [0.6, 0.8, 1.5])
def test_smooth_resizing_leaves_seams(how: Image.Resampling, factor: float) -> None:
    found = seams_of(torch.from_numpy(resized(regions(1), factor, how)))
    assert found.prevail
    assert found.between - {0, 4, 9, 15}


def test_jpeg_leaves_seams() -> None:
    labels, file = resized(regions(1, 200), 1, Image.Resampling.NEAREST), io.BytesIO()
    Image.fromarray(labels).save(file, "JPEG", quality=75)
    assert seams_of(torch.from_numpy(np.array(Image.open(file)))).prevail


def test_a_few_borders_tell_nothing() -> None:
    smooth = [0, 0, 0, 1, 2, 2, 2]
    assert not seams(*[smooth] * 9).prevail
    assert seams(*[smooth] * 10).prevail
    assert not seams(*[smooth] * 10, *[[0, 0, 0, 2, 2, 2, 2]] * 10).prevail
