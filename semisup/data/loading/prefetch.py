"""Batches that are ready on the device when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import fields
from typing import Generic, TypeVar

import torch
from torch import Tensor

from semisup.data.loading.samples import RawBatch
from semisup.data.loading.to_device import to_device
from semisup.ops.pixels import RGB_FORMAT, ImageFormat
from semisup.types import Instances, Labelled, Unlabelled, Weak

Ready = Labelled | Unlabelled | Weak
_T = TypeVar("_T")


class Prefetch(Iterator[Ready]):
    """The batches of a stream on the device, normalised, with their strong views.

    On a GPU the next batch is copied and changed on a stream of its own while the current one is
    worked on, one batch ahead; the copy needs page-locked memory (`Stream(pin=True)`) for that.
    Elsewhere it is made when it is asked for.

    There is nothing to save in a checkpoint: start the stream at the step's own position.
    `Stream.position` is one batch ahead on a GPU.

    Args:
        batches: such as a `Stream`. Its errors, and its end, come at the batch where they belong.
        device: where to.
        images: what their values are, and how they are normalised.
        memory_format: of the images.
    """

    def __init__(
        self,
        batches: Iterator[RawBatch],
        device: torch.device,
        *,
        images: ImageFormat = RGB_FORMAT,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._batches = batches
        self._device = device
        self._images = images
        self._memory_format = memory_format
        self._ahead: OneAhead[tuple[Ready, torch.cuda.Event]] | None = None
        if device.type == "cuda":
            self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._ahead = OneAhead(self._load_aside)

    def __next__(self) -> Ready:
        """The next batch; the work that is queued after this call may use it.

        Raises:
            DataError: an image or its mask cannot be used.
            RunError: a worker was killed.
        """
        if self._ahead is None:
            return self._load()
        batch, done = next(self._ahead)
        current = torch.cuda.current_stream(self._device)
        current.wait_event(done)
        for tensor in _tensors(batch):
            # Its memory is the side stream's: not to be used again before `current` is done.
            tensor.record_stream(current)
        return batch

    def _load(self) -> Ready:
        raw = next(self._batches)
        return to_device(raw, self._device, images=self._images, memory_format=self._memory_format)

    def _load_aside(self) -> tuple[Ready, torch.cuda.Event]:
        with torch.cuda.stream(self._side):
            return self._load(), self._side.record_event()


class OneAhead(Iterator[_T], Generic[_T]):
    """What `load` returns, one call ahead of the reader.

    The first `next` calls it twice, every other once. What it raises, `StopIteration` included,
    is raised when the reader gets there; after that, `load` is called anew.
    """

    def __init__(self, load: Callable[[], _T]) -> None:
        self._load = load
        self._next: Future[_T] | None = None

    def __next__(self) -> _T:
        current, self._next = self._next or self._outcome(), None
        item = current.result()
        self._next = self._outcome()
        return item

    def _outcome(self) -> Future[_T]:
        """What `load` did, kept until somebody asks; no thread is behind it."""
        outcome: Future[_T] = Future()
        try:
            outcome.set_result(self._load())
        except Exception as error:
            outcome.set_exception(error)
        return outcome


def _tensors(batch: Ready) -> list[Tensor]:
    parts = [getattr(batch, field.name) for field in fields(batch)]
    objects = [getattr(one, field.name) for one in _instances(batch) for field in fields(one)]
    second = batch.partner if isinstance(batch, Unlabelled) else None
    parts += [*batch.views, *objects, *([] if second is None else _tensors(second))]
    return [part for part in parts if isinstance(part, Tensor)]


def _instances(batch: Ready) -> tuple[Instances, ...]:
    return (batch.instances or ()) if isinstance(batch, Labelled) else ()
