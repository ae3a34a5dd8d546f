"""From what a labelling tool has exported to a folder that can be trained on."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch

from semisup.data.base import Colour
from semisup.data.formats.orientation import stored_orientation, swaps_sides
from semisup.data.formats.pictures import IMAGE_SUFFIXES, voc_palette, write_palette_png
from semisup.errors import DataError
from semisup.own_data.look import size_of
from semisup.own_data.tools import by_datumaro
from semisup.own_data.tools.base import VOID, Export, Exported, Segment
from semisup.own_data.tools.labelme import is_labelme, read_labelme
from semisup.own_data.tools.yolo import is_yolo, read_yolo
from semisup.system.files import write_atomically, write_text
from semisup.system.words import counted
from semisup.types import IGNORE

BACKGROUND = "background"
_VOID = frozenset(("__ignore__", "ignore", "ignored", "void"))
_GROUNDS = frozenset((BACKGROUND, "_background_", "__background__"))
_SUBSETS = ("train", "val", "test")


@dataclass
class Report:
    """What was written, what was left out, and why.

    Attributes:
        format: of the export.
        images: that were written, with and without a mask.
        masks: that were written.
        segments: class -> how many objects or regions were drawn.
        overlaps: images in which objects overlap.
        lists: subset -> its images.
        notes: a sentence each.
    """

    format: str
    images: int = 0
    masks: int = 0
    segments: Counter[str] = field(default_factory=Counter)
    overlaps: int = 0
    lists: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Classes:
    """How the classes of an export become label ids.

    Attributes:
        names: of the label ids.
        palette: of the label ids.
        label: class of the export -> label id, 255 of void.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    label: Mapping[int, int]


