"""From a position in a stream to the sample that lies there, and from samples to a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from semisup.data.base import Objects, SegmentationData
from semisup.data.labels.border_weights import BorderWeights
from semisup.data.labels.pseudo_masks import Confidences
from semisup.data.labels.tags import Tags
from semisup.data.views.colours import COLOUR_SETS
from semisup.data.views.cropping import DrawView, View
from semisup.data.views.objects import instances_in
from semisup.errors import RecipeError, SemisupError
from semisup.types import IGNORE, ColourSetName, Instances, StreamName

Label = Tensor | tuple[Instances, ...]
"""A label of a batch: a tensor, B first, or one entry for each image."""


@dataclass(frozen=True, slots=True)
class RawBatch:
    """One batch as the workers make it.

    Attributes:
        name: of the stream.
        images: BCHW, uint8 or uint16; 0 where the crop was padded.
        valid: bool BHW, False where the crop was padded.
        ids: the B image ids.
        labels: what is known of the images, by the name of its field in `Labelled`, `Unlabelled`
            or `Weak`, B first: "mask" and "partial" uint8 BHW, "tags" and "selection" bool BK,
            "border_weights" and "confidence" float32 BHW, "numbers" float32 BR; "instances" one
            for each image.
        strong: parameters of each strong view, a row an image, as `colours` draws them.
        strong_image: whether the first of them takes the place of the image.
        colours: the set of colour changes.
        partner: a second crop of each image; None: there is none.
    """

    name: StreamName
    images: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    labels: Mapping[str, Label] = field(default_factory=dict)
    strong: tuple[Tensor, ...] = ()
    strong_image: bool = False
    colours: ColourSetName = "unimatch"
    partner: RawBatch | None = None

    def pin_memory(self) -> RawBatch:
        """The same in page-locked memory; the loader of a stream with `pin` calls it."""
        return replace(
            self,
            images=self.images.pin_memory(),
            valid=self.valid.pin_memory(),
            labels={
                name: moved(label, lambda part: part.pin_memory())
                for name, label in self.labels.items()
            },
            strong=tuple(view.pin_memory() for view in self.strong),
            partner=None if self.partner is None else self.partner.pin_memory(),
        )


def moved(label: Label, move: Callable[[Tensor], Tensor]) -> Label:
    """A label with each of its tensors given to `move`."""
    if isinstance(label, Tensor):
        return move(label)
    return tuple(instances.moved(move) for instances in label)


@dataclass(frozen=True, slots=True)
class _Sample:
    id: str
    image: Tensor
    valid: Tensor
    labels: Mapping[str, Tensor]
    strong: tuple[Tensor, ...]
    instances: Instances | None = None
    partner: _Sample | None = None


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
        strong: int,
        tags: Tags | None,
        numbers: int = 0,
        partner: bool = False,
        colours: ColourSetName = "unimatch",
        border: BorderWeights | None = None,
        instances: bool = False,
        partial: bool = False,
        confidences: Confidences | None = None,
    ) -> None:
        weakly = tags is not None or partial
        assert weakly == (name == "weak"), "the weak stream, and no other, has weak labels"
        assert not instances or name == "labelled", "the labelled stream alone has objects"
        assert confidences is None or not instances, "pseudo-masks tell no objects apart"
        assert not partner or name == "unlabelled", "unlabelled images alone have second crops"
        self._data = data
        self._ids = sorted(ids)
        self._indices = [data.index(key) for key in self._ids]
        self._name = name
        self._seed = seed
        self._view = view
        self._strong = strong
        self._tags = tags
        self._numbers = numbers
        self._with_partner = partner
        self._draw = COLOUR_SETS[colours].draw
        self._border = border
        self._with_instances = instances
        self._partial = partial
        self._confidences = confidences
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
        turn = _digest(f"{self._seed}/turn/{key}") + epoch
        border = None if self._border is None or mask is None else self._border(mask)
        objects = self._objects(index)
        if mask is not None and objects is not None:
            mask = torch.cat([mask[None], objects.masks])
        if mask is not None and self._confidences is not None:
            empty = self._partial and not self._data.has_mask(index)
            sure = torch.zeros_like(mask) if empty else self._confidences(key, mask)
            mask = torch.stack([mask, sure])
        view = self._view(image, mask, generator, turn, border)
        confidence = None
        if view.mask is not None and self._confidences is not None:
            confidence = view.mask[1].float() / 255
            view = replace(view, mask=view.mask[0])
        instances = None
        if view.mask is not None and objects is not None:
            instances = instances_in(view.mask[1:], objects.labels)
            view = replace(view, mask=view.mask[0])
        strong = tuple(self._draw(generator) for _ in range(self._strong))
        labels = self._labels(key, view)
        if confidence is not None:
            labels["confidence"] = confidence
        if self._numbers:
            own = _generator(self._seed, self._name, "numbers", position)
            labels["numbers"] = torch.rand(self._numbers, generator=own)
        partner = self._second_crop(key, image, position) if self._with_partner else None
        return _Sample(key, view.image, view.valid, labels, strong, instances, partner)

    def _second_crop(self, key: str, image: Tensor, position: int) -> _Sample:
        """Drawn from numbers of its own: the first crop is the same with and without it."""
        generator = _generator(self._seed, self._name, "partner", position)
        view = self._view(image, None, generator)
        strong = tuple(self._draw(generator) for _ in range(self._strong))
        return _Sample(key, view.image, view.valid, {}, strong)

    def _objects(self, index: int) -> Objects | None:
        """The objects to learn from, where they are read."""
        if not self._with_instances:
            return None
        objects = self._data.objects(index)
        return objects.where(~objects.crowd)

    def _labels(self, key: str, view: View) -> dict[str, Tensor]:
        """What is known of the image, as the fields of its batch."""
        known: dict[str, Tensor] = {}
        if view.mask is not None:
            known["partial" if self._partial else "mask"] = view.mask
        if view.border is not None:
            known["border_weights"] = view.border
        if view.selection is not None:
            known["selection"] = self._row(view.selection)
        if self._tags is not None:
            tags = self._tags.of.get(key)
            found = [] if tags is None and self._partial else [0, *self._tags.of[key]]
            known["tags"] = self._row(torch.tensor(found, dtype=torch.int64))
        return known

    def _open(self, index: int) -> tuple[Tensor, Tensor | None]:
        """The image, and its mask in the labelled stream, or its weak one: no other opens one.

        An image that has tags alone, among some with weak masks, has one without a label.
        """
        if self._partial and self._tags is not None and not self._data.has_mask(index):
            image = self._data.image(index)
            return image, torch.full(image.shape[-2:], IGNORE, dtype=torch.uint8)
        if self._name == "labelled" or self._partial:
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


def collate(
    samples: Sequence[_Sample | SemisupError],
    name: StreamName,
    strong_image: bool = False,
    colours: ColourSetName = "unimatch",
) -> RawBatch | SemisupError:
    """The samples of a stream as a batch, or the first error among them."""
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, SemisupError):
            return sample
        if good and sample.image.shape != good[0].image.shape:
            return _sizes_differ(good[0], sample)
        good.append(sample)
    labels: dict[str, Label] = default_collate([dict(sample.labels) for sample in good])
    instances = tuple(sample.instances for sample in good if sample.instances is not None)
    if instances:
        labels["instances"] = instances
    seconds = [sample.partner for sample in good if sample.partner is not None]
    partner = collate(seconds, name, colours=colours) if seconds else None
    if isinstance(partner, SemisupError):
        return partner
    # In a worker, this stacks into the memory that the batch travels in; torch.stack would not.
    return RawBatch(
        name,
        images=default_collate([sample.image for sample in good]),
        valid=default_collate([sample.valid for sample in good]),
        ids=tuple(sample.id for sample in good),
        labels=labels,
        strong=tuple(default_collate([sample.strong for sample in good])),
        strong_image=strong_image,
        colours=colours,
        partner=partner,
    )


def _sizes_differ(one: _Sample, other: _Sample) -> RecipeError:
    return RecipeError(
        f"images '{one.id}' ({_size(one.image)}) and '{other.id}' ({_size(other.image)}) "
        "of different sizes do not fit in one batch: set a crop, or a batch size of 1"
    )


def _size(image: Tensor) -> str:
    return f"{image.shape[-2]}x{image.shape[-1]}"
