"""What lies where in a file of COCO's instances, in flat arrays that worker processes share.

The file is read once, an annotation at a time, and all that the index needs is checked. Outlines
stay in the file, and are read from there when a mask is drawn.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semisup.data.base import BACKGROUND
from semisup.data.sets.coco_json import JsonFile
from semisup.errors import DataError

MOST_CATEGORIES = 254
"""Beside background and void, in a mask of 8 bits."""

MOST_PIXELS = 1 << 30
"""Of an image: what a file states is compared with it before masks of that size are made."""

MOST_EXACT = 1 << 53
"""Whole numbers beyond it are not kept by programs to which all numbers are floats."""

NEEDED = "images", "categories", "annotations"

ARRAYS = (
    *("numbers", "sizes", "names", "name_ends"),
    *("first", "places", "kinds", "crowds", "sums"),
)
"""The tensors of an index."""

_AMOUNT = r"(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+"
_PLACE = f"-?{_AMOUNT}"
_POLYGON = r"\[[-0-9., eE+]++\]"
_USUAL = re.compile(
    rf'{{"segmentation": \[{_POLYGON}(?:, {_POLYGON})*+\], "area": {_AMOUNT}, "iscrowd": ([01]), '
    rf'"image_id": ([0-9]{{1,15}}), "bbox": \[{_PLACE}, {_PLACE}, {_AMOUNT}, {_AMOUNT}\], '
    r'"category_id": ([0-9]{1,15}), "id": ([0-9]{1,15})}'
)
"""An annotation as the official files have it; one of another form is read by JSON's own parser.

To look at each number of a polygon takes as long as all else; that is done when it is drawn.
"""

_FORM = (
    "it needs images (id, file_name, height, width), categories (id, name) and annotations of them "
    "(image_id, category_id, bbox, segmentation)"
)


@dataclass(frozen=True, slots=True)
class CocoIndex:
    """An annotation file of N images and M annotations.

    All arrays are tensors, which torch puts into shared memory on their way to a worker.

    Attributes:
        path: where it lies.
        sha256: of its bytes.
        categories: id -> name, in the order of the ids.
        description: what it says of itself, "" if nothing.
        numbers: N int64, ids of the images, in the order of the file.
        sizes: N2 int64, height and width as stated.
        names: uint8, the names of the images one after the other, in UTF-8.
        name_ends: N int64, where each ends.
        first: N+1 int64: the annotations of image i are `first[i]` to before `first[i + 1]`.
        places: M2 int64, first byte and length in the file; those of an image in its order.
        kinds: M uint8, positions in `categories`.
        crowds: M bool.
        sums: M int64, CRC-32 of the bytes.
    """

    path: Path
    sha256: str
    categories: Mapping[int, str]
    description: str
    numbers: Tensor
    sizes: Tensor
    names: Tensor
    name_ends: Tensor
    first: Tensor
    places: Tensor
    kinds: Tensor
    crowds: Tensor
    sums: Tensor

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of image `index` as stated."""
        height, width = self.sizes[index].tolist()
        return height, width

    def file(self, index: int) -> str:
        """The name of the file of image `index`."""
        begin = int(self.name_ends[index - 1]) if index else 0
        return self.names[begin : int(self.name_ends[index])].numpy().tobytes().decode()

    def files(self) -> list[str]:
        """The names of all images."""
        text, ends = self.names.numpy().tobytes(), [0, *self.name_ends.tolist()]
        return [text[begin:end].decode() for begin, end in pairwise(ends)]

    def kinds_of(self, index: int) -> list[int]:
        """Of each annotation of image `index` the position of its category; opens no file."""
        kinds: list[int] = self.kinds.numpy()[self._own(index)].tolist()
        return kinds

    def _own(self, index: int) -> slice:
        """Where the annotations of image `index` stand."""
        first = self.first.numpy()
        return slice(int(first[index]), int(first[index + 1]))

    def annotations(self, index: int) -> list[dict[str, Any]]:
        """What is used of the annotations of image `index`, in the order of the file.

        Raises:
            DataError: the file is gone, is no longer the one that was read, or has a number in an
                outline that is none.
        """
        own = self._own(index)
        try:
            with self.path.open("rb", buffering=0) as file:
                stated = [_read(file, *place) for place in self.places[own].tolist()]
        except OSError as error:
            raise DataError(unreadable(self.path, error)) from None
        if [zlib.crc32(one) for one in stated] != self.sums[own].tolist():
            raise DataError(f"{self.path} has changed since it was opened; open the data set anew")
        try:
            return [needed(json.loads(one)) for one in stated]
        except ValueError as error:  # numbers in outlines are not looked at before
            raise DataError(
                f"{self.path}: an annotation of image {int(self.numbers[index])} "
                f"({self.file(index)}) is no JSON ({line_of(error)}); correct it"
            ) from None


