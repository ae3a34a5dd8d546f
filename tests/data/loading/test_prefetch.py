"""Prefetch: the same batches in the same order, each error where it belongs, one batch ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from semisup.data.loading.prefetch import OneAhead, Prefetch, _tensors
from semisup.data.loading.samples import RawBatch
from semisup.data.loading.to_device import to_device
from semisup.errors import DataError
from semisup.types import Labelled, Unlabelled

CPU = torch.device("cpu")


def raw_batch(seed: int, *, labelled: bool = False, side: int = 9) -> RawBatch:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(2, side, side, generator=generator) < 0.9
    masks = torch.randint(0, 21, (2, side, side), generator=generator).byte()
    strong = torch.tensor([[1.2, 0.8, 1.1, 0.1, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0, 1.0, 0.0]])
    return RawBatch(
        "labelled" if labelled else "unlabelled",
        images=torch.randint(0, 256, (2, 3, side, side), generator=generator).byte(),
        valid=valid,
        ids=(f"{seed}a", f"{seed}b"),
        labels={"mask": masks} if labelled else {},
        strong=() if labelled else (strong,),
    )


def tensors(batch: Labelled | Unlabelled) -> list[Tensor]:
    if isinstance(batch, Labelled):
        return [batch.image, batch.mask]
    return [batch.image, batch.valid, *batch.views]


def check(found: Labelled | Unlabelled, expected: Labelled | Unlabelled) -> None:
    assert type(found) is type(expected)
    assert found.ids == expected.ids
    for one, other in zip(tensors(found), tensors(expected), strict=True):
        assert one.stride() == other.stride()
        assert torch.equal(one, other)


class Failing:
    """Batches 0, 1, 2, ... whose `bad` ones are errors, each the first time it is asked for."""

    def __init__(self, bad: dict[int, Exception], end: int = 9) -> None:
        self.bad, self.end, self.position = dict(bad), end, 0

    def __iter__(self) -> Iterator[RawBatch]:
        return self

    def __next__(self) -> RawBatch:
        if self.position in self.bad:
            raise self.bad.pop(self.position)
        if self.position == self.end:
            raise StopIteration
        self.position += 1
        return raw_batch(self.position - 1)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_on_the_cpu_it_is_to_device(labelled: bool, memory_format: torch.memory_format) -> None:
    raws = [raw_batch(seed, labelled=labelled) for seed in range(4)]
    ready = list(Prefetch(iter(raws), CPU, memory_format=memory_format))
    assert len(ready) == 4
    for raw, batch in zip(raws, ready, strict=True):
        check(batch, to_device(raw, CPU, memory_format=memory_format))


def test_on_the_cpu_no_batch_is_read_before_it_is_asked_for() -> None:
    source = Failing({})
    ready = Prefetch(source, CPU)
    assert source.position == 0
    next(ready)
    assert source.position == 1


def on_the_cpu(source: Failing) -> Iterator[str]:
    return (batch.ids[0] for batch in Prefetch(source, CPU))


def one_ahead(source: Failing) -> Iterator[str]:
    return OneAhead(lambda: next(source).ids[0])


def reads(source: Iterator[str], count: int) -> list[str]:
    """What `count` calls gave: ids, and the lines of errors."""
    found = []
    for _ in range(count):
        try:
            found.append(next(source))
        except DataError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("bad", [{0}, {2}, {0, 1}, {1, 3, 8}])
def test_an_error_comes_after_the_good_batches_before_it(bad: set[int]) -> None:
    errors: dict[int, Exception] = {number: DataError(f"bad {number}") for number in bad}
    source = one_ahead(Failing(errors))
    expected = []
    for number in range(9):
        expected += [f"bad {number}"] * (number in bad) + [f"{number}a"]
    assert reads(source, 9 + len(bad)) == expected
    with pytest.raises(StopIteration):
        next(source)


@pytest.mark.parametrize("way", [on_the_cpu, one_ahead])
@pytest.mark.parametrize("error", [DataError("one line"), ZeroDivisionError("a bug")])
def test_it_is_the_same_error(way: Callable[[Failing], Iterator[str]], error: Exception) -> None:
    source = way(Failing({2: error}))
    assert list(islice(source, 2)) == ["0a", "1a"]
    with pytest.raises(type(error)) as raised:
        next(source)
    assert raised.value is error


@pytest.mark.parametrize("way", [on_the_cpu, one_ahead])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_it_ends_where_the_batches_end(way: Callable[[Failing], Iterator[str]], count: int) -> None:
    source = way(Failing({}, end=count))
    assert list(source) == [f"{number}a" for number in range(count)]
    assert list(source) == []


def test_it_is_one_ahead_and_never_more() -> None:
    source = Failing({})
    ahead = one_ahead(source)
    assert source.position == 0
    for read in range(1, 6):
        next(ahead)
        assert source.position == read + 1


def test_who_interrupts_is_not_kept_for_later() -> None:
    numbers = iter([1])

    def load() -> int:
        for number in numbers:
            return number
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # while it looks ahead
        next(OneAhead(load))


def test_memory_of_second_crops_is_known_too() -> None:
    raw = replace(raw_batch(0), partner=raw_batch(1))
    pair, second = to_device(raw, CPU), to_device(raw_batch(1), CPU)
    assert isinstance(pair, Unlabelled)
    assert isinstance(second, Unlabelled)
    known = [tensor.tolist() for tensor in _tensors(pair)]
    assert all(tensor.tolist() in known for tensor in tensors(second))
    assert len(known) == 2 * len(_tensors(second))


@pytest.mark.gpu
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_on_the_gpu_it_gives_what_to_device_gives(
    labelled: bool, memory_format: torch.memory_format
) -> None:
    # Large batches, and slow work on the current stream: a batch that was used before it was
    # there, or whose memory was given away before it was used, would differ.
    cuda = torch.device("cuda")
    raws = [raw_batch(seed, labelled=labelled, side=400) for seed in range(12)]
    expected = [to_device(raw, cuda, memory_format=memory_format) for raw in raws]
    torch.cuda.synchronize()
    slow = torch.rand(4096, 4096, device=cuda)
    copies = []
    for batch in Prefetch((raw.pin_memory() for raw in raws), cuda, memory_format=memory_format):
        for _ in range(5):
            slow = (slow @ slow).softmax(1)
        copies.append([tensor.clone() for tensor in tensors(batch)])
        del batch
    assert len(copies) == 12
    for found, batch in zip(copies, expected, strict=True):
        for one, other in zip(found, tensors(batch), strict=True):
            assert one.stride() == other.stride()
            assert torch.equal(one, other)


@pytest.mark.gpu
def test_on_the_gpu_an_error_comes_where_it_belongs() -> None:
    ready = Prefetch(Failing({2: DataError("bad 2")}), torch.device("cuda"))
    assert [batch.ids[0] for batch in islice(ready, 2)] == ["0a", "1a"]
    with pytest.raises(DataError, match="bad 2"):
        next(ready)
    assert next(ready).ids[0] == "2a"
