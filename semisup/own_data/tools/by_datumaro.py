"""Exports that datumaro reads: CVAT, COCO, VOC, Roboflow, LabelMe (XML), datumaro's own."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semisup.data.base import Colour
from semisup.data.formats.trees import list_files
from semisup.errors import DataError, suggest
from semisup.own_data.tools import voc
from semisup.own_data.tools.base import EXTRA, Export, Exported, Mask, Segment, draw_polygon
from semisup.system.words import counted

FORMATS = (
    "camvid",
    "coco",
    "coco_instances",
    "coco_panoptic",
    "coco_stuff",
    "cvat",
    "datumaro",
    "label_me",
    "roboflow_coco",
    "voc",
    "voc_instance_segmentation",
    "voc_segmentation",
)
"""Those that hold masks or polygons as text or pictures. Others of datumaro's hold boxes alone, or
are unpickled when they are read, which no file of others is here."""

_PREFERRED = ("voc_segmentation", "coco_instances", "roboflow_coco")
_UNNAMED = ("default", "")
_KINDS = {
    "bbox": "box",
    "rotated_bbox": "box",
    "points": "point",
    "polyline": "line",
    "label": "image tag",
    "caption": "caption",
    "cuboid_3d": "cuboid",
    "cuboid_2d": "cuboid",
    "skeleton": "skeleton",
    "ellipse": "ellipse",
}


def detect(source: Path) -> str:
    """The format of an export.

    Raises:
        DataError: none of `FORMATS` fits, or several do, or the extra is not installed.
    """
    environment = _environment()
    with _quiet():
        found = [name for name in environment.detect_dataset(str(source)) if name in FORMATS]
    for name in _PREFERRED:
        if name in found:
            return name
    if len(found) == 1:
        return str(found[0])
    known = ", ".join(("labelme", "yolo", *FORMATS))
    what = f"may be {' or '.join(found)}" if found else "is no export that is known"
    raise DataError(
        f"{source} {what}; name the folder that was unpacked, and its format with --format "
        f"({known}). Supervisely and Label Studio export COCO, YOLO and VOC"
    )


def read(source: Path, format: str) -> Export:
    """What datumaro reads of an export.

    Raises:
        DataError: datumaro cannot read it, or the extra is not installed.
    """
    if format not in FORMATS:
        known = ("labelme", "yolo", *FORMATS)
        raise DataError(f"--format {format} is none of {', '.join(known)}.{suggest(format, known)}")
    if format.startswith("coco"):
        _check_coco(source)
    environment = _environment()
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    if format.startswith("voc"):
        _read_class_masks(environment, format)
    try:
        with _quiet():
            data = Dataset.import_from(str(source), format, env=environment)
            items = sorted(data, key=lambda item: (item.subset, item.id))
    except Exception as error:  # its importers fail in many ways
        reason: BaseException = error
        while reason.__cause__ is not None:  # datumaro says "failed", and the cause says why
            reason = reason.__cause__
        if isinstance(reason, DataError):  # of our own reading of masks
            raise reason from None
        what = " ".join(str(reason).split())[:200] or type(reason).__name__
        raise DataError(f"{source} cannot be read as {format}: {what}") from None
    categories = data.categories()
    labels = categories.get(AnnotationType.label)
    names = [label.name for label in labels] if labels is not None else []
    table = categories.get(AnnotationType.mask)
    colours = [_colour(table, label) for label in range(len(names))]
    return Export(format, names, colours, _images(items))


def _read_class_masks(environment: Any, format: str) -> None:
    """Have masks of VOC read by their classes, where datumaro would take the objects alone."""
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.annotation import Mask as Annotated
    from datumaro.util.os_util import join_within_base

    base: Any = environment.extractors[format]

    class Reader(base):  # type: ignore[misc]
        def _parse_masks(self, item_id: str) -> list[Any]:
            classes = Path(join_within_base(self._mask_dir, f"{item_id}.png"))
            objects = Path(join_within_base(self._inst_dir, f"{item_id}.png"))
            if not classes.is_file():
                if objects.is_file():
                    raise DataError(f"{objects} has no mask of classes beside it: {classes}")
                return []
            count = len(self._categories[AnnotationType.label])
            table = self._categories[AnnotationType.mask]
            found = [(label, _colour(table, label)) for label in range(count)]
            colours = {label: colour for label, colour in found if colour is not None}
            files = (classes, objects if objects.is_file() else None, colours, count)
            return [
                Annotated(functools.partial(voc.region, *files, pair), label=pair[0], group=0)
                for pair in voc.regions(*files)
            ]

    environment.extractors.register(format, Reader)


def _environment() -> Any:
    try:
        with _quiet():
            from datumaro.components.environment import Environment

            return Environment()
    except ImportError:
        raise DataError(f"exports of this kind are read by datumaro: {EXTRA}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without datumaro's own words about formats and packages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _colour(table: Any, label: int) -> Colour | None:
    colour = table.colormap.get(label) if table is not None else None
    return None if colour is None else (int(colour[0]), int(colour[1]), int(colour[2]))


def _images(items: Sequence[Any]) -> Iterator[Exported]:
    for item in items:
        path = getattr(item.media, "path", None)
        there = Path(path) if path and Path(path).is_file() else None
        subset = "" if item.subset in _UNNAMED else str(item.subset)
        segments, left_out = _segments(item.annotations)
        yield Exported(str(item.id), subset, there, _stated_size(item), segments, left_out)


def _stated_size(item: Any) -> tuple[int, int] | None:
    """The size that the export states; datumaro would open the picture otherwise."""
    size = getattr(item.media, "_size", None)
    return None if size is None else (int(size[0]), int(size[1]))


def _segments(annotations: Any) -> tuple[list[Segment], Counter[str]]:
    segments: list[Segment] = []
    left_out: Counter[str] = Counter()
    boxes: list[int] = []
    for one in annotations:
        kind = one.type.name
        if kind in ("polygon", "mask") and one.label is not None:
            draw = functools.partial(_draw_polygon if kind == "polygon" else _draw_mask, one)
            segments.append(Segment(int(one.label), draw, int(one.z_order), int(one.group)))
        elif kind == "bbox":
            boxes.append(int(one.group))
        else:
            left_out[_KINDS.get(kind, kind) if one.type.name != "polygon" else "unnamed"] += 1
    masked = {segment.group for segment in segments} - {0}
    count = sum(group not in masked for group in boxes)  # COCO has a box around each polygon
    if count:
        left_out["box"] += count
    return segments, left_out


def _draw_polygon(one: Any, height: int, width: int) -> Mask:
    return draw_polygon(one.points, height, width)


def _draw_mask(one: Any, height: int, width: int) -> Mask:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's about pycocotools
        mask = np.asarray(one.image).astype(bool)
    if mask.shape != (height, width):
        raise DataError(
            f"a mask is {mask.shape[0]}x{mask.shape[1]}, and its image {height}x{width}"
        )
    return mask


def _check_coco(source: Path) -> None:
    """Raise if numbers in a file of COCO contradict each other, of which datumaro says nothing.

    Raises:
        DataError: two images have one number, or an annotation that of no image.
    """
    for path in list_files(source, (".json",)).values():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            numbers = Counter(image["id"] for image in content["images"])
            lost = [one for one in content["annotations"] if one["image_id"] not in numbers]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another kind of file, or one that datumaro refuses
        twice = [number for number, count in numbers.items() if count > 1]
        if twice:
            raise DataError(f"{path}: two images have the id {twice[0]}; export it anew")
        if lost:
            raise DataError(
                f"{path}: {counted(len(lost), 'annotation')} of no image, such as of "
                f"{lost[0]['image_id']!r}; export it anew, or remove what is left over"
            )
