"""Any data set with some of its classes ignored: void in training and in scoring."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from semisup.data.base import ObjectBox, Objects, SegmentationData, WrappedData
from semisup.data.formats.lists import relabel
from semisup.errors import RecipeError, suggest
from semisup.types import IGNORE

OPTION = "ignore_classes"
"""The option that every data set has, in a recipe `data.ignore_classes`."""


class WithoutClasses(WrappedData):
    """A data set whose pixels of some classes are void; the other classes are numbered anew.

    Args:
        data: the set.
        ignored: names of classes, in any order.

    Raises:
        RecipeError: `ignored` is no list of names, holds one twice or one that is no class of
            `data`, or leaves fewer than two classes.
    """

    def __init__(self, data: SegmentationData, ignored: Sequence[str]) -> None:
        super().__init__(data)
        _check_ignored(data, ignored)
        kept = [label for label, name in enumerate(data.classes) if name not in ignored]
        self.classes = tuple(data.classes[label] for label in kept)
        self.palette = tuple(data.palette[label] for label in kept)
        self._label = relabelling(data.classes, self.classes)

    @property
    def as_stored(self) -> SegmentationData:
        """The data set with all its classes."""
        return self._data

    def mask(self, index: int) -> Tensor:
        """Mask `index`: uint8 HW, 0..K-1 of the classes that are left, else 255."""
        return relabel(self._data.mask(index), self._label)

    def objects(self, index: int) -> Objects:
        """Objects `index` of the classes that are left."""
        objects = self._data.objects(index)
        labels = self._label[objects.labels].long()
        return replace(objects, labels=labels).where(labels != IGNORE)

    def object_boxes(self, index: int) -> list[ObjectBox]:
        """Boxes `index`; those of classes that are left out are void."""
        return relabelled_boxes(self._data.object_boxes(index), self._label)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Those of the classes that are left."""
        numbers = dict(zip(self._data.classes, self._data.category_ids, strict=True))
        return tuple(numbers[name] for name in self.classes)

    def facts(self) -> dict[str, object]:
        """As the data set has it, and the classes that are void."""
        return {**self._data.facts(), **classes_made_void(self.stored_classes, self.classes)}


def without_classes(data: SegmentationData, ignored: Sequence[str]) -> SegmentationData:
    """`data` without some of its classes: itself where there is none to ignore.

    Raises:
        RecipeError: as `WithoutClasses`.
    """
    return WithoutClasses(data, ignored) if ignored else data


def relabelled_boxes(boxes: Sequence[ObjectBox], label: Tensor) -> list[ObjectBox]:
    """Boxes with the labels of a table of `relabelling`; those that are void stay void."""
    return [
        box if box.label == IGNORE else box._replace(label=int(label[box.label])) for box in boxes
    ]


def relabelling(before: Sequence[str], after: Sequence[str]) -> Tensor:
    """Label id in the list `before` -> the id that the same name has in `after`; else void.

    Returns:
        256 uint8.
    """
    table = torch.full((IGNORE + 1,), IGNORE, dtype=torch.uint8)
    places = {name: label for label, name in enumerate(after)}
    for label, name in enumerate(before):
        table[label] = places.get(name, IGNORE)
    return table


def classes_made_void(stored: Sequence[str], kept: Collection[str]) -> dict[str, object]:
    """For the protocol: the classes that the files know and that are not kept, if there are any."""
    void = [name for name in stored if name not in kept]
    return {"classes_made_void": void} if void else {}


def check_names(names: Sequence[str], option: str, classes: Collection[str]) -> None:
    """Refuse names of an option that are no classes, or that stand there twice.

    Raises:
        RecipeError: names the option and what is near to a name that is not known.
    """
    for name in names:
        if name not in classes:
            raise RecipeError(f"'{name}' in {option} is no class here.{suggest(name, classes)}")
        if names.count(name) > 1:
            raise RecipeError(f"'{name}' stands twice in {option}; name each class once")


def _check_ignored(data: SegmentationData, ignored: Sequence[str]) -> None:
    if isinstance(ignored, str) or not all(isinstance(name, str) for name in ignored):
        raise RecipeError(
            f"{OPTION} = {ignored!r} is no list of names of classes; write a list, such as "
            f'["{data.classes[0]}"]'
        )
    for name in ignored:
        if name in data.stored_classes and name not in data.classes:
            raise RecipeError(f"'{name}' in {OPTION} is left out already; name it in one place")
    check_names(ignored, OPTION, data.classes)
    left = [name for name in data.classes if name not in ignored]
    if len(left) < 2:
        what = f"'{left[0]}' alone, and every pixel would be of it" if left else "no class"
        raise RecipeError(
            f"{OPTION} leaves {what}: {data.name} has {', '.join(data.classes)}; ignore fewer, so "
            "that two or more are left"
        )
