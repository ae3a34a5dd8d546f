"""Endless streams of batches.

What a stream delivers depends on (seed, name, position) alone: not on the number of workers, on
where the run was resumed, or on how many ranks share a global batch.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Sampler

from semisup.data.base import SegmentationData
from semisup.data.labels.border_weights import BorderWeights
from semisup.data.labels.pseudo_masks import Confidences
from semisup.data.labels.tags import Tags
from semisup.data.loading.samples import RawBatch, Samples, collate
from semisup.data.views.cropping import DrawView
from semisup.errors import RecipeError, SemisupError
from semisup.system.torch_errors import is_of_worker, worker_error
from semisup.types import ColourSetName, StreamName


class Stream:
    """Endless batches of a part of a data set; its own iterator.

    Position p, counted in images over the whole run, lies in epoch p // n and is image
    `permutation(seed, name, epoch)[p % n]` of the n sorted ids; its view is drawn from a
    generator seeded by (seed, name, p). Its turn, which `CombinationView` goes by, is the epoch
    plus a number of (seed, id). So every image comes exactly once an epoch, and a batch
    may reach over the end of one. Each rank takes its contiguous share of every global batch.

    Worker processes start at the first batch and run until `close` (or the end of a `with`); a
    closed stream can be read on and starts them again.

    Args:
        data: where the images are. None but the labelled stream ever opens a mask, and the weak one
            with `partial`, whose masks are the weak ones.
        ids: which of its images; their order does not matter.
        name: "labelled" reads masks too, "weak" has weak labels.
        seed: of the run.
        batch_size: images in a global batch, over all ranks.
        view: `WeakView`; for the labelled stream, `CombinationView` too.
        strong: number of strong views whose parameters to draw too.
        strong_image: whether a strong view of its own takes the place of the image.
        colours: the set of colour changes of strong views.
        numbers: random numbers to draw for each image too (`Unlabelled.numbers`).
        partner: whether to cut a second crop of each image (`Unlabelled.partner`).
        tags: of the images; for the weak stream alone.
        border: weights of the pixels between objects, for the labelled stream; None: there are
            none.
        instances: whether the labelled stream reads the objects of its images too.
        partial: whether the weak stream reads the masks of `data`, as `Weak.partial`; with `tags`,
            an image may have either alone.
        confidences: of the masks that it reads, where these are pseudo-masks; None: all count
            alike.
        workers: number of processes that decode; 0 does it in this one.
        pin: deliver page-locked memory, from which CUDA copies while it works; for CUDA only.
        start: number of batches that were taken before, to resume.
        rank: number of this process.
        world: number of processes.

    Attributes:
        position: number of batches taken, `start` included: what a checkpoint has to keep.
        batch_size: as given.

    Raises:
        RecipeError: no image, or a batch size that cannot be shared by the ranks.
    """

    def __init__(
        self,
        data: SegmentationData,
        ids: Sequence[str],
        *,
        name: StreamName,
        seed: int,
        batch_size: int,
        view: DrawView,
        strong: int = 0,
        strong_image: bool = False,
        colours: ColourSetName = "unimatch",
        numbers: int = 0,
        partner: bool = False,
        tags: Tags | None = None,
        border: BorderWeights | None = None,
        instances: bool = False,
        partial: bool = False,
        confidences: Confidences | None = None,
        workers: int = 0,
        pin: bool = False,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not ids:
            raise RecipeError(
                f"the {name} stream has no images: choose a split that leaves some, such as '1/8'"
            )
        if batch_size < 1 or batch_size % world:
            raise RecipeError(
                f"a batch of {batch_size} {name} images cannot be shared by {world} processes: "
                f"choose a positive multiple of {world}"
            )
        self.name: StreamName = name
        self.position = start
        self._samples = Samples(
            data,
            ids,
            name,
            seed,
            view,
            strong=strong + strong_image,
            tags=tags,
            numbers=numbers,
            partner=partner,
            colours=colours,
            border=border,
            instances=instances,
            partial=partial,
            confidences=confidences,
        )
        self._collate = functools.partial(
            collate, name=name, strong_image=strong_image, colours=colours
        )
        self.batch_size = batch_size
        self._share = (rank, world)
        self._workers = workers
        self._pin = pin
        self._batches: Iterator[RawBatch | SemisupError] | None = None

    def __iter__(self) -> Iterator[RawBatch]:
        return self

    def __next__(self) -> RawBatch:
        """The next batch, on the CPU.

        Raises:
            DataError: an image or its mask cannot be used; the same error whatever process met it.
            RunError: a worker was killed, or ended by itself.
        """
        batch = self._read()
        if isinstance(batch, SemisupError):
            self.close()
            raise batch
        self.position += 1
        return batch

    def close(self) -> None:
        """Ends the workers; the next batch would start new ones."""
        batches, self._batches = self._batches, None
        # torch does this when the last reference goes, but the traceback of an error may hold one.
        shut_down = getattr(batches, "_shutdown_workers", None)
        if shut_down is not None:
            shut_down()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> RawBatch | SemisupError:
        try:
            if self._batches is None:
                self._batches = iter(self._loader())
            return next(self._batches)
        except RuntimeError as error:
            if not is_of_worker(error):
                raise
            codes = [worker.exitcode for worker in getattr(self._batches, "_workers", ())]
            self.close()
            raise worker_error(str(error), codes, self.name) from error

    def _loader(self) -> DataLoader[RawBatch | SemisupError]:
        # Workers live as long as the endless sampler, so persistent_workers has nothing to add.
        return DataLoader(
            self._samples,
            batch_sampler=_Positions(self.batch_size, self.position, *self._share),
            num_workers=self._workers,
            collate_fn=self._collate,
            pin_memory=self._pin,
            worker_init_fn=_start_worker,
            # Its own generator: the loader would draw from the global one, and then a resumed
            # run would not draw the same dropout as one that was never stopped.
            generator=torch.Generator(),
        )


class _Positions(Sampler[list[int]]):
    """The positions of one rank's share of each global batch, without end."""

    def __init__(self, batch_size: int, start: int, rank: int, world: int) -> None:
        self._batch_size = batch_size
        self._start = start
        self._count = batch_size // world
        self._rank = rank

    def __iter__(self) -> Iterator[list[int]]:
        first = self._start * self._batch_size + self._rank * self._count
        while True:
            yield list(range(first, first + self._count))
            first += self._batch_size


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C and a scheduler's SIGTERM go to the whole process group, and only the main process
    # decides what they mean: it may want to finish its step. So a worker leaves the group. It must
    # not ignore SIGTERM itself: that is how the main process ends a worker that does not answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setpgid(0, 0)
