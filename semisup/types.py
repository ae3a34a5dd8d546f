"""What the data side, the training loop and the methods exchange.

Shape letters, used in every docstring: B batch, K classes, C channels, H height, W width;
lower-case h, w for a reduced map. A network for volumes is given blocks of D slices: images BCDHW,
masks and validity BDHW, where it says BCHW and BHW here.

An unlabelled image has no mask field, and neither has one with weak labels alone, so no method can
read a mask that it must not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = 255
"""Label of a void pixel: never in a loss, never in a score. Crop padding carries it too."""

Scalars: TypeAlias = "Mapping[str, Tensor]"
"""What a method reports of a step: name -> detached 0-d tensor, left on its device."""


Colour = tuple[int, int, int]
"""Red, green and blue, 0..255 each."""


StreamName = Literal["labelled", "unlabelled", "weak"]
"""The streams of a run, each with its own images and batch size."""


ColourSetName = Literal["unimatch", "augseg"]
"""The sets of colour changes that strong views may be drawn from (`data.views.colours`)."""


Partner = Literal["other", "self"]
"""Whose box is pasted into an unlabelled image: another image's, or that of a second crop."""


@dataclass(frozen=True, slots=True)
class Instances:
    """The objects of an image, each with its own mask; there may be none.

    Attributes:
        boxes: N4 float32, x0, y0, x1, y1 in pixels, each around its mask.
        labels: N int64, 1..K-1.
        masks: NHW uint8, 1 where a pixel is of the object; objects may overlap.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor

    def moved(self, move: Callable[[Tensor], Tensor]) -> Instances:
        """The same with each of its tensors given to `move`."""
        return Instances(move(self.boxes), move(self.labels), move(self.masks))


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images with their ground truth.

    Attributes:
        image: BCHW float, normalised, padded with the mean (0).
        mask: BHW int64, 0..K-1 and `IGNORE`; crop padding is `IGNORE`. All classes are in it,
            also those that are not in `selection`.
        valid: BHW bool, False where the crop was padded and there is no picture.
        ids: the B image ids.
        views: strong views of the same crops, BCHW each, as many as `Reads.labelled_views`.
        selection: BK bool, the foreground classes that each crop was cut for, a subset of those
            in its mask; column 0, background, is False. None but with `Reads.class_crops`.
        border_weights: BHW float32 >= 0, added to the weight of each pixel in the supervised loss
            (`train.border_weight`); None: nothing is.
        instances: the objects of each of the B crops. None but with `Reads.instances`.
        confidence: BHW float32 in [0, 1], of pseudo-masks how sure the run was that made them, by
            which each pixel is weighted (`train.confidence_weights`); None: all count alike.
    """

    image: Tensor
    mask: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    views: tuple[Tensor, ...] = ()
    selection: Tensor | None = None
    border_weights: Tensor | None = None
    instances: tuple[Instances, ...] | None = None
    confidence: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Images alone.

    Attributes:
        image: BCHW float, normalised: the weak view (scale, crop, flip).
        valid: BHW bool, False where the crop was padded and there is no picture.
        ids: the B image ids.
        views: strong views of the same crops (other colours, blur), BCHW each, drawn
            independently of one another, as many as `Reads.unlabelled_views`.
        numbers: BR float32, R random numbers for each image, uniform in [0, 1), for what a method
            draws for each of them (`Reads.unlabelled_numbers`). They depend on the image's place in
            the stream alone: not on what was drawn before, nor on the number of processes. None:
            the method reads none.
        partner: another crop of each of the same images, drawn on its own, with as many strong
            views and without numbers. None but with `Reads.unlabelled_partner`.
    """

    image: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    views: tuple[Tensor, ...] = ()
    numbers: Tensor | None = None
    partner: Unlabelled | None = None

    @property
    def crops(self) -> tuple[Unlabelled, ...]:
        """These crops, and the second ones where there are some."""
        return (self,) if self.partner is None else (self, self.partner)


@dataclass(frozen=True, slots=True)
class Weak:
    """Images with weak labels: a part of what a mask would say.

    Tags are those of the whole image: a crop may have lost some of what they name. Points,
    scribbles, boxes and coarse masks are masks that are void where nobody has said anything.

    Attributes:
        image: BCHW float, normalised: the weak view (scale, crop, flip).
        valid: BHW bool, False where the crop was padded and there is no picture.
        ids: the B image ids.
        tags: BK bool; column 0, background, is True: nobody tags it. With "partial" beside it, all
            of a row are False where nobody has tagged the image. None but with "tags" in
            `Reads.weak`.
        views: strong views of the same crops, BCHW each, as many as `Reads.weak_views`.
        partial: BHW int64, 0..K-1 where there is a label, `IGNORE` elsewhere; a crop may have none,
            and with "tags" beside it, an image may have none.
            None but with "partial" in `Reads.weak`.
        confidence: BHW float32 in [0, 1], as of `Labelled`, where `partial` are pseudo-masks.
    """

    image: Tensor
    valid: Tensor
    ids: tuple[str, ...]
    tags: Tensor | None = None
    views: tuple[Tensor, ...] = ()
    partial: Tensor | None = None
    confidence: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Reads:
    """What a method reads; the data side builds nothing else.

    Attributes:
        labelled: images with masks.
        unlabelled: images alone.
        weak: images with these weak labels, "tags" or "partial"; empty: none.
        labelled_views: strong views of each labelled image.
        unlabelled_views: strong views of each unlabelled image, each drawn on its own.
        weak_views: strong views of each weakly labelled image.
        unlabelled_numbers: random numbers of each unlabelled image (`Unlabelled.numbers`).
        unlabelled_partner: whether a second crop of each unlabelled image is read
            (`Unlabelled.partner`).
        class_crops: whether each labelled crop is cut for a subset of its image's classes
            (`Labelled.selection`).
        instances: whether the objects of each labelled crop are read (`Labelled.instances`).
        trained_weights: whether it goes on where another run has ended, and fresh weights are no
            start for it.
        rgb: whether it reads 8-bit RGB images alone, because a network of its own generates or sees
            such.
        volumes: whether it trains networks for volumes too, on blocks of slices: images BCDHW,
            masks BDHW.
        background: whether class 0 is background to it, which it treats apart from the others.
    """

    labelled: bool = True
    unlabelled: bool = False
    weak: frozenset[Literal["tags", "partial"]] = frozenset()
    labelled_views: int = 0
    unlabelled_views: int = 0
    weak_views: int = 0
    unlabelled_numbers: int = 0
    unlabelled_partner: bool = False
    class_crops: bool = False
    instances: bool = False
    trained_weights: bool = False
    rgb: bool = False
    volumes: bool = False
    background: bool = False

    @property
    def streams(self) -> tuple[StreamName, ...]:
        """The streams it names, in the order in which they are read."""
        read: dict[StreamName, bool] = {
            "labelled": self.labelled,
            "unlabelled": self.unlabelled,
            "weak": bool(self.weak),
        }
        return tuple(name for name, wanted in read.items() if wanted)

    def views(self, stream: StreamName) -> int:
        """Strong views of each image of a stream."""
        return {
            "labelled": self.labelled_views,
            "unlabelled": self.unlabelled_views,
            "weak": self.weak_views,
        }[stream]


class Batch:
    """One batch of each stream that the method reads.

    Reading a stream that the method did not name in `Method.reads` is a bug of the method and
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
        """Images with weak labels."""
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


class Update(Protocol):
    """The only road from a loss to a weight."""

    def __call__(self, player: str, loss: Tensor, *, keep_graph: bool = False) -> None:
        """One optimiser step that lowers `loss` in the parameters of `player` and in no others.

        A loss must be formed right before its update: once a player has been stepped, a graph
        that passed through its old weights is stale for all that comes before them.

        Args:
            player: whose parameters move.
            loss: 0-d.
            keep_graph: whether another player's loss shares forward passes with this one. That
                player must not have been stepped since, and must lie behind this one in the
                graph (a discriminator behind the segmenter): then its gradients do
                not need this one's old weights, and both updates are those of two separate
                forward passes.
        """
