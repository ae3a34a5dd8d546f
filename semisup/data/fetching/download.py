"""Fetching one file so that what has its name is whole and has its checksum.

torchvision's `download_url` is not used: it writes under the final name, takes an answer that was
cut short for a whole file where no checksum is known, waits for a silent server for ever, and asks
without encryption where the encrypted way fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from semisup.data.fetching.sources import Archive
from semisup.errors import DataError
from semisup.system.files import write_text, writing
from semisup.system.progress import track
from semisup.version import __version__

TIMEOUT = 60.0
"""Seconds without a byte after which a server is given up."""

CHUNK = 1 << 20
"""Bytes that are read and written at once."""

_RANGE_REFUSED = 416
_KINDS = {"md5": "MD5", "sha256": "SHA-256"}
Say = Callable[[str], None]


def download(archive: Archive, folder: Path, say: Say) -> Path:
    """The archive in `folder`: fetched unless it is there, and checked.

    It is received as `<file>.part`, and has its name when it is whole and right. With a known
    checksum, the next call goes on where an interrupted one ended. `<file>.sha256` beside it, which
    `sha256sum --check` reads, holds what was fetched first; later files are compared with it.

    Args:
        archive: what to fetch.
        folder: that it lies in.
        say: is told what is done, in a line.

    Raises:
        DataError: the server does not answer, has no such file or ends early, or the file is not
            the one that was published, or not the one that was fetched first.
        RunError: it cannot be written.
    """
    path = folder / archive.file
    if path.exists():
        say(f"{archive.name}: {path} is there; checking it")
        _check(path, archive, path, "remove it, and repeat the call")
        return path
    part = path.with_name(f"{archive.file}.part")
    known = _known_sums(archive, path)
    _receive(archive, part, may_go_on=bool(known), say=say)
    try:
        if not known and not (zipfile.is_zipfile(part) or tarfile.is_tarfile(part)):
            raise DataError(
                f"{archive.url}: what the server sent is no archive, but perhaps a page; fetch it "
                f"by hand, as {path}"
            )
        _check(part, archive, path, "it was thrown away; repeat the call, or fetch it elsewhere")
    except DataError:
        part.unlink()
        raise
    part.replace(path)
    return path


class _Sum(NamedTuple):
    kind: str
    value: str
    origin: str


def _known_sums(archive: Archive, path: Path) -> list[_Sum]:
    known = [
        _Sum("md5", archive.md5, "was published"),
        _Sum("sha256", archive.sha256, "was published"),
        _Sum("sha256", _recorded(path), f"is in {_record(path).name}, of the first fetch"),
    ]
    return [each for each in known if each.value]


def _check(file: Path, archive: Archive, path: Path, remedy: str) -> None:
    """Compare `file`, which is or will be `path`, with the known checksums; write down its own."""
    found = _sums(file)
    for kind, value, origin in _known_sums(archive, path):
        if found[kind] != value:
            raise DataError(
                f"{file}: its {_KINDS[kind]} is {found[kind]}, but {value} {origin}; {remedy}"
            )
    if not _recorded(path):
        write_text(_record(path), f"{found['sha256']}  {path.name}\n")


def _sums(file: Path) -> dict[str, str]:
    sums = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    try:
        with file.open("rb") as opened:
            chunks = iter(lambda: opened.read(CHUNK), b"")
            for chunk in track(chunks, f"checking {file.name}", _chunks_of(file.stat().st_size)):
                for each in sums.values():
                    each.update(chunk)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); remove it") from error
    return {kind: each.hexdigest() for kind, each in sums.items()}


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str:
    record = _record(path)
    try:
        text = record.read_text(encoding="ascii") if record.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{record} cannot be read; remove it") from error
    found = re.fullmatch(rf"([0-9a-f]{{64}}) [ *]{re.escape(path.name)}\n?", text)
    if text and not found:
        raise DataError(f"{record} is no SHA-256 of {path.name}; remove it")
    return found[1] if found else ""


def _receive(archive: Archive, part: Path, *, may_go_on: bool, say: Say) -> None:
    """Fetch all of the file, or what is missing of it where a checksum will tell."""
    start = part.stat().st_size if may_go_on and part.exists() else 0
    with contextlib.ExitStack() as stack:
        with _network(archive):
            try:
                response = stack.enter_context(_ask(archive, start))
            except urllib.error.HTTPError as error:
                error.close()
                if start and error.code == _RANGE_REFUSED:
                    return  # there is nothing behind what is here: its checksum will tell
                raise
        start, total = _extent(response, start)
        _check_size(archive, total, has_sum=may_go_on)
        of = f" ({total / 1e6:,.1f} MB)" if total else ""
        say(f"{archive.name}: {'going on with' if start else 'fetching'} {archive.url}{of}")
        received = start + _write(archive, response, part, start, total)
    if total is not None and received != total:
        again = "it goes on from there" if may_go_on else "it begins anew"
        raise DataError(
            f"{archive.url}: the server ended after {received:,} of {total:,} bytes; repeat the "
            f"call, {again}"
        )


def _ask(archive: Archive, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"semisup/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(archive.url, headers=headers)
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    return response


def _extent(response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
    """Where the answer begins, and the size of the whole file; a server may send all of it."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        stated = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "").strip()
        )
        if stated and int(stated[1]) == start:
            return start, int(stated[2])
        raise DataError(
            f"{response.url}: the server sent another part than was asked for; remove the .part "
            "file and repeat the call"
        )
    return 0, response.length


def _check_size(archive: Archive, total: int | None, *, has_sum: bool) -> None:
    if archive.size is not None and total is not None and total != archive.size:
        raise DataError(
            f"{archive.url}: the server has {total:,} bytes, but the published file has "
            f"{archive.size:,}; fetch it elsewhere, as {archive.file}"
        )
    if total is None and archive.size is None and not has_sum:
        raise DataError(
            f"{archive.url}: the server does not say how long the file is, and no checksum is "
            "known, so that nothing tells whether it is whole; fetch it by hand, as "
            f"{archive.file}"
        )


def _write(
    archive: Archive,
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int | None,
) -> int:
    """How many bytes were received."""
    received = 0
    with writing(part):
        file = part.open("ab" if start else "wb")
    with file:
        left = _chunks_of(total - start) if total is not None else None
        for chunk in track(_chunks(archive, response), f"fetching {archive.file}", left):
            with writing(part):
                file.write(chunk)
            received += len(chunk)
        with writing(part):
            _flush(file)
    return received


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _chunks(archive: Archive, response: http.client.HTTPResponse) -> Iterator[bytes]:
    with _network(archive):
        chunk = response.read(CHUNK)
    while chunk:
        yield chunk
        with _network(archive):
            chunk = response.read(CHUNK)


def _chunks_of(size: int) -> int:
    return -(-size // CHUNK)


@contextlib.contextmanager
def _network(archive: Archive) -> Iterator[None]:
    """Turn what goes wrong on the way into one line."""
    remedy = f"repeat the call later, or fetch it by hand, as {archive.file} in the same folder"
    try:
        yield
    except urllib.error.HTTPError as error:
        raise DataError(
            f"{archive.url}: the server answers {error.code} ({error.reason}); {remedy}"
        ) from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise DataError(f"{archive.url} cannot be fetched ({reason}); {remedy}") from None
