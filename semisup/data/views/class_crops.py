"""Crops of an image for every combination of its classes.

DecoupledNet (Hong, Noh and Han, Decoupled Deep Neural Network for Semi-supervised Semantic
Segmentation, NIPS 2015, https://arxiv.org/abs/1506.04924) has few images with masks and makes the
most of them: for each combination of the classes in an image, it cuts windows that hold enough of
these classes, and learns to tell them from everything else. Its windows are object proposals, and
what chose them was never published. Ours come from the mask, by this rule:

1. Of the 2^n - 1 non-empty subsets of the n foreground classes in a mask, an image takes another
   one in each epoch, so that all of them come once in 2^n - 1 epochs. Where it begins differs from
   image to image.
2. Windows are drawn that have the shape of the crop. The side of a window, as a share of the
   smallest such window around the whole image, is drawn log-uniformly from `sides`. Its place is
   uniform. Along an axis where it is the shorter one, up to `overhang` of it may leave the image;
   where it is the longer one, up to `overhang` of the image may be left out.
3. The first is taken that holds at least `held` of the pixels of each class in the subset, and of
   which the subset covers at least `cover`.
4. If `tries` windows have failed: the bounding box of the subset, `grow` times as large, then
   brought to the shape of the crop and to the smallest side of 2. It holds all of the subset.
5. The window is resized, image and mask alike, and half of them are mirrored. Outside of the image
   lie 0 in the image, void in the mask and False in `valid`.

An image without foreground gives the first window that is drawn, and selects nothing. Void counts
for nothing. A class whose last pixel is lost when the window is made smaller leaves the selection.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semisup.data.views.cropping import Axis, View, cut_out
from semisup.errors import RecipeError
from semisup.types import IGNORE

# numpy, because on a mask torch's sums take twice as long and its `any` and `isin` ten times.
Numbers = NDArray[np.integer[Any]]


class _Windows(NamedTuple):
    """N windows in source pixels; they may leave the image."""

    top: Numbers
    left: Numbers
    height: Numbers
    width: Numbers

    def at(self, number: int) -> tuple[int, int, int, int]:
        top, left, height, width = (int(part[number]) for part in self)
        return top, left, height, width


@dataclass(frozen=True, slots=True)
class CombinationView:
    """A crop of a labelled image for a subset of the classes in its mask.

    Args:
        crop: H, W of the result in pixels.
        flip: whether half of the views are mirrored.
        sides: smallest and largest side of a window, as a share of the smallest window of its
            shape around the whole image.
        overhang: share of a window that may lie beyond the image along an axis, 0 to 0.5.
        tries: number of windows that are drawn.
        held: share of the pixels of each class in the subset that must be in the window.
        cover: share of the window that the subset must cover.
        grow: side of the last resort, as a multiple of that of the bounding box.

    Raises:
        RecipeError: an option out of its range.
    """

    crop: tuple[int, int]
    flip: bool = True
    _: KW_ONLY
    sides: tuple[float, float] = (0.25, 1.0)
    overhang: float = 0.1
    tries: int = 50
    held: float = 0.5
    cover: float = 0.05
    grow: float = 1.2

    def __post_init__(self) -> None:
        ranges = {
            f"crop {self.crop}": min(self.crop) >= 1,
            f"sides {self.sides}": 0 < self.sides[0] <= self.sides[1] <= 2,
            f"overhang {self.overhang}": 0 <= self.overhang <= 0.5,
            f"tries {self.tries}": self.tries >= 1,
            f"held {self.held}": 0 < self.held <= 1,
            f"cover {self.cover}": 0 <= self.cover <= 1,
            f"grow {self.grow}": self.grow >= 1,
        }
        for option, good in ranges.items():
            if not good:
                raise RecipeError(f"combinations of classes: {option} is out of its range")

    def __call__(
        self,
        image: Tensor,
        mask: Tensor | None,
        generator: torch.Generator,
        turn: int = 0,
        border: Tensor | None = None,
    ) -> View:
        """One view.

        Args:
            image: CHW, uint8 or uint16.
            mask: uint8 HW.
            generator: source of the view; always the same number of draws is taken from it.
            turn: which subset, counted on from epoch to epoch; any number from 0.
            border: float32 HW, or None.
        """
        assert mask is not None, "combinations of classes need masks"
        numbers = torch.rand(3 * self.tries + 1, generator=generator).numpy()
        height, width = mask.shape
        windows = self._draw(height, width, numbers[:-1].reshape(3, -1))
        subset = _subset(_foreground(mask), turn)
        chosen = self._choose(windows, mask.numpy(), subset) if len(subset) else windows.at(0)
        view = cut_out(
            image,
            mask,
            _axis(chosen[0], chosen[2], height, self.crop[0]),
            _axis(chosen[1], chosen[3], width, self.crop[1]),
            crop=self.crop,
            flip=self.flip and numbers[-1] < 0.5,
            border=border,
        )
        assert view.mask is not None
        seen = [label for label in subset if (view.mask.numpy() == label).any()]
        return replace(view, selection=torch.tensor(seen, dtype=torch.int64))

    def _draw(self, height: int, width: int, numbers: NDArray[np.floating[Any]]) -> _Windows:
        """Windows of an image, from 3N numbers in [0, 1)."""
        side, down, right = numbers.astype(np.float64)
        low, high = self.sides
        share = low * (high / low) ** side
        tall, wide = (np.rint(share * length).clip(1) for length in self._around(height, width))
        top, left = self._start(height, tall, down), self._start(width, wide, right)
        return _Windows(*(part.astype(np.int64) for part in (top, left, tall, wide)))

    def _around(self, height: float, width: float) -> tuple[float, float]:
        """Height and width of the smallest window of the crop's shape around this much."""
        scale = max(height / self.crop[0], width / self.crop[1])
        return scale * self.crop[0], scale * self.crop[1]

    def _start(
        self, size: int, length: NDArray[np.float64], position: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """First pixel of windows along an axis of `size` pixels."""
        room, beyond = size - length, self.overhang * length.clip(max=size)
        low, high = room.clip(max=0) - beyond, room.clip(min=0) + beyond
        return np.rint(low + position * (high - low))

    def _choose(
        self, windows: _Windows, mask: NDArray[np.uint8], subset: Numbers
    ) -> tuple[int, int, int, int]:
        """Top, left, height and width of the first good window, or of the last resort."""
        sums = _sums(mask, subset)
        inside, total = _inside(sums, windows), sums[:, -1, -1]
        enough = (inside >= self.held * total[:, None]).all(0)
        enough &= inside.sum(0) >= self.cover * windows.height * windows.width
        return windows.at(int(enough.argmax())) if enough.any() else self._last_resort(sums)

    def _last_resort(self, sums: Numbers) -> tuple[int, int, int, int]:
        rows = np.diff(sums[:, :, -1].sum(0)).nonzero()[0]
        columns = np.diff(sums[:, -1, :].sum(0)).nonzero()[0]
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        tall, wide = self._around(self.grow * (bottom - top), self.grow * (right - left))
        image = sums.shape[1] - 1, sums.shape[2] - 1
        larger = max(1.0, self.sides[0] * self._around(*image)[0] / tall)
        height, width = math.ceil(larger * tall), math.ceil(larger * wide)
        return (top + bottom - height) // 2, (left + right - width) // 2, height, width


def _foreground(mask: Tensor) -> Numbers:
    """The labels in a mask without background and void, ascending."""
    histogram = torch.bincount(mask.flatten(), minlength=IGNORE + 1).numpy()
    return histogram[1:IGNORE].nonzero()[0] + 1


def _subset(labels: Numbers, turn: int) -> Numbers:
    """The non-empty subset of `labels` whose turn it is; of none, none."""
    number = turn % max(1, 2 ** len(labels) - 1) + 1
    return labels[[bool(number >> bit & 1) for bit in range(len(labels))]]


def _sums(mask: NDArray[np.uint8], subset: Numbers) -> Numbers:
    """Pixels of each class above and to the left of each corner: n x (H + 1) x (W + 1)."""
    sums = np.zeros((len(subset), mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    there = mask == subset.astype(np.uint8)[:, None, None]
    there.cumsum(2, dtype=np.int32).cumsum(1, out=sums[:, 1:, 1:])
    return sums


def _inside(sums: Numbers, windows: _Windows) -> Numbers:
    """Pixels of each of n classes in each of N windows: nN."""
    height, width = sums.shape[1] - 1, sums.shape[2] - 1
    top, bottom = windows.top.clip(0), (windows.top + windows.height).clip(max=height)
    left, right = windows.left.clip(0), (windows.left + windows.width).clip(max=width)
    above = sums[:, top, right] - sums[:, top, left]
    return sums[:, bottom, right] - sums[:, bottom, left] - above


def _axis(start: int, length: int, size: int, crop: int) -> Axis:
    """The part of a window that lies inside the image, and where it lies in the crop."""
    first, last = max(0, start), min(size, start + length)
    before = min(crop - 1, round((first - start) * crop / length))
    end = round((last - start) * crop / length)
    return Axis(first, last - first, max(1, end - before), before)
