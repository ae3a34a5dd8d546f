from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.data.loading.blocks import Blocks
from semisup.data.loading.streams import Stream
from semisup.data.loading.to_device import to_device
from semisup.data.views.blocks import BlockView
from semisup.data.views.weak import WeakView
from semisup.data.volumes import Block
from semisup.errors import DataError
from semisup.ops.pixels import ImageFormat, normalise
from semisup.types import IGNORE, Labelled


class Slices(SegmentationData):
    """Slices whose shade is their number, of class 1; only masks of `known` may be opened."""

    name = "slices"

    def __init__(self, count: int = 10, depth: int = 4, known: tuple[int, ...] = (2, 6)) -> None:
        self.root, self.subset = Path("slices"), "train"
        self.ids = tuple(f"s{number:02d}" for number in range(count))
        self.classes, self.palette = ("a", "b"), ((0, 0, 0),) * 2
        self.depth, self.known = depth, known

    @property
    def block(self) -> Block:
        return Block(self.depth)

    def image_path(self, index: int) -> Path:
        return self.root / f"{index}.png"

    mask_path = image_path

    def image(self, index: int) -> Tensor:
        return torch.full((1, 8, 9), index, dtype=torch.uint8)

    def mask(self, index: int) -> Tensor:
        assert index in self.known, "a mask was opened"
        return torch.ones(8, 9, dtype=torch.uint8)


def blocks(data: Slices) -> Blocks:
    return Blocks(data, [data.ids[index] for index in data.known])


@pytest.mark.parametrize(
    ("index", "shades"), [(2, range(6)), (6, range(3, 10)), (0, range(4)), (9, range(6, 10))]
)
def test_a_slice_has_those_around_it(index: int, shades: range) -> None:
    data = Slices(known=(2, 6, index))
    image, mask = blocks(data).pair(index)
    assert image.shape == (1, len(shades), 8, 9)
    assert image[0, :, 0, 0].tolist() == list(shades)
    assert [int(part.unique()) == 1 for part in mask] == [i in data.known for i in shades]
    assert set(mask.unique().tolist()) <= {1, IGNORE}


def test_every_block_of_a_slab_holds_its_slice() -> None:
    for depth in (1, 3, 4, 10):
        data = Slices(depth=depth, known=tuple(range(10)))
        for index in range(10):
            slab = blocks(data).image(index)[0, :, 0, 0].tolist()
            starts = range(len(slab) - depth + 1)
            assert all(index in slab[start : start + depth] for start in starts), (depth, index)


def test_a_stack_of_few_slices_is_mirrored_and_void_there_once_only_where_unlabelled() -> None:
    data = Slices(count=3, depth=8, known=(1,))
    image, mask = blocks(data).pair(1)
    assert image[0, :, 0, 0].tolist() == [2, 1, 0, 1, 2, 1, 0, 1]
    assert (mask != IGNORE).flatten(1).any(1).nonzero().flatten().tolist() == [3]


def test_slices_of_two_sizes_are_refused() -> None:
    class Odd(Slices):
        def image(self, index: int) -> Tensor:
            return super().image(index)[..., : 8 if index == 4 else 9]

    with pytest.raises(DataError, match=r"4\.png: is 8x8, and 0\.png is 8x9"):
        blocks(Odd(known=(2,), depth=3)).pair(2)


def stream(start: int = 0, workers: int = 0) -> Stream:
    data = Slices()
    view = BlockView(Block(4, rotation=20.0, deformation=1.0), WeakView((6, 6), (0.8, 1.2), True))
    return Stream(
        blocks(data),
        [data.ids[index] for index in data.known],
        name="labelled",
        seed=3,
        batch_size=2,
        view=view,
        start=start,
        workers=workers,
    )


def test_batches_of_blocks() -> None:
    with stream() as batches:
        batch = next(batches)
    assert batch.images.shape == (2, 1, 4, 6, 6)
    assert batch.labels["mask"].shape == batch.valid.shape == (2, 4, 6, 6)
    ready = to_device(
        batch,
        torch.device("cpu"),
        images=ImageFormat((0.5,), (0.25,), 8),
        memory_format=torch.channels_last,
    )
    assert isinstance(ready, Labelled)
    assert ready.image.is_contiguous(memory_format=torch.channels_last_3d)
    expected = (batch.images.float() / 255 - 0.5) / 0.25
    assert torch.allclose(ready.image, expected.masked_fill(~batch.valid[:, None], 0.0))
    assert ready.mask.dtype == torch.int64


def test_channels_of_a_volume_are_normalised_one_by_one() -> None:
    volume = torch.full((1, 3, 3, 3, 3), 255, dtype=torch.uint8)
    images = ImageFormat((0.0, 0.5, 0.75), (1.0, 1.0, 1.0), 8)
    assert normalise(volume, images)[0, :, 1, 2, 0].tolist() == [1.0, 0.5, 0.25]


def test_a_stream_that_goes_on_gives_the_same_blocks() -> None:
    with stream() as whole, stream(start=2) as rest:
        batches = list(islice(whole, 4))
        for one, other in zip(batches[2:], rest, strict=False):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels["mask"], other.labels["mask"])
    assert not torch.equal(batches[0].images, batches[1].images)
