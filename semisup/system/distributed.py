"""Several processes that train one model, and what they tell one another.

`torchrun` starts the processes and numbers them (ranks), torch.distributed connects them. In a
process that is alone every function here is the identity and costs nothing, so that nobody else
has to ask whether there are others.

Whatever sends something is a *collective*: all ranks have to call it, in the same order.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]  # public
from torch.nn.parallel import DistributedDataParallel

from semisup.errors import RunError, SemisupError

T = TypeVar("T")

FIRST = 0
"""The rank that writes."""


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Connect the processes that torchrun started, for the length of a `with` block.

    A process that was not started by torchrun, or is the only one, stays alone.

    Args:
        device: where this process computes.

    Raises:
        RunError: the others cannot be reached, or are lost while the block runs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    try:
        _join(device)
    except (ValueError, RuntimeError) as error:
        raise RunError(
            f"the processes of this run cannot reach one another ({_line(error)}). Start them with "
            "torchrun, with the same --nnodes and --rdzv-endpoint on each machine."
        ) from None
    try:
        yield
    except SemisupError:
        raise  # the others may be gone: no farewell
    except RuntimeError as error:
        if not _is_of_connection(error):
            raise
        lost = any(word in str(error).lower() for word in _LOST)
        what = "another process of this run has ended" if lost else "the processes cannot go on"
        raise RunError(
            f"{what} ({_line(error)}), see what the others or torchrun say; the same command goes "
            "on from the last checkpoint."
        ) from None
    gc.collect()  # what a cycle keeps of the group must go before it, or the process aborts at exit
    dist.destroy_process_group()


def _join(device: torch.device) -> None:
    store, number, count = next(rendezvous("env://"))
    # torchrun's default rendezvous keeps its store when it starts the processes again, and with it
    # the addresses of the dead ones: each attempt needs names of its own.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        # Tensors on the host, such as a stop signal, go through gloo.
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore(f"attempt-{attempt}", store),
        rank=number,
        world_size=count,
        device_id=device if device.type == "cuda" else None,
    )


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_LOST = ("connection closed", "connection reset", "broken pipe", "remote process exited")


def _is_of_connection(error: RuntimeError) -> bool:
    """Whether a collective failed, and not what was computed."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or any(w in text for w in _LOST)


def world() -> int:
    """How many processes work on this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if world() > 1 else FIRST


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return rank() == FIRST


def sum_over_ranks(values: Tensor) -> Tensor:
    """Element-wise sum of each rank's `values`, the same on all; no gradient passes."""
    return _reduce(values, dist.ReduceOp.SUM)


def mean_over_ranks(values: Tensor) -> Tensor:
    """Element-wise mean of each rank's `values` (floating point); no gradient passes."""
    return values if world() == 1 else sum_over_ranks(values) / world()


def lowest_over_ranks(values: Tensor) -> Tensor:
    """Element-wise minimum of each rank's `values`; no gradient passes."""
    return _reduce(values, dist.ReduceOp.MIN)


def _reduce(values: Tensor, operation: Any) -> Tensor:
    if world() == 1:
        return values
    result = values.detach().clone()
    dist.all_reduce(result, operation)
    return result


def any_rank(flag: bool) -> bool:
    """Whether `flag` holds on one rank at least. The hosts wait for one another, no device does."""
    if world() == 1:
        return flag
    found = torch.tensor([flag], dtype=torch.uint8)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def gather(value: T) -> list[T]:
    """Each rank's `value`, in the order of the ranks, on all of them."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def wait_for_all() -> None:
    """Return once every rank has come here."""
    any_rank(False)


def from_first(make: Callable[[], T]) -> T:
    """What `make` gives on the first rank, on all of them.

    Raises:
        SemisupError: the one that `make` raised there.
    """
    if world() == 1:
        return make()
    box: list[Any] = [None, None]
    if is_first():
        try:
            box[0] = make()
        except SemisupError as error:
            box[1] = error
    dist.broadcast_object_list(box, src=FIRST)
    if box[1] is not None:
        if not is_first():
            box[1].reported = True
        raise box[1]
    value: T = box[0]
    return value


def first_before_others(make: Callable[[], T]) -> T:
    """`make` on every rank, but the others start when the first is through: it may leave files."""
    made: list[T] = []

    def make_here() -> None:
        made.append(make())

    from_first(make_here)
    if not made:
        make_here()
    return made[0]


def share_buffers(module: nn.Module) -> None:
    """Give every rank the first one's running statistics, as DDP does at each step.

    Each rank's batch norm has seen its own images. Without this the ranks would score different
    networks, and a resumed run would differ from one that was never stopped.
    """
    if world() == 1:
        return
    buffers = [b for b in module.buffers() if b.is_floating_point()]
    for dtype in sorted({b.dtype for b in buffers}, key=str):
        alike = [b for b in buffers if b.dtype == dtype]
        flat = torch.cat([b.detach().flatten() for b in alike])
        dist.broadcast(flat, src=FIRST)
        parts = torch.split(flat, [b.numel() for b in alike])
        for buffer, part in zip(alike, parts, strict=True):
            buffer.copy_(part.view_as(buffer))


class Gradients:
    """Gradients of some parameters, averaged over the ranks while they are computed.

    The averaging is DistributedDataParallel's. It would wrap a network's `forward`; but a method
    calls a network several times and in other ways before one backward pass, and its players share
    one graph. DDP's hooks sit on the parameters, so it is given a module that holds one player's
    parameters and hands on the loss: then any step of any method is averaged, each player's update
    its own parameters only.

    Args:
        parameters: of one player, on their device.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._averaging: DistributedDataParallel | None = None
        if world() > 1:
            # A step may leave a part of a network out; its gradients stay None.
            self._averaging = DistributedDataParallel(
                _HandsOn(self._parameters),
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
            )

    def backward(
        self, loss: Tensor, *, more_follow: bool = False, keep_graph: bool = False
    ) -> None:
        """Add the gradients of `loss` in these parameters and in no others.

        Args:
            loss: 0-d.
            more_follow: whether other losses of the same step will be added: nothing is sent then.
            keep_graph: whether other parameters' gradients will be asked of the same graph.
        """
        if self._averaging is not None:
            with self._averaging.no_sync() if more_follow else contextlib.nullcontext():
                self._backward(self._averaging(loss), keep_graph)
        else:
            self._backward(loss, keep_graph)

    def _backward(self, loss: Tensor, keep_graph: bool) -> None:
        loss.backward(  # type: ignore[no-untyped-call]
            inputs=self._parameters, retain_graph=keep_graph
        )


class _HandsOn(nn.Module):
    """Holds parameters where DDP finds them; its forward changes nothing."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.held = nn.ParameterList(parameters)

    def forward(self, loss: Tensor) -> Tensor:
        """The loss itself."""
        return loss