def _read(file: Any, place: int, length: int) -> bytes:
    file.seek(place)
    return bytes(file.read(length))


def unreadable(path: Path, error: OSError) -> str:
    """What is said of an annotation file that cannot be opened."""
    return f"cannot read {path} ({error.strerror}); unpack COCO's annotations there"


def build_index(path: Path) -> CocoIndex:
    """Read `instances_*.json` from its begin to its end.

    Raises:
        DataError: the file is missing, no JSON, lacks what is needed or contradicts itself; names
            it, and the image or annotation.
    """
    parts = _Parts()
    try:
        with path.open("rb", buffering=0) as file:
            read = JsonFile(file)
            for key in read.members():
                parts.take(key, read)
        return parts.index(path, read.sha256())
    except OSError as error:
        raise DataError(unreadable(path, error)) from None
    except WrongError as error:
        raise DataError(f"{path}: is no file of COCO's instances ({error}); {_FORM}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({line_of(error)}); get it again") from None


class WrongError(Exception):
    """What is wrong with what a file states, in words for a line."""


def line_of(error: Exception) -> str:
    """The begin of what an error says, in one line."""
    return next(iter(str(error).splitlines()), "")[:80]


class _Parts:
    """What was read so far."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.categories: dict[int, str] = {}
        self.description = ""
        self.images: dict[int, tuple[str, int, int]] = {}
        self.ids, self.owners, self.kinds = array("q"), array("q"), array("q")
        self.places, self.sums, self.crowds = array("q"), array("q"), bytearray()

    def take(self, key: str, read: JsonFile) -> None:
        """A member of the file."""
        self.found.add(key)
        if key == "info":
            info = read.value()
            self.description = str(info.get("description", "")) if isinstance(info, dict) else ""
        elif key not in NEEDED:
            read.value()
        elif not read.is_list():
            raise WrongError(f"TypeError: '{key}' is no list")
        elif key == "annotations":
            self._take_annotations(read)
        else:
            self._take_listed(key, read)

    def _take_listed(self, key: str, read: JsonFile) -> None:
        """Images or categories by their ids."""
        into: dict[int, Any] = self.images if key == "images" else self.categories
        of = _image if key == "images" else _name
        for position, (one, _, _) in enumerate(read.elements()):
            with _said_of(key[:-1].replace("ie", "y"), one, position):
                number = whole_number(one["id"])
                if number in into:
                    raise ValueError(f"two {key} have the id {number}")
                into[number] = of(one)

    def _take_annotations(self, read: JsonFile) -> None:
        ids, owners, kinds, crowds = self.ids, self.owners, self.kinds, self.crowds
        places, sums, crc32 = self.places, self.sums, zlib.crc32
        for position, (one, place, stated) in enumerate(read.elements(_USUAL)):
            if isinstance(one, re.Match):
                crowd, image, category, number = map(int, one.groups())
            else:
                with _said_of("annotation", one, position):
                    crowd, image, category, number = _checked(one, position)
            ids.append(number)
            owners.append(image)
            kinds.append(category)
            crowds.append(crowd)
            places.extend((place, len(stated)))
            sums.append(crc32(stated))

    def index(self, path: Path, sha256: str) -> CocoIndex:
        """All of it, if it fits together."""
        for key in NEEDED:
            if key not in self.found:
                raise WrongError(f"KeyError: '{key}'")
        for key, held in (("image", self.images), ("category", self.categories)):
            if not held:
                raise DataError(f"{path}: lists no {key}; get it again")
        categories = dict(sorted(self.categories.items()))
        _check_names(path, list(categories.values()))
        ids, owners, kinds = (np.asarray(one) for one in (self.ids, self.owners, self.kinds))
        self._check_ids(ids)
        images = self._positions("image_id", owners, list(self.images), "images")
        own = self._positions("category_id", kinds, list(categories), "categories")
        order = np.argsort(images, kind="stable")
        counts = np.bincount(images, minlength=len(self.images))
        names = [name.encode() for name, _, _ in self.images.values()]

        def kept(values: Any, kind: type = np.int64) -> Tensor:
            return torch.from_numpy(np.array(values, kind))

        return CocoIndex(
            path, sha256, categories, self.description,
            numbers=kept(list(self.images)),
            sizes=kept([size for _, *size in self.images.values()]),
            names=kept(np.frombuffer(b"".join(names), np.uint8), np.uint8),
            name_ends=kept(np.cumsum([len(name) for name in names])),
            first=kept(np.concatenate([[0], np.cumsum(counts)])),
            places=kept(np.asarray(self.places).reshape(-1, 2)[order]),
            kinds=kept(own[order], np.uint8),
            crowds=kept(np.frombuffer(self.crowds, np.uint8)[order], np.bool_),
            sums=kept(np.asarray(self.sums)[order]),
        )  # fmt: skip

    def _check_ids(self, ids: np.ndarray) -> None:
        """No two annotations have one id."""
        ordered = np.sort(ids)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twice):
            raise WrongError(f"two annotations have the id {twice[0]}")

    def _positions(self, key: str, values: np.ndarray, known: list[int], what: str) -> np.ndarray:
        """Where the images or categories of the annotations stand."""
        order = np.argsort(known)
        places = np.searchsorted(known, values, sorter=order)
        found = order[np.minimum(places, len(known) - 1)]
        wrong = np.flatnonzero(np.asarray(known)[found] != values)
        if len(wrong):
            annotation = _named("annotation", self.ids[wrong[0]], wrong[0])
            raise WrongError(f"{annotation}: {key} {values[wrong[0]]} is none of the {what}")
        return found


def _checked(one: Any, position: int) -> tuple[int, int, int, int]:
    """Of an annotation whether it is a crowd, its image, its category and its id.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is none.
    """
    used = needed(one)
    number = whole_number(one["id"]) if "id" in one else -1 - position  # of no other
    if "id" in one and number < 0:
        raise ValueError(f"id {number}")
    return used["iscrowd"], whole_number(one["image_id"]), used["category_id"], number


def needed(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What is used of an annotation, checked but for its outline.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it is none.
    """
    category, box = whole_number(stated["category_id"]), [float(side) for side in stated["bbox"]]
    is_box = isinstance(stated["bbox"], list) and len(box) == 4 and all(map(math.isfinite, box))
    if not is_box or min(box[2:]) < 0:
        raise ValueError(f"bbox {stated['bbox']!r}")
    crowd = stated.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise ValueError(f"iscrowd {crowd!r} is neither 0 nor 1")
    return {
        "category_id": category,
        "bbox": box,
        "area": _measure(stated.get("area", box[2] * box[3]), "area"),
        "iscrowd": int(crowd),
        "segmentation": stated["segmentation"],
    }