def import_export(source: Path, to: Path, *, format: str = "", empty: bool = False) -> Report:
    """Write images, masks, classes and lists from an export.

    A pixel is of the object that lies on top: the order is that of the tool where it states one
    (CVAT's layers; labelme draws later shapes over earlier ones), and else a smaller object lies on
    a larger one. A pixel of no object is background.

    Args:
        source: the folder that was unpacked.
        to: folder to write: images/, masks/, classes.txt and, where the export has subsets for
            training and validation, train.txt and val.txt.
        format: "labelme", "yolo" or one of datumaro's; empty: as the files say.
        empty: whether images on which nothing was drawn are background throughout; else they are
            unlabelled.

    Raises:
        DataError: the export cannot be read, has no pictures, two of one name, or a mask or
            polygon that does not fit; or `to` is not empty.
        RunError: a file cannot be written.
    """
    export = read_export(source, format)
    _check_target(source, to)
    report = Report(export.format)
    classes = _map_classes(export, report.notes)
    members: dict[str, list[str]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    no_picture, bare = [], []
    written: dict[str, str] = {}
    (to / "images").mkdir(parents=True, exist_ok=True)
    (to / "masks").mkdir(exist_ok=True)
    for found in export.images:
        left_out += found.left_out
        if found.path is None or not found.path.name.lower().endswith(IMAGE_SUFFIXES):
            no_picture.append(found.name)
            continue
        name = _free_name(found, written)
        mask = _draw(found, classes, report) if found.segments or empty else None
        if mask is None:
            bare.append(name)
        else:
            path = to / "masks" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_palette_png(path, torch.from_numpy(mask), classes.palette)
            report.masks += 1
        _copy(found.path, to / "images" / f"{name}{found.path.suffix}")
        report.images += 1
        members[_subset(found.subset)].append(name)
    _tell(report, left_out, no_picture, bare, empty)
    lines = [
        f"{name} {' '.join(map(str, colour))}"
        for name, colour in zip(classes.names, classes.palette, strict=True)
    ]
    write_text(to / "classes.txt", "".join(f"{line}\n" for line in lines))
    _write_lists(to, members, set(bare), report)
    return report


def read_export(source: Path, format: str = "") -> Export:
    """The classes and images of an export.

    Raises:
        DataError: it is no folder, of no known format, or damaged.
    """
    if source.is_file() and source.suffix.lower() == ".zip":
        raise DataError(f"{source} is an archive; unpack it and name the folder")
    if not source.is_dir():
        raise DataError(f"{source} is no folder; name the folder that was exported")
    if format == "labelme" or (not format and is_labelme(source)):
        return read_labelme(source)
    if format == "yolo" or (not format and is_yolo(source)):
        return read_yolo(source)
    return by_datumaro.read(source, format or by_datumaro.detect(source))


def _check_target(source: Path, to: Path) -> None:
    if to.resolve() == source.resolve() or source.resolve() in to.resolve().parents:
        raise DataError(f"{to} lies in {source}, which is read; name another folder with --to")
    if to.exists() and not to.is_dir():
        raise DataError(f"{to} is a file; name a folder with --to")
    if to.is_dir() and any(to.iterdir()):  # what lies there would be mixed with what is written
        raise DataError(f"{to} is not empty; name another folder with --to, or remove it")


def _map_classes(export: Export, notes: list[str]) -> _Classes:
    """Background first, then the classes in the order of the export; equal names are one class."""
    names, colours = [BACKGROUND], dict[str, Colour]()
    label: dict[int, int] = {VOID: IGNORE}
    for number, stated in enumerate(export.classes):
        name = _clean(stated)
        if name.casefold() in _VOID:
            label[number] = IGNORE
            notes.append(f"'{stated}' is void: its pixels are of no class")
            continue
        if name.casefold() in _GROUNDS:
            name = BACKGROUND
        elif name in names:
            notes.append(f"several classes are called '{name}': they are one class here")
        if name not in names:
            names.append(name)
        label[number] = names.index(name)
        colour = export.colours[number]
        if colour is not None:
            colours.setdefault(name, colour)
    if not export.classes:
        raise DataError(f"the export ({export.format}) names no class; export the classes too")
    if len(names) > IGNORE:
        raise DataError(f"the export names {len(names) - 1} classes; masks hold at most 254")
    folded = Counter(name.casefold() for name in names)
    for name, count in folded.items():
        if count > 1:
            same = [one for one in names if one.casefold() == name]
            notes.append(f"{' and '.join(same)} differ in capital letters alone: one class or two?")
    usual = voc_palette(len(names))
    palette = [colours.get(name, usual[number]) for number, name in enumerate(names)]
    if len(set(palette)) < len(palette):  # masks are looked at, and read, by their colours
        palette = list(usual)
    return _Classes(tuple(names), tuple(palette), label)


def _clean(name: str) -> str:
    """A name without what has a meaning of its own in classes.txt."""
    kept = "".join(" " if letter in ",;:|\t\n\r\"[]{}=#'" else letter for letter in name)
    words = kept.split()
    text = " ".join(words) or "unnamed"
    numeric = all(word.isdecimal() for word in words)
    # "3 wheeler" and "class 1 2 3" would be read as numbers and colours.
    return f"class_{'_'.join(words)}" if words and (numeric or words[0].isdecimal()) else text


def _free_name(found: Exported, written: dict[str, str]) -> str:
    """The id of an image, which no other has.

    Raises:
        DataError: it leads out of the folder, or two images have it.
    """
    path = PurePosixPath(found.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\n" in found.name:
        raise DataError(f"'{found.name}' is no name that an image can have; rename it in the tool")
    name = str(path)
    if name.casefold() in written and found.subset:
        name = f"{found.subset}/{path}"
    if name.casefold() in written:
        raise DataError(
            f"two images are called '{name}' ({written[name.casefold()]} and {found.path}); rename "
            "one in the tool"
        )
    written[name.casefold()] = str(found.path)
    return name


def _draw(found: Exported, classes: _Classes, report: Report) -> npt.NDArray[np.uint8]:
    """The mask of an image: uint8 HW.

    Raises:
        DataError: the export states another size than that of the picture.
    """
    height, width = _size(found)
    objects: dict[tuple[int, int, int], list[Segment]] = defaultdict(list)
    for place, segment in enumerate(found.segments):
        # Parts of one object are one object, whose order is that of its first part.
        key = (segment.label, segment.group, -1) if segment.group else (segment.label, 0, place)
        objects[key].append(segment)
    drawn = []
    for parts in objects.values():
        try:
            mask = np.logical_or.reduce([part.draw(height, width) for part in parts])
        except DataError as error:
            raise DataError(f"{found.path}: {error}; correct it in the tool") from None
        area = int(mask.sum())
        drawn.append((parts[0].order, -area, parts[0].label, mask))
    drawn.sort(key=lambda one: one[:3])
    result = np.zeros((height, width), np.uint8)
    covered = np.zeros((height, width), bool)
    overlap = False
    for _, area, number, mask in drawn:
        label = classes.label[number]
        overlap |= bool((covered & mask & (result != label)).any())
        result[mask] = label
        covered |= mask
        if not area:
            report.notes.append(f"{found.name}: an object of no pixel is left out")
            continue
        report.segments["void" if label == IGNORE else classes.names[label]] += 1
    report.overlaps += overlap
    return result


def _size(found: Exported) -> tuple[int, int]:
    """The size of the mask: as the export states it, else as a viewer shows the picture."""
    assert found.path is not None
    stored = size_of(found.path)
    if stored is None:
        raise DataError(f"{found.path} cannot be read as a picture; mend it")
    turned = stored[::-1] if swaps_sides(stored_orientation(found.path)) else stored
    if found.size not in (None, stored, turned):
        assert found.size is not None
        raise DataError(
            f"{found.path} is {stored[0]}x{stored[1]}, but was labelled as "
            f"{found.size[0]}x{found.size[1]} (height x width); export the labelled picture"
        )
    return found.size or turned


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as stream:
        write_atomically(target, lambda file: shutil.copyfileobj(stream, file))


def _subset(name: str) -> str:
    plain = name.casefold()
    if plain.startswith("train"):
        return "train"
    if plain.startswith("val"):
        return "val"
    return "test" if plain.startswith("test") else ""


def _tell(
    report: Report, left_out: Counter[str], no_picture: list[str], bare: list[str], empty: bool
) -> None:
    if no_picture and not report.images:
        raise DataError(
            f"the export has no picture for any of {counted(len(no_picture), 'image')}, such as "
            f"'{no_picture[0]}'; export with images, or lay them beside it"
        )
    if not report.images:
        raise DataError(f"the export ({report.format}) holds no image")
    if no_picture:
        report.notes.append(
            f"left out: {counted(len(no_picture), 'image')} without a picture, such as "
            f"{no_picture[0]}"
        )
    kinds = {"box": "boxes", "point": "points"}
    for kind, count in sorted(left_out.items()):
        what = counted(count, kind, kinds.get(kind, ""))
        report.notes.append(f"left out: {what}, which {'has' if count == 1 else 'have'} no mask")
    if bare:
        what = counted(len(bare), "image")
        report.notes.append(
            f"unlabelled: {what} on which nothing with a mask was drawn, such as {bare[0]} "
            "(--empty background makes them background)"
        )
    if report.overlaps:
        rule = {
            "cvat": "the layer of CVAT decides, then the smaller lies on top",
            "labelme": "later shapes lie on earlier ones, as in labelme",
        }.get(report.format, "the smaller lies on top")
        report.notes.append(f"objects overlap in {counted(report.overlaps, 'image')}: {rule}")
    if not report.masks:
        report.notes.append("no mask was written: nothing in the export has one")


def _write_lists(
    to: Path, members: Mapping[str, Sequence[str]], bare: set[str], report: Report
) -> None:
    """The lists of the export, where it has one for training and one to report on."""
    masked = {name: [one for one in names if one not in bare] for name, names in members.items()}
    if not masked.get("train") or not masked.get("val"):
        return
    for subset in _SUBSETS:
        # What is reported on needs a mask; what is in no subset is trained on without.
        names = masked[subset] if subset in ("val", "test") and subset in masked else []
        if subset == "train":
            names = [*members["train"], *(one for one in members.get("", ()) if one in bare)]
        if names:
            write_text(to / f"{subset}.txt", "".join(f"{name}\n" for name in names))
            report.lists[subset] = len(names)
