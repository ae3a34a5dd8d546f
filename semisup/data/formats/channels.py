"""Images of any number of channels, with 8 or 16 bits: TIFF, 16-bit PNG and arrays of NumPy.

What is 8-bit RGB or grey is left to `pictures`. Nothing is converted by guess: an image of another
kind than its data set is refused by name.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from semisup.data.formats.pictures import ARRAYS, read_grey, read_rgb, read_rgba
from semisup.errors import DataError
from semisup.ops.pixels import GREY, RGB, ImageKind

if TYPE_CHECKING:
    from tifffile import TiffFile

TIFFS = (".tif", ".tiff")

MOST_VALUES = 1 << 30
"""Of one image, over all channels: what a file announces is compared with it before decoding."""

SAMPLED = 16
"""Files by which the kind of a data set is known, before those of a grey one are all opened."""

_Values = npt.NDArray[Any]

_SIZES = {"uint8": 8, "uint16": 16}
"""Types of values that are read -> bits."""

MOST_PAGES = 256
"""Of a TIFF: one for each channel at most."""

_ARRAY_HEAD = re.compile(
    r"\{'descr': '(?P<type>[<>|=]?[a-zA-Z]\d*)', 'fortran_order': (?P<order>True|False), "
    r"'shape': \((?P<shape>[\d, ]*)\),? *\}\s*"
)

_LONGEST_HEAD = 1000

_ARRAY_AXES = "QYX"
"""Axes of a TIFF that was written from a bare array: which one has the channels is not stated."""


def find_kind(files: Sequence[Path], channels: int | None = None) -> ImageKind:
    """The kind of most of a set of images; of 8-bit grey and RGB together RGB.

    No pixel is decoded. Files that cannot be read have no say; who decodes them says what is wrong.

    Args:
        files: all images of the set, whatever its subsets.
        channels: as the user states them; None: as the files have them.

    Raises:
        DataError: the files have other channels than `channels`.
    """
    step = max(1, len(files) // SAMPLED)
    known = Counter(kind for kind in map(kind_of, files[::step]) if kind is not None)
    found = max(known, key=lambda kind: known[kind], default=RGB)
    if found == GREY and (RGB in known or any(kind_of(path) == RGB for path in files)):
        found = RGB
    if channels in (None, found.channels):
        return found
    if channels == 3 and found == GREY:  # three equal ones
        return RGB
    if channels == 4 and found == RGB and any(_has_alpha(path) for path in files[:SAMPLED]):
        return ImageKind(4, 8)
    raise DataError(
        f"data.channels = {channels}, but the images, such as {files[0]}, are {found}; set it to "
        f"{found.channels}, or leave it out"
    )


def kind_of(path: Path) -> ImageKind | None:
    """The kind of the image in a file, by its head; None where that cannot be read.

    8-bit pictures in colours, with transparency or with a palette are RGB.
    """
    suffix = path.suffix.lower()
    try:
        if path.is_fifo():
            return None
        if suffix == ARRAYS:
            with path.open("rb") as file:
                return _kind_of_shape(*_array_head(file)[:2])
        if suffix in TIFFS and _is_beyond_pillow(path):
            with _tiff(path) as tiff:
                return _kind_of_shape(*_tiff_head(tiff))
        if suffix == ".png":
            return _kind_of_png(path)
        with Image.open(path) as picture:
            return GREY if picture.mode in ("1", "L") else RGB
    except Exception:  # damage fails in nearly every way there is
        return None


def read_image(path: Path, kind: ImageKind) -> Tensor:
    """The image in a file: CHW of the type of `kind`.

    Args:
        path: JPEG, PNG, TIFF, BMP, WebP or .npy (HWC or CHW: the shortest axis is that of the
            channels).
        kind: of the data set. 8-bit grey becomes RGB where the set is RGB.

    Raises:
        DataError: the file is missing, damaged or too large, or its image is of another kind.
        DataError: it is a TIFF that tifffile reads, which is not installed.
    """
    if path.suffix.lower() == ARRAYS:
        return _checked(path, _read_array(path), kind)
    if kind == RGB:
        return read_rgb(path)
    if kind == GREY:
        return read_grey(path)
    if kind == ImageKind(4, 8) and kind_of(path) == RGB:
        return read_rgba(path)
    if path.suffix.lower() in TIFFS:
        return _checked(path, _read_tiff(path), kind)
    found = kind_of(path)
    if found is not None and found != kind:
        raise _other_kind(path, found, kind)
    return _checked(path, _read_png(path), kind)


def _checked(path: Path, values: _Values, kind: ImageKind) -> Tensor:
    """HWC of a file as CHW, if it is of the kind."""
    found = ImageKind(values.shape[2], _SIZES[values.dtype.name])
    if found == GREY and kind == RGB:
        values = np.repeat(values, 3, axis=2)
    elif found != kind:
        raise _other_kind(path, found, kind)
    return torch.from_numpy(values).permute(2, 0, 1)


def _other_kind(path: Path, found: ImageKind, kind: ImageKind) -> DataError:
    return DataError(f"{path} is {found} (expected: {kind}); convert it")


def _kind_of_shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> ImageKind | None:
    if len(shape) not in (2, 3) or dtype.name not in _SIZES:
        return None
    channels = 1 if len(shape) == 2 else shape[_channel_axis(shape)]
    return ImageKind(channels, _SIZES[dtype.name])


def _channel_axis(shape: tuple[int, ...]) -> int:
    """0 or 2, where the channels of a bare array are: the shortest axis; the last if in doubt."""
    return 0 if shape[0] < min(shape[1:]) else 2


def _channels_last(values: _Values) -> _Values:
    """HW, HWC or CHW as HWC, in the byte order of the machine and in memory of its own."""
    if values.ndim == 2:
        values = values[..., None]
    elif _channel_axis(values.shape) == 0:
        values = np.moveaxis(values, 0, 2)
    return np.array(values, dtype=values.dtype.newbyteorder("="), order="C")


def _check_head(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse what is no image of whole numbers with 8 or 16 bits, before it is decoded."""
    form = "x".join(map(str, shape)) or "none"
    if dtype.name not in _SIZES:
        raise DataError(
            f"{path} holds values of the type {dtype.name}; save them as uint8 or uint16, whole "
            "numbers of 0..255 or 0..65535"
        )
    if len(shape) not in (2, 3):
        raise DataError(f"{path} has the shape {form}; save one image HW, HWC or CHW in each file")
    if 0 in shape:
        raise DataError(f"{path} has the shape {form}, which holds no pixel; mend or remove it")
    if math.prod(shape) > MOST_VALUES:
        raise DataError(f"{path} has too many values ({form}) to decode safely; cut it in tiles")


