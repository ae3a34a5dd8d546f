"""Streams: what they deliver depends on (seed, name, position) and on nothing else."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.labels.border_weights import BorderWeights
from semisup.data.labels.splits import make_split
from semisup.data.labels.tags import Tags, read_tags
from semisup.data.loading import streams
from semisup.data.loading.samples import RawBatch
from semisup.data.loading.streams import Stream
from semisup.data.loading.to_device import to_device
from semisup.data.sets.scenes.dataset import Scenes
from semisup.data.views.class_crops import CombinationView
from semisup.data.views.strong import apply_strong
from semisup.data.views.weak import WeakView
from semisup.errors import DataError, RecipeError, RunError, SemisupError
from semisup.ops.pixels import IMAGENET_MEAN, IMAGENET_STD, ImageFormat, normalise
from semisup.types import IGNORE, Batch, Labelled, Unlabelled, Weak

# Python 3.12 and later warn when a process with threads forks, as torch's loader does.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

VIEW = WeakView((12, 10), (0.5, 2.0), flip=True)


class Memory(SegmentationData):
    """Images whose first channel is their mask."""

    name = "memory"

    def __init__(self, count: int = 11, *, same_size: bool = False) -> None:
        self.root, self.subset = Path("memory"), "train"
        self.ids = tuple(f"img{number:02d}" for number in range(count))
        self.classes, self.palette = ("class",) * 255, ((0, 0, 0),) * 255
        self.same_size = same_size

    def image_path(self, index: int) -> Path:
        return self.root / f"{self.ids[index]}.jpg"

    def mask_path(self, index: int) -> Path:
        return self.root / f"{self.ids[index]}.png"

    def image(self, index: int) -> Tensor:
        size = (8, 9) if self.same_size else (6 + index, 17 - index)
        return torch.randint(0, 255, (3, *size), generator=seeded(index)).byte()

    def mask(self, index: int) -> Tensor:
        return self.image(index)[0]


class NoMasks(Memory):
    def mask(self, index: int) -> Tensor:
        raise AssertionError("a mask was opened")


class BadImage(Memory):
    def image(self, index: int) -> Tensor:
        if self.ids[index] == "img03":
            raise DataError("memory/img03.jpg is truncated; fetch it again")
        return super().image(index)


class BadMask(Memory):
    def mask(self, index: int) -> Tensor:
        return super().mask(index)[:, 1:]


class Deadly(Memory):
    """Whose worker ends by an exit code, or below 0 by a signal."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def image(self, index: int) -> Tensor:
        if self.code > 0:
            os._exit(self.code)
        os.kill(os.getpid(), -self.code)
        raise AssertionError("it should be dead")


class Buggy(Memory):
    def image(self, index: int) -> Tensor:
        raise ZeroDivisionError("a bug")


