"""labelme (wkentaro): a JSON file beside each image."""

from __future__ import annotations

import base64
import binascii
import functools
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from semisup.data.formats.trees import list_files
from semisup.errors import DataError
from semisup.own_data.tools.base import Export, Exported, Mask, Segment

_LEFT_OUT = {"point": "point", "points": "point", "line": "line", "linestrip": "line"}
_HEAD = 4096


def is_labelme(source: Path) -> bool:
    """Whether a folder holds JSON files with shapes, as labelme writes them."""
    for path in list(list_files(source, (".json",)).values())[:5]:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if b'"shapes"' in head and b'"flags"' in head:
            return True
    return False


def read_labelme(source: Path) -> Export:
    """The shapes of the JSON files in a folder and its sub-folders.

    Classes are in the order of labels.txt, where there is one, else of the alphabet; __ignore__ is
    void. Polygons, rectangles, circles and masks are drawn as labelme's own exporter draws them.

    Raises:
        DataError: a file is damaged.
    """
    files = list_files(source, (".json",))
    contents = {name: _load(path) for name, path in files.items()}
    contents = {name: content for name, content in contents.items() if "shapes" in content}
    used = {str(shape["label"]) for content in contents.values() for shape in content["shapes"]}
    listed = source / "labels.txt"
    order = listed.read_text(encoding="utf-8").split("\n") if listed.is_file() else []
    classes = [name.strip() for name in order if name.strip() in used]
    classes += sorted(used - set(classes))
    images = _images(files, contents, {name: label for label, name in enumerate(classes)})
    return Export("labelme", classes, [None] * len(classes), images)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is no JSON ({error}); mend or remove it") from None
    if not isinstance(content, dict) or "shapes" not in content:
        return {}
    shapes = content["shapes"]
    sound = isinstance(shapes, list) and all(
        isinstance(shape, dict) and "label" in shape and "points" in shape for shape in shapes
    )
    if not sound:
        raise DataError(f"{path} has shapes without label or points; mend or remove it")
    return content


def _images(
    files: Mapping[str, Path], contents: Mapping[str, dict[str, Any]], labels: Mapping[str, int]
) -> Iterator[Exported]:
    for name, content in contents.items():
        path = files[name]
        stated = str(content.get("imagePath") or "").replace("\\", "/")
        beside = path.parent / stated
        picture = beside if stated and beside.is_file() else None
        height, width = content.get("imageHeight"), content.get("imageWidth")
        try:
            size = (int(height), int(width)) if height and width else None
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{path} states no size of its image; mend or remove it") from None
        found = Exported(name.rpartition(".")[0], "", picture, size, [])
        for order, shape in enumerate(content["shapes"]):
            kind = str(shape.get("shape_type") or "polygon")
            if kind in _LEFT_OUT:
                found.left_out[_LEFT_OUT[kind]] += 1
                continue
            draw = functools.partial(_draw, shape, kind, path)
            found.segments.append(Segment(labels[str(shape["label"])], draw, order))
        yield found


def _draw(shape: Mapping[str, Any], kind: str, path: Path, height: int, width: int) -> Mask:
    """The pixels of a shape, as labelme's exporter has them.

    Raises:
        DataError: the shape is damaged or of a kind that is not known.
    """
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        if not np.isfinite(points).all():
            raise ValueError("a point is no number")
        if kind == "mask":
            return _stored(shape["mask"], points, height, width)
        picture = Image.new("1", (width, height))
        pen = ImageDraw.Draw(picture)
        if kind == "circle":
            (x, y), (edge_x, edge_y) = points
            reach = float(np.hypot(x - edge_x, y - edge_y))
            pen.ellipse([x - reach, y - reach, x + reach, y + reach], outline=1, fill=1)
        elif kind == "rectangle":
            (left, top), (right, bottom) = points
            corners = [min(left, right), min(top, bottom), max(left, right), max(top, bottom)]
            pen.rectangle(corners, outline=1, fill=1)
        elif kind == "polygon" and len(points) > 2:
            pen.polygon(xy=points, outline=1, fill=1)
        else:
            raise DataError(f"{path} has a {kind} of {len(points)} points; mend it in labelme")
        return np.array(picture, dtype=bool)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise DataError(f"{path} has a damaged {kind} ({error}); mend it in labelme") from None


def _stored(text: str, points: list[tuple[float, float]], height: int, width: int) -> Mask:
    """A mask that was drawn with the AI tool: a PNG within a box."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",)) as picture:
            part = np.array(picture).astype(bool)
    except Exception as error:  # damage makes Pillow fail in nearly every way there is
        raise ValueError(error) from None
    left, top = (int(value) for value in points[0])
    mask = np.zeros((height, width), bool)
    if left < 0 or top < 0 or part.ndim != 2:
        raise ValueError("its box lies outside of the image")
    room = mask[top : top + part.shape[0], left : left + part.shape[1]]
    room[:] = part[: room.shape[0], : room.shape[1]]
    return mask
