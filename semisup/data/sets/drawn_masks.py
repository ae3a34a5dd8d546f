"""Weak labels in place of masks, drawn from them as they are read: clicks, scribbles, boxes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from semisup.data.base import Problem, SegmentationData, WrappedData
from semisup.data.formats.trees import names_folder
from semisup.data.labels.pseudo_masks import confidences_in
from semisup.data.sets.masks_in_folder import MasksInFolder, describe_masks, read_masks
from semisup.data.weak_labels.base import Truth, WeakKind, background_of, weaken
from semisup.data.weak_labels.writing import KINDS, numbers_of
from semisup.errors import RecipeError, suggest
from semisup.options import check_options


class DrawnMasks(WrappedData):
    """A data set whose masks are weak labels that are drawn from its own.

    What is drawn of an image is what `semisup data weaken` writes of it: it depends on its mask,
    its id, the seed, the kind and the options alone.

    Args:
        data: images and masks.
        kind: of label.
        seed: of what is drawn.
    """

    confidences = None
    """What people draw has none."""

    def __init__(self, data: SegmentationData, kind: WeakKind, seed: int) -> None:
        super().__init__(data)
        self.kind, self.seed = kind, seed
        self._background = background_of(data)

    @property
    def as_stored(self) -> SegmentationData:
        """That of the data set: colours and label ids of a file are compared by its own mask."""
        return self._data.as_stored

    @property
    def has_objects(self) -> bool:
        """False: what is drawn does not tell objects apart."""
        return False

    def object_numbers(self, index: int) -> None:
        """None, for the same reason."""

    def problems_beside(self, index: int, image: Tensor, mask: Tensor | None) -> list[Problem]:
        """As of an image without a mask: what is drawn does not fit what lies beside the mask."""
        return self._data.problems_beside(index, image, None)

    def mask(self, index: int) -> Tensor:
        """The weak label of image `index`: uint8 HW, 0..K-1, and 255 where there is none."""
        mask = self._data.mask(index)
        numbers = numbers_of(self._data, index, mask)
        picture = functools.partial(self._data.image, index)
        truth = Truth(mask.numpy(), numbers, self._background, picture)
        return torch.from_numpy(weaken(self.kind, truth, self.ids[index], self.seed))

    @property
    def source(self) -> dict[str, Any]:
        """Where the masks come from; see `describe_drawn`."""
        return describe_drawn(self.kind)


def read_kind(spec: str, key: str) -> WeakKind:
    """The kind of weak label that "points" or "points:clicks=2,radius=3" names.

    Args:
        spec: the value of the key.
        key: of the recipe, for errors.

    Raises:
        RecipeError: no kind is called so, or an option is unknown or out of its range.
    """
    name, _, options = spec.strip().partition(":")
    name = name.strip()
    if name not in KINDS:
        raise RecipeError(
            f"{key} = {spec!r}: no such kind of label.{suggest(name, KINDS)} Or write "
            '"folder:PATH" of a folder with <id>.png.'
        )
    values: dict[str, Any] = {}
    for option in filter(None, (part.strip() for part in options.split(","))):
        word, equals, value = (part.strip() for part in option.partition("="))
        if not equals or not word or word in values:
            raise RecipeError(
                f"{key} = {spec!r}: options are written once each, such as points:clicks=2,radius=3"
            )
        values[word] = _value(value)
    checked = check_options(KINDS[name], f"{key} = {spec!r}", values)
    try:
        return KINDS[name](**checked)
    except RecipeError as error:
        raise RecipeError(f"{key} = {spec!r}: {error}") from None


def _value(text: str) -> int | float | str:
    """A number, where it is one."""
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return text


def kind_and_options(name: str, options: Mapping[str, Any]) -> str:
    """As `read_kind` reads it, such as "boxes:jitter=0.0"."""
    return f"{name}:{','.join(f'{key}={value}' for key, value in sorted(options.items()))}"


def describe_drawn(kind: WeakKind) -> dict[str, Any]:
    """Kind and options, with their SHA-256, for run and result.

    The masks that are drawn from are files of the data set, and the seed is that of the split: a
    run records both anyway.
    """
    source = kind_and_options(kind.name, vars(kind))
    return {
        "source": source,
        "sha256": hashlib.sha256(source.encode()).hexdigest(),
        "sha256_of": "kind and options",
    }


def with_masks(
    data: SegmentationData,
    spec: str,
    seed: int,
    key: str = "data.masks",
    weighted: bool = False,
) -> MasksInFolder | DrawnMasks:
    """A data set with other masks than its own.

    Args:
        data: images and masks.
        spec: "folder:PATH" of <id>.png, or a kind of weak label with its options.
        seed: of what is drawn.
        key: of the recipe, for errors.
        weighted: whether the confidences of pseudo-masks are read, too.

    Raises:
        RecipeError: `spec` cannot be understood.
        DataError: the folder cannot be used, see `MasksInFolder`.
    """
    if not names_folder(spec):
        return DrawnMasks(data, read_kind(spec, key), seed)
    return MasksInFolder(data, read_masks(spec, key), key, weighted)


def describe(spec: str, key: str, weighted: bool = False) -> dict[str, Any]:
    """What `source` of `with_masks` would state, without the data set."""
    if not names_folder(spec):
        return describe_drawn(read_kind(spec, key))
    tree = read_masks(spec, key)
    return describe_masks(tree, confidences_in(tree.folder) if weighted else None)
