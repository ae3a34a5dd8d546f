"""Decoded images and masks in memory, one copy for all processes that read them."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sys
import tempfile
import weakref
from collections.abc import Iterator
from multiprocessing import reduction
from typing import Any

import torch
from torch import Tensor

from semisup.data.base import SegmentationData, WrappedData
from semisup.errors import RecipeError
from semisup.system.words import counted

_MEBIBYTE = 2**20
_WORDS = 3  # of an entry of the table: offset, height, width
_WORD_BYTES = 8
_ABSENT, _RESERVED = 0, -1  # instead of an offset


class CachedData(WrappedData):
    """A data set that decodes each file once, as long as there is room.

    It answers everything as the data set in it does, with the same bits. Images and masks are
    kept apart, so that what never opens a mask still never opens one. Who comes first stays: an
    epoch shows every image once, so throwing out the least recently used would throw out what
    comes next. What finds no room is decoded each time, and so is what cannot be decoded.

    The memory belongs to this object and to all worker processes that are started with it, by
    fork, spawn or forkserver alike. It is taken from the system as it fills up. Processes of a
    distributed run have a cache each. Within one process, only one thread at a time may read.

    Args:
        data: the data set on disk.
        mebibytes: bound on the memory, in MiB; the table of what is in it counts.

    Raises:
        RecipeError: no room even for the table (24 bytes for each image and each mask).
    """

    def __init__(self, data: SegmentationData, mebibytes: int) -> None:
        super().__init__(data)
        size, entries = mebibytes * _MEBIBYTE, 2 * len(data)
        if size <= _table_bytes(entries):
            images, enough = counted(len(data), "image"), _table_bytes(entries) // _MEBIBYTE + 1
            raise RecipeError(
                f"a cache of {mebibytes} MiB is too small for the {images} of {data.name}: give it "
                f"{enough} MiB or more, or 0 for none"
            )
        try:
            self._arena = _Arena(size, entries)
        except (OSError, OverflowError) as error:
            raise RecipeError(
                f"a cache of {mebibytes} MiB cannot be had ({error}); give it less, or 0 for none"
            ) from None

    def image(self, index: int) -> Tensor:
        """Image `index` (CHW); errors as in the data set. The caller may change it."""
        kept = self._arena.get(index, self.image_kind.channels, self.image_kind.dtype)
        if kept is not None:
            return kept.permute(2, 0, 1)
        image = self._data.image(index)
        # With the channels last, which resizing likes better.
        self._arena.put(index, image.permute(1, 2, 0))
        return image

    def mask(self, index: int) -> Tensor:
        """Mask `index`: uint8 HW; errors as in the data set. The caller may change it."""
        entry = len(self) + index
        kept = self._arena.get(entry, 1)
        if kept is not None:
            return kept[..., 0]
        mask = self._data.mask(index)
        self._arena.put(entry, mask[..., None])
        return mask

    @property
    def used(self) -> int:
        """Bytes taken so far, table included, by all processes together."""
        return self._arena.used


class _Arena:
    """HWC pictures in a file without a name that all processes have mapped.

    At its begin lies the table: one word for the bytes in use, then offset, height and width of
    each entry. It is read and written under a lock of the file, which the system takes back from
    a process that dies. Whoever is first to reserve room for an entry fills it without the lock
    and then writes down where it is. So a process that is killed on the way leaves an entry that
    stays reserved: its room is lost, and nobody takes it for whole.
    """

    def __init__(self, size: int, entries: int, descriptor: int | None = None) -> None:
        self._size, self._entries = size, entries
        self._descriptor = _open_memory() if descriptor is None else descriptor
        weakref.finalize(self, os.close, self._descriptor)
        if descriptor is None:
            os.ftruncate(self._descriptor, size)
        self._memory = mmap.mmap(self._descriptor, size)
        self._table = memoryview(self._memory)[: _table_bytes(entries)].cast("q")
        if descriptor is None:
            self._table[0] = _table_bytes(entries)

    def __reduce__(self) -> tuple[Any, ...]:
        # How a descriptor travels to a process that was not forked.
        return _attach, (self._size, self._entries, reduction.DupFd(self._descriptor))

    @property
    def used(self) -> int:
        with self._locked():
            return self._table[0]

    def get(self, entry: int, channels: int, dtype: torch.dtype = torch.uint8) -> Tensor | None:
        """A copy of an entry, or None if it is not there."""
        place = 1 + _WORDS * entry
        with self._locked():
            offset, height, width = self._table[place : place + _WORDS]
        if offset in (_ABSENT, _RESERVED):
            return None
        # Not the memory itself: one change in place would spoil the picture for the whole run.
        return self._pixels(offset, (height, width, channels), dtype).clone()

    def put(self, entry: int, picture: Tensor) -> None:
        """Keep a copy of `picture` (HWC), if nobody else does and there is room."""
        offset = self._reserve(entry, picture.nbytes, picture.itemsize)
        if offset is None:
            return
        self._pixels(offset, tuple(picture.shape), picture.dtype).copy_(picture)
        place = 1 + _WORDS * entry
        with self._locked():
            self._table[place + 1], self._table[place + 2] = picture.shape[:2]
            self._table[place] = offset  # last: from here on it is there

    def _reserve(self, entry: int, size: int, itemsize: int = 1) -> int | None:
        place = 1 + _WORDS * entry
        with self._locked():
            offset = -(-self._table[0] // itemsize) * itemsize
            if self._table[place] != _ABSENT or offset + size > self._size:
                return None
            self._table[place] = _RESERVED
            self._table[0] = offset + size
        return offset

    def _pixels(self, offset: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        count = torch.Size(shape).numel()
        flat = torch.frombuffer(self._memory, dtype=dtype, count=count, offset=offset)
        return flat.view(shape)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def _attach(size: int, entries: int, descriptor: Any) -> _Arena:
    return _Arena(size, entries, descriptor.detach())


def _table_bytes(entries: int) -> int:
    return _WORD_BYTES * (1 + _WORDS * entries)


def _open_memory() -> int:
    """Descriptor of an empty file without a name, in memory where the system has such files."""
    if sys.platform == "linux":
        # Unlike /dev/shm, which containers often limit to 64 MiB, bounded by the memory alone.
        descriptor = os.memfd_create("semisup-cache")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    return descriptor
