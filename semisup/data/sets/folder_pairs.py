"""A list of images and their masks, wherever they lie in a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from semisup.data.formats.lists import read_lines
from semisup.data.formats.pictures import IMAGE_SUFFIXES, MASK_SUFFIXES
from semisup.errors import DataError, RecipeError
from semisup.system.files import is_file

HEAD = ("image", "mask")
"""First line of the list."""


class Pairs:
    """The images and masks that a list names: "image,mask" on each line, the mask left out of an
    image that has none.

    Paths are relative to the folder, with "/" between their parts. The id of an image is its path
    without the ending.

    Args:
        folder: that the paths start from.
        name: of the list, a file in that folder.

    Raises:
        RecipeError: the name is a path.
        DataError: there is no such list, a line is no pair, names a file that is not there or
            that leads out of the folder, an image twice, or one mask for two images.
    """

    def __init__(self, folder: Path, name: str) -> None:
        if PurePosixPath(name).name != name:
            raise RecipeError(f"pairs = {name!r} is no name of a file in the folder of the data")
        self._folder, self._list = folder, folder / name
        if not is_file(self._list):
            raise DataError(
                f"{self._list} is missing; 'semisup init {folder}' writes it, or leave data.pairs "
                "out and lay out images/<id>.jpg and masks/<id>.png"
            )
        self.images: dict[str, Path] = {}
        self._masks: dict[str, Path] = {}
        owners: dict[Path, str] = {}
        rows = csv.reader(io.StringIO("\n".join(read_lines(self._list))))
        for number, row in enumerate(rows, 1):
            if number > 1 or tuple(row) != HEAD:
                self._read(row, f"{self._list}, line {number}:", owners)

    def _read(self, row: list[str], where: str, owners: dict[Path, str]) -> None:
        if not 1 <= len(row) <= 2:
            raise DataError(f"{where} has {len(row)} fields; write image,mask, or the image alone")
        image = self._file(row[0], IMAGE_SUFFIXES, where)
        name = row[0].rpartition(".")[0]
        if name in self.images:
            raise DataError(f"{where} {row[0]} has the id of {self.images[name]}; rename one")
        self.images[name] = image
        if len(row) == 2 and row[1]:
            mask = self._file(row[1], MASK_SUFFIXES, where)
            if mask in owners or mask == image:
                raise DataError(f"{where} {row[1]} is the mask of '{name}' and of another image")
            owners[mask] = name
            self._masks[name] = mask

    def _file(self, entry: str, endings: tuple[str, ...], where: str) -> Path:
        path = PurePosixPath(entry)
        if not entry or path.is_absolute() or ".." in path.parts or "\0" in entry:
            raise DataError(f"{where} '{entry}' is no path below {self._folder}")
        if path.suffix.lower() not in endings:
            raise DataError(f"{where} {entry} does not end in {', '.join(endings)}")
        found = self._folder / path
        if not is_file(found):
            raise DataError(
                f"{where} {entry} is not there; put it back, or make the list anew with 'semisup "
                f"init {self._folder}'"
            )
        return found

    @property
    def masks(self) -> Mapping[str, Path]:
        """Id -> mask, of the images that have one."""
        return self._masks

    def has(self, name: str) -> bool:
        """Whether the list names a mask of an image."""
        return name in self._masks

    def path(self, name: str) -> Path:
        """The mask of an image; of one without, a name that no file has."""
        return self._masks.get(name) or self.images[name].with_suffix(".no-mask.png")

    def missing(self, name: str) -> DataError:
        """The error of an image without a mask."""
        return DataError(f"{self._list} names no mask of '{name}'; add it, or take it off the list")

    def warn_of_overlooked(self) -> None:
        """Nothing: what the list leaves out is left out."""

    def overlooked(self) -> list[str]:
        """No image: as `warn_of_overlooked`."""
        return []
