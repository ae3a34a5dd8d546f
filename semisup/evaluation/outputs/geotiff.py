"""Label maps that lie where their images lie on the ground: TIFF with the tags of the image."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import Tensor

from semisup.data.base import Colour
from semisup.data.formats.channels import TIFFS
from semisup.data.formats.pictures import full_palette
from semisup.system.files import write_atomically
from semisup.types import IGNORE

PLACE_TAGS = {
    33550: "ModelPixelScale",
    33922: "ModelTiepoint",
    34264: "ModelTransformation",
    34735: "GeoKeyDirectory",
    34736: "GeoDoubleParams",
    34737: "GeoAsciiParams",
}
"""Tags of OGC GeoTIFF 1.1 (19-008r4) that say where a picture lies, which are copied."""

_NO_DATA = 42113
"""GDAL_NODATA: the value of pixels without data, as a text."""

_SHORT, _DOUBLE, _ASCII = 3, 12, 2
_TYPES = {34735: _SHORT, 34737: _ASCII, _NO_DATA: _ASCII}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies on the ground.

    Attributes:
        tags: number of a tag -> its value; of `PLACE_TAGS`.
        no_data: value of pixels without data; None: not stated, or no number.
    """

    tags: dict[int, Any]
    no_data: float | None


def place_of(path: Path) -> Place | None:
    """Where the picture in a file lies; None where the file is no TIFF, or states nothing of it.

    Read from the tags of the first page; no pixel is decoded. A damaged file states nothing: who
    reads its pixels says what is wrong with it.
    """
    if path.suffix.lower() not in TIFFS:
        return None
    try:
        if path.is_fifo():
            return None
        tags = _tags(path)
    except Exception:  # damage fails in nearly every way there is
        return None
    found = {number: tags[number] for number in PLACE_TAGS if number in tags}
    if not found:
        return None
    no_data = None
    with contextlib.suppress(TypeError, ValueError):
        no_data = float(str(tags.get(_NO_DATA)).strip("\0 "))
    return Place(found, no_data)


def _tags(path: Path) -> dict[int, Any]:
    """The tags of the first page of a TIFF that tell of its place."""
    wanted = (*PLACE_TAGS, _NO_DATA)
    with path.open("rb") as file:
        head = file.read(8)
        if head.startswith(b"MM\0\x2b"):  # which Pillow cannot read
            from tifffile import TiffFile

            file.seek(0)
            with TiffFile(file) as opened:
                found = opened.pages.first.tags
                return {number: found[number].value for number in wanted if number in found}
        tags = ImageFileDirectory_v2(head + (file.read(8) if head[2:3] == b"\x2b" else b""))
        file.seek(tags.next)
        tags.load(file)
        return {number: tags[number] for number in wanted if number in tags}


def write_geotiff(
    path: Path, labels: Tensor, palette: Sequence[Colour], place: Place, image: Tensor
) -> None:
    """Write `labels` as an index TIFF (deflate) with the tags of the image's place.

    Where all channels of the image have its value for no data the label map has 255, and it states
    this as its own value for no data.

    Args:
        path: of the file; whole or not at all.
        labels: uint8 HW.
        palette: K colours.
        place: of the image.
        image: CHW, as stored.

    Raises:
        RunError: the file cannot be written.
    """
    tags = ImageFileDirectory_v2()
    for number, value in place.tags.items():
        tags.tagtype[number] = _TYPES.get(number, _DOUBLE)
        tags[number] = value
    if place.no_data is not None:
        empty = (image == place.no_data).all(0)
        labels = torch.where(empty, torch.tensor(IGNORE, dtype=torch.uint8), labels)
        tags.tagtype[_NO_DATA] = _ASCII
        tags[_NO_DATA] = str(IGNORE)
    picture = Image.fromarray(labels.numpy())
    picture.putpalette(full_palette(palette))
    write_atomically(
        path,
        lambda file: picture.save(
            file, format="TIFF", compression="tiff_adobe_deflate", tiffinfo=tags
        ),
    )
