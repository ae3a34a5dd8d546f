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
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import Tensor

from semisup.data.formats.pictures import ARRAYS, opening, read_grey, read_rgb, read_rgba
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

_CHANNEL_AXES = {"YX": None, "YXS": 2, "SYX": 0, "CYX": 0, "IYX": 0, "YXC": 2}
"""Axes of a TIFF, as tifffile names them (I: pages) -> which one has the channels."""

_ARRAY_AXES = "QYX"
"""Axes of a TIFF that was written from a bare array: which one has the channels is not stated."""

_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
"""Photometric interpretation of a TIFF that Pillow knows -> samples of a pixel."""

_WHITE_IS_ZERO, _PALETTE = 0, 3
"""Photometric interpretations."""

_COMPRESSIONS = {1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34925, 50000}
"""Of a TIFF, which Pillow is always built with."""


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
    kinds = (kind_of(path, channels) for path in files[::step])
    known = Counter(kind for kind in kinds if kind is not None)
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


def kind_of(path: Path, channels: int | None = None) -> ImageKind | None:
    """The kind of the image in a file, by its head; None where that cannot be read.

    8-bit pictures in colours, with transparency or with a palette are RGB.

    Args:
        path: of the file.
        channels: of bare arrays, where it is known: which axis has them.
    """
    suffix = path.suffix.lower()
    try:
        if path.is_fifo():
            return None
        if suffix == ARRAYS:
            with path.open("rb") as file:
                shape, dtype, _ = _array_head(file)
            return _kind(shape, _channel_axis(path, shape, channels), dtype)
        if suffix in TIFFS and _is_beyond_pillow(path):
            with _tiff(path) as tiff:
                return _kind(*_tiff_form(path, tiff, channels), tiff.series[0].dtype)
        found = _kind_of_png(path) if suffix == ".png" else None
        if found is not None:
            return found
        with Image.open(path) as picture:
            return GREY if picture.mode in ("1", "L") else RGB
    except Exception:  # damage fails in nearly every way there is
        return None


def read_image(path: Path, kind: ImageKind) -> Tensor:
    """The image in a file: CHW of the type of `kind`.

    Args:
        path: JPEG, PNG, TIFF, BMP, WebP or .npy (HWC or CHW: the axis of the channels is as long
            as `kind` has channels, or else the shortest).
        kind: of the data set. 8-bit grey becomes RGB where the set is RGB.

    Raises:
        DataError: the file is missing, damaged or too large, or its image is of another kind.
        DataError: it is a TIFF that tifffile reads, which is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ARRAYS:
        return _checked(path, _read_array(path, kind.channels), kind)
    if suffix in TIFFS and (kind not in (RGB, GREY) or _is_beyond_pillow(path)):
        return _checked(path, _read_tiff(path, kind.channels), kind)
    if kind == RGB:
        return read_rgb(path)
    if kind == GREY:
        return read_grey(path)
    if kind == ImageKind(4, 8) and kind_of(path) == RGB:
        return read_rgba(path)
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


def _kind(shape: tuple[int, ...], axis: int | None, dtype: np.dtype[Any]) -> ImageKind | None:
    """Of an image in memory whose channels are on `axis`; None: it has but one."""
    if len(shape) not in (2, 3) or dtype.name not in _SIZES:
        return None
    return ImageKind(1 if axis is None else shape[axis], _SIZES[dtype.name])


def _channel_axis(path: Path, shape: tuple[int, ...], channels: int | None) -> int | None:
    """Which axis of a bare array has the channels; None: HW, or no image.

    It is the first or the last one: that which is as long as there are channels, or else the
    shortest; the last if in doubt.

    Raises:
        DataError: both are longer than the axis between them.
    """
    if len(shape) != 3:
        return None
    known = [axis for axis in (0, 2) if shape[axis] == channels]
    if len(known) == 1:
        return known[0]
    if shape[1] < min(shape[0], shape[2]):
        raise DataError(
            f"{path} has the shape {_form(shape)}, of which no axis is surely that of the "
            "channels; set data.channels to their number"
        )
    return 0 if shape[0] < min(shape[1:]) else 2


def _channels_last(values: _Values, axis: int | None) -> _Values:
    """HW, HWC or CHW as HWC, in the byte order of the machine and in memory of its own."""
    values = values[..., None] if axis is None else np.moveaxis(values, axis, 2)
    return np.array(values, dtype=values.dtype.newbyteorder("="), order="C")


def _form(shape: tuple[int, ...]) -> str:
    """Such as "40x50x4"."""
    return "x".join(map(str, shape)) or "none"


def _check_head(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse what is no image of whole numbers with 8 or 16 bits, before it is decoded."""
    form = _form(shape)
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