class Threads(Memory):
    def image(self, index: int) -> Tensor:
        return torch.full((3, 4, 4), torch.get_num_threads(), dtype=torch.uint8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tags_of(data: SegmentationData) -> Tags:
    """Image number n has the tags n and n + 1, but for a few that have none."""
    rows = {key: frozenset({n, n + 1} if n % 4 else ()) for n, key in enumerate(data.ids)}
    return Tags(data.classes, rows, "xml")


def stream(data: SegmentationData | None = None, **options: object) -> Stream:
    data = data or Memory()
    settings: dict[str, object] = {
        "ids": data.ids, "name": "labelled", "seed": 0, "batch_size": 4, "view": VIEW,
    }  # fmt: skip
    if options.get("name") == "weak":
        settings["tags"] = tags_of(data)
    return Stream(data, **{**settings, **options})  # type: ignore[arg-type]


def take(count: int, source: Stream) -> list[RawBatch]:
    with source:
        return list(islice(source, count))


def parts(batch: RawBatch) -> Iterator[Tensor]:
    labels = batch.labels
    yield from (batch.images, *([labels["mask"]] if "mask" in labels else []), batch.valid)
    yield from batch.strong
    others = ("tags", "selection", "border_weights")
    yield from (labels[name] for name in others if name in labels)


def same(one: Sequence[RawBatch], other: Sequence[RawBatch]) -> bool:
    return len(one) == len(other) and all(
        a.ids == b.ids and all(torch.equal(x, y) for x, y in zip(parts(a), parts(b), strict=True))
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", ["labelled", "unlabelled"])
def test_the_number_of_workers_does_not_matter(name: str) -> None:
    alone = take(7, stream(name=name, strong=1))
    for workers in (1, 2):
        assert same(take(7, stream(name=name, strong=1, workers=workers)), alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_goes_on_where_it_was(workers: int) -> None:
    whole = take(8, stream(strong=1))
    for start in (1, 3, 7):
        assert same(take(8 - start, stream(strong=1, start=start, workers=workers)), whole[start:])


BENT = {
    "view": WeakView((12, 10), (0.5, 2.0), flip=True, elastic=3.0),
    "border": BorderWeights(10.0, 2.0),
    "strong": 1,
}


class TwoClasses(Memory):
    def mask(self, index: int) -> Tensor:
        return (super().mask(index) > 200).byte()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_bent_crops_and_border_weights_depend_on_their_position_alone(workers: int) -> None:
    whole = take(6, stream(TwoClasses(), **BENT))
    assert same(take(6, stream(TwoClasses(), workers=workers, **BENT)), whole)
    assert same(take(3, stream(TwoClasses(), workers=workers, start=3, **BENT)), whole[3:])
    weights = torch.cat([batch.labels["border_weights"] for batch in whole])
    masks = torch.cat([batch.labels["mask"] for batch in whole])
    assert weights.dtype == torch.float32
    assert weights.shape == masks.shape
    assert float(weights.max()) > 1
    assert not weights[masks != 0].any()
    ready = to_device(whole[0], torch.device("cpu"))
    assert isinstance(ready, Labelled)
    assert ready.border_weights is not None
    assert torch.equal(ready.border_weights, whole[0].labels["border_weights"])


def test_border_weights_are_of_the_whole_mask_wherever_it_is_cut() -> None:
    data = TwoClasses(1, same_size=True)
    options = {"batch_size": 1, "border": BorderWeights(10.0, 2.0)}
    (whole,) = take(1, stream(data, view=WeakView(), **options))
    for batch in take(8, stream(data, view=WeakView((4, 3)), **options)):
        windows = whole.labels["border_weights"][0].unfold(0, 4, 1).unfold(1, 3, 1)
        found = batch.labels["border_weights"][0]
        assert (windows == found).flatten(2).all(-1).any()


@pytest.mark.parametrize("options", [{}, {"border": None}])
def test_without_border_weights_there_is_no_map_of_them(options: dict[str, object]) -> None:
    (batch,) = take(1, stream(**options))
    assert set(batch.labels) == {"mask"}
    ready = to_device(batch, torch.device("cpu"))
    assert isinstance(ready, Labelled)
    assert ready.border_weights is None


def test_a_closed_stream_can_be_read_on() -> None:
    whole = take(6, stream())
    source = stream(workers=1)
    first = take(2, source)
    assert source.position == 2
    assert same([*first, *take(4, source)], whole)
    assert source.position == 6


@pytest.mark.parametrize("world", [1, 2, 3, 4, 12])
def test_ranks_share_the_same_global_batches(world: int) -> None:
    options = {"batch_size": 12, "strong": 1}
    whole = take(5, stream(**options))
    shares = [take(5, stream(rank=rank, world=world, **options)) for rank in range(world)]
    for number, batch in enumerate(whole):
        ranks = [share[number] for share in shares]
        assert batch.ids == tuple(key for rank in ranks for key in rank.ids)
        joined = zip(*(parts(rank) for rank in ranks), strict=True)
        for expected, pieces in zip(parts(batch), joined, strict=True):
            assert torch.equal(torch.cat(pieces), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_bits_are_those_of_the_scores_on_record(workers: int) -> None:
    # Whatever changes them changes every score that was measured before. Without resampling, whose
    # rounding is the processor's; test_transforms.py has that.
    digest = hashlib.blake2b(digest_size=8)
    for name in ("labelled", "unlabelled"):
        view = WeakView((12, 10), flip=True)
        for batch in take(9, stream(name=name, strong=1, view=view, workers=workers)):
            for part in parts(batch):
                text = f"{part.dtype} {tuple(part.shape)} {part.stride()}"
                digest.update(text.encode() + part.numpy().tobytes())
            digest.update(repr(batch.ids).encode())
    assert digest.hexdigest() == "5f21304846a1be1f"


@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 25])
def test_every_image_comes_once_an_epoch(batch_size: int) -> None:
    count = -(-33 // batch_size)
    keys = [key for batch in take(count, stream(batch_size=batch_size)) for key in batch.ids]
    epochs = [tuple(keys[start : start + 11]) for start in (0, 11, 22)]
    assert all(sorted(epoch) == sorted(Memory().ids) for epoch in epochs)
    assert len(set(epochs)) == 3
    # The order of images does not depend on how they are cut into batches.
    assert keys[:33] == [key for batch in take(33, stream(batch_size=1)) for key in batch.ids]


def test_the_same_image_looks_different_in_the_next_epoch() -> None:
    one, two = take(2, stream(Memory(1), batch_size=1, view=WeakView((5, 5))))
    assert one.ids == two.ids
    assert not torch.equal(one.images, two.images)


def test_seeds_and_names_make_different_streams() -> None:
    base = take(3, stream(name="labelled"))
    other = take(3, stream(name="unlabelled"))
    again = take(3, stream(name="labelled", seed=1))
    assert [batch.ids for batch in base] != [batch.ids for batch in other]
    assert [batch.ids for batch in base] != [batch.ids for batch in again]
    single = {"batch_size": 1, "data": Memory(1)}
    views = [
        take(1, stream(**single, **options))[0].images  # type: ignore[arg-type]
        for options in ({}, {"name": "unlabelled"}, {"seed": 1})
    ]
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_the_order_of_the_ids_does_not_matter() -> None:
    assert same(take(3, stream(ids=Memory().ids[::-1])), take(3, stream()))


def test_a_stream_of_some_images_shows_no_others() -> None:
    keys = {key for batch in take(5, stream(ids=["img02", "img07"])) for key in batch.ids}
    assert keys == {"img02", "img07"}


def test_the_order_is_stable() -> None:
    # A change of these would silently make other runs of every recipe.
    assert take(1, stream())[0].ids == ("img04", "img10", "img02", "img09")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unlabelled_stream_opens_no_mask(workers: int) -> None:
    batch = take(4, stream(NoMasks(), name="unlabelled", workers=workers))[0]
    assert "mask" not in batch.labels
    with pytest.raises(AssertionError, match="a mask was opened"):
        take(1, stream(NoMasks(), name="labelled"))


def test_labelled_batches_pair_images_with_their_masks() -> None:
    for batch in take(6, stream(view=WeakView((12, 10), flip=True))):
        assert batch.images.dtype == torch.uint8
        assert "mask" in batch.labels
        assert batch.labels["mask"].dtype == torch.uint8
        assert torch.equal(batch.images[:, 0][batch.valid], batch.labels["mask"][batch.valid])
        assert (batch.labels["mask"][~batch.valid] == IGNORE).all()
        assert not batch.valid.all()


def test_asking_for_a_strong_view_leaves_the_weak_one() -> None:
    plain, strong = take(3, stream())[2], take(3, stream(strong=1))[2]
    assert plain.strong == ()
    assert torch.equal(plain.images, strong.images)
    assert len(strong.strong) == 1
    assert strong.strong[0].shape == (4, 6)
    assert len(strong.strong[0].unique(dim=0)) == 4


def test_numbers_depend_on_the_place_in_the_stream_alone() -> None:
    free = {"name": "unlabelled", "numbers": 6}
    whole = take(3, stream(**free))
    numbers = torch.cat([batch.labels["numbers"] for batch in whole])
    assert numbers.shape == (12, 6)
    assert len(numbers.unique()) == 72
    assert ((numbers >= 0) & (numbers < 1)).all()
    plain = take(3, stream(name="unlabelled"))
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole, plain, strict=True))
    assert "numbers" not in plain[0].labels
    other = take(3, stream(**free, strong=2, workers=1))
    assert torch.equal(torch.cat([batch.labels["numbers"] for batch in other]), numbers)
    shares = [take(3, stream(**free, rank=rank, world=2)) for rank in (0, 1)]
    pairs = zip(*shares, strict=True)
    together = [torch.cat([one.labels["numbers"] for one in pair]) for pair in pairs]
    assert torch.equal(torch.cat(together), numbers)


PAIRS = {"name": "unlabelled", "numbers": 2, "strong": 2, "partner": True}


def seconds(batches: Sequence[RawBatch]) -> list[RawBatch]:
    return [batch.partner for batch in batches if batch.partner is not None]


def test_a_second_crop_leaves_the_first_one() -> None:
    pairs, alone = take(3, stream(**PAIRS)), take(3, stream(name="unlabelled", strong=2))
    assert same(pairs, alone)
    assert all(batch.partner is None for batch in alone)
    for batch, second in zip(pairs, seconds(pairs), strict=True):
        assert second.ids == batch.ids
        assert second.images.shape == batch.images.shape
        assert len(second.strong) == 2
        assert second.partner is None
        assert second.labels == {}
        everything = zip(
            (batch.images, *batch.strong), (second.images, *second.strong), strict=True
        )
        for own, other in everything:
            assert not any(torch.equal(a, b) for a, b in zip(own, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_second_crops_depend_on_their_place_in_the_stream_alone(workers: int) -> None:
    whole = seconds(take(6, stream(**PAIRS)))
    assert same(seconds(take(6, stream(**PAIRS, workers=workers))), whole)
    assert same(seconds(take(4, stream(**PAIRS, start=2, workers=workers))), whole[2:])
    shares = [seconds(take(6, stream(**PAIRS, rank=rank, world=2))) for rank in (0, 1)]
    for expected, *halves in zip(whole, *shares, strict=True):
        for part, *pieces in zip(parts(expected), *map(parts, halves), strict=True):
            assert torch.equal(torch.cat(pieces), part)


def test_second_crops_have_strong_views_and_no_picture_in_their_padding() -> None:
    (raw,) = take(1, stream(**PAIRS, batch_size=11))
    batch = to_device(raw, CPU)
    assert isinstance(batch, Unlabelled)
    assert batch.partner is not None
    assert raw.partner is not None
    alone = to_device(raw.partner, CPU)
    assert isinstance(alone, Unlabelled)
    second = batch.partner
    assert batch.crops == (batch, second)
    assert alone.crops == (alone,)
    assert torch.equal(second.image, alone.image)
    assert len(second.views) == len(batch.views) == 2
    for view, expected in zip(second.views, alone.views, strict=True):
        assert torch.equal(view, expected)
    assert not second.valid.all()
    for shown in (second.image, *second.views):
        assert (shown.masked_fill(second.valid[:, None], 0.0) == 0).all()


def test_a_bad_image_of_a_pair_is_one_line() -> None:
    with pytest.raises(DataError, match="truncated"):
        take(3, stream(BadImage(), **PAIRS))


def test_the_global_random_state_is_left_alone() -> None:
    for workers in (0, 1):
        before = torch.get_rng_state()
        take(3, stream(strong=1, workers=workers))
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_one_line_from_any_process(workers: int) -> None:
    source = stream(BadImage(), workers=workers)
    for _ in range(2):  # the second time, too: it did not skip what it could not read
        with pytest.raises(DataError) as error:
            take(3, source)
        assert str(error.value) == "memory/img03.jpg is truncated; fetch it again"


def test_a_mask_of_another_size_is_named() -> None:
    with pytest.raises(DataError, match=r"img\d\d.png: the mask is .* but image 'img\d\d' is"):
        take(1, stream(BadMask()))


def test_a_bug_is_no_user_error() -> None:
    with pytest.raises(ZeroDivisionError):
        take(1, stream(Buggy()))
    with pytest.raises(ZeroDivisionError):
        take(1, stream(Buggy(), workers=1))


def death_of_a_worker(code: int) -> str:
    with pytest.raises(RunError) as error:
        take(1, stream(Deadly(code), workers=1))
    return str(error.value)


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread torch asks every five seconds whether its workers live."""
    waits = torch.utils.data.dataloader._MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(waits, "__defaults__", (0.1,))


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_killed_worker_is_one_line(number: signal.Signals, in_thread: bool) -> None:
    """Outside of the main thread torch has no handler that knows the signal."""
    found = said_by(lambda: death_of_a_worker(-number), in_thread)
    assert f"of the labelled stream was killed by signal {int(number)} (" in found
    assert "Use fewer data.workers" in found
    assert "__main__" not in found
    assert "\n" not in found


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("code", [1, 3])
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_worker_that_ended_by_itself_names_the_guard(code: int, in_thread: bool) -> None:
    found = said_by(lambda: death_of_a_worker(code), in_thread)
    assert f"of the labelled stream ended by itself, with code {code}." in found
    assert "if __name__ == '__main__':" in found
    assert "killed" not in found
    assert "\n" not in found


def said_by(act: Callable[[], str], in_thread: bool) -> str:
    if not in_thread:
        return act()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


def test_pictures_of_several_sizes_need_a_crop() -> None:
    with pytest.raises(RecipeError, match=r"'img\d\d' \(\d+x\d+\).* set a crop"):
        take(3, stream(view=WeakView()))
    assert take(1, stream(view=WeakView(), batch_size=1))[0].images.shape[0] == 1
    assert take(1, stream(Memory(same_size=True), view=WeakView()))[0].images.shape == (4, 3, 8, 9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ids": ()}, "the labelled stream has no images"),
        ({"batch_size": 0}, "cannot be shared by 1 processes"),
        ({"batch_size": 5, "world": 2}, "choose a positive multiple of 2"),
    ],
)
def test_a_stream_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        stream(**options)  # type: ignore[arg-type]


def test_closing_ends_the_workers() -> None:
    source = stream(workers=2)
    next(source)
    assert len(multiprocessing.active_children()) == 2
    started = time.monotonic()
    source.close()
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 3
    source.close()


def test_closing_ends_the_workers_while_a_traceback_holds_on_to_them() -> None:
    with pytest.raises(ZeroDivisionError) as held:
        take(1, stream(Buggy(), workers=1))
    assert multiprocessing.active_children() == []
    assert held.tb is not None


def test_signals_to_the_group_do_not_reach_the_workers() -> None:
    with stream(workers=2) as source:
        next(source)
        next(source)  # the second worker's: now both are up
        workers = multiprocessing.active_children()
        for worker in workers:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGINT)
            assert os.getpgid(worker.pid) != os.getpgid(0)
        assert len(take(5, source)) == 5
    assert all(worker.exitcode == 0 for worker in workers)


def test_a_worker_obeys_its_parent() -> None:
    # One that ignored SIGTERM would keep the interpreter from ever ending.
    with stream(workers=1) as source:
        next(source)
        (worker,) = multiprocessing.active_children()
        worker.terminate()
        worker.join(5)
        assert not worker.is_alive()


def test_workers_use_one_thread() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        batch = take(1, stream(Threads(), name="unlabelled", view=WeakView(), workers=1))[0]
    finally:
        torch.set_num_threads(before)
    assert (batch.images == 1).all()


@pytest.mark.parametrize("pin", [False, True])
def test_pages_are_locked_if_asked_for_not_if_there_is_a_gpu(
    pin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def loader(*_: object, pin_memory: bool, **__: object) -> list[str]:
        asked.append(pin_memory)
        return ["a batch"]

    monkeypatch.setattr(streams, "DataLoader", loader)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: not pin)
    next(stream(pin=pin))
    assert asked == [pin]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": "unlabelled", "strong": 1},
        {"name": "weak"},
        {"view": CombinationView((6, 5))},
    ],
    ids=["labelled", "unlabelled", "weak", "combinations"],
)
def test_all_of_a_batch_is_pinned(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = take(1, stream(**options))[0]
    monkeypatch.setattr(Tensor, "pin_memory", Tensor.clone)  # needs CUDA otherwise
    pinned = raw.pin_memory()
    assert same([pinned], [raw])
    assert not {t.data_ptr() for t in parts(pinned)} & {t.data_ptr() for t in parts(raw)}


def test_errors_and_batches_can_cross_processes() -> None:
    batch = take(1, stream(strong=1))[0]
    assert same([pickle.loads(pickle.dumps(batch))], [batch])
    error = pickle.loads(pickle.dumps(DataError("one line")))
    assert isinstance(error, SemisupError)
    assert str(error) == "one line"


CPU = torch.device("cpu")
SMALL = WeakView((14, 14), (0.5, 1.0))  # smaller than the crop: much padding, at right and bottom


@pytest.mark.parametrize("strong", [0, 1, 2])
def test_the_floats_are_those_of_the_plain_formula(strong: int) -> None:
    raw = take(1, stream(name="unlabelled", strong=strong, view=SMALL))[0]
    kept = pickle.loads(pickle.dumps(raw))
    batch = to_device(raw, CPU)
    assert same([raw], [kept]), "what the stream gave was overwritten"
    assert isinstance(batch, Unlabelled)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    unit, padding = raw.images.float() / 255, ~raw.valid[:, None]
    assert torch.equal(batch.image, ((unit - mean) / std).masked_fill(padding, 0))
    assert len(raw.strong) == len(batch.views) == strong
    for parameters, view in zip(raw.strong, batch.views, strict=True):
        changed = apply_strong(torch.where(padding, mean, unit), parameters, raw.valid)
        assert torch.equal(view, ((changed - mean) / std).masked_fill(padding, 0))
    if strong == 2:
        assert not torch.equal(*batch.views), "views are drawn apart"


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_labelled_batch_on_the_device(memory_format: torch.memory_format) -> None:
    raw = take(1, stream(view=SMALL))[0]
    batch = to_device(raw, CPU, memory_format=memory_format)
    assert isinstance(batch, Labelled)
    assert "mask" in raw.labels
    assert batch.mask.dtype == torch.int64
    assert torch.equal(batch.mask, raw.labels["mask"].long())
    assert batch.image.is_contiguous(memory_format=memory_format)
    assert batch.ids == raw.ids
    inside = raw.valid[:, None].expand_as(batch.image)
    assert torch.equal(batch.image[inside], normalise(raw.images)[inside])
    assert not raw.valid.all()
    assert (batch.image[~inside] == 0).all()


def test_an_unlabelled_batch_on_the_device() -> None:
    raw = take(1, stream(name="unlabelled", view=SMALL))[0]
    assert not raw.valid.all()
    batch = to_device(raw, CPU, images=ImageFormat((0.5,) * 3, (0.25,) * 3, bits=8))
    assert isinstance(batch, Unlabelled)
    assert batch.views == ()
    assert torch.equal(batch.valid, raw.valid)
    inside = raw.valid[:, None].expand_as(batch.image)
    expected = (raw.images.float() / 255 - 0.5) / 0.25
    assert torch.equal(batch.image[inside], expected[inside])
    assert (batch.image[~inside] == 0).all()


def test_a_strong_view_in_place_of_the_labelled_image() -> None:
    """The crop, its mask and further views stay; the image is the view that is drawn first."""
    options = {"view": SMALL, "batch_size": 11}
    raw = take(1, stream(strong=1, strong_image=True, **options))[0]
    plain = take(1, stream(strong=2, **options))[0]
    batch, expected = to_device(raw, CPU), to_device(plain, CPU)
    assert isinstance(batch, Labelled)
    assert isinstance(expected, Labelled)
    assert torch.equal(batch.mask, expected.mask)
    assert torch.equal(batch.image, expected.views[0])
    assert torch.equal(batch.views[0], expected.views[1])
    assert not torch.equal(batch.image, expected.image)


def test_the_strong_view_is_the_weak_one_in_other_colours() -> None:
    raw = take(1, stream(name="unlabelled", strong=1, view=SMALL, batch_size=11))[0]
    assert len(raw.strong) == 1
    batch = to_device(raw, CPU, memory_format=torch.channels_last)
    assert isinstance(batch, Unlabelled)
    assert len(batch.views) == 1
    assert batch.views[0].is_contiguous(memory_format=torch.channels_last)
    padding = ~raw.valid[:, None].expand_as(batch.image)
    assert padding.any()
    assert (batch.views[0][padding] == 0).all()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    sharp = 0
    for number in range(11):
        # Each picture alone and without its padding; blur would mix the padding in.
        if raw.strong[0][number, 5] > 0:
            continue
        sharp += 1
        height, width = int(raw.valid[number].sum(0).max()), int(raw.valid[number].sum(1).max())
        picture = raw.images[number : number + 1, :, :height, :width].float() / 255
        changed = apply_strong(picture, raw.strong[0][number : number + 1])
        found = batch.views[0][number : number + 1, :, :height, :width]
        assert torch.allclose(found, (changed - mean) / std, atol=1e-5)
    assert sharp >= 2


def test_padding_does_not_darken_the_border_of_a_blurred_picture() -> None:
    # A picture of the mean colour stays the mean colour however strongly it is blurred.
    colour = torch.tensor(IMAGENET_MEAN).mul(255).round().byte().view(1, 3, 1, 1)
    valid = torch.zeros(1, 20, 20, dtype=torch.bool)
    valid[:, :9, :9] = True
    raw = RawBatch(
        "unlabelled",
        images=colour * valid[:, None],
        valid=valid,
        strong=(torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 2.0]]),),
        ids=("a",),
    )
    batch = to_device(raw, CPU)
    assert isinstance(batch, Unlabelled)
    assert len(batch.views) == 1
    assert batch.views[0].abs().max() < 0.02  # half a grey level is 0.009


# Tags


@pytest.mark.parametrize("workers", [0, 2])
def test_the_weak_stream_has_tags_and_opens_no_mask(workers: int) -> None:
    data = NoMasks()
    for batch in take(5, stream(data, name="weak", workers=workers)):
        assert "mask" not in batch.labels
        assert "selection" not in batch.labels
        assert "tags" in batch.labels
        tags = batch.labels["tags"]
        assert (tags.dtype, tags.shape) == (torch.bool, (4, 255))
        for key, row in zip(batch.ids, tags, strict=True):
            assert set(row.nonzero()[:, 0].tolist()) == {0, *tags_of(data).of[key]}


def test_the_weak_stream_goes_on_anywhere_with_any_number_of_workers() -> None:
    whole = take(8, stream(name="weak"))
    assert same(take(5, stream(name="weak", start=3, workers=2)), whole[3:])
    shares = [take(8, stream(name="weak", rank=rank, world=2)) for rank in range(2)]
    for batch, one, two in zip(whole, *shares, strict=True):
        assert batch.ids == one.ids + two.ids
    other = take(8, stream(name="unlabelled"))
    assert [batch.ids for batch in whole] != [batch.ids for batch in other]


def test_weak_labels_belong_to_the_weak_stream_and_to_no_other() -> None:
    for options in ({"name": "weak", "tags": None}, {"tags": tags_of(Memory())}):
        with pytest.raises(AssertionError, match="the weak stream, and no other, has weak labels"):
            stream(**options)


def test_a_weak_batch_on_the_device() -> None:
    raw = take(1, stream(name="weak", view=SMALL))[0]
    batch = to_device(raw, CPU, memory_format=torch.channels_last)
    assert isinstance(batch, Weak)
    assert torch.equal(batch.tags, raw.labels["tags"])
    assert torch.equal(batch.valid, raw.valid)
    assert batch.ids == raw.ids
    unlabelled = to_device(replace(raw, name="unlabelled", labels={}), CPU)
    assert torch.equal(batch.image, unlabelled.image)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert Batch(weak=batch).weak is batch
    with pytest.raises(AssertionError, match="did not ask for the weak stream"):
        Batch().weak  # noqa: B018


def test_no_file_of_a_mask_is_opened_but_of_the_labelled_images(tmp_path: Path) -> None:
    data = Scenes(tmp_path, train=24, val=1, test=1, size=(48, 64))
    split = make_split(data, "1/class", 0, tags=read_tags(data, "xml"))
    for index, key in enumerate(data.ids):
        if key not in split.labelled:
            data.mask_path(index).unlink()
    tags = read_tags(data, "xml")
    again = make_split(data, "1/class", 0, tags=tags, tagged="5/class")
    assert again.labelled == split.labelled
    options = {"view": WeakView((32, 32), flip=True), "batch_size": 8}
    weak = stream(data, ids=split.weak, name="weak", tags=tags, workers=2, **options)
    assert len({key for batch in take(3, weak) for key in batch.ids}) == 24
    labelled = stream(data, ids=split.labelled, **options)
    assert all("mask" in batch.labels for batch in take(3, labelled))


# Combinations


COMBINED = {"view": CombinationView((12, 10)), "ids": ("img02", "img05", "img07")}


class Blocks(Memory):
    """Masks of a few classes: image n has n % 4 of them, in blocks."""

    def mask(self, index: int) -> Tensor:
        height, width = self.image(index).shape[-2:]
        mask = torch.zeros(height, width, dtype=torch.uint8)
        for label in range(1, index % 4 + 1):
            mask[3 * label - 3 : 3 * label, : width // 2] = label
        return mask


def test_combinations_are_the_same_anywhere_with_any_number_of_workers() -> None:
    whole = take(8, stream(Blocks(), **COMBINED))
    assert same(take(5, stream(Blocks(), start=3, workers=2, **COMBINED)), whole[3:])
    assert not same(take(8, stream(Blocks(), seed=1, **COMBINED)), whole)


def test_every_combination_comes_once_in_a_round_of_epochs() -> None:
    found: dict[str, list[tuple[int, ...]]] = {key: [] for key in Blocks().ids}
    for batch in take(2 * 7, stream(Blocks(), view=COMBINED["view"], batch_size=11)):
        assert "mask" in batch.labels
        selection = batch.labels["selection"]
        assert selection.shape == (11, 255)
        assert not selection[:, 0].any()
        for key, row, mask in zip(batch.ids, selection, batch.labels["mask"], strict=True):
            chosen = row.nonzero()[:, 0].tolist()
            assert set(chosen) <= set(mask.unique().tolist())
            found[key].append(tuple(chosen))
    for index, chosen in enumerate(found.values()):
        count = max(1, 2 ** (index % 4) - 1)
        assert len(set(chosen[:count])) == count
        assert chosen[:count] == chosen[count : 2 * count]
    # Images begin at different subsets.
    assert len({found[f"img{number:02d}"][0] for number in (3, 7)} | {found["img03"][1]}) > 1


def test_a_selection_on_the_device() -> None:
    raw = take(1, stream(Blocks(), **COMBINED))[0]
    batch = to_device(raw, CPU)
    assert isinstance(batch, Labelled)
    assert batch.selection is not None
    assert torch.equal(batch.selection, raw.labels["selection"])
    plain = to_device(take(1, stream())[0], CPU)
    assert isinstance(plain, Labelled)
    assert plain.selection is None


@pytest.mark.gpu
def test_the_device_gives_what_the_cpu_gives() -> None:
    cuda = torch.device("cuda")
    raw = take(1, stream(name="unlabelled", strong=1, workers=1, pin=True))[0]
    assert all(part.is_pinned() for part in parts(raw))
    assert not take(1, stream())[0].images.is_pinned()
    there, here = to_device(raw, cuda), to_device(raw, CPU)
    assert isinstance(there, Unlabelled)
    assert isinstance(here, Unlabelled)
    assert torch.allclose(there.image.cpu(), here.image, atol=1e-5)
    assert torch.allclose(there.views[0].cpu(), here.views[0], atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{"name": "weak"}, COMBINED], ids=["weak", "combinations"])
def test_tags_and_selections_reach_the_device(options: dict[str, object]) -> None:
    raw = take(1, stream(Blocks(), workers=1, pin=True, **options))[0]
    assert all(part.is_pinned() for part in parts(raw))
    there, here = to_device(raw, torch.device("cuda")), to_device(raw, CPU)
    for name in type(here).__slots__:
        one, other = getattr(there, name), getattr(here, name)
        if isinstance(one, Tensor):
            assert torch.allclose(one.cpu(), other, atol=1e-5)
