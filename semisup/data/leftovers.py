"""Files that lie beside those of a data set, and pictures that lie in it twice."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from semisup.data.base import SegmentationData
from semisup.data.formats.class_lists import NAMES
from semisup.data.formats.id_lists import KnownIds, read_id_list
from semisup.data.formats.pictures import IMAGE_SUFFIXES, MASK_SUFFIXES
from semisup.data.formats.trees import list_files, other_files
from semisup.data.sets.photographs import Photographs
from semisup.errors import DataError
from semisup.system.files import exists

_NAMED = 3


class Twins(NamedTuple):
    """One picture in two subsets, under two names."""

    one: Path
    other: Path


def twins(one: SegmentationData, other: SegmentationData) -> list[Twins]:
    """The pictures of `other` whose bytes are those of a picture of `one`.

    What has the same id or is the same file is left out, and so are archives, whose files hold
    several images. Only files of equal size are opened.
    """
    if _in_archives(one) or _in_archives(other):
        return []
    by_size: dict[int, list[int]] = defaultdict(list)
    for index in range(len(one)):
        if size := _size(one.image_path(index)):
            by_size[size].append(index)
    hashed: dict[int, dict[bytes, int]] = {}
    found = []
    for index, name in enumerate(other.ids):
        path = other.image_path(index)
        size = _size(path)
        if size not in by_size:
            continue
        if size not in hashed:
            hashed[size] = {_hash(one.image_path(place)): place for place in by_size[size]}
        place = hashed[size].get(_hash(path), -1)
        if place >= 0 and one.ids[place] != name and not _same_file(one, place, path):
            found.append(Twins(one.image_path(place), path))
    return found


def leftovers(datasets: Sequence[SegmentationData]) -> list[str]:
    """What lies unused beside `datasets`, subsets of one data set: a sentence for each kind.

    Images without a mask are counted in every data set, and masks without an image where it knows
    them; images that no list names in `folder`, where all that lies there is meant to be used.
    """
    found = []
    for data in datasets:
        bare = [name for index, name in enumerate(data.ids) if not data.has_mask(index)]
        needed = data.subset == data.eval_subset or isinstance(data, Photographs)
        if bare and not needed:  # each image that is reported on needs a mask: see verify
            found.append(f"{len(bare):,} of {len(data):,} images of {data.subset} {_no_mask(bare)}")
    orphans = dict.fromkeys(path for data in datasets for path in data.masks_without_image())
    if orphans:
        found.append(_no_image([path.name for path in orphans]))
    if datasets and datasets[0].name == "folder":
        found += _beside(datasets)
    return found


def named(paths: Sequence[object]) -> str:
    """The first three, and that there are more."""
    first = ", ".join(str(path) for path in paths[:_NAMED])
    return f"{first}, ..." if len(paths) > _NAMED else first


def _no_mask(bare: Sequence[str]) -> str:
    what = "has no mask, so it is" if len(bare) == 1 else "have no mask, so they are"
    return f"{what} unlabelled: {named(bare)}"


def _no_image(masks: Sequence[str]) -> str:
    what = "mask has" if len(masks) == 1 else "masks have"
    return f"{len(masks):,} {what} no image: {named(masks)}"


def _beside(datasets: Sequence[SegmentationData]) -> Iterator[str]:
    root = datasets[0].root
    if not exists(root / "images") or not exists(root / "masks"):  # a list names the files
        return
    images, masks = _files(root / "images", IMAGE_SUFFIXES), _files(root / "masks", MASK_SUFFIXES)
    known = {path for data in datasets for path in _paths(data)}
    orphans = [
        path.name for key, path in masks.items() if path not in known and _orphan(key, images)
    ]
    if orphans:
        yield _no_image(orphans)
    listed = _listed(root, images)
    others = other_files(root / "images", IMAGE_SUFFIXES)
    if others and listed:
        what = "file in images is" if len(others) == 1 else "files in images are"
        yield f"{len(others):,} {what} of no format that is read: {named(others)}"
    unlisted = [
        path.name for key, path in images.items() if path not in known and key not in listed
    ]
    if unlisted and listed:
        what = "image is" if len(unlisted) == 1 else "images are"
        yield f"{len(unlisted):,} {what} in no list: {named(unlisted)}"


def _paths(data: SegmentationData) -> Iterator[Path]:
    for index in range(len(data)):
        yield data.image_path(index)
        if data.has_mask(index):
            yield data.mask_path(index)


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Path below the folder, without suffix -> file."""
    files = list_files(folder, suffixes)
    return {name.rpartition(".")[0]: path for name, path in files.items()}


def _orphan(key: str, images: dict[str, Path]) -> bool:
    """Whether no image is named as a mask is, or as its beginning, as `photo` of `photo_mask`."""
    cuts = [place for place, character in enumerate(key) if not character.isalnum()]
    return key not in images and not any(key[:cut] in images for cut in cuts)


def _listed(root: Path, images: dict[str, Path]) -> set[str]:
    """The ids that some list names; a file that is no list names none."""
    known = KnownIds(images, images.__getitem__)
    found = set[str]()
    for path in root.glob("*.txt"):
        if path.name not in NAMES:
            with contextlib.suppress(DataError):
                found |= {line.id for line in read_id_list(path, known) if line.id is not None}
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if exists(path) else 0


def _in_archives(data: SegmentationData) -> bool:
    """Whether images lie together in one file, whose bytes tell nothing of each."""
    return len(data) > 1 and data.image_path(0) == data.image_path(1)


def _same_file(data: SegmentationData, index: int, path: Path) -> bool:
    return data.image_path(index).resolve() == path.resolve()


def _hash(path: Path) -> bytes:
    """Of the content; the path itself of a file that cannot be read: reading it will say so."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return str(path).encode(errors="surrogateescape")
