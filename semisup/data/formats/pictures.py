"""Pictures and label maps between disk and tensors.

Everything is read as it is stored, as the masks of the public data sets are; `orientation` has the
EXIF orientation for those that apply it. Whatever has no one reading as 8-bit RGB or as
label ids is refused with a `DataError` that names the file, never converted by guess.

Pictures above 178 million pixels (Pillow's limit against decompression bombs) are refused as
well; between 89 and 178 million Pillow's warning is left to pass as a warning.
"""

from __future__ import annotations

import contextlib
import functools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from semisup.data.base import Colour
from semisup.data.formats.orientation import ORIENTATION_TAG
from semisup.errors import DataError
from semisup.system.files import write_atomically
from semisup.types import IGNORE

ARRAYS = ".npy"
"""Ending of the files that hold an array of NumPy."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ARRAYS)
"""Endings of the files that hold images, in small letters."""

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Endings of the files that hold masks without loss, in small letters."""

_IMAGES = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_MASKS = ("PNG", "TIFF", "BMP")
_WITH_LOSS = ("jpeg", "tiff_jpeg", "webp")
_WHITE_IS_0 = re.compile(r"\b[1L];[248]?I")
_IMAGE_TEXT = "semisup image"
_IMAGE_DIGITS = 64
_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD = 4096
"""Bytes of a label map in which its header, palette and text stand, before its pixels."""

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Orientation -> what takes a picture that a viewer shows to the stored one."""

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_rgb(path: Path) -> Tensor:
    """A JPEG, PNG, TIFF, BMP or WebP picture of 8 bits a channel: uint8 3HW, RGB.

    Greyscale, palette, 1-bit and CMYK pictures become RGB (CMYK without a colour profile).

    Raises:
        DataError: no such file, none of these formats, damaged or cut short, more than 8 bits a
            channel, several pictures in one file, or transparent pixels.

    Warns:
        UserWarning: Pillow's, about notes beside the pixels.
    """
    picture = _load(path, _IMAGES)
    try:
        colours = as_rgb(picture)
    except ValueError as error:  # a palette with more alphas than colours
        raise DataError(f"{path} cannot be decoded ({error}); mend or remove the file") from error
    if colours is None:
        # GDAL calls the fourth band of a TIFF transparency, whatever it is.
        is_band = picture.format == "TIFF" and picture.mode == "RGBA"
        remedy = ", or set data.channels = 4 if the fourth is a channel like the others" * is_band
        raise DataError(f"{path} has transparent pixels; flatten it onto a background{remedy}")
    # Left as decoded, the channels of a pixel side by side: what follows is the faster for it.
    return torch.from_numpy(np.array(colours)).permute(2, 0, 1)


def read_grey(path: Path) -> Tensor:
    """A grey picture of at most 8 bits: uint8 1HW.

    Raises:
        DataError: as `read_rgb`, or the picture has colours.
    """
    picture = _load(path, _IMAGES)
    if picture.mode not in ("1", "L", "LA"):
        raise DataError(f"{path} has colours ({picture.mode}; expected: 8-bit grey); convert it")
    if as_rgb(picture) is None:
        raise DataError(f"{path} has transparent pixels; flatten it onto a background")
    return torch.from_numpy(np.array(picture.convert("L")))[None]


def count_pages(path: Path) -> int:
    """How many pictures a TIFF holds.

    Raises:
        DataError: no such file, or no TIFF.
    """
    try:
        with opening(path), Image.open(path, formats=("TIFF",)) as picture:
            return int(getattr(picture, "n_frames", 1))
    except DataError:
        raise
    except Exception as error:  # damage makes Pillow fail in nearly every way there is
        raise DataError(f"{path} is no TIFF ({error}); fetch or unpack it anew") from error


def read_page(path: Path, page: int) -> Tensor:
    """A page of a TIFF of grey pictures, of 8 bits or one: uint8 HW; of one bit 0 and 255.

    Args:
        path: of the file.
        page: from 0.

    Raises:
        DataError: as `read_rgb`, or it has no such page, or the page is not grey.
    """
    picture = _decode(path, ("TIFF",), page)[0]
    if picture.mode not in ("1", "L"):
        raise DataError(f"page {page} of {path} is {picture.mode} (expected: 8-bit grey)")
    return torch.from_numpy(np.array(picture.convert("L")))


def read_rgba(path: Path) -> Tensor:
    """A picture of four channels of 8 bits, the last one no transparency: uint8 4HW.

    Raises:
        DataError: as `read_rgb`, or the picture has other channels.
    """
    picture = _load(path, _IMAGES)
    if picture.mode != "RGBA":
        raise DataError(f"{path} is {picture.mode} (expected: 4 channels of 8 bits); convert it")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def read_labels(path: Path) -> Tensor:
    """A label map: uint8 HW, the stored indices (palette) or grey values (8 bit) themselves.

    A palette of nothing but greys in another order than 0, 1, 2, ... is what an optimiser makes
    of a grey picture: the grey values are the labels then, and not the indices.

    Raises:
        DataError: no such file, no PNG, TIFF or BMP, damaged or cut short, a colour picture, or
            grey with other than 8 bits, which Pillow would stretch to 0..255.
    """
    mask = read_mask_picture(path)
    if mask.picture.mode not in ("P", "L", "1"):
        kind = f"a colour picture ({mask.picture.mode})"
        raise DataError(f"{path} is {kind}, not a label map; save label ids as 8-bit grey PNG")
    values = mask.values()
    if mask.bits < 8 and values.any():  # 0 is 0 whatever the number of bits
        kind = "1-bit, not a label map" if mask.bits == 1 else f"grey with {mask.bits} bits"
        raise DataError(f"{path} is {kind}; save label ids as 8-bit grey PNG")
    return torch.from_numpy(values)


class MaskPicture(NamedTuple):
    """A decoded mask, before its values become labels.

    Attributes:
        picture: of mode 1, L, P or one of colours.
        bits: of a grey value as it was stored; 8 for all others.
    """

    picture: Image.Image
    bits: int = 8

    def values(self) -> npt.NDArray[np.uint8]:
        """What is stored (uint8 HW): indices of a palette, or grey values in 0..255."""
        mode = self.picture.mode
        stored = np.array(self.picture.convert("L") if mode == "1" else self.picture)
        greys = self.regreyed()
        return stored if greys is None else greys[stored]

    def greys(self) -> npt.NDArray[np.uint8] | None:
        """The grey values (HW) of a picture in RGB, RGBA or LA that is grey and opaque throughout;
        None of any other.
        """
        mode = self.picture.mode
        if mode not in ("RGB", "RGBA", "LA"):
            return None
        stored = np.array(self.picture)
        colours = stored[..., : 1 if mode == "LA" else 3]
        if (colours != colours[..., :1]).any() or (mode != "RGB" and (stored[..., -1] < 255).any()):
            return None
        return np.ascontiguousarray(colours[..., 0])

    def regreyed(self) -> npt.NDArray[np.uint8] | None:
        """The grey value (256) of each index, where a tool has indexed a grey picture."""
        if self.picture.mode != "P":
            return None
        palette = self.palette()
        if (palette != palette[:, :1]).any():
            return None
        greys, used = palette[:, 0], self.used()
        same = used.max(initial=0) >= len(greys) or (greys[used] == used).all()
        if same or len(np.unique(greys[used])) < len(used):  # greys that tell nothing apart
            return None
        table = np.zeros(256, np.uint8)
        table[: len(greys)] = greys
        return table

    def palette(self) -> npt.NDArray[np.uint8]:
        """The stored colours, (n, 3); of a picture of mode P."""
        return np.array(self.picture.getpalette("RGB"), np.uint8).reshape(-1, 3)

    def used(self) -> npt.NDArray[np.intp]:
        """The indices or grey values that have a pixel, ascending; of mode P or L."""
        return np.flatnonzero(self.picture.histogram())


def read_mask_picture(path: Path) -> MaskPicture:
    """The decoded mask in `path`, in colours or not.

    Raises:
        DataError: no such file, no PNG, TIFF or BMP, damaged or cut short, of 16 bits, or a TIFF
            that was compressed with loss or stores white as 0.
    """
    picture, stored = _decode(path, _MASKS)
    if picture.info.get("compression") in _WITH_LOSS:
        raise DataError(f"{path} is compressed as a JPEG is, with loss; save labels without")
    if _WHITE_IS_0.search(stored):
        raise DataError(f"{path} stores white as 0 (MinIsWhite); save it with 0 for black")
    few = re.search(r"\bL;([24])", stored) if picture.mode == "L" else None
    bits = 1 if picture.mode == "1" else int(few[1]) if few else 8
    return MaskPicture(picture, bits)


def write_palette_png(
    path: Path, labels: Tensor, palette: Sequence[Colour], *, image: str = ""
) -> None:
    """Write `labels` (uint8 HW) as an index PNG; whole or not at all.

    Label 255 is drawn in 224, 224, 192 as in Pascal VOC, labels beyond the palette in black.
    Compressed as runs of one label: half the time of zlib's default, masks of VOC as small.

    Args:
        path: of the file.
        labels: uint8 HW.
        palette: K colours.
        image: SHA-256 of the file of the labelled image, kept as a text of the PNG
            (`labelled_image`); empty: not stated.

    Raises:
        RunError: the file cannot be written.
    """
    picture = Image.fromarray(labels.cpu().numpy())
    picture.putpalette(full_palette(palette))
    about = PngInfo()
    if image:
        about.add_text(_IMAGE_TEXT, image)
    write_atomically(
        path,
        lambda file: picture.save(file, format="PNG", pnginfo=about, compress_type=zlib.Z_RLE),
    )


def labelled_image(path: Path) -> str | None:
    """The hash of its image that `write_palette_png` was given; empty where the file has none.

    Pillow is not asked: it refuses large maps, and decodes the pixels to find their texts.

    Returns:
        None where it is no PNG, or cut before its pixels.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    _, texts, rest = head.partition(b"tEXt" + _IMAGE_TEXT.encode("latin-1") + b"\0")
    if not head.startswith(_PNG) or b"IDAT" not in head:
        return None
    return rest[:_IMAGE_DIGITS].decode("latin-1") if texts else ""


