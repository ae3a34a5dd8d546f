"""The cache: same bits, each file once, never a mask too many, never more memory than allowed."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_sharer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from semisup.data.loading import cache
from semisup.data.loading.cache import CachedData
from semisup.data.loading.samples import RawBatch
from semisup.data.loading.streams import Stream
from semisup.data.sets.voc import Voc
from semisup.data.views.weak import WeakView
from semisup.errors import DataError, RecipeError

# Python 3.12 and later warn when a process with threads forks, as torch's loader does.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker:UserWarning"),
]

COUNT = 12
SEED = 154


class Watched(Voc):
    """VOC that writes down, in a file that all processes share, what it opens."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.log = root / "opened.txt"
        self.log.touch()

    def image(self, index: int) -> Tensor:
        self._note(self.image_path(index))
        return super().image(index)

    def mask(self, index: int) -> Tensor:
        self._note(self.mask_path(index))
        return super().mask(index)

    def _note(self, path: Path) -> None:
        with self.log.open("a") as file:  # a short line that is appended is written at once
            file.write(f"{path.name}\n")

    def opened(self) -> Counter[str]:
        """How often each file was opened since the last call."""
        counts = Counter(self.log.read_text().split())
        self.log.write_text("")
        return counts


@pytest.fixture
def data(tmp_path: Path, save_list: Callable[[Path, list[str]], Path]) -> Watched:
    """Twelve pictures of noise, each of another size."""
    folder = tmp_path / "VOC2012"
    names = [f"2007_{number:06d}" for number in range(COUNT)]
    save_list(folder / "ImageSets/Segmentation/train.txt", names)
    for part in ("JPEGImages", "SegmentationClass"):
        (folder / part).mkdir()
    for number, name in enumerate(names):
        random = np.random.default_rng(number)
        size = (40 + 3 * number, 90 - 5 * number)
        pixels = random.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg")
        labels = random.integers(0, 21, size, np.uint8)
        Image.fromarray(labels).save(folder / "SegmentationClass" / f"{name}.png")
    return Watched(tmp_path)


def take(data: Watched | CachedData, count: int, **options: object) -> list[RawBatch]:
    settings: dict[str, object] = {
        "ids": data.ids, "name": "labelled", "seed": 0, "batch_size": 4,
        "view": WeakView((33, 47), (0.5, 2.0), flip=True),
    }  # fmt: skip
    with Stream(data, **{**settings, **options}) as stream:  # type: ignore[arg-type]
        return list(itertools.islice(stream, count))


def parts(batch: RawBatch) -> Iterator[Tensor]:
    return iter((batch.images, batch.valid, *batch.labels.values()))


def same(one: Sequence[RawBatch], other: Sequence[RawBatch]) -> bool:
    return all(
        a.ids == b.ids and all(torch.equal(x, y) for x, y in zip(parts(a), parts(b), strict=True))
        for a, b in zip(one, other, strict=True)
    )


def files(data: Watched) -> Counter[str]:
    """Each file once."""
    names = [data.image_path(i).name for i in range(COUNT)]
    return Counter([*names, *(data.mask_path(i).name for i in range(COUNT))])


def test_it_answers_as_the_data_set_does(data: Watched) -> None:
    cached = CachedData(data, 1)
    for key in ("root", "subset", "ids", "classes", "palette", "name", "num_classes"):
        assert getattr(cached, key) == getattr(data, key)
    assert (cached.train_subset, cached.eval_subset) == (Voc.train_subset, Voc.eval_subset)
    assert cached.facts() == data.facts() != {}
    assert len(cached) == COUNT
    for index in range(COUNT):
        assert cached.image_path(index) == data.image_path(index)
        assert cached.mask_path(index) == data.mask_path(index)