def _read_array(path: Path, channels: int) -> _Values:
    with _decoding(path, "no array of NumPy"), path.open("rb") as file:
        shape, dtype, turned = _array_head(file)
        _check_head(path, shape, dtype)
        values = np.fromfile(file, dtype, count=math.prod(shape))
        if values.size < math.prod(shape):
            raise ValueError(f"it ends after {values.size} of {math.prod(shape)} values")
        values = values.reshape(shape[::-1]).T if turned else values.reshape(shape)
        return _channels_last(values, _channel_axis(path, shape, channels))


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
    """Whether a TIFF holds more than Pillow reads of it, by the tags of its first page.

    That are other values than whole numbers of 8 bits, other channels than those of its colours
    and a transparency, further pages, and compressions that Pillow may lack. What is no TIFF, or
    damaged, is left to Pillow.
    """
    try:
        if path.is_fifo():
            return False
        with path.open("rb") as file:
            head = file.read(8)
            tags = ImageFileDirectory_v2(head + (file.read(8) if head[2:3] == b"\x2b" else b""))
            file.seek(tags.next)
            tags.load(file)
        samples, bits = tags.get(277, 1), tags.get(258, (1,))
        colours = _COLOURS[tags.get(262, 0)]
        transparent = tags.get(338, ()) in ((1,), (2,))
        return (
            tags.next != 0
            or samples != colours + transparent
            or set(tags.get(339, (1,))) != {1}
            or (set(bits) != {8} if samples > 1 else max(bits) > 8)
            or tags.get(259, 1) not in _COMPRESSIONS
        )
    except Exception:  # damage fails in nearly every way there is
        return False


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


def _tiff_form(
    path: Path, file: TiffFile, channels: int | None
) -> tuple[tuple[int, ...], int | None]:
    """Shape of the only picture, channels last or first, as they are stored, and their axis.

    Raises:
        DataError: it holds several pictures.
    """
    if len(file.pages) > MOST_PAGES:
        raise DataError(f"{path} holds {len(file.pages)} pages; save each in a file of its own")
    pictures = [one for one in file.series if not one.keyframe.is_reduced]
    if len(pictures) > 1:
        raise DataError(f"{path} holds {len(pictures)} pictures; save each in a file of its own")
    series = file.series[0]
    kept = [n for n, name in enumerate(series.axes) if name in "YXSC" or series.shape[n] > 1]
    axes, shape = "".join(series.axes[n] for n in kept), tuple(series.shape[n] for n in kept)
    if axes == _ARRAY_AXES:
        return shape, _channel_axis(path, shape, channels)
    if axes not in _CHANNEL_AXES:
        raise DataError(f"{path} holds {shape[0]} pictures; save each in a file of its own")
    return shape, _CHANNEL_AXES[axes]


def _read_tiff(path: Path, channels: int) -> _Values:
    with _decoding(path, "no TIFF file"), _tiff(path) as file:
        shape, axis = _tiff_form(path, file, channels)
        series = file.series[0]
        _check_head(path, shape, np.dtype(series.dtype))
        photometric = series.keyframe.photometric
        if photometric == _PALETTE:
            raise DataError(f"{path} has a palette of 16 bits; save it as RGB, or grey")
        values = series.asarray(maxworkers=1).reshape(shape)
        if photometric == _WHITE_IS_ZERO:
            values = ~values
        return _channels_last(values, axis)


@contextlib.contextmanager
def _decoding(path: Path, what: str) -> Iterator[None]:
    """Whatever decoders raise, in one line that names the file."""
    try:
        with opening(path):
            yield
    except DataError:
        raise
    except Exception as error:  # damage makes decoders fail in nearly every way there is
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(f"{path} is {what} or damaged ({reason}); mend or remove it") from error
