"""Folders of files, read with their sub-folders, and what identifies their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from semisup.errors import DataError, RecipeError
from semisup.system.files import exists

_FOLDER = "folder:"


@dataclass(frozen=True, slots=True)
class FileTree:
    """The files of one kind in a folder and its sub-folders.

    Attributes:
        folder: the folder itself.
        files: path relative to the folder, with "/" between its parts -> where the file lies; in
            sorted order.
    """

    folder: Path
    files: Mapping[str, Path]

    @property
    def name(self) -> str:
        """Such as "folder:photographs": the last part of the path alone."""
        return f"{_FOLDER}{self.folder.resolve().name}"

    def sha256_of_sizes(self) -> str:
        """SHA-256 over the relative path and the size in bytes of each file; opens none."""
        return digest_of({name: str(path.stat().st_size) for name, path in self.files.items()})

    def sha256_of_contents(self) -> str:
        """SHA-256 over the relative path and the content of each file."""
        return digest_of({name: _hash_file(path) for name, path in self.files.items()})


def digest_of(facts: Mapping[str, str]) -> str:
    """SHA-256 over the names and facts of files, in sorted order."""
    # No path has a zero byte in it, so no two sets of files give the same text.
    text = "".join(f"{name}\0{fact}\n" for name, fact in sorted(facts.items()))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def folder_of(spec: str, key: str, others: str = "") -> Path:
    """The path in "folder:PATH".

    Args:
        spec: the value of the key.
        key: such as "data.masks", for the error.
        others: further values that the key may have, for the error.

    Raises:
        RecipeError: another form, or no path.
    """
    path = spec.strip().removeprefix(_FOLDER).strip()
    if not names_folder(spec) or not path:
        raise RecipeError(f'{key} = {spec!r} cannot be understood: write {others}"folder:PATH"')
    return Path(path)


def names_folder(spec: str) -> bool:
    """Whether the value of a key is of the form "folder:PATH"."""
    return spec.strip().startswith(_FOLDER)


def read_tree(folder: Path, suffixes: tuple[str, ...], remedy: str) -> FileTree:
    """The files in `folder` and its sub-folders whose names end in one of `suffixes`.

    Capital letters in a suffix do not matter. What begins with a dot is left out, as are the
    folders __MACOSX and @eaDir, and a folder that is reached twice, over a link, is read once.

    Raises:
        DataError: no such folder, none of these files in it, a folder that cannot be listed, a
            broken link, or a name that is not UTF-8; ends in `remedy` where the folder is at fault.
    """
    if not exists(folder) or not folder.is_dir():
        what = "is no folder" if exists(folder) else "is not there"
        raise DataError(f"{folder} {what}; {remedy}")
    found = list_files(folder, suffixes)
    if not found:
        raise DataError(f"{folder} holds no file with {' or '.join(suffixes)}; {remedy}")
    return FileTree(folder, found)


def list_files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """As `FileTree.files`, and empty where there is none; errors as in `read_tree`."""
    start = _length(folder)
    found = {str(path)[start:]: path for path in _walk(folder, suffixes)}
    return dict(sorted(found.items()))


def files_by_id(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Id, the path without its ending -> file, as in `list_files`.

    Raises:
        DataError: two files of one id; else as in `list_files`.
    """
    files: dict[str, Path] = {}
    for name, path in list_files(folder, suffixes).items():
        key = name.rpartition(".")[0]
        if key in files:
            raise DataError(f"{files[key]} and {path.name} have the same id; rename one of the two")
        files[key] = path
    return files


def other_files(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The paths of the files that `list_files` leaves out, but for hidden ones."""
    start = _length(folder)
    found = (path for path in _visible(folder) if path.suffix.lower() not in suffixes)
    return sorted(str(path)[start:] for path in found)


def _length(folder: Path) -> int:
    """Of what stands before the names of the files in a folder, which is nothing for "."."""
    return len(str(folder / "x")) - 1


def walk_once(
    folder: Path, refuse: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """A folder and its sub-folders, each once also where links lead to it again.

    Args:
        folder: where to start.
        refuse: called with the error of a folder that cannot be listed.

    Yields:
        Path, names of the sub-folders, and names of the files. What is taken out of the names of
        the sub-folders is not entered.
    """
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield place, folders, names


def _walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    return (_checked(path) for path in _visible(folder) if path.suffix.lower() in suffixes)


def _visible(folder: Path) -> Iterator[Path]:
    """The files of a folder and its sub-folders, but for hidden ones."""
    for place, folders, names in walk_once(folder, _refuse):
        folders[:] = sorted(name for name in folders if not _is_of_a_system(name))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place, name)


def _is_of_a_system(name: str) -> bool:
    """Whether a folder is one that a Mac or a network drive keeps beside the files."""
    return name.startswith(".") or name in ("@eaDir", "__MACOSX")


def _checked(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{path.name!a} in {str(path.parent)!a} is not named in UTF-8; rename it"
        ) from None
    if not exists(path):
        raise DataError(f"{path} is a broken link to {path.readlink()}; mend or remove it")
    return path


def _refuse(error: OSError) -> None:
    raise DataError(
        f"{error.filename} cannot be listed ({error.strerror}); make it a readable folder"
    ) from None


def _hash_file(path: Path) -> str:
    if not path.is_file():  # to open a pipe is to wait for whoever writes into it
        raise DataError(f"{path} is no file; put the picture in its place")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its folder") from None
