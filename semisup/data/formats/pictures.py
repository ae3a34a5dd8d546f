"""Pictures and label maps between disk and tensors.

Everything is read as it is stored, as the masks of the public data sets are; `orientation` has the
EXIF orientation for those that apply it. Whatever has no one reading as 8-bit RGB or as
label ids is refused with a `DataError` that names the file, never converted by guess.

Pictures above 178 million pixels (Pillow's limit against decompression bombs) are refused as
well; between 89 and 178 million Pillow's warning is left to pass as a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from semisup.data.base import Colour
from semisup.errors import DataError
from semisup.system.files import write_atomically
from semisup.types import IGNORE

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_rgb(path: Path) -> Tensor:
    """A JPEG or PNG picture: uint8 3HW, RGB.

    Greyscale, palette, 1-bit and CMYK pictures become RGB (CMYK without a colour profile).

    Raises:
        DataError: no such file, no JPEG or PNG, damaged or cut short, 16 bits a channel, or
            with transparent pixels.

    Warns:
        UserWarning: Pillow's, about notes beside the pixels.
    """
    try:
        picture = as_rgb(_load(path, ("JPEG", "PNG")))
    except ValueError as error:  # a palette with more alphas than colours
        raise DataError(f"{path} cannot be decoded ({error}); mend or remove the file") from error
    if picture is None:
        raise DataError(f"{path} has transparent pixels; flatten it onto a background")
    # Left as decoded, the channels of a pixel side by side: what follows is the faster for it.
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def read_labels(path: Path) -> Tensor:
    """A label map: uint8 HW, the stored indices (palette) or grey values (8 bit) themselves.

    Raises:
        DataError: no such file, no PNG, damaged or cut short, a colour picture, or grey with
            other than 8 bits, which Pillow would stretch to 0..255.
    """
    labels = _load(path, ("PNG",))
    if labels.mode not in ("P", "L"):
        kind = "1-bit" if labels.mode == "1" else f"a colour picture ({labels.mode})"
        raise DataError(f"{path} is {kind}, not a label map; save label ids as 8-bit grey PNG")
    return torch.from_numpy(np.array(labels))


def write_palette_png(path: Path, labels: Tensor, palette: Sequence[Colour]) -> None:
    """Write `labels` (uint8 HW) as an index PNG; whole or not at all.

    Label 255 is drawn in 224, 224, 192 as in Pascal VOC, labels beyond the palette in black.

    Raises:
        RunError: the file cannot be written.
    """
    picture = Image.fromarray(labels.cpu().numpy())
    picture.putpalette(full_palette(palette))
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def voc_palette(n: int = 256) -> tuple[Colour, ...]:
    """The first `n` colours of Pascal VOC's colour map.

    Bits 0, 1, 2 of the index are the top bits of red, green and blue; the next three bits are the
    next lower ones, and so on.
    """
    return tuple((_spread(i), _spread(i >> 1), _spread(i >> 2)) for i in range(n))


def full_palette(palette: Sequence[Colour]) -> list[int]:
    """The 768 numbers of a palette PNG: `palette`, black, and VOC's colour of void at 255."""
    colours = [*palette[:IGNORE], *[(0, 0, 0)] * (IGNORE - len(palette)), voc_palette()[IGNORE]]
    return [channel for colour in colours for channel in colour]


def _spread(index: int) -> int:
    """Every third bit of `index`, from the lowest, as a number from its highest bit down."""
    return sum(((index >> (3 * place)) & 1) << (7 - place) for place in range(3))


def as_rgb(picture: Image.Image) -> Image.Image | None:
    """A picture of 8 bits a channel as RGB; None where a pixel is transparent.

    Copied only if need be: the largest takes 0.7 GB.
    """
    if picture.has_transparency_data:
        picture = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            return None
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _load(path: Path, formats: tuple[str, ...]) -> Image.Image:
    """The decoded picture in `path`, of 1 or 8 bits a channel."""
    wanted = " or ".join(formats)
    try:
        if path.is_fifo():  # to open one is to wait for whoever writes into it
            raise DataError(f"{path} is a pipe; put the picture in its place")
        with Image.open(path, formats=formats) as picture:
            # Such as "RGB", "RGB;16B", "L;4" or ("RGB", ""). Without pixels, load raises.
            stored = str(picture.tile[0][3]) if picture.tile else ""
            picture.load()
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; put the picture in its place") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; put it there, or take it off the list") from error
    except _BOMB as error:
        raise DataError(f"{path} has too many pixels to decode safely; cut it in tiles") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} is no {wanted} file; convert it, or mend or remove the file"
        ) from error
    except DataError:
        raise
    except Exception as error:  # damage makes Pillow fail in nearly every way there is
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
            raise DataError(
                f"{path} cannot be read ({error.strerror}); check its folder"
            ) from error
        raise DataError(f"{path} cannot be decoded ({error}); mend or remove the file") from error
    if ";16" in stored:
        raise DataError(f"{path} has 16 bits a channel; save it with 8 bits")
    if picture.mode == "P" and picture.palette is None:
        raise DataError(f"{path} has no palette for its colours; mend or remove the file")
    if stored in ("L;2", "L;4") and formats == ("PNG",):
        raise DataError(f"{path} is grey with {stored[-1]} bits; save label ids as 8-bit grey PNG")
    return picture
