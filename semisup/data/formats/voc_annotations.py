"""The file formats of Pascal VOC and SBD beside the palette PNG: boxes in XML, masks in .mat."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from semisup.data.formats.matlab.level5 import read_field
from semisup.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Box:
    """One annotated object.

    Corners are pixel indices as in the XML: 1-based and inclusive, so that the box of a whole
    image of width W is 1..W. Slicing a tensor takes `[ymin - 1 : ymax, xmin - 1 : xmax]`.

    Attributes:
        name: class name.
        xmin: leftmost column.
        ymin: topmost row.
        xmax: rightmost column.
        ymax: lowest row.
        difficult: too hard to count in detection scores.
        truncated: the object reaches beyond the box (cut off or hidden).
    """

    name: str
    xmin: int
    ymin: int
    xmax: int
    ymax: int
    difficult: bool = False
    truncated: bool = False


def read_boxes(path: Path) -> list[Box]:
    """The objects of an Annotations XML file, in its order, without the parts of objects.

    A few official files hold fractions of a pixel: they are rounded. Flags that are left out
    count as not set.

    Raises:
        DataError: the file is missing, no XML, or has an object without a name or a whole box.
    """
    return _objects(path, _box)


def read_names(path: Path) -> list[str]:
    """The class names of the objects of an Annotations XML file, in its order; boxes are not read.

    Raises:
        DataError: the file is missing, no XML, or has an object without a name.
    """
    return _objects(path, _name)


def _objects(path: Path, read: Callable[[ElementTree.Element], T]) -> list[T]:
    try:
        tree = ElementTree.parse(path)
        return [read(entry) for entry in tree.getroot().findall("object")]
    except OSError as error:
        raise DataError(
            f"cannot read the boxes {path} ({error.strerror}); unpack the Annotations of the set"
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError, OverflowError) as error:
        raise DataError(f"{path} is no VOC annotation ({error}); mend or remove it") from error


def read_sbd_mask(path: Path) -> Tensor:
    """Class mask of an SBD file `cls/<id>.mat` (field `GTcls.Segmentation`): uint8 HW.

    Raises:
        DataError: the file is missing, damaged, or no class mask of SBD.
    """
    try:
        labels = read_field(path.read_bytes(), "GTcls", "Segmentation")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; fetch SBD again") from error
    except KeyError as error:
        raise DataError(f"{path} holds no GTcls.Segmentation; use SBD's cls folder") from error
    except (OSError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is no readable .mat file ({error}); fetch SBD again") from error
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise DataError(f"{path}: GTcls.Segmentation is no uint8 map; fetch SBD again")
    return torch.from_numpy(np.array(labels, order="C"))


def _box(entry: ElementTree.Element) -> Box:
    name = _name(entry)
    sides = ("xmin", "ymin", "xmax", "ymax")
    texts = [entry.findtext(f"bndbox/{side}") for side in sides]
    if None in texts:
        raise ValueError(f"{name!r} has no whole bndbox")
    xmin, ymin, xmax, ymax = (round(float(text or "")) for text in texts)
    if xmin > xmax or ymin > ymax:
        raise ValueError(f"{name!r} has a box of no size")
    flags = (_flag(entry, flag) for flag in ("difficult", "truncated"))
    return Box(name, xmin, ymin, xmax, ymax, *flags)


def _name(entry: ElementTree.Element) -> str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object without a name")
    return name


def _flag(entry: ElementTree.Element, name: str) -> bool:
    return (entry.findtext(name) or "0").strip() == "1"
