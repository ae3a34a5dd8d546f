"""Images that are too large for one forward pass: labelled in tiles that overlap.

Each pixel is taken from one tile, in which it lies `MARGIN` pixels (of the smallest scale; at most
a third of a tile) from any border that is no border of the image. Tiles begin at multiples of
`STEP`, and end at multiples of it from the other border, for mirrored images: so they are reduced
at the same pixels as the image is. A network whose receptive field reaches no further than the
margin, and which resizes its maps by whole factors, gives the same labels as on the whole image
(docs/evaluation.md has by how much others differ). What a network or a protocol takes from the
image as a whole (global pooling, a dense CRF, the classes that DecoupledNet identifies, the places
of sliding windows) it takes from the tile.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from semisup.evaluation.inference import Inference
from semisup.metrics.confusion import label_map

SIDE = 2048
"""Pixels of the side of a tile; an image of more than SIDE x SIDE pixels is tiled."""

MARGIN = 256
"""Pixels that a tile sees beyond those that it labels, at the scale that the network sees."""

STEP = 64
"""Pixels at which tiles begin and end; reduced maps have 4 to 32 pixels to one of theirs."""


class _Span(NamedTuple):
    """Of one axis: what the network sees, and what of it is kept."""

    first: int
    last: int
    kept_first: int
    kept_last: int

    @property
    def seen(self) -> slice:
        return slice(self.first, self.last)

    @property
    def kept(self) -> slice:
        return slice(self.kept_first, self.kept_last)

    @property
    def kept_of_seen(self) -> slice:
        return slice(self.kept_first - self.first, self.kept_last - self.first)


def tiles_of(
    height: int, width: int, scales: Sequence[float] = (1.0,)
) -> list[tuple[_Span, _Span]]:
    """Rows and columns of each tile; a single one where the image is small enough.

    Args:
        height: of the image.
        width: of the image.
        scales: at which the network sees it.
    """
    if height * width * max(scales) ** 2 <= SIDE**2:
        return [(_Span(0, height, 0, height), _Span(0, width, 0, width))]
    side = max(STEP, math.floor(SIDE / max(scales)))
    margin = min(MARGIN / min(scales), side / 3)
    rows, columns = (_spans(length, side, margin) for length in (height, width))
    return list(itertools.product(rows, columns))


def _spans(length: int, side: int, margin: float) -> list[_Span]:
    if length <= side:
        return [_Span(0, length, 0, length)]
    shared = math.floor(margin / STEP) * STEP
    most = max(STEP, (side - 2 * shared) // STEP * STEP - STEP)
    step = math.ceil(length / math.ceil(length / most) / STEP) * STEP
    return [_span(at, step, shared, length) for at in range(0, length, step)]


def _span(at: int, step: int, margin: int, length: int) -> _Span:
    kept_last = min(length, at + step)
    last = length - max(0, length - kept_last - margin) // STEP * STEP
    return _Span(max(0, at - margin), last, at, kept_last)


def is_tiled(inference: Inference, images: Tensor) -> bool:
    """Whether images (BCHW) of this size are labelled in tiles."""
    return len(_tiles(inference, images)) > 1


class LabelledImages(NamedTuple):
    """What is predicted for images; all on the CPU.

    Attributes:
        labels: BHW uint8.
        probabilities: BKHW, if they were asked for.
        uncertainty: BHW float32, where the protocol has samples.
    """

    labels: Tensor
    probabilities: Tensor | None
    uncertainty: Tensor | None


def label_images(
    inference: Inference, images: Tensor, soft: torch.dtype | None = None
) -> LabelledImages:
    """The class of each pixel and, if asked for, the probabilities.

    Large images are labelled tile by tile, so that scores are held of one tile alone.

    Args:
        inference: the network with its protocol.
        images: BCHW, whole numbers as the inference takes them.
        soft: type of the probabilities; None: none are kept.
    """
    count, _, *size = images.shape
    labels = torch.empty((count, *size), dtype=torch.uint8)
    uncertainty = torch.empty((count, *size)) if inference.settings.samples else None
    probabilities: Tensor | None = None
    for rows, columns in _tiles(inference, images):
        seen = images[..., rows.seen, columns.seen]
        scores, spread = inference.logits_and_uncertainty(seen)
        scores = scores[..., rows.kept_of_seen, columns.kept_of_seen]
        place = (..., rows.kept, columns.kept)
        labels[place] = label_map(scores).cpu()
        if soft is not None:
            if probabilities is None:
                probabilities = torch.empty((*scores.shape[:2], *size), dtype=soft)
            probabilities[place] = scores.softmax(dim=1).to(soft).cpu()
        if uncertainty is not None and spread is not None:
            uncertainty[place] = spread[..., rows.kept_of_seen, columns.kept_of_seen].cpu()
    return LabelledImages(labels, probabilities, uncertainty)


def _tiles(inference: Inference, images: Tensor) -> list[tuple[_Span, _Span]]:
    height, width = images.shape[-2:]
    return tiles_of(height, width, inference.settings.scales)
