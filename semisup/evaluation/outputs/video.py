"""Frames of a video, one at a time, read and written by PyAV (extra `video`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from semisup.errors import DataError, RunError
from semisup.system.files import writing

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"),
    *(".mpg", ".mpeg", ".wmv", ".mts", ".3gp", ".ogv"),
)
"""Endings of the files that are read as videos, in small letters."""

_CODEC, _QUALITY = "libx264", {"crf": "20", "preset": "veryfast"}
"""Of a video that is written: played everywhere, and close to what is drawn."""


def is_video(path: Path) -> bool:
    """Whether a file is read as a video, by its ending."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        image: uint8 3HW, RGB, as a viewer shows it.
        shown_at: when, in units of the video's `time_base`; None where the file does not state it.
    """

    image: Tensor
    shown_at: int | None


class VideoReader:
    """A video file, for a `with` block.

    Args:
        path: of the file.
        turned: whether frames are turned as the file says and viewers do.

    Attributes:
        stated: number of frames, where the file states it.
        length: number of frames, as it is stated or by the length in seconds; None: unknown.
        rate: frames a second, on average.
        time_base: seconds of a unit of `Frame.shown_at`.

    Raises:
        DataError: PyAV is not installed; no such file, or no video.
    """

    def __init__(self, path: Path, *, turned: bool = True) -> None:
        self._path, self._turned = path, turned
        self._av = _pyav(path)
        with self._decoding():
            self._container = self._av.open(str(path))
        try:
            if not self._container.streams.video:
                raise DataError(f"{path}: holds no video, such as sound alone; name a video")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
            self.rate = Fraction(self._stream.average_rate or 25)
            self.time_base = Fraction(self._stream.time_base or 1 / self.rate)
            self.stated = int(self._stream.frames) or None
            self.length = self.stated or self._guess()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def frames(self) -> Iterator[Frame]:
        """The frames in the order in which they are shown; one is in memory at a time.

        Raises:
            DataError: one cannot be decoded.
        """
        with self._decoding():
            for frame in self._container.decode(self._stream):
                pixels = frame.to_ndarray(format="rgb24")
                quarters = round(_rotation(frame) / 90) % 4 if self._turned else 0
                pixels = np.ascontiguousarray(np.rot90(pixels, quarters))
                yield Frame(torch.from_numpy(pixels).permute(2, 0, 1), frame.pts)

    def _guess(self) -> int | None:
        duration = self._container.duration
        return None if duration is None else max(1, round(duration / 1_000_000 * self.rate))

    @contextlib.contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except self._av.FFmpegError as error:
            why = error.strerror or type(error).__name__
            raise DataError(
                f"{self._path}: is no video that FFmpeg can decode, or it is damaged ({why}); "
                "convert or mend it"
            ) from None


class VideoWriter:
    """A video file (MP4, H.264, no sound) for a `with` block: whole at its end, or not there.

    Args:
        path: of the file.
        like: the video whose times its frames have.
    """

    def __init__(self, path: Path, like: VideoReader) -> None:
        self._path, self._like = path, like
        self._av = _pyav(path)
        self._beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._container is not None:
                if kind is None:
                    self._finish()
                else:
                    with contextlib.suppress(Exception):
                        self._container.close()
        finally:
            with contextlib.suppress(OSError):
                self._beside.unlink(missing_ok=True)

    def add(self, picture: Tensor, shown_at: int | None) -> None:
        """Write a frame.

        Args:
            picture: uint8 HW3; odd sides lose their last row or column, which H.264 cannot have.
            shown_at: as in `Frame`.

        Raises:
            RunError: it cannot be written.
        """
        height, width = (max(2, side // 2 * 2) for side in picture.shape[:2])
        with self._encoding():
            if self._container is None:
                self._begin(height, width)
            pixels = picture[:height, :width].numpy()
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            step = max(1, round(1 / (self._like.rate * self._like.time_base)))
            self._last = max(self._last + 1, self._last + step if shown_at is None else shown_at)
            frame.pts, frame.time_base = self._last, self._like.time_base
            self._container.mux(self._stream.encode(frame))

    def _begin(self, height: int, width: int) -> None:
        self._container = self._av.open(str(self._beside), "w", format="mp4")
        self._stream = self._container.add_stream(_CODEC, rate=self._like.rate, options=_QUALITY)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self._like.time_base

    def _finish(self) -> None:
        with self._encoding(), writing(self._path):
            self._container.mux(self._stream.encode(None))
            self._container.close()
            with self._beside.open("rb") as file:
                os.fsync(file.fileno())
            self._beside.replace(self._path)

    @contextlib.contextmanager
    def _encoding(self) -> Iterator[None]:
        try:
            yield
        except self._av.FFmpegError as error:
            why = error.strerror or type(error).__name__
            raise RunError(
                f"{self._path}: cannot be written ({why}). Free some space, or leave --overlay out."
            ) from None


def _rotation(frame: Any) -> float:
    """Degrees, counter-clockwise, by which a viewer turns a frame."""
    return float(frame.rotation)


def _pyav(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise DataError(
            f"{path}: is a video, which PyAV reads; install it: pip install 'semisup[video]'"
        ) from None
    # Its log stays off: with one, the threads of a decoder wait for Python, which waits for them.
    return av
