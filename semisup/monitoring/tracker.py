"""What a run writes down: TensorBoard, scalars.jsonl, warnings.jsonl, speed.jsonl.

`scalars.jsonl` and `warnings.jsonl` hold what depends on the recipe and the seed alone, so that two
runs can be compared byte by byte; whatever the clock has a part in goes to `speed.jsonl`. A run
without warnings has no `warnings.jsonl`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from semisup.errors import RunError
from semisup.monitoring.tags import tag_of
from semisup.system.files import write_text

if TYPE_CHECKING:
    from semisup.pictures.figures import Figure


class Tracker:
    """Writes scalars, pictures and hyperparameters of one run.

    Args:
        folder: of the run.
        step: where the run goes on; whatever was written of later steps is taken back.
        checked: the last step whose scores stand; None: `step`.
    """

    def __init__(self, folder: Path, step: int = 0, checked: int | None = None) -> None:
        checked = step if checked is None else checked
        self._warnings = folder / "warnings.jsonl"
        _take_back(self._warnings, step, checked)
        if self._warnings.is_file() and self._warnings.stat().st_size == 0:
            self._warnings.unlink()
        self._files = {
            "scalars": _reopen(folder / "scalars.jsonl", step, checked),
            "speed": _reopen(folder / "speed.jsonl", step, checked),
        }
        self._hook = threading.excepthook
        threading.excepthook = self._of_thread
        try:
            with _told(str(folder)):
                self._board = SummaryWriter(str(folder), purge_step=step + 1 if step else 0)
        except RunError:
            self._close_files()
            raise

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record scalars of a step: the same bits for the same recipe and seed."""
        self._write("scalars", step, values)

    def checkup(self, step: int, values: Mapping[str, float]) -> None:
        """Record scores of the predictor after `step` steps."""
        self._write("scalars", step, values, mark="checkup")

    def final(self, step: int, values: Mapping[str, float]) -> None:
        """Record the scores of the finished run; they take the place of any recorded before."""
        self._write("scalars", step, values, mark="final")

    def speed(self, step: int, values: Mapping[str, float]) -> None:
        """Record what the clock measured."""
        self._write("speed", step, values)

    def warning(self, step: int, text: str) -> None:
        """Record what goes wrong: the same text for the same recipe and seed."""
        if "warnings" not in self._files:
            self._files["warnings"] = _open(self._warnings)
        self._write_line("warnings", {"step": step, "warning": text})
        with _told(self._board.log_dir):
            self._board.add_text("warnings", text, step)

    def _write(self, name: str, step: int, values: Mapping[str, float], *, mark: str = "") -> None:
        kind = {mark: True} if mark else {}
        # JSON knows no infinity: a norm that overflowed in fp16 is null.
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._write_line(name, {"step": step, **kind, **finite})
        with _told(self._board.log_dir):
            for key, value in values.items():
                self._board.add_scalar(tag_of(key), value, step)

    def _write_line(self, name: str, record: Mapping[str, Any]) -> None:
        file = self._files[name]
        with _told(file.name):
            file.write(json.dumps(record, allow_nan=False) + "\n")
            file.flush()

    def picture(self, name: str, picture: Tensor, step: int) -> None:
        """Record a picture, uint8 3HW."""
        with _told(self._board.log_dir):
            self._board.add_image(f"pictures/{name}", picture, step)

    def figure(self, name: str, figure: Figure, step: int) -> None:
        """Record a matplotlib figure."""
        from semisup.pictures.figures import render  # slow to import; needed once a run

        self.picture(name, render(figure), step)

    def hyperparameters(self, values: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Record what TensorBoard's HParams tab compares runs by.

        Args:
            values: column -> value.
            metrics: final scores; the tab shows those that `final` has recorded.
        """
        plain = {
            k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in values.items()
        }
        writer = self._board._get_file_writer()  # type: ignore[no-untyped-call]
        with _told(self._board.log_dir):
            for summary in hparams(plain, dict(metrics)):  # type: ignore[no-untyped-call]
                writer.add_summary(summary)

    def flush(self) -> None:
        """Bring the logs to the disk."""
        for file in self._files.values():
            with _told(file.name):
                os.fsync(file.fileno())

    def close(self) -> None:
        """Flush and close all files.

        A disk that was full before is full again here: no second warning.
        """
        with contextlib.suppress(OSError):
            self._board.close()
        self._close_files()

    def _close_files(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
        threading.excepthook = self._hook

    def _of_thread(self, arguments: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread hands a disk's error to the next call, which tells it in one line.

        Here it would be a page of traceback.
        """
        if not isinstance(arguments.exc_value, OSError):
            self._hook(arguments)


class Untracked(Tracker):
    """Writes nothing: for the processes of a run that leave it to the first."""

    def __init__(self) -> None:
        self._files = {}

    def _write(
        self, name: str, step: int, values: Mapping[str, float], *, mark: str = ""
    ) -> None: ...

    def warning(self, step: int, text: str) -> None:
        """Nothing."""

    def picture(self, name: str, picture: Tensor, step: int) -> None:
        """Nothing."""

    def hyperparameters(self, values: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Say in one line that the disk is full."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}). Free some space; the run goes on from "
            "its last checkpoint."
        ) from None


def _reopen(path: Path, step: int, checked: int) -> IO[str]:
    """Open a log of lines for appending, without what will be written again."""
    _take_back(path, step, checked)
    return _open(path)


def _take_back(path: Path, step: int, checked: int) -> None:
    """Remove from a log of lines, if it is there, what will be written again."""
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        kept = [line for line in lines if _stands(line, step, checked)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RunError(
            f"{path}: holds a line that is no record of a run. Delete the file, and the run "
            "goes on with a new one."
        ) from None
    if len(kept) < len(lines):
        write_text(path, b"".join(kept).decode())


def _open(path: Path) -> IO[str]:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}). Choose another --out."
        ) from None


def _stands(line: bytes, step: int, checked: int) -> bool:
    if not line.endswith(b"\n"):  # cut off by a kill
        return False
    record = json.loads(line.decode())
    last = checked if record.get("checkup", False) else step
    return record["step"] <= last and not record.get("final", False)
