"""Ultralytics' YOLO with polygons: a text file for each image, beside data.yaml."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from semisup.data.formats.lists import read_lines
from semisup.data.formats.pictures import IMAGE_SUFFIXES
from semisup.data.formats.trees import list_files
from semisup.errors import DataError
from semisup.own_data.look import size_of
from semisup.own_data.tools.base import EXTRA, Export, Exported, Mask, Segment, draw_polygon

_SUBSETS = {"valid": "val", "validation": "val"}


def is_yolo(source: Path) -> bool:
    """Whether a folder holds data.yaml and a folder called labels."""
    return _yaml(source) is not None and any(
        part == "labels" for name in list_files(source, (".txt",)) for part in Path(name).parts[:-1]
    )


def read_yolo(source: Path) -> Export:
    """The polygons of an export; lines with four numbers are boxes, and left out.

    Raises:
        DataError: there is no data.yaml, or it or a line cannot be understood.
    """
    path = _yaml(source)
    if path is None:
        raise DataError(f"{source} has no data.yaml; name the folder that holds it")
    classes = _classes(path)
    return Export("yolo", classes, [None] * len(classes), _images(source, len(classes)))


def _yaml(source: Path) -> Path | None:
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (source / name).is_file():
            return source / name
    return None


def _classes(path: Path) -> list[str]:
    try:
        import yaml
    except ImportError:
        raise DataError(f"{path} is read by PyYAML: {EXTRA}") from None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = content["names"]
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
        classes = [str(name) for name in names]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise DataError(f"{path} has no list of names that can be read ({what}); mend it") from None
    if not classes:
        raise DataError(f"{path} names no class; mend it")
    return classes


def _images(source: Path, count: int) -> Iterator[Exported]:
    labels = {
        _key(name): path
        for name, path in list_files(source, (".txt",)).items()
        if "labels" in Path(name).parts[:-1]
    }
    for name, path in list_files(source, IMAGE_SUFFIXES).items():
        folders = [part for part in Path(name).parts[:-1] if part != "images"]
        subset = next((_SUBSETS.get(part, part) for part in folders if _is_subset(part)), "")
        size = size_of(path)
        found = Exported(str(Path(*folders, Path(name).stem)), subset, path, size, [])
        if _key(name) in labels and size is not None:
            _read(labels[_key(name)], size, count, found)
        yield found


def _is_subset(part: str) -> bool:
    return part in ("train", "val", "valid", "validation", "test")


def _key(name: str) -> str:
    """The path of an image or of its labels, without the words that tell them apart."""
    parts = [part for part in Path(name).parts[:-1] if part not in ("images", "labels")]
    return "/".join([*parts, Path(name).stem])


def _read(path: Path, size: tuple[int, int], count: int, found: Exported) -> None:
    height, width = size
    left_out: Counter[str] = found.left_out
    for number, line in enumerate(read_lines(path), 1):
        words = re.split(r"\s+", line)
        try:
            label, shares = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise DataError(f"{path}, line {number}: '{line[:80]}' is no label of YOLO") from None
        if not 0 <= label < count:
            raise DataError(f"{path}, line {number}: there is no class {label} in data.yaml")
        if len(shares) in (4, 5):
            left_out["box"] += 1
            continue
        if len(shares) < 6 or len(shares) % 2:
            raise DataError(f"{path}, line {number}: {len(shares)} numbers are no polygon")
        if not all(-0.01 <= share <= 1.01 for share in shares):
            raise DataError(f"{path}, line {number}: a point lies outside of the image (0 to 1)")
        points = [share * (width, height)[place % 2] for place, share in enumerate(shares)]
        found.segments.append(Segment(label, functools.partial(_drawn, points)))


def _drawn(points: list[float], height: int, width: int) -> Mask:
    return draw_polygon(points, height, width)
