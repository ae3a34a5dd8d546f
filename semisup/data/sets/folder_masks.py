"""Which file holds the mask of which image, in a folder of masks."""

from __future__ import annotations

import difflib
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from semisup.data.formats.pictures import IMAGE_SUFFIXES, MASK_SUFFIXES
from semisup.data.formats.trees import list_files
from semisup.errors import DataError

_NO_MASKS = (*(ending for ending in IMAGE_SUFFIXES if ending not in MASK_SUFFIXES), ".gif", ".mat")
"""Endings of files that may hold a mask, and are not read."""


class MaskFiles:
    """The files of a folder of masks and its sub-folders, by the ids of their images.

    The mask of image <id>.jpg is <id><suffix>.png or <id>.jpg<suffix>.png, also as .tif, .tiff or
    .bmp and in capital letters.

    Args:
        folder: of the masks.
        suffix: what stands between the id and the ending, such as "_mask"; "_mask.png" is the
            same.
        images: id -> where its image lies.

    Raises:
        DataError: the folder cannot be listed, or two files are masks of one image.
    """

    def __init__(self, folder: Path, suffix: str, images: Mapping[str, Path]) -> None:
        self._folder, self._suffix = folder, _bare(suffix)
        files = list_files(folder, MASK_SUFFIXES)
        self._by_stem: dict[str, list[Path]] = {}
        for name, path in files.items():
            self._by_stem.setdefault(_composed(_stem(name)), []).append(path)
        self._of = {name: self._choose(name, path) for name, path in images.items()}

    def has(self, name: str) -> bool:
        """Whether there is a mask of an image."""
        return self._of.get(name) is not None

    def path(self, name: str) -> Path:
        """Where the mask of an image lies or should lie."""
        return self._of.get(name) or self._folder / f"{name}{self._suffix}.png"

    def missing(self, name: str) -> DataError:
        """The error of an image without a mask, which names a file that could be it."""
        near, remedy = self._near(name)
        if near is None:
            return DataError(
                f"{self.path(name)} is missing; add it, or take the image off the list"
            )
        return DataError(f"{self.path(name)} is missing, but {near} is there: {remedy}")

    def warn_of_overlooked(self) -> None:
        """Say how many images without a mask may have one in a file that is not read."""
        overlooked = self.overlooked()
        if overlooked:
            one = len(overlooked) == 1
            what = "1 image is" if one else f"{len(overlooked):,} images are"
            warnings.warn(
                f"{what} unlabelled, though masks may hold what is meant for "
                f"{'it' if one else 'them'}: {self.missing(overlooked[0])}",
                stacklevel=2,
            )

    def overlooked(self) -> list[str]:
        """Images without a mask, of whom there is a file under another name or in another format.

        Empty where no image has a mask: whoever needs one says so.
        """
        bare = [name for name, path in self._of.items() if path is None]
        if not bare or len(bare) == len(self._of):
            return []
        used = frozenset(self._of.values())
        files = [path for paths in self._by_stem.values() for path in paths if path not in used]
        files += list_files(self._folder, _NO_MASKS).values()
        return named_nearly(bare, files)

    def _choose(self, name: str, image: Path) -> Path | None:
        """The one file that is the mask of an image."""
        stems = {_composed(f"{name}{ending}{self._suffix}") for ending in ("", image.suffix)}
        found = [path for stem in sorted(stems) for path in self._by_stem.get(stem, ())]
        if len(found) > 1:
            raise DataError(
                f"{found[0]} and {found[1]} are both masks of image '{name}'; remove one of them"
            )
        return found[0] if found else None

    def _near(self, name: str) -> tuple[Path | None, str]:
        """A file whose name is near to that of the mask, and what to do about it."""
        last = _composed(PurePosixPath(name).name)
        stems = {PurePosixPath(stem).name: stem for stem in sorted(self._by_stem)}
        wanted = last + self._suffix
        if wanted in stems:
            return self._by_stem[stems[wanted]][0], "put it where the image is in its folder"
        for stem, key in stems.items():
            if stem.startswith(last) and not stem[len(last) : len(last) + 1].isalnum():
                ending = stem.removeprefix(last)
                return self._by_stem[key][0], f'set mask_suffix = "{ending}"'
        behind = [stem for stem in stems if _ends_in(stem, wanted)]
        if len(behind) == 1:
            return self._by_stem[stems[behind[0]]][0], "rename it"
        folded = {stem.casefold(): stem for stem in stems}
        if wanted.casefold() in folded:
            return self._by_stem[stems[folded[wanted.casefold()]]][0], "rename it"
        other = _other_format(self._folder, f"{name}{self._suffix}")
        if other is not None:
            return other, "save it as PNG, without loss"
        close = difflib.get_close_matches(wanted, list(stems)[:2000], n=1, cutoff=0.8)
        return (self._by_stem[stems[close[0]]][0], "rename it") if close else (None, "")


def named_nearly(ids: Iterable[str], files: Iterable[Path]) -> list[str]:
    """The ids that a file is named after, with words before or behind, or in another case."""
    known = {_last(name): name for name in ids}
    found = {part for path in files for part in _parts(path.stem) if part in known}
    return sorted(known[part] for part in found)


def _last(name: str) -> str:
    """The last part of an id, whatever its case and its form in Unicode."""
    return _composed(PurePosixPath(name).name).casefold()


def _parts(stem: str) -> Iterator[str]:
    """A name, and what of it stands before or behind some character between words."""
    name = _last(stem)
    yield name
    for place, character in enumerate(name):
        if not character.isalnum():
            yield name[:place]
            yield name[place + 1 :]


def _other_format(folder: Path, stem: str) -> Path | None:
    for ending in (*_NO_MASKS, ".json"):
        for name in (f"{stem}{ending}", f"{stem}{ending.upper()}"):
            if (folder / name).is_file():
                return folder / name
    return None


def _ends_in(stem: str, wanted: str) -> bool:
    """Such as "task-3-annotation-photo", of "photo"."""
    front = stem.removesuffix(wanted)
    return front not in (stem, "") and not front[-1].isalnum()


def _bare(suffix: str) -> str:
    return _stem(suffix) if suffix.lower().endswith(MASK_SUFFIXES) else suffix


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
