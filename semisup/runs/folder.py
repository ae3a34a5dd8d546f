"""The folder of a run, and the lock that keeps a second process out of it."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO

from semisup.errors import RunError


class RunFolder:
    """`runs/<recipe>/<hash>-s<seed>`: where a run keeps all it writes.

    Args:
        path: the folder; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.facts = path / "run.json"
        self.scalars = path / "scalars.jsonl"
        self.speed = path / "speed.jsonl"
        self.result = path / "result.json"
        self.gain = path / "gain.json"
        self.counts = path / "counts.safetensors"
        self.detections = path / "detections.json"
        self.split = path / "split.txt"
        self.files = path / "files.json"
        self.untouched = path / "untouched.json"
        self.predictor = path / "predictor.safetensors"
        self.checkpoints = path / "checkpoints"
        self.pictures = path / "pictures"
        self._lock: IO[str] | None = None

    def make(self) -> None:
        """Make the folders.

        Raises:
            RunError: the place cannot be written to.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.pictures.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be made ({error.strerror}). Choose another --out."
            ) from None

    def __enter__(self) -> RunFolder:
        self.make()
        try:
            self._lock = (self.path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written to ({error.strerror}). Choose another --out."
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise RunError(
                f"{self.path}: process {owner} is working on this run. Wait for it, or take "
                "another --seed or --out."
            ) from None
        _close_in_children(self._lock)
        self._remove_torn_files()
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()
        return self

    def _remove_torn_files(self) -> None:
        """What a process that was killed while it wrote has left."""
        for folder in (self.path, self.checkpoints, self.pictures):
            for torn in folder.glob(".*.tmp"):
                torn.unlink(missing_ok=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._lock is not None
        self._lock.close()  # gives the lock back
        self._lock = None


def _close_in_children(lock: IO[str]) -> None:
    """Keep forked processes from holding the lock.

    It lasts until the last process that has the file open is gone, and the workers of a process
    that was killed live on for some seconds.
    """
    held = weakref.ref(lock)

    def close() -> None:
        file = held()
        if file is not None:
            file.close()

    os.register_at_fork(after_in_child=close)
