"""The EXIF orientation of photographs, and whether their masks were drawn on the turned picture.

A camera held upright stores the picture lying on its side, with a note of how to turn it. A viewer
turns it, and so do most tools for labelling; others draw on the stored picture. The size of a mask
proves which, unless the picture is square, or turned by 180 degrees or mirrored alone.
"""

from __future__ import annotations

import functools
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor
from torch.utils.data import get_worker_info

from semisup.errors import DataError

Choice = Literal["auto", "apply", "ignore"]

ORIENTATION_TAG = 0x0112
"""Where EXIF, and a TIFF, states it."""

_FLIPS = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}
"""Orientation -> the axes to flip, after the sides were swapped from 5 on."""

_NUMBERS = {1: "B", 3: "H", 4: "I"}
"""Type of a number in EXIF -> its letter in `struct`."""

_LARGEST = 1 << 20
"""Bytes of EXIF that are read; the orientation stands in the first few hundred."""

_MASKS = ("PNG", "TIFF", "BMP", "WEBP")


def stored_orientation(path: Path) -> int:
    """The orientation of a JPEG, PNG (eXIf), WebP or TIFF file: 1..8, and 1 where it states none.

    Nothing is decoded. A file that is not there or is damaged has the orientation 1: who reads
    its pixels says what is wrong with it.
    """
    try:
        if path.is_fifo():
            return 1
        with path.open("rb") as file:
            return next((_orientation(exif) for exif in _exif_blocks(file)), 1)
    except (OSError, struct.error):
        return 1


def swaps_sides(orientation: int) -> bool:
    """Whether height and width change places."""
    return orientation >= 5


def upright(picture: Tensor, orientation: int) -> Tensor:
    """A picture of any shape (..., H, W) turned as a viewer shows it."""
    if swaps_sides(orientation):
        picture = picture.transpose(-2, -1)
    return picture.flip(_FLIPS[orientation]) if orientation in _FLIPS else picture


def orientation_note(path: Path) -> str:
    """What an error about sizes adds where a photograph states an orientation; else nothing."""
    orientation = stored_orientation(path)
    return f"; the image has the EXIF orientation {orientation}" if orientation > 1 else ""


def check_mask_orientation(mask: Path, image: Path) -> None:
    """Refuse a mask that states an orientation of its own: its pixels are read as they are stored.

    Raises:
        DataError: it states one, and that of its image is another.
    """
    stated = stored_orientation(mask)
    if stated not in (1, stored_orientation(image)):
        raise DataError(
            f"{mask} has the EXIF orientation {stated}, which its image does not have; save the "
            "mask as a viewer shows it, without EXIF"
        )


class Orientation:
    """How the photographs of a data set are turned: as their masks were drawn.

    Args:
        choice: "apply" turns all as their EXIF says, "ignore" keeps them as they are stored,
            "auto" does what the size of each mask proves.
        masks: image file -> where its mask lies, if it has one.
    """

    def __init__(self, choice: Choice, masks: Mapping[Path, Path]) -> None:
        self._choice = choice
        self._masks = masks

    def turned(self, picture: Tensor, path: Path) -> Tensor:
        """The picture (CHW, as stored) of an image file in the orientation of its mask.

        Of the mask the size is read, from the head of the file; no label is.

        Raises:
            DataError: the size of the mask cannot tell and no choice was made.
        """
        orientation = stored_orientation(path)
        if orientation == 1 or self._choice == "ignore":
            return picture
        if self._choice == "apply" or self._is_to_turn(picture, path, orientation):
            return upright(picture, orientation)
        return picture

    def _is_to_turn(self, picture: Tensor, path: Path, orientation: int) -> bool:
        height, width = picture.shape[-2:]
        mask = _mask_size(self._masks.get(path))
        if mask is None:
            return self._turns_others
        proven = _proof((height, width), mask, orientation)
        if proven is None:
            raise DataError(
                f"{path} has the EXIF orientation {orientation}, and the size of its mask cannot "
                'tell whether it was drawn on the turned picture; set data.exif = "apply" if so, '
                '"ignore" if on the stored one'
            )
        return proven

    @functools.cached_property
    def _turns_others(self) -> bool:
        """Whether images without mask are turned: as all proofs of the set say, else as viewers."""
        proofs = set(self._proofs())
        if len(proofs) != 1 and _is_first_worker():
            what = "no mask proves" if not proofs else "the masks do not agree on"
            warnings.warn(
                f"images without mask have an EXIF orientation, and {what} whether it was applied "
                "when they were labelled: they are turned as a viewer shows them. data.exif = "
                '"apply" or "ignore" decides.',
                stacklevel=2,
            )
        return proofs != {False}

    def _proofs(self) -> Iterator[bool]:
        for path, place in self._masks.items():
            orientation = stored_orientation(path)
            mask = _mask_size(place) if swaps_sides(orientation) else None
            image = _size(path, (*_MASKS, "JPEG")) if mask is not None else None
            if mask is not None and image is not None and mask in (image, image[::-1]):
                proven = _proof(image, mask, orientation)
                yield from () if proven is None else (proven,)


