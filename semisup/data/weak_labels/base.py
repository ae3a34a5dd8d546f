"""What every kind of weak label is: a mask that is void where nobody has said anything."""

from __future__ import annotations

import functools
import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from semisup.data.base import BACKGROUND, SegmentationData
from semisup.data.weak_labels.costs import Content, Costs
from semisup.data.weak_labels.regions import Region, regions_of
from semisup.errors import RecipeError
from semisup.types import IGNORE

Drawn = Callable[[int], "Labels | None"]
"""Position of an image -> its weak label, if it has one."""

Labels = npt.NDArray[np.uint8]
"""HW: 0..K-1, and 255 where there is no label."""


class ImageRandom:
    """Random numbers of one image: they depend on nothing but the seed and the words given.

    No version of a library changes them: Python promises the numbers of `random.random`, and
    nothing else is called.

    Args:
        seed: of the labels.
        words: what they are for, such as the kind of label and the image's id.
    """

    def __init__(self, seed: int, *words: str) -> None:
        digest = hashlib.blake2b("/".join([str(seed), *words]).encode(), digest_size=16).digest()
        self._random = random.Random(int.from_bytes(digest, "big"))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """In [low, high)."""
        return low + (high - low) * self._random.random()

    def below(self, count: int) -> int:
        """One of 0..count-1, all alike."""
        return int(self._random.random() * count)

    def happens(self, rate: float) -> bool:
        """True at this rate, in [0, 1]."""
        return self._random.random() < rate


class Truth:
    """What is known of an image, for a kind of weak label to show a part of it.

    Args:
        mask: uint8 HW, 0..K-1 and 255 for void.
        instances: as of `regions_of`.
        background: label of the background; -1: all classes are objects or stuff.
        picture: gives the image, CHW, to a kind that looks at it; None: it is not known.
    """

    def __init__(
        self,
        mask: Labels,
        instances: Labels | None = None,
        background: int = 0,
        picture: Callable[[], Tensor] | None = None,
    ) -> None:
        self.mask, self._instances, self.background = mask, instances, background
        self._picture = picture

    @functools.cached_property
    def regions(self) -> list[Region]:
        """What a person would label one by one, the largest first."""
        return regions_of(self.mask, self._instances)

    @property
    def picture(self) -> Tensor:
        """The image, CHW, decoded anew each time."""
        assert self._picture is not None, "this kind of label looks at the image"
        return self._picture()


class WeakKind(ABC):
    """One kind of weak label; the keyword-only parameters of a subclass are its options."""

    name: ClassVar[str]
    """As in `semisup data weaken --kind`."""

    @abstractmethod
    def label(self, truth: Truth, draws: ImageRandom) -> Labels:
        """What a person would label of one image.

        Args:
            truth: of the image.
            draws: its random numbers.

        Returns:
            uint8 HW: 0..K-1, and 255 where there is no label.
        """

    def annotated(self, data: SegmentationData, sources: Sequence[Path]) -> Drawn:
        """What people have labelled, in files of their own.

        Args:
            data: images and classes.
            sources: one or more files or folders; none: the annotations of `data` itself.

        Returns:
            Position of an image in `data` -> its label, uint8 HW; None where it has none.

        Raises:
            RecipeError: there is no form of file for this kind of label.
            DataError: a file cannot be used.
        """
        raise RecipeError(
            f"{self.name} labels that people have made cannot be read: leave the source out, so "
            "that they are made of the masks"
        )

    @abstractmethod
    def seconds(self, costs: Costs, content: Content) -> float:
        """What labels of this kind cost in an image that holds `content`."""


def background_of(data: SegmentationData) -> int:
    """The label of the background: 0, or -1 where class 0 is another."""
    return 0 if data.classes[0] == BACKGROUND else -1


def unlabelled(truth: Truth) -> Labels:
    """255 throughout, uint8 HW, to write labels into."""
    return np.full_like(truth.mask, IGNORE)


def weaken(kind: WeakKind, truth: Truth, image_id: str, seed: int) -> Labels:
    """The weak label of one image.

    Args:
        kind: of label, with its options.
        truth: of the image.
        image_id: of the image: with the seed it says what is drawn.
        seed: of the labels.

    Returns:
        uint8 HW: 0..K-1, and 255 where there is no label.
    """
    return kind.label(truth, ImageRandom(seed, kind.name, image_id))
