"""Images in memory, in the forms in which scripts and notebooks have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semisup.data.formats.orientation import upright
from semisup.data.formats.pictures import as_rgb
from semisup.errors import DataError

_TAKEN = (
    "uint8 RGB, 0..255: an array HW3 or BHW3, a tensor 3HW or B3HW, or a picture of Pillow with "
    "8 bits a channel"
)


def as_batch(image: Any, *, apply_exif: bool = True) -> Tensor:
    """An image in memory, or a batch of them, as uint8 B3HW.

    Args:
        image: uint8 RGB: an array HW3 or BHW3, a tensor 3HW or B3HW, or a picture of Pillow.
        apply_exif: whether a picture of Pillow is turned as its EXIF orientation says.

    Raises:
        DataError: another type or shape; says what is taken.
    """
    if isinstance(image, Image.Image):
        return _from_pillow(image, apply_exif)[None]
    shape = tuple(getattr(image, "shape", ()))
    if getattr(image, "dtype", None) in (torch.uint8, np.uint8) and 0 not in shape:
        if isinstance(image, Tensor) and len(shape) in (3, 4) and shape[-3] == 3:
            return image if len(shape) == 4 else image[None]
        if isinstance(image, np.ndarray) and len(shape) in (3, 4) and shape[-1] == 3:
            batch = torch.from_numpy(image.copy()).movedim(-1, -3)
            return batch if len(shape) == 4 else batch[None]
    raise _refused(image, shape)


def as_given(values: Tensor, image: Any) -> Any:
    """What was computed of a batch, in the form in which the image was given."""
    is_batch = not isinstance(image, Image.Image) and image.ndim == 4
    values = values if is_batch else values[0]
    return values if isinstance(image, Tensor) else values.numpy()


def _refused(image: Any, shape: tuple[int, ...]) -> DataError:
    dtype = str(getattr(image, "dtype", ""))
    kind = f"{type(image).__name__} {dtype}".strip()
    hint = ""
    if "float" in dtype:
        hint = " Shares of [0, 1] are turned into it by (image * 255).round()."
    elif isinstance(image, np.ndarray) and len(shape) in (3, 4) and shape[-3] == 3:
        hint = " The channels of an array come last: np.moveaxis(image, -3, -1)."
    elif isinstance(image, Tensor) and len(shape) in (3, 4) and shape[-1] == 3:
        hint = " The channels of a tensor come before the rows: image.movedim(-1, -3)."
    return DataError(f"image: cannot label a {kind} of shape {shape}. Give {_TAKEN}.{hint}")


def _from_pillow(picture: Image.Image, apply_exif: bool) -> Tensor:
    """A picture as uint8 3HW."""
    tiles = getattr(picture, "tile", None)  # of a file that is not decoded yet: such as "RGB;16B"
    is_deep = picture.mode.startswith(("I", "F")) or ";16" in str(tiles)
    if is_deep or 0 in picture.size:
        raise DataError(
            f"image: cannot label a picture of mode {picture.mode} and size {picture.size}"
            f"{' with 16 bits a channel' * is_deep}. Give {_TAKEN}."
        )
    try:
        colours = as_rgb(picture)
        orientation = picture.getexif().get(0x0112, 1) if apply_exif else 1
    except Exception as error:  # Pillow opens a file and decodes it here
        raise DataError(f"image: cannot be decoded ({error}). Give another file.") from error
    if colours is None:
        raise DataError("image: has transparent pixels; flatten it onto a background")
    return upright(torch.from_numpy(np.array(colours)).permute(2, 0, 1), orientation)
