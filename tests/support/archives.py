"""Archives for tests, honest and not."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence

from semisup.data.fetching.sources import Archive

SOUND = {"tree/data/one.txt": b"one" * 4000, "tree/data/two.txt": b"", "tree/read.me": b"me"}


def tar_of(
    files: Mapping[str, bytes], more: Sequence[tarfile.TarInfo] = (), packing: str = ""
) -> bytes:
    """Files in their order, behind a folder, and then members without content."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=f"w:{packing}") as archive:
        folder = tarfile.TarInfo("tree")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for entry in more:
            archive.addfile(entry)
    return written.getvalue()


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A link or device of a tar archive."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def zip_of(files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> bytes:
    """Files, of which some have a mode, kind included."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (modes or {}).get(name, 0) << 16
            archive.writestr(entry, content)
    return written.getvalue()


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive_at(url: str, content: bytes | None = None, **changes: object) -> Archive:
    """What is published of an archive, its MD5 among it where the content is given."""
    about: dict[str, object] = {
        "name": "A tree",
        "url": url,
        "file": url.rpartition("/")[2],
        "makes": "tree",
        "places": ("tree/data", "elsewhere/data"),
        "md5": "" if content is None else md5_of(content),
    }
    return Archive(**{**about, **changes})  # type: ignore[arg-type]


CONTENT = tar_of(SOUND)
"""What the fixture `archive` serves."""
