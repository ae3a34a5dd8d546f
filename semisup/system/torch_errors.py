"""Torch's errors that are the machine's or the recipe's, translated into our own."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator, Sequence

import torch

from semisup.errors import RecipeError, RunError, SemisupError

_NO_MEMORY = (
    "can't allocate memory",  # the system refused it
    "DefaultCPUAllocator",
    "Storage size calculation overflowed",  # more bytes than can be counted
)

_TOO_SMALL = (
    "Calculated padded input size per channel",  # of a convolution
    "Output size is too small",  # of a pooling
    "Padding size should be less than",  # of a reflection
    "Input and output sizes should be greater than 0",  # of a resizing
)

_ONE_VALUE = ("Expected more than 1 value per channel", "Expected more than 1 spatial element")

_NO_SECOND_GRADIENT = "derivative for aten::batch_norm_backward"

_EXIT_CODE = re.compile(r"exited unexpectedly with exit code (\d+)")

_NOT_DETERMINISTIC = re.compile(r"(\S+) does not have a deterministic implementation")


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Translate the errors of a block as `translate` does; others pass unchanged."""
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        translated = translate(error)
        if translated is None:
            raise
        raise translated from None


def translate(error: RuntimeError | ValueError | MemoryError) -> SemisupError | None:
    """The line for an error that a user can act on; None for all others.

    Args:
        error: what torch raised: a RuntimeError mostly, a ValueError of a normalisation; or
            numpy's MemoryError.
    """
    text = str(error)
    # Reported from a signal handler, so from wherever this process happens to be.
    if is_of_worker(error):
        return worker_error(text)
    memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
    if memory or any(part in text for part in _NO_MEMORY):
        return RunError(
            "out of memory. Use a smaller data.labelled_batch, data.unlabelled_batch or data.crop "
            "(train.accumulate makes up for smaller batches) or a smaller model; to score or "
            'predict large images, eval.mode = "slide".'
        )
    if any(part in text for part in _ONE_VALUE):
        return RecipeError(
            "a normalisation layer got a single value a channel, which has no spread. Use a "
            "larger data.labelled_batch and data.unlabelled_batch, or a larger data.crop."
        )
    if any(part in text for part in _TOO_SMALL):
        return RecipeError(
            f"the images are too small for the network ({_first_sentence(text)}). Use a larger "
            "data.crop."
        )
    if _NO_SECOND_GRADIENT in text:
        return RecipeError(
            "train.sync_batch_norm: torch's SyncBatchNorm has no gradient of a gradient, which "
            "method.game.r1 needs. Set the one to false, or the other to 0."
        )
    operation = _NOT_DETERMINISTIC.search(text)
    if operation is not None:
        return RecipeError(
            f"train.deterministic: torch has no deterministic {operation[1]} on this device. Set "
            "train.deterministic = false, or take another device or network."
        )
    return None


def is_of_worker(error: BaseException) -> bool:
    """Whether torch says that a process of a DataLoader has ended."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def worker_error(text: str, codes: Sequence[int | None] = (), stream: str = "") -> RunError:
    """The line for a worker process that ended before its time.

    Args:
        text: of torch's error, which may say how it ended.
        codes: exit codes of the workers, as multiprocessing has them: below 0 for a signal, None of
            one that lives.
        stream: whose worker it is; empty: not known.
    """
    whose = f"a worker process{f' of the {stream} stream' if stream else ''}"
    stated = _EXIT_CODE.search(text)
    ended = [code for code in codes if code] or ([int(stated[1])] if stated else [])
    if ended and min(ended) > 0:
        return RunError(
            f"{whose} ended by itself, with code {ended[0]}. Where processes start afresh (spawn, "
            "as on macOS) each runs your script again: put what it does under "
            "if __name__ == '__main__': or set data.workers = 0. Else its own message is above."
        )
    how = f" by signal {-min(ended)} ({signal.strsignal(-min(ended))})" if ended else ""
    return RunError(
        f"{whose} was killed{how}, mostly for want of memory. Use fewer data.workers or smaller "
        "batches; the same command goes on from the last checkpoint."
    )


def _first_sentence(text: str) -> str:
    return text.splitlines()[0].split(". ")[0].rstrip(".")
