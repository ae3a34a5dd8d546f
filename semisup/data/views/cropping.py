"""Windows of an image and its mask, cut out and brought to size alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as geometry

from semisup.data.views.elastic import displacement_field, sample_bilinear, sample_nearest
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
        border: float32 HW, weights of the pixels between objects; None unless some were given.
    """

    image: Tensor
    mask: Tensor | None
    valid: Tensor
    selection: Tensor | None = None
    border: Tensor | None = None


class DrawView(Protocol):
    """What makes a view of an image: `WeakView`, `CombinationView`."""

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
            mask: uint8 HW, or NHW for N maps that are cut alike; None for an image without labels.
            generator: source of the view; always the same number of draws is taken from it.
            turn: which of several views in turn, for a view that has some.
            border: float32 HW, as `BorderWeights` gives it, or None.
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
    border: Tensor | None = None,
    displacements: Tensor | None = None,
) -> View:
    """The window, resized, bent, padded to the crop and mirrored.

    The window is cut out first and only it is resized, so that a crop of a large picture costs
    what the crop costs, and pixels outside of the window do not bleed into it (but where it is
    bent: then they come into it).

    Args:
        image: CHW, uint8 or uint16; of a block of slices CDHW.
        mask: uint8 HW, or NHW for N maps that are cut alike (objects, or the slices of a block);
            None for an image without labels.
        rows: the window from top to bottom.
        columns: the window from left to right.
        crop: H, W of the view; None for that of the resized window.
        flip: whether to mirror the whole, padding included.
        border: float32 HW, or None.
        displacements: of an elastic deformation, as drawn; None: it is not bent.
    """

    def place(part: Tensor, fill: int) -> Tensor:
        height, width = crop or part.shape[-2:]
        right = width - columns.before - part.shape[-1]
        bottom = height - rows.before - part.shape[-2]
        padded = F.pad(part, (columns.before, right, rows.before, bottom), value=fill)
        return padded.flip(-1) if flip else padded

    field = None
    if displacements is not None:
        field = displacement_field(displacements, rows.result, columns.result)

    def seen(picture: Tensor, mode: InterpolationMode) -> Tensor:
        if field is None:
            return _resize(picture, rows, columns, mode)
        return _bend(picture, rows, columns, mode, field)

    valid = torch.ones(1, rows.result, columns.result, dtype=torch.bool)
    labels, weights = None, None
    if mask is not None:
        # Not tv_tensors.Mask, whose "nearest" samples the corner of a pixel and so shifts the
        # mask by up to half a pixel against the image.
        maps = mask[None] if mask.ndim == 2 else mask
        labels = seen(maps, InterpolationMode.NEAREST_EXACT)
        labels = place(labels, fill=IGNORE)
        labels = labels[0] if mask.ndim == 2 else labels
    if border is not None and labels is not None:
        classes = labels if labels.ndim == 2 else labels[0]
        weights = place(seen(border[None], InterpolationMode.BILINEAR), fill=0)[0]
        weights = weights.masked_fill(classes != 0, 0.0)
    picture = place(seen(image, InterpolationMode.BILINEAR), fill=0)
    return View(image=picture, mask=labels, valid=place(valid, fill=0)[0], border=weights)


def _resize(picture: Tensor, rows: Axis, columns: Axis, mode: InterpolationMode) -> Tensor:
    down = slice(rows.start, rows.start + rows.length)
    across = slice(columns.start, columns.start + columns.length)
    window = picture[..., down, across]
    if columns.result == 1 or picture.dtype != torch.uint8:
        # torch has no kernel for 16 bits. Of a result one pixel wide torch 2.15 gives wrong values:
        # its vectorised uint8 kernel always, the float kernel if the channels come last in memory.
        window = window.float().contiguous()
    size = [rows.result, columns.result]
    resized: Tensor = geometry.resize(window, size, interpolation=mode, antialias=True)
    return _as_stored(resized, picture.dtype)


def _as_stored(picture: Tensor, kind: torch.dtype) -> Tensor:
    """Whole numbers of 8 or 16 bits, rounded; others as they are."""
    if kind.is_floating_point or not picture.is_floating_point():
        return picture
    return picture.round().clamp_(0, 2 ** (8 * kind.itemsize) - 1).to(kind)


def _bend(
    picture: Tensor, rows: Axis, columns: Axis, mode: InterpolationMode, field: Tensor
) -> Tensor:
    """The window at its resized size, each pixel fetched from beside its place.

    Args:
        picture: CHW.
        rows: the window from top to bottom.
        columns: the window from left to right.
        mode: nearest for labels, else bilinear.
        field: 2HW, how far each pixel of the result is fetched from its own place.
    """
    height, width = picture.shape[-2:]
    if mode is InterpolationMode.NEAREST_EXACT:  # of the picture itself: rounded only once
        whole = Axis(0, height, height), Axis(0, width, width)
        return sample_nearest(picture, *_places(rows, columns, *whole, field))
    around = _grown(rows, height, field[0]), _grown(columns, width, field[1])
    resized = _resize(picture, *around, mode)
    bent = sample_bilinear(resized, *_places(rows, columns, *around, field))
    return _as_stored(bent, picture.dtype)


def _grown(axis: Axis, size: int, field: Tensor) -> Axis:
    """The window and as much around it, inside the picture, as pixels are fetched from."""
    per_pixel = axis.length / axis.result
    reach = math.ceil((field.abs().max().item() + 1) * per_pixel)
    start, end = max(0, axis.start - reach), min(size, axis.start + axis.length + reach)
    return Axis(start, end - start, max(1, round((end - start) / per_pixel)))


def _places(
    rows: Axis, columns: Axis, down: Axis, across: Axis, field: Tensor
) -> tuple[Tensor, Tensor]:
    """Rows and columns HW of the resized part `down` x `across` that the window is fetched from."""
    return (
        _along(rows, down, field[0], torch.arange(rows.result)[:, None]),
        _along(columns, across, field[1], torch.arange(columns.result)),
    )


def _along(axis: Axis, part: Axis, shift: Tensor, pixel: Tensor) -> Tensor:
    source = axis.start + (pixel + 0.5 + shift) * axis.length / axis.result
    return (source - part.start) * part.result / part.length - 0.5
