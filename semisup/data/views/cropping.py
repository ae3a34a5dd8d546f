"""Windows of an image and its mask, cut out and brought to size alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as geometry

from semisup.types import IGNORE


@dataclass(frozen=True, slots=True)
class View:
    """What the network is to see of an image, before normalisation.

    Attributes:
        image: CHW, uint8 or uint16; 0 where there is no picture.
        mask: uint8 HW, `IGNORE` where there is no picture, or NHW where N maps were given; None if
            there is no mask.
        valid: bool HW, False where there is no picture.
        selection: int64, the label ids of the classes that it was cut for, ascending; None unless
            the view chooses some.
    """

    image: Tensor
    mask: Tensor | None
    valid: Tensor
    selection: Tensor | None = None


class DrawView(Protocol):
    """What makes a view of an image: `WeakView`, `CombinationView`."""

    def __call__(
        self, image: Tensor, mask: Tensor | None, generator: torch.Generator, turn: int = 0
    ) -> View:
        """One view.

        Args:
            image: CHW, uint8 or uint16.
            mask: uint8 HW, or NHW for N maps that are cut alike; None for an image without labels.
            generator: source of the view; always the same number of draws is taken from it.
            turn: which of several views in turn, for a view that has some.
        """


@dataclass(frozen=True, slots=True)
class Axis:
    """Source window along one axis, and where its picture lies in the result; in pixels.

    Attributes:
        start: first source pixel.
        length: source pixels, at least 1, all of them inside the image.
        result: pixels that they become.
        before: padding before them.
    """

    start: int
    length: int
    result: int
    before: int = 0


def cut_out(
    image: Tensor,
    mask: Tensor | None,
    rows: Axis,
    columns: Axis,
    *,
    crop: tuple[int, int] | None,
    flip: bool,
) -> View:
    """The window, resized, padded to the crop and mirrored.

    The window is cut out first and only it is resized, so that a crop of a large picture costs
    what the crop costs, and pixels outside of the window do not bleed into it.

    Args:
        image: CHW, uint8 or uint16.
        mask: uint8 HW or NHW, or None.
        rows: the window from top to bottom.
        columns: the window from left to right.
        crop: H, W of the view; None for that of the resized window.
        flip: whether to mirror the whole, padding included.
    """

    def place(part: Tensor, fill: int) -> Tensor:
        height, width = crop or part.shape[-2:]
        right = width - columns.before - part.shape[-1]
        bottom = height - rows.before - part.shape[-2]
        padded = F.pad(part, (columns.before, right, rows.before, bottom), value=fill)
        return padded.flip(-1) if flip else padded

    seen = _resize(image, rows, columns, InterpolationMode.BILINEAR)
    valid = torch.ones(1, rows.result, columns.result, dtype=torch.bool)
    labels = None
    if mask is not None:
        # Not tv_tensors.Mask, whose "nearest" samples the corner of a pixel and so shifts the
        # mask by up to half a pixel against the image.
        maps = mask[None] if mask.ndim == 2 else mask
        labels = _resize(maps, rows, columns, InterpolationMode.NEAREST_EXACT)
        labels = place(labels, fill=IGNORE)
        labels = labels[0] if mask.ndim == 2 else labels
    return View(image=place(seen, fill=0), mask=labels, valid=place(valid, fill=0)[0])


def _resize(image: Tensor, rows: Axis, columns: Axis, mode: InterpolationMode) -> Tensor:
    down = slice(rows.start, rows.start + rows.length)
    across = slice(columns.start, columns.start + columns.length)
    window = image[:, down, across]
    if columns.result == 1 or image.dtype != torch.uint8:
        # torch has no kernel for 16 bits. Of a result one pixel wide torch 2.15 gives wrong values:
        # its vectorised uint8 kernel always, the float kernel if the channels come last in memory.
        window = window.float().contiguous()
    size = [rows.result, columns.result]
    resized: Tensor = geometry.resize(window, size, interpolation=mode, antialias=True)
    if not resized.is_floating_point():
        return resized
    return resized.round().clamp_(0, 2 ** (8 * image.itemsize) - 1).to(image.dtype)
