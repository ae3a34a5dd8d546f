"""Anyone's own images and masks."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from semisup.data.base import Colour, SegmentationData
from semisup.data.formats.lists import (
    check_labels,
    choose_subset,
    find_folder,
    read_ids,
    read_lines,
    unique,
)
from semisup.data.formats.orientation import Choice, Orientation
from semisup.data.formats.pictures import read_labels, read_rgb, voc_palette
from semisup.errors import DataError
from semisup.types import IGNORE

_SUFFIXES = (".jpg", ".jpeg", ".png")


class Folder(SegmentationData):
    """A folder of images, a folder of masks and the names of the classes.

    - images/<id>.jpg, .jpeg or .png;
    - masks/<id>.png: the label ids as 8-bit grey or palette PNG, 255 for void. An image that is
      in no labelled subset needs none: it is missed when it is asked for;
    - classes.txt: one name a line, its position being the label id, with a colour behind it if
      you like ("road 128 64 128");
    - <subset>.txt: one id a line. "all" is every image, unless there is an all.txt.

    Args:
        root: the folder itself, or the data root that `folder` is in.
        subset: name of a list, or "all".
        folder: the folder under `root`.
        exif: whether photographs are turned as their EXIF orientation says: "auto" as the size of
            each mask proves that it was drawn, "apply" always, "ignore" never.

    Raises:
        DataError: a folder, classes.txt or the subset is missing, an id has no image or two, or
            a line of classes.txt cannot be read.
    """

    name = "folder"

    def __init__(
        self,
        root: Path | str,
        subset: str = "train",
        *,
        folder: str = ".",
        exif: Choice = "auto",
    ) -> None:
        self.root = find_folder(
            root,
            (folder,),
            ("images", "masks", "classes.txt"),
            what="the data folder",
            remedy="and lay out images/<id>.jpg, masks/<id>.png and classes.txt there",
        )
        self.subset = subset
        self.classes, self.palette = _read_classes(self.root / "classes.txt")
        self._files = _images_by_stem(self.root / "images")
        self.ids = self._read_subset()
        masks = {path: self.root / "masks" / f"{key}.png" for key, path in self._files.items()}
        self._orientation = Orientation(exif, masks)

    def _read_subset(self) -> tuple[str, ...]:
        lists = {p.stem: p for p in self.root.glob("*.txt") if p.name != "classes.txt"}
        choose_subset(self.subset, {*lists, "all"}, self.root)
        if self.subset not in lists:
            return unique(sorted(self._files), self.root / "images")
        ids = read_ids(lists[self.subset])
        for name in ids:
            if name not in self._files:
                raise DataError(
                    f"{lists[self.subset]} lists '{name}', but there is no "
                    f"{self.root / 'images' / name}.jpg, .jpeg or .png; add it or drop the line"
                )
        return ids

    def image_path(self, index: int) -> Path:
        """Where image `index` lies."""
        return self._files[self.ids[index]]

    def mask_path(self, index: int) -> Path:
        """Where the mask of image `index` should lie."""
        return self.root / "masks" / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        """Image `index`: uint8 3HW, RGB; errors as in `read_rgb` and `Orientation.turned`."""
        path = self.image_path(index)
        return self._orientation.turned(read_rgb(path), path)

    def mask(self, index: int) -> Tensor:
        """Ground truth of image `index`: uint8 HW, 0..K-1 and 255; errors as in `read_labels`."""
        path = self.mask_path(index)
        return check_labels(read_labels(path), len(self.classes), path)


def _images_by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); make it a folder") from None
    for path in entries:
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
            continue
        if not _is_text(path.stem):
            raise DataError(f"{path.name!a} in {folder} is not named in UTF-8; rename it")
        if path.stem in files:
            raise DataError(
                f"{files[path.stem]} and {path.name} have the same id; rename one of the two"
            )
        if not path.exists():
            raise DataError(f"{path} is a broken link to {path.readlink()}; mend or remove it")
        files[path.stem] = path
    return files


def _is_text(name: str) -> bool:
    """Whether a name can be written into a list; Python reads any bytes of a file system."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_classes(path: Path) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    lines = read_lines(path)
    if not 1 <= len(lines) <= IGNORE:
        raise DataError(f"{path} names {len(lines)} classes; it must be 1 to {IGNORE}")
    usual = voc_palette(len(lines))
    pairs = [_class(line, colour, path) for line, colour in zip(lines, usual, strict=True)]
    names = tuple(name for name, _ in pairs)
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} names the class '{name}' twice; position is the label id")
    return names, tuple(colour for _, colour in pairs)


def _class(line: str, colour: Colour, path: Path) -> tuple[str, Colour]:
    """Name and colour of a line "name" or "name R G B"; a name may have spaces."""
    words = line.split()
    numbers = words[-3:]
    if len(words) < 4 or not all(word.isdecimal() for word in numbers):
        return line, colour
    if max(map(len, numbers)) > 3 or max(map(int, numbers)) > 255:
        raise DataError(f"{path} has the colour {' '.join(numbers)}; a channel is 0..255")
    red, green, blue = map(int, numbers)
    return " ".join(words[:-3]), (red, green, blue)
