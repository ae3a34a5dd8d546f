"""Fetching a data set: each archive once, unpacked beside and renamed when it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from semisup.data.fetching.download import Say, download
from semisup.data.fetching.sources import Archive, Source
from semisup.data.fetching.unpack import unpack
from semisup.errors import DataError, RunError
from semisup.system.files import writing

ARCHIVES = "archives"
"""Folder of the archives, below the data root."""


def fetch(source: Source, root: Path, say: Say) -> None:
    """Fetch and unpack all archives of `source` below `root`, unless they are there.

    An interrupted call is repeated: what is whole stays, and nothing else has a name that a data
    set reads. The archives stay in `root/archives`.

    Args:
        source: one that has archives.
        root: the data root; made if it is not there.
        say: is told what is done, in a line.

    Raises:
        DataError: as `download` and `unpack`; or a folder in the way, or an archive without what
            it should hold.
        RunError: `root` cannot be written to, or another process fetches to it.
    """
    root = root.expanduser()
    with _alone(root / ARCHIVES):
        for archive in source.archives:
            _install(archive, root, say)


def _install(archive: Archive, root: Path, say: Say) -> None:
    there = next((root / place for place in archive.places if (root / place).exists()), None)
    if there is not None:
        say(f"{archive.name}: {there} is there; nothing is fetched")
        return
    target, proof = root / archive.makes, root / archive.places[0]
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there, but {proof} is not; move it away, and repeat the call")
    path = download(archive, root / ARCHIVES, say)
    beside = root / f".{archive.file}.unpacking"
    say(f"{archive.name}: unpacking {path}")
    try:
        with writing(beside):
            shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
            beside.mkdir()
        unpack(path, beside)
        if not (beside / archive.places[0]).exists():
            raise DataError(f"{path} does not hold {archive.places[0]}; remove it, and repeat")
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.sync()  # or the name might outlive a loss of power, and the files not
            (beside / archive.makes).rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    say(f"{archive.name}: in {target}; {path} may be removed")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep two processes from fetching to one place."""
    with contextlib.ExitStack() as stack:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / ".lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder}: another process is fetching to it. Wait for it, or choose another "
                "--data-root."
            ) from None
        yield
