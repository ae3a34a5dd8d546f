"""Images in memory, in the forms in which scripts and notebooks have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semisup.data.formats.orientation import ORIENTATION_TAG, upright
from semisup.data.formats.pictures import as_rgb
from semisup.errors import DataError
from semisup.ops.pixels import GREY, RGB, ImageKind


def as_batch(image: Any, kind: ImageKind = RGB, *, apply_exif: bool = True) -> Tensor:
    """An image in memory, or a batch of them, as BCHW.

    Args:
        image: whole numbers of `kind`: an array HWC or BHWC, a tensor CHW or BCHW, or a picture of
            Pillow, where the kind is 8-bit RGB or grey. One channel may be left out of an array.
        kind: channels and bits that the network was trained on.
        apply_exif: whether a picture of Pillow is turned as its EXIF orientation says.

    Raises:
        DataError: another type or shape; says what is taken.
    """
    if isinstance(image, Image.Image) and kind in (RGB, GREY):
        return _from_pillow(image, kind, apply_exif)[None]
    shape = tuple(getattr(image, "shape", ()))
    channels, dtype = kind.channels, _dtype(kind)
    if isinstance(image, np.ndarray) and len(shape) == 2 and channels == 1:
        return as_batch(image[..., None], kind)
    if isinstance(image, Tensor | np.ndarray) and len(shape) in (3, 4) and 0 not in shape:
        if isinstance(image, Tensor) and image.dtype == kind.dtype and shape[-3] == channels:
            return image if len(shape) == 4 else image[None]
        # By name: big-endian values, as some TIFF files have them, are values like others.
        if isinstance(image, np.ndarray) and image.dtype.name == dtype and shape[-1] == channels:
            batch = torch.from_numpy(image.astype(dtype)).movedim(-1, -3)
            return batch if len(shape) == 4 else batch[None]
    raise _refused(image, shape, kind)


def as_given(values: Tensor, image: Any) -> Any:
    """What was computed of a batch, in the form in which the image was given."""
    is_batch = not isinstance(image, Image.Image) and image.ndim == 4
    values = values if is_batch else values[0]
    return values if isinstance(image, Tensor) else values.numpy()


def _dtype(kind: ImageKind) -> str:
    """Name of the type of the values."""
    return f"uint{kind.bits}"


def _taken(kind: ImageKind) -> str:
    """What is read, in words."""
    count, largest = kind.channels, 2**kind.bits - 1
    of_pillow = ", or a picture of Pillow with 8 bits a channel" if kind in (RGB, GREY) else ""
    arrays = f"an array HW{count} or BHW{count}" + (" or HW" if count == 1 else "")
    values = f"uint{kind.bits} RGB" if kind == RGB else f"uint{kind.bits} of {kind}"
    joint = "," if of_pillow else " or"
    return f"{values}, 0..{largest}: {arrays}{joint} a tensor {count}HW or B{count}HW{of_pillow}"


def _refused(image: Any, shape: tuple[int, ...], kind: ImageKind) -> DataError:
    dtype, channels = str(getattr(image, "dtype", "")), kind.channels
    given = f"{type(image).__name__} {dtype}".strip()
    if isinstance(image, Image.Image):
        given, shape = f"picture of mode {image.mode}", image.size
    to = f'.astype("{_dtype(kind)}")' if isinstance(image, np.ndarray) else f".to({kind.dtype})"
    hint = ""
    if "float" in dtype:
        largest = 2**kind.bits - 1
        hint = f" Shares of [0, 1] are turned into it by (image * {largest}).round(){to}."
    elif "int" in dtype and _dtype(kind) not in dtype:
        hint = f" Other whole numbers, if none is beyond these, are turned into it by image{to}."
    elif isinstance(image, np.ndarray) and len(shape) in (3, 4) and shape[-3] == channels:
        hint = " The channels of an array come last: np.moveaxis(image, -3, -1)."
    elif isinstance(image, Tensor) and len(shape) in (3, 4) and shape[-1] == channels:
        hint = " The channels of a tensor come before the rows: image.movedim(-1, -3)."
    return DataError(f"image: cannot label a {given} of shape {shape}. Give {_taken(kind)}.{hint}")


def _from_pillow(picture: Image.Image, kind: ImageKind, apply_exif: bool) -> Tensor:
    """A picture as uint8 3HW or, where the kind is grey, 1HW."""
    tiles = getattr(picture, "tile", None)  # of a file that is not decoded yet: such as "RGB;16B"
    is_deep = picture.mode.startswith(("I", "F")) or ";16" in str(tiles)
    in_colours = kind == GREY and picture.mode not in ("1", "L", "LA")
    if is_deep or 0 in picture.size or in_colours:
        raise DataError(
            f"image: cannot label a picture of mode {picture.mode} and size {picture.size}"
            f"{' with 16 bits a channel' * is_deep}. Give {_taken(kind)}."
        )
    try:
        colours = as_rgb(picture)
        orientation = picture.getexif().get(ORIENTATION_TAG, 1) if apply_exif else 1
    except Exception as error:  # Pillow opens a file and decodes it here
        raise DataError(f"image: cannot be decoded ({error}). Give another file.") from error
    if colours is None:
        raise DataError("image: has transparent pixels; flatten it onto a background")
    image = torch.from_numpy(np.array(colours)).permute(2, 0, 1)
    return upright(image[: kind.channels], orientation)
