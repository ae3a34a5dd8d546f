"""What flows between the data side, the engine and the methods.

Shape letters, used in every docstring: B batch, K classes, C channels, H height, W width;
lower-case h, w for a reduced map.

An unlabelled image has no mask field, and neither has one with tags alone, so no method can read
a mask that it must not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

IGNORE = 255
"""Label of a void pixel: never in a loss, never in a score. Crop padding carries it too."""

Scalars = Mapping[str, Tensor]
"""What a method reports of a step: name -> detached 0-d tensor, left on its device."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images with their ground truth.

    Attributes:
        image: B3HW float, normalised, padded with the mean (0).
        mask: BHW int64, 0..K-1 and `IGNORE`; crop padding is `IGNORE`. All classes are in it,
            also those that are not in `selection`.
        ids: the B image ids.
        selection: BK bool, the foreground classes that each crop was cut for, a subset of those
            in its mask; column 0, background, is False. None unless the method asks for
            combinations.
    """

    image: Tensor
    mask: Tensor
    ids: tuple[str, ...]
    selection: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Images alone.

    Attributes:
        image: B3HW float, normalised: the weak view (scale, crop, flip).
        valid: BHW bool, False where the crop was padded and there is no picture.
        ids: the B image ids.
        strong: B3HW float, normalised: the same crop with colour jitter, grey and blur; None
            unless the method asks for it (`Method.strong_view`).
    """

    image: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    strong: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Weak:
    """Images with tags: which classes are in the picture, but not where.

    The tags are those of the whole image. A crop may have lost some of what they name.

    Attributes:
        image: B3HW float, normalised: the weak view (scale, crop, flip).
        valid: BHW bool, False where the crop was padded and there is no picture.
        tags: BK bool; column 0, background, is always True: nobody tags it.
        ids: the B image ids.
    """

    image: Tensor
    valid: Tensor
    tags: Tensor
    ids: tuple[str, ...]


class Batch:
    """One batch of each stream that the method reads.

    Reading a stream that the method did not name in `Method.streams` is a bug of the method and
    fails loudly.
    """

    __slots__ = ("_labelled", "_unlabelled", "_weak")

    def __init__(
        self,
        *,
        labelled: Labelled | None = None,
        unlabelled: Unlabelled | None = None,
        weak: Weak | None = None,
    ) -> None:
        self._labelled = labelled
        self._unlabelled = unlabelled
        self._weak = weak

    @property
    def labelled(self) -> Labelled:
        """Images with masks."""
        assert self._labelled is not None, "this method did not ask for the labelled stream"
        return self._labelled

    @property
    def unlabelled(self) -> Unlabelled:
        """Images alone."""
        assert self._unlabelled is not None, "this method did not ask for the unlabelled stream"
        return self._unlabelled

    @property
    def weak(self) -> Weak:
        """Images with tags."""
        assert self._weak is not None, "this method did not ask for the weak stream"
        return self._weak


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands, in optimiser steps (never in epochs).

    Attributes:
        step: the step being taken, from 0.
        steps: the length of the run.
        ends_step: False for all but the last of the batches that `train.accumulate` makes one step
            of: the weights have not moved then, and what follows them, such as a moving average,
            must not either.
    """

    step: int
    steps: int
    ends_step: bool = True

    @property
    def fraction(self) -> float:
        """Share of the run that is behind us, in [0, 1)."""
        return self.step / self.steps
