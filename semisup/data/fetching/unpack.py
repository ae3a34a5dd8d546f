"""Unpacking archives of strangers: plain files and folders, and none outside of its folder."""

from __future__ import annotations

import contextlib
import functools
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from semisup.errors import DataError
from semisup.system.files import writing
from semisup.system.progress import track

CHUNK = 1 << 20
_BLOCK = 512
"""Bytes of a header of tar; a block of zeros ends an archive."""

_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, NotImplementedError, ValueError),  # zipfile's: a password, a compression
)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar (plain or packed) or zip archive.

    Names, contents and folders are taken; owners, modes and times are not.

    Args:
        path: of the archive.
        folder: to unpack in; a file of the same name there is overwritten.

    Raises:
        DataError: it is no such archive, damaged or cut short; or a member of it would lie outside
            of `folder`, or is a link, a device or a pipe. What was unpacked before stays.
        RunError: a file cannot be written.
    """
    with contextlib.closing(
        _of_zip(path) if zipfile.is_zipfile(path) else _of_tar(path)
    ) as members:
        for member in track(members, f"unpacking {path.name}"):
            target = folder / _inside(path, member.name)
            around = target if member.chunks is None else target.parent
            with writing(target):
                around.mkdir(parents=True, exist_ok=True)
            if member.chunks is not None:
                _write(target, member.chunks)


class _Member(NamedTuple):
    """A file, or a folder, which has no chunks."""

    name: str
    chunks: Generator[bytes, None, None] | None


def _of_tar(path: Path) -> Generator[_Member, None, None]:
    with _reading(path), tarfile.open(path) as archive:
        for entry in archive:
            if not entry.isfile() and not entry.isdir():
                kind = "a link" if entry.issym() or entry.islnk() else "a device or a pipe"
                raise DataError(_refusal(path, entry.name, f"is {kind}"))
            read = functools.partial(archive.extractfile, entry)
            yield _Member(entry.name, _chunks(path, read) if entry.isfile() else None)
        # tarfile takes a damaged header, and the end of a file that was cut short, for the end.
        stream = archive.fileobj
        assert stream is not None
        stream.seek(archive.offset)
        if stream.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError("it has no end")
        while stream.read(CHUNK):
            pass  # to where a packed archive has its checksum


def _of_zip(path: Path) -> Generator[_Member, None, None]:
    with _reading(path), zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "a device or a pipe"
                raise DataError(_refusal(path, entry.filename, f"is {what}"))
            read = functools.partial(archive.open, entry)
            yield _Member(entry.filename, None if entry.is_dir() else _chunks(path, read))


def _inside(path: Path, name: str) -> PurePosixPath:
    """The path that a member is written to, below the folder."""
    inner, windows = PurePosixPath(name), PureWindowsPath(name)
    if inner.is_absolute() or windows.root or windows.drive:
        raise DataError(_refusal(path, name, "has an absolute path"))
    if ".." in inner.parts or ".." in windows.parts or "\0" in name:
        raise DataError(_refusal(path, name, "would be written outside of its folder"))
    return inner


def _refusal(path: Path, name: str, what: str) -> str:
    return (
        f"{path}: its member {name!r} {what}, and nothing is taken from the archive; if you trust "
        "it, unpack it by hand"
    )


def _chunks(path: Path, read: Callable[[], IO[bytes] | None]) -> Generator[bytes, None, None]:
    with _reading(path), contextlib.ExitStack() as stack:
        opened = read()
        assert opened is not None  # of a file
        stack.enter_context(opened)
        while chunk := opened.read(CHUNK):
            yield chunk


def _write(target: Path, chunks: Generator[bytes, None, None]) -> None:
    with contextlib.closing(chunks), writing(target), target.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        said, *_ = str(error).splitlines() or [type(error).__name__]  # tarfile says a page
        raise DataError(
            f"{path} is no whole archive ({said.rstrip(':')}); remove it, and repeat the call"
        ) from error