def _proof(image: tuple[int, int], mask: tuple[int, int], orientation: int) -> bool | None:
    """Whether a mask was drawn on the turned picture; None where sizes cannot tell."""
    turned = image[::-1] if swaps_sides(orientation) else image
    if mask not in (image, turned):
        return False  # of another size, which is an error of its own
    return None if image == turned else mask == turned


def _is_first_worker() -> bool:
    """False in all but one of the processes that load images."""
    worker = get_worker_info()
    return worker is None or worker.id == 0


def _mask_size(path: Path | None) -> tuple[int, int] | None:
    return None if path is None or not path.is_file() else _size(path, _MASKS)


def _size(path: Path, formats: tuple[str, ...]) -> tuple[int, int] | None:
    """Height and width by the head of a file; None where it cannot be read."""
    try:
        with Image.open(path, formats=formats) as picture:
            if isinstance(picture, TiffImageFile):  # Pillow's own are those of the turned picture
                return picture.tag_v2[257], picture.tag_v2[256]
            return picture.height, picture.width
    except Exception:  # damage makes Pillow fail in nearly every way there is
        return None


def _exif_blocks(file: BinaryIO) -> Iterator[bytes]:
    head = file.read(12)
    if head.startswith(b"\xff\xd8"):
        file.seek(2)
        return _in_jpeg(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        file.seek(8)
        return _in_chunks(file, ">I4s", swapped=False, name=b"eXIf", after=4)
    if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        return _in_chunks(file, "<4sI", swapped=True, name=b"EXIF", after=0)
    if head.startswith((b"II*\0", b"MM\0*")):
        return _in_tiff(file, head)
    return iter(())


def _in_tiff(file: BinaryIO, head: bytes) -> Iterator[bytes]:
    """The first directory of a TIFF, as a block of EXIF has it."""
    order = "<" if head.startswith(b"II") else ">"
    file.seek(struct.unpack_from(f"{order}I", head, 4)[0])
    start = file.read(2)
    (count,) = struct.unpack(f"{order}H", start)
    yield head[:4] + struct.pack(f"{order}I", 8) + start + file.read(12 * count)


def _in_jpeg(file: BinaryIO) -> Iterator[bytes]:
    """The EXIF segments before the pixels."""
    while file.read(1) == b"\xff":
        mark = file.read(1)
        while mark == b"\xff":  # any number of them may stand before a segment
            mark = file.read(1)
        if mark in (b"", b"\xda", b"\xd9"):  # the end of the file, the pixels, the end of them
            return
        (length,) = struct.unpack(">H", file.read(2))
        content = file.read(max(0, length - 2))
        if mark == b"\xe1" and content.startswith(b"Exif\0"):
            yield content[6:]


def _in_chunks(
    file: BinaryIO, head: str, *, swapped: bool, name: bytes, after: int
) -> Iterator[bytes]:
    """The chunks of one name; all others are passed over unread, pixels included."""
    while len(start := file.read(8)) == 8:
        first, second = struct.unpack(head, start)
        kind, length = (first, second) if swapped else (second, first)
        if kind == name:
            content = file.read(min(length, _LARGEST))
            yield content.removeprefix(b"Exif\0\0")
            return
        file.seek(length + after + (length % 2 if swapped else 0), 1)


def _orientation(exif: bytes) -> int:
    """`ORIENTATION_TAG` of the first directory of a block of EXIF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for entry in range(count):
        tag, kind = struct.unpack_from(f"{order}HH", exif, start + 2 + 12 * entry)
        if tag == ORIENTATION_TAG and kind in _NUMBERS:
            place = start + 10 + 12 * entry
            (value,) = struct.unpack_from(f"{order}{_NUMBERS[kind]}", exif, place)
            return int(value) if 1 <= value <= 8 else 1
    return 1