@functools.cache  # every label map that is written asks for it
def voc_palette(n: int = 256) -> tuple[Colour, ...]:
    """The first `n` colours of Pascal VOC's colour map.

    Bits 0, 1, 2 of the index are the top bits of red, green and blue; the next three bits are the
    next lower ones, and so on.
    """
    return tuple((_spread(i), _spread(i >> 1), _spread(i >> 2)) for i in range(n))


def write_grey_png(path: Path, values: Tensor) -> None:
    """Write values (uint8 HW) as an 8-bit grey PNG; whole or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    picture = Image.fromarray(values.cpu().numpy())
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


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
    return _decode(path, formats)[0]


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """What the system says of a picture that cannot be opened, in one line that names the file.

    Raises:
        DataError: a pipe, a folder, no file, or one that may not be read; all else passes.
    """
    if path.is_fifo():  # to open one is to wait for whoever writes into it
        raise DataError(f"{path} is a pipe; put the picture in its place")
    try:
        yield
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; put the picture in its place") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; put it there, or take it off the list") from error
    except OSError as error:
        if error.errno is None:  # not the system's, but a decoder's
            raise
        raise DataError(f"{path} cannot be read ({error.strerror}); check its folder") from error


def _decode(
    path: Path, formats: tuple[str, ...], page: int | None = None
) -> tuple[Image.Image, str]:
    """The decoded picture in `path`, or on a page of it, and how its pixels are stored."""
    wanted = _listed(formats)
    try:
        with opening(path), Image.open(path, formats=formats) as picture:
            if page is not None:
                picture.seek(page)
            # Such as "RGB", "RGB;16B", "L;4" or ("RGB", ""). Without pixels, load raises.
            stored = str(picture.tile[0][3]) if picture.tile else ""
            alone = picture.format == "PNG" or page is not None
            frames = 1 if alone else getattr(picture, "n_frames", 1)
            orientation = (
                picture.getexif().get(ORIENTATION_TAG) if picture.format == "TIFF" else None
            )
            if orientation:  # of a file with a name Pillow maps bare pixels, and turns them wrongly
                picture.filename = ""
            picture.load()
    except _BOMB as error:
        raise DataError(f"{path} has too many pixels to decode safely; cut it in tiles") from error
    except EOFError as error:
        where = f"has no page {page}" if page is not None else "is cut short"
        raise DataError(f"{path} {where}; mend or remove the file") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} is no {wanted} file; convert it, or mend or remove the file"
        ) from error
    except DataError:
        raise
    except Exception as error:  # damage makes Pillow fail in nearly every way there is
        raise DataError(f"{path} cannot be decoded ({error}); mend or remove the file") from error
    _check_kind(path, picture, stored, frames)
    return _as_stored(picture, orientation), stored


def _as_stored(picture: Image.Image, orientation: int | None) -> Image.Image:
    """A decoded picture that is not turned: Pillow turns a TIFF as its orientation says."""
    back = _TURNED_BACK.get(orientation or 1)
    if back is None or ORIENTATION_TAG in picture.getexif():
        return picture
    return picture.transpose(back)


def _check_kind(path: Path, picture: Image.Image, stored: str, frames: int) -> None:
    """Refuse what has no one reading with 8 bits a channel."""
    if ";16" in stored and "BGR;16" not in stored:
        raise DataError(f"{path} has 16 bits a channel; save it with 8 bits")
    if picture.mode not in _MODES:
        raise DataError(f"{path} is of the kind {picture.mode}; save it with 8 bits a channel")
    if picture.format in ("TIFF", "WEBP") and frames > 1:
        raise DataError(f"{path} holds {frames} pictures; save each in a file of its own")
    if picture.mode == "P" and picture.palette is None:
        raise DataError(f"{path} has no palette for its colours; mend or remove the file")


def _listed(formats: tuple[str, ...]) -> str:
    """Such as "JPEG, PNG or WebP"."""
    *most, last = [name.replace("WEBP", "WebP") for name in formats]
    return f"{', '.join(most)} or {last}" if most else last
