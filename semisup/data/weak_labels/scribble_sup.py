"""The strokes of ScribbleSup (Lin et al., CVPR 2016): one XML file an image.

    <annotation>
      <polygon><tag>person</tag><point><X>187</X><Y>259</Y></point><point>...</point></polygon>
      ...
    </annotation>

A polygon is an open line. Points are pixels from the upper left corner, from 0 on.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from semisup.errors import DataError, suggest

Line = npt.NDArray[np.float64]
"""N2, row and column."""


class Stroke(NamedTuple):
    """A line that somebody has drawn.

    Attributes:
        label: 0..K-1.
        path: N2, row and column, N >= 1.
    """

    label: int
    path: Line


def read_strokes(path: Path, classes: Sequence[str]) -> list[Stroke]:
    """The strokes of an image, in the order of the file.

    Args:
        path: of the XML file.
        classes: the K class names.

    Raises:
        DataError: the file is missing or no XML, a stroke has no point, or is of no class.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise DataError(f"cannot read the scribbles {path} ({error.strerror})") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path} is no XML of scribbles ({error}); fetch it again") from error
    return [_stroke(path, entry, classes) for entry in root.findall("polygon")]


def _stroke(path: Path, entry: ElementTree.Element, classes: Sequence[str]) -> Stroke:
    name = (entry.findtext("tag") or "").strip()
    if name not in classes:
        raise DataError(
            f"{path} has a scribble on '{name}', which is no class.{suggest(name, classes)}"
        )
    try:
        points = [
            (float(point.findtext("Y") or ""), float(point.findtext("X") or ""))
            for point in entry.findall("point")
        ]
    except ValueError as error:
        raise DataError(f"{path} has a scribble on '{name}' without a place ({error})") from error
    line = np.array(points, np.float64).reshape(-1, 2)
    if not len(line) or not (np.isfinite(line) & (line > -1e6) & (line < 1e6)).all():
        raise DataError(f"{path} has a scribble on '{name}' without a usable point; correct it")
    return Stroke(classes.index(name), line)
