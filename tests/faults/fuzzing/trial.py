"""One input: what a reader does with it, and whether that is allowed."""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fuzzing.archives import TRAP
from fuzzing.readers import Reader
from PIL.Image import DecompressionBombWarning

from semisup.errors import SemisupError

SECONDS = 10.0
"""Processor time that an input may take: others may be at work on the same machine."""


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        kind: "read", "refused" or "failed".
        text: the line of the refusal, or the traceback of the failure.
        place: of a failure: what tells it from others.
    """

    kind: str
    text: str = ""
    place: str = ""


class TooSlow(BaseException):
    """Raised in the middle of a reader; no `except Exception` keeps it."""


def try_input(reader: Reader, content: bytes, folder: Path) -> Outcome:
    """Let `reader` read `content` in its scratch folder.

    Allowed are a sound value and a `SemisupError` of one line that names the file; nothing may
    be executed, no warning may be given, and it takes at most `SECONDS`.
    """
    path = folder / reader.file
    path.write_bytes(content)
    try:
        with warnings.catch_warnings(record=True) as caught, _limit(SECONDS):
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # as the cli
            outcome = _read(reader, folder, path)
    except TooSlow as error:
        return _failure(error)
    if Path(TRAP).exists():
        Path(TRAP).rmdir() if Path(TRAP).is_dir() else Path(TRAP).unlink()
        return Outcome("failed", "code in the input was executed", "executed")
    for warning in caught:
        # Pillow's own word about a picture that is large and may be meant.
        if outcome.kind != "failed" and warning.category is not DecompressionBombWarning:
            text = f"a warning: {warning.category.__name__}: {warning.message}"
            return Outcome("failed", f"{text}\n{warning.filename}:{warning.lineno}", text[:60])
    return outcome


def _read(reader: Reader, folder: Path, path: Path) -> Outcome:
    try:
        reader.read(folder, path)
    except SemisupError as error:
        return _check_line(reader, folder, error)
    except (KeyboardInterrupt, TooSlow):
        raise
    except BaseException as error:  # a panic of safetensors is no Exception
        return _failure(error)
    return Outcome("read")


def _check_line(reader: Reader, folder: Path, error: SemisupError) -> Outcome:
    line = str(error)
    if not any(name in line for name in reader.names or (str(folder),)):
        return Outcome("failed", f"names no file: {line!r}", f"nameless {_place(error)}")
    if line.splitlines() != [line]:
        return Outcome("failed", f"not one line: {line!r}", f"lines {_place(error)}")
    return Outcome("refused", line)


def _failure(error: BaseException) -> Outcome:
    text = "".join(traceback.format_exception(error))
    return Outcome("failed", text[-20_000:], f"{type(error).__name__} {_place(error)}")


def _place(error: BaseException) -> str:
    """The deepest line of the suite's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "semisup" in Path(frame.filename).parts] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else ""


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in what takes longer; what never returns to Python is left to the watch."""
    began = time.process_time()
    before = signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    if time.process_time() - began > seconds:
        raise TooSlow(f"took {time.process_time() - began:.1f} s")


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow(f"takes longer than {SECONDS:.0f} s")