@contextmanager
def _said_of(kind: str, one: Any, position: int) -> Iterator[None]:
    """What is wrong with one of the images, categories or annotations."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        number = one.get("id") if isinstance(one, dict) else None
        raise WrongError(
            f"{_named(kind, number, position)}: {type(error).__name__}: {line_of(error)}"
        ) from None


def _named(kind: str, number: Any, position: int) -> str:
    """An image, category or annotation: by its id if it has one that can be read."""
    has_id = isinstance(number, int) and number >= 0
    return f"{kind} {number}" if has_id else f"{kind} {position + 1} of the list"


def whole_number(value: Any) -> int:
    """A whole number that JSON keeps exactly."""
    number = int(value)
    if isinstance(value, bool) or number != float(value) or abs(number) > MOST_EXACT:
        raise ValueError(f"{value!r} is no whole number")
    return number


def _measure(value: Any, what: str) -> float:
    """A length or area, in pixels."""
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{what} {value!r}")
    return number


def _name(stated: Mapping[str, Any]) -> str:
    """Of a category: in one line."""
    name = stated["name"]
    if not isinstance(name, str) or not name.strip() or len(name.splitlines()) > 1:
        raise ValueError(f"{name!r} is no name of a category")
    name.encode()  # half a surrogate pair could never be written again
    return name


def _image(stated: Mapping[str, Any]) -> tuple[str, int, int]:
    """Name, height and width."""
    height, width = whole_number(stated["height"]), whole_number(stated["width"])
    name = str(stated["file_name"])
    no_name = bool(set("/\\\0") & set(name)) or not PurePath(name).suffix
    if min(height, width) < 1 or height * width > MOST_PIXELS or no_name:
        raise ValueError(f"image {name!r} of {height}x{width}")
    name.encode()
    return name, height, width


def _check_names(path: Path, own: list[str]) -> None:
    """Refuse what a mask cannot tell apart."""
    names = [BACKGROUND, *own]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice or len(own) > MOST_CATEGORIES:
        what = f"'{twice}' is the name of two" if twice else f"{len(own)} are more"
        raise DataError(
            f"{path}: {what} categories{'' if twice else f' than the {MOST_CATEGORIES} of a mask'};"
            " take a file with fewer, of names of their own"
        )
