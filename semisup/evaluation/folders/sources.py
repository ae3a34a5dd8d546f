"""Which images a user means to label, and how their label maps are named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from semisup.data.formats.pictures import IMAGE_SUFFIXES
from semisup.data.formats.trees import walk_once
from semisup.errors import DataError
from semisup.evaluation.outputs.video import is_video
from semisup.system.files import exists

LABELS = ".png"
"""Ending of a label map."""

MARKER = "predictions.json"
"""The file by which a folder of predictions is known."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image to label.

    Attributes:
        path: where it lies.
        name: of its label map, without suffix and relative to the folder of the label maps; with
            "/" where the image lay in a sub-folder.
    """

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Sources:
    """The images that were found, and what was left out.

    Attributes:
        images: sorted within each folder; videos among them, where they were named.
        left_out: files that are no images, by kind: ".tiff", "hidden"; with their number.
        folders: folders that were left out: hidden ones, and those of predictions.
        unreadable: folders that could not be listed, each with the reason in one line.
    """

    images: tuple[ImageFile, ...]
    left_out: Counter[str]
    folders: int
    unreadable: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Of the label maps of pictures."""
        return [image.name for image in self.images if not is_video(image.path)]

    @property
    def videos(self) -> list[str]:
        """Of the folders of the label maps of videos."""
        return [image.name for image in self.images if is_video(image.path)]

    def describe_left_out(self) -> str:
        """Such as "4 others left out: 3 .bmp, 1 .tiff; 1 folder"; empty where nothing was."""
        if not self.left_out and not self.folders:
            return ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))
        total = sum(self.left_out.values())
        files = [f"{total} other{'s' * (total > 1)} left out: {kinds}"] if total else []
        folders = f"{self.folders} folder{'s' * (self.folders > 1)}"
        folders += "" if files else " left out"
        return "; ".join([*files, *[folders] * bool(self.folders)])


def find_images(
    paths: Sequence[Path], *, endings: Sequence[str] = (), to: Path | None = None
) -> Sources:
    """The files named, and the images in the folders named and their sub-folders.

    The label map of an image in the only folder named is called as the image is within that
    folder; of several files and folders, within the deepest folder that holds all of them. Hidden
    files and folders, other files, and folders of predictions are left out; videos within a folder
    are as well, since each may take as long as all of its images: those that are named are found.

    Args:
        paths: files and folders.
        endings: of other files that will be written, such as "_overlay" of `<name>_overlay.png`.
        to: folder that label maps will be written to.

    Raises:
        DataError: a path is not there, a folder holds no image, or predictions, or is `to`, or one
            prediction would be written over another.
    """
    if not paths:
        raise DataError("no image to label was named. Name files, or folders of images.")
    for path in paths:
        if not exists(path):
            raise DataError(f"{path}: there is no such file or folder. Check the path.")
        _check_no_predictions(path, to)
    search = _Search()
    shared = _shared_folder(paths)
    found: dict[Path, ImageFile] = {}
    for path in paths:
        for file in search.images(path) if path.is_dir() else (path,):
            whole = _absolute(file)
            name = whole.relative_to(shared).with_suffix("").as_posix()
            found.setdefault(whole, ImageFile(file, name))
    images = tuple(found.values())
    _check_free(images, endings)
    return Sources(images, search.left_out, search.folders, tuple(search.unreadable))


def _check_no_predictions(path: Path, to: Path | None) -> None:
    """Raise if label maps lie, or would come to lie, among the images of a folder."""
    if not path.is_dir():
        return
    if to is not None and os.path.realpath(path) == os.path.realpath(to):
        raise DataError(
            f"{path}: is the folder of the images, and the next call would take their label maps "
            f"for images. Choose another --to, such as {path / 'predictions'}."
        )
    if exists(path / MARKER):
        raise DataError(
            f"{path}: holds predictions (see {MARKER}), which are no images to label. Name the "
            "images one by one, or move the predictions into another folder."
        )


def _shared_folder(paths: Sequence[Path]) -> Path:
    """The folder that the names of label maps are relative to."""
    places = [_absolute(path) for path in paths]
    if len(places) == 1 and places[0].is_dir():
        return places[0]
    return Path(os.path.commonpath([place.parent for place in places]))


def _absolute(path: Path) -> Path:
    """Links are not followed: who names a link means that name."""
    return Path(os.path.normpath(path.absolute()))


@dataclass
class _Search:
    left_out: Counter[str] = field(default_factory=Counter)
    folders: int = 0
    unreadable: list[str] = field(default_factory=list)

    def images(self, folder: Path) -> list[Path]:
        """The images in a folder and its sub-folders, sorted.

        Raises:
            DataError: there is none.
        """
        before, unreadable = self.left_out.copy(), len(self.unreadable)
        inside = sorted(self._walk(folder))
        if not inside and len(self.unreadable) > unreadable:
            raise DataError(self.unreadable[-1])
        if not inside:
            others = self.left_out - before
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
            but = f", but {kinds}" if kinds else ""
            raise DataError(f"{folder}: holds no image ({', '.join(IMAGE_SUFFIXES)}){but}.")
        return inside

    def _walk(self, folder: Path) -> Iterator[Path]:
        for place, folders, names in walk_once(folder, self._refused):
            self._choose(place, folders)
            for name in names:
                if self._is_image(name):
                    yield Path(place, name)

    def _choose(self, place: str, folders: list[str]) -> None:
        """Keep of the sub-folders those to be searched."""
        kept = [
            name
            for name in sorted(folders)
            if not name.startswith(".") and not exists(Path(place, name, MARKER))
        ]
        self.folders += len(folders) - len(kept)
        folders[:] = kept

    def _is_image(self, name: str) -> bool:
        suffix = Path(name).suffix.lower()
        if not name.startswith(".") and suffix in IMAGE_SUFFIXES:
            return True
        known = suffix if suffix.isascii() and suffix.isprintable() else "of another kind"
        kind = "hidden" if name.startswith(".") else known or "without suffix"
        self.left_out[kind] += name != MARKER
        return False

    def _refused(self, error: OSError) -> None:
        self.unreadable.append(
            f"{error.filename} cannot be listed ({error.strerror}); make it readable"
        )


def _check_free(images: Sequence[ImageFile], endings: Sequence[str]) -> None:
    """Raise if what is predicted for an image goes where that of another image goes."""
    named: dict[str, Path] = {}
    for image in images:
        _check_same(image.path, named.setdefault(image.name, image.path))
    for image in images:
        for ending in endings:
            _check_same(image.path, named.get(image.name.removesuffix(ending), image.path))
        for folder in PurePosixPath(image.name).parents:  # which is to be a folder, and no file
            if folder.suffix == LABELS:
                _check_same(image.path, named.get(str(folder.with_suffix("")), image.path))


def _check_same(path: Path, other: Path) -> None:
    if other != path:
        raise DataError(
            f"{path}: would be written over the prediction of {other}. "
            "Predict them into two folders."
        )
