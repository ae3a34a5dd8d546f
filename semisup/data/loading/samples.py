"""From a position in a stream to the sample that lies there, and from samples to a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from semisup.data.base import SegmentationData
from semisup.data.labels.tags import Tags
from semisup.data.views.cropping import DrawView, View
from semisup.data.views.strong import draw_strong
from semisup.errors import RecipeError, SemisupError

StreamName = Literal["labelled", "unlabelled", "weak"]


@dataclass(frozen=True, slots=True)
class RawBatch:
    """One batch as the workers make it.

    Attributes:
        images: uint8 B3HW; 0 where the crop was padded.
        masks: uint8 BHW; None but in a labelled batch.
        valid: bool BHW, False where the crop was padded.
        strong: B x 6 parameters of the strong view (see `draw_strong`); None if not asked for.
        ids: the B image ids.
        tags: bool BK, column 0 True; None but in a weak batch.
        selection: bool BK, the classes that the crops were cut for; None unless the view chooses.
    """

    images: Tensor
    masks: Tensor | None
    valid: Tensor
    strong: Tensor | None
    ids: tuple[str, ...]
    tags: Tensor | None = None
    selection: Tensor | None = None

    def pin_memory(self) -> RawBatch:
        """The same in page-locked memory; the loader of a stream with `pin` calls it."""
        parts: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
        pinned: dict[str, Any] = {name: part.pin_memory() for name, part in tensors.items()}
        return replace(self, **pinned)


@dataclass(frozen=True, slots=True)
class _Sample:
    id: str
    view: View
    strong: Tensor | None
    tags: Tensor | None
    selection: Tensor | None


class Samples(Dataset[Any]):  # the loader wants the type that collating makes of it
    """Position in the stream -> sample; see `Stream` for the parameters."""

    def __init__(
        self,
        data: SegmentationData,
        ids: Sequence[str],
        name: StreamName,
        seed: int,
        view: DrawView,
        *,
        strong: bool,
        tags: Tags | None,
    ) -> None:
        assert (tags is not None) == (name == "weak"), "the weak stream, and no other, needs tags"
        self._data = data
        self._ids = sorted(ids)
        self._indices = [data.index(key) for key in self._ids]
        self._name = name
        self._seed = seed
        self._view = view
        self._strong = strong
        self._tags = tags
        self._epoch = -1
        self._order: list[int] = []

    def __getitem__(self, position: int) -> _Sample | SemisupError:
        # An error travels as a value: raised, the loader would wrap it in a page of traceback.
        try:
            return self._sample(position)
        except SemisupError as error:
            return error

    def _sample(self, position: int) -> _Sample:
        epoch, number = self._place(position)
        key, index = self._ids[number], self._indices[number]
        image, mask = self._open(index)
        generator = _generator(self._seed, self._name, "view", position)
        view = self._view(image, mask, generator, _digest(f"{self._seed}/turn/{key}") + epoch)
        return _Sample(
            key,
            view,
            strong=draw_strong(generator) if self._strong else None,
            tags=None if self._tags is None else self._row(torch.tensor([0, *self._tags.of[key]])),
            selection=None if view.selection is None else self._row(view.selection),
        )

    def _open(self, index: int) -> tuple[Tensor, Tensor | None]:
        """The image, and its mask in the labelled stream: no other opens one."""
        if self._name == "labelled":
            return self._data.pair(index)
        return self._data.image(index), None

    def _row(self, labels: Tensor) -> Tensor:
        """K bool, True at `labels` (int64)."""
        row = torch.zeros(self._data.num_classes, dtype=torch.bool)
        row[labels] = True
        return row

    def _place(self, position: int) -> tuple[int, int]:
        """The epoch, and the number of the image."""
        epoch, place = divmod(position, len(self._ids))
        if epoch != self._epoch:
            generator = _generator(self._seed, self._name, "order", epoch)
            self._order = torch.randperm(len(self._ids), generator=generator).tolist()
            self._epoch = epoch
        return epoch, self._order[place]


def _generator(seed: int, name: str, purpose: str, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(_digest(f"{seed}/{name}/{purpose}/{number}"))


def _digest(text: str) -> int:
    """63 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def collate(samples: Sequence[_Sample | SemisupError]) -> RawBatch | SemisupError:
    """The samples as a batch, or the first error among them."""
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, SemisupError):
            return sample
        if good and sample.view.image.shape != good[0].view.image.shape:
            return _sizes_differ(good[0], sample)
        good.append(sample)
    return RawBatch(
        images=default_collate([sample.view.image for sample in good]),
        masks=_stack([sample.view.mask for sample in good]),
        valid=default_collate([sample.view.valid for sample in good]),
        strong=_stack([sample.strong for sample in good]),
        ids=tuple(sample.id for sample in good),
        tags=_stack([sample.tags for sample in good]),
        selection=_stack([sample.selection for sample in good]),
    )


def _stack(parts: list[Tensor | None]) -> Tensor | None:
    # In a worker, this stacks into the memory that the batch travels in; torch.stack would not.
    stacked: Tensor | None = None if parts[0] is None else default_collate(parts)
    return stacked


def _sizes_differ(one: _Sample, other: _Sample) -> RecipeError:
    return RecipeError(
        f"images '{one.id}' ({_size(one.view.image)}) and '{other.id}' ({_size(other.view.image)}) "
        "of different sizes do not fit in one batch: set a crop, or a batch size of 1"
    )


def _size(image: Tensor) -> str:
    return f"{image.shape[-2]}x{image.shape[-1]}"