def test_what_is_kept_is_what_was_read(data: Watched) -> None:
    cached = CachedData(data, 1)
    for _ in range(2):
        for index in range(COUNT):
            assert torch.equal(cached.image(index), data.image(index))
            assert torch.equal(cached.mask(index), data.mask(index))
            assert cached.image(index).dtype == cached.mask(index).dtype == torch.uint8


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_streams_deliver_the_same_bits(data: Watched, workers: int) -> None:
    plain, cached = take(data, 9), CachedData(data, 1)
    assert same(take(cached, 9, workers=workers), plain)
    assert same(take(cached, 9, workers=workers), plain)  # now all of it comes from memory


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_each_file_is_decoded_once(data: Watched, workers: int) -> None:
    # Three workers have at most six batches in hand. An image that comes twice among six could be
    # read by two workers at the same time; with this seed none does, in three epochs.
    options = {"batch_size": 1, "seed": SEED}
    keys = [key for batch in take(data, 2 * COUNT + 6, **options) for key in batch.ids]
    assert all(len(set(keys[start : start + 7])) == 7 for start in range(len(keys) - 6))
    data.opened()
    take(CachedData(data, 1), 2 * COUNT, workers=workers, **options)
    assert data.opened() == files(data)


def test_workers_share_what_they_decoded(data: Watched) -> None:
    cached = CachedData(data, 1)
    take(cached, COUNT // 4, workers=2)
    data.opened()
    for index in range(COUNT):
        cached.image(index)
        cached.mask(index)
    assert not data.opened()


def test_an_unlabelled_stream_opens_no_mask(data: Watched) -> None:
    cached = CachedData(data, 1)
    take(cached, 6, name="unlabelled", workers=1)
    assert {Path(name).suffix for name in data.opened()} == {".jpg"}
    masks = take(data, 1)[0].labels["mask"]
    data.opened()
    found = take(cached, 1)[0].labels["mask"]
    assert torch.equal(found, masks)
    assert {Path(name).suffix for name in data.opened()} == {".png"}


def test_the_bound_holds_and_who_came_first_stays(tmp_path: Path) -> None:
    class Large(Voc):
        def __init__(self) -> None:
            self.root, self.subset = tmp_path, "train"
            self.ids = tuple("abcdefgh")
            self.classes, self.palette = ("a",), ((0, 0, 0),)
            self.decoded: list[int] = []

        def image(self, index: int) -> Tensor:
            self.decoded.append(index)
            return torch.full((3, 200, 500), index, dtype=torch.uint8)  # 300,000 bytes

        def facts(self) -> dict[str, object]:
            return {}

    data = Large()
    cached = CachedData(data, 1)
    for epoch in ("abcdefgh", "hgfedcba"):
        for index in map("abcdefgh".index, epoch):
            assert torch.equal(cached.image(index), Large().image(index))
            assert cached.used <= 2**20
    assert data.decoded == [*range(8), *reversed(range(3, 8))]
    assert cached.used == 3 * 300_000 + 8 * (1 + 3 * 2 * 8)


def test_smaller_ones_still_fit_beside_one_that_does_not(data: Watched) -> None:
    cached = CachedData(data, 1)
    used = cached.used
    big = torch.zeros(1000, 1000, 3, dtype=torch.uint8)
    cached._arena.put(0, big)
    assert cached.used == used
    assert cached._arena.get(0, 3) is None
    cached._arena.put(0, big[:10])
    kept = cached._arena.get(0, 3)
    assert kept is not None
    assert kept.shape == (10, 1000, 3)


def test_memory_is_taken_as_it_fills(data: Watched) -> None:
    cached = CachedData(data, 1024)
    take(cached, 3)
    taken = os.fstat(cached._arena._descriptor).st_blocks * 512
    assert 0 < taken < 2**20
    assert cached.used <= taken + 4096


def test_an_error_is_not_kept(data: Watched) -> None:
    cached = CachedData(data, 1)
    for path, read in ((data.image_path(2), cached.image), (data.mask_path(2), cached.mask)):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        for _ in range(2):
            with pytest.raises(DataError, match=path.name):
                read(2)
        path.write_bytes(whole)
        read(2)
    assert torch.equal(cached.image(2), data.image(2))
    assert torch.equal(cached.mask(2), data.mask(2))


def test_what_the_caller_does_to_a_picture_stays_with_him(data: Watched) -> None:
    cached = CachedData(data, 1)
    for _ in range(3):
        image, mask = cached.image(0), cached.mask(0)
        assert torch.equal(image, data.image(0))
        assert torch.equal(mask, data.mask(0))
        image.zero_()
        mask.fill_(9)


def test_a_process_killed_on_the_way_leaves_no_half_picture(data: Watched) -> None:
    cached = CachedData(data, 1)
    size = data.image(0).numel()
    used = cached.used
    die_in_child(lambda: cached._arena._reserve(0, size))
    assert cached.used == used + size
    for _ in range(2):  # decoded each time: its room is lost, and is not taken twice
        assert torch.equal(cached.image(0), data.image(0))
        assert cached.used == used + size
    assert torch.equal(cached.image(1), data.image(1))
    assert cached.used > used + size


def test_a_process_killed_with_the_lock_does_not_keep_it(data: Watched) -> None:
    cached = CachedData(data, 1)
    die_in_child(lambda: cached._arena._locked().__enter__())
    signal.alarm(20)  # a lock that is never given back would hang the tests
    try:
        assert torch.equal(cached.image(0), data.image(0))
        assert torch.equal(cached.image(0), data.image(0))
    finally:
        signal.alarm(0)


def die_in_child(work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_processes_wait_for_each_other(data: Watched) -> None:
    cached = CachedData(data, 1)
    with cached._arena._locked():
        child = multiprocessing.get_context("fork").Process(target=cached.image, args=(0,))
        child.start()
        child.join(0.3)
        assert child.is_alive()
    child.join(20)
    assert child.exitcode == 0


def test_many_processes_at_once_leave_a_sound_table(data: Watched) -> None:
    cached = CachedData(data, 1)

    def read(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(COUNT)
        for index in [*order, *order]:
            assert torch.equal(cached.image(int(index)), data.image(int(index)))

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=read, args=(seed,)) for seed in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    sizes = [data.image(index).numel() for index in range(COUNT)]
    assert cached.used == 8 * (1 + 3 * 2 * COUNT) + sum(sizes)  # no picture twice


def test_a_copy_that_was_pickled_has_the_same_memory(data: Watched) -> None:
    cached = CachedData(data, 1)
    cached.image(0)
    data.opened()
    copy = pickle.loads(pickle.dumps(cached))
    resource_sharer.stop()  # the thread by which descriptors travel
    assert torch.equal(copy.image(0), cached.image(0))
    assert not data.opened()
    copy.image(1)
    data.opened()
    cached.image(1)
    assert not data.opened()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_that_was_not_forked_has_the_same_memory(voc_root: Path, method: str) -> None:
    plain = Voc(voc_root)
    cached = CachedData(plain, 1)
    child = multiprocessing.get_context(method).Process(target=cached.image, args=(1,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    expected = plain.image(1)
    plain.image_path(1).unlink()
    assert torch.equal(cached.image(1), expected)


def test_without_files_in_memory_it_is_a_file_without_a_name(
    data: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    cached = CachedData(data, 1)
    assert os.fstat(cached._arena._descriptor).st_nlink == 0
    assert same(take(cached, 6, workers=1), take(data, 6))
    data.opened()
    take(cached, 3)
    assert not data.opened()


def test_it_gives_back_what_it_took(data: Watched) -> None:
    cached = CachedData(data, 1)
    cached.image(0)
    descriptor = cached._arena._descriptor
    os.fstat(descriptor)
    del cached
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("mebibytes", [-1, 0])
def test_a_cache_without_room_for_its_table(data: Watched, mebibytes: int) -> None:
    with pytest.raises(RecipeError, match=r"12 images of voc: give it 1 MiB or more, or 0 for no"):
        CachedData(data, mebibytes)


@pytest.mark.parametrize("mebibytes", [10**11, 10**17])
def test_a_cache_of_more_than_there_is_is_refused(mebibytes: int, data: Watched) -> None:
    with pytest.raises(
        RecipeError, match=rf"a cache of {mebibytes} MiB cannot be had .* give it less"
    ):
        CachedData(data, mebibytes)