def _array_head(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type and whether the first axis is the fastest, as `numpy.save` writes them.

    Raises:
        ValueError: the head is none of its.
    """
    # Read here, since NumPy evaluates the text and warns of what is odd in it.
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise ValueError("its head is none of numpy.save")
    width = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(width, file.read(struct.calcsize(width)))
    text = file.read(min(length, _LONGEST_HEAD)).decode("latin-1")
    found = _ARRAY_HEAD.fullmatch(text)
    if found is None:
        raise ValueError("its head is none of numpy.save")
    shape = tuple(int(side) for side in found["shape"].split(",") if side.strip())
    return shape, np.dtype(found["type"]), found["order"] == "True"


def _read_array(path: Path) -> _Values:
    with _decoding(path, "no array of NumPy"), path.open("rb") as file:
        shape, dtype, turned = _array_head(file)
        _check_head(path, shape, dtype)
        values = np.fromfile(file, dtype, count=math.prod(shape))
        if values.size < math.prod(shape):
            raise ValueError(f"it ends after {values.size} of {math.prod(shape)} values")
        return _channels_last(values.reshape(shape[::-1]).T if turned else values.reshape(shape))


def _kind_of_png(path: Path) -> ImageKind | None:
    """By bits and colour type of the header."""
    with path.open("rb") as file:
        head = file.read(26)
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or head[12:16] != b"IHDR":
        return None
    bits, colours = struct.unpack_from("BB", head, 24)
    if bits == 16:
        return ImageKind({0: 1, 2: 3, 4: 2, 6: 4}[colours], 16)
    return GREY if colours == 0 else RGB


def _has_alpha(path: Path) -> bool:
    """Whether a picture has a fourth channel, which Pillow takes for transparency."""
    try:
        with Image.open(path) as picture:
            return picture.mode == "RGBA"
    except Exception:
        return False


def _read_png(path: Path) -> _Values:
    with _decoding(path, "no PNG file of 16 bits"):
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.width * picture.height > MOST_VALUES // 4:
                raise DataError(f"{path} has too many pixels to decode safely; cut it in tiles")
            picture.load()  # finds damage, which libpng would print
            if picture.mode.startswith("I"):
                return np.array(picture, dtype=np.uint16)[..., None]
            if picture.info.get("interlace"):
                raise DataError(f"{path} is interlaced; save it without")
        content = path.read_bytes()
        if content[26:28] != b"\0\0":  # which Pillow reads over, and libpng prints a line about
            raise ValueError("its compression is none of PNG")
        values: _Values = _imagecodecs(path).png_decode(content)
        return values  # Pillow would leave 8 bits of each colour


def _imagecodecs(path: Path) -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise DataError(
            f"{path} has 16 bits a colour, which Pillow cannot read; install imagecodecs: pip "
            "install 'semisup[tiff]'"
        ) from None
    return imagecodecs


def _is_beyond_pillow(path: Path) -> bool:
    """Whether a TIFF has more than Pillow reads: other than 1 or 3 channels, or 16 bits."""
    try:
        with Image.open(path, formats=("TIFF",)) as picture:
            deep = ";16" in str(picture.tile) or picture.mode.startswith("I;16")
            bits = set(picture.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]
            return deep or max(bits) > 8 or picture.mode == "RGBX"
    except Exception:  # of a kind that Pillow does not know
        return True


@contextlib.contextmanager
def _tiff(path: Path) -> Iterator[TiffFile]:
    """An open TIFF.

    Raises:
        DataError: tifffile is not installed.
    """
    try:
        from tifffile import TiffFile
    except ImportError:
        raise DataError(
            f"{path} is a TIFF that Pillow cannot read; install tifffile: pip install "
            "'semisup[tiff]'"
        ) from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would print a line for each fault
    with TiffFile(path) as file:
        yield file


def _tiff_head(file: TiffFile) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the only picture; channels last or first, as they are stored."""
    if len(file.pages) > MOST_PAGES:
        raise ValueError(f"it holds {len(file.pages)} pages")
    series = file.series[0]
    return tuple(series.shape), np.dtype(series.dtype)


def _read_tiff(path: Path) -> _Values:
    with _decoding(path, "no TIFF file"), _tiff(path) as file:
        shape, dtype = _tiff_head(file)
        series = file.series[0]
        _check_head(path, shape, dtype)
        axes = series.axes
        stated = "S" if "S" in axes else "C"
        if len(file.series) > 1 and not series.is_pyramidal:
            raise DataError(
                f"{path} holds {len(file.series)} pictures; save each in a file of its own"
            )
        if axes not in ("YX", "YXS", "SYX", "CYX", "YXC", _ARRAY_AXES):
            raise DataError(f"{path} holds {shape[0]} pictures; save each in a file of its own")
        values = series.asarray(maxworkers=1)
        if stated in axes:
            values = np.moveaxis(values, axes.index(stated), 2)
            return np.array(values, dtype=values.dtype.newbyteorder("="), order="C")
        return _channels_last(values)


@contextlib.contextmanager
def _decoding(path: Path, what: str) -> Iterator[None]:
    """Whatever decoders raise, in one line that names the file."""
    try:
        if path.is_fifo():  # to open one is to wait for whoever writes into it
            raise DataError(f"{path} is a pipe; put the picture in its place")
        yield
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; put the picture in its place") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; put it there, or take it off the list") from error
    except DataError:
        raise
    except Exception as error:  # damage makes decoders fail in nearly every way there is
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(
                f"{path} cannot be read ({error.strerror}); check its folder"
            ) from error
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(f"{path} is {what} or damaged ({reason}); mend or remove it") from error
