"""Whether an exported file computes what the run's predictor does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semisup.errors import RunError
from semisup.exporting.formats import Network
from semisup.exporting.ties import SecondPlaces
from semisup.models.layers import mirrored
from semisup.ops.pixels import ImageKind

CLOSE = 1e-4
"""Largest difference of the logits, as a share of the largest logit."""

SIZES = ((1, 64, 96), (3, 97, 131), (2, 160, 128))
"""B, H and W of the batches that are compared, none of them the one that was traced."""

DEPTHS = (1, 11, 8)
"""D of each of them where they are volumes."""


_COMBINED = 2.0
"""How far some of the undecided places may move a logit, in what all of them move it."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One batch that an exported file and the run's predictor both labelled.

    Attributes:
        shape: of the images, such as (1, 3, 64, 96).
        difference: largest of the logits, as a share of the run's largest one, over the pixels
            that are not `undecided`.
        same_labels: share of the pixels with the same class.
        undecided: share of the pixels that differ by more than `CLOSE` because rounding decides
            which of two maxima is the larger (exporting/ties.py).
    """

    shape: tuple[int, ...]
    difference: float
    same_labels: float
    undecided: float = 0.0


def batches(
    pictures: Sequence[Tensor], kind: ImageKind, size: tuple[int, int] | None, *, volumes: bool
) -> list[Tensor]:
    """Images to compare with, whole numbers BCHW of several sizes, or BCDHW.

    Args:
        pictures: CHW, of the run's data, cut to each size, mirrored where they are smaller; none:
            random values.
        kind: channels and bits.
        size: H and W of all; None: several.
        volumes: whether BCDHW are wanted.
    """
    sizes = SIZES if size is None else [(count, *size) for count, *_ in SIZES]
    random = torch.Generator().manual_seed(0)
    made = []
    for (count, height, width), depth in zip(sizes, DEPTHS, strict=True):
        planes = count * depth if volumes else count
        shape = (kind.channels, height, width)
        chosen = [
            _cut(pictures[n % len(pictures)], height, width)
            if pictures
            else torch.randint(0, 2**kind.bits, shape, generator=random).to(kind.dtype)
            for n in range(planes)
        ]
        batch = torch.stack(chosen)
        made.append(torch.unflatten(batch, 0, (count, depth)).transpose(1, 2) if volumes else batch)
    return [batch.contiguous() for batch in made]


def _cut(picture: Tensor, height: int, width: int) -> Tensor:
    values = picture.to(torch.int32)  # types of 16 bits without a sign cannot be indexed
    return mirrored(mirrored(values, 1, 0, height), 2, 0, width).to(picture.dtype)


def compare(
    exported: Network, expected: Callable[[Tensor], Tensor], images: Sequence[Tensor]
) -> tuple[Compared, ...]:
    """Compare an exported file with what it was made from.

    Args:
        exported: images -> logits and labels.
        expected: images -> logits of the run's predictor.
        images: batches of whole numbers.

    Raises:
        RunError: it stops at a size, gives other shapes, or logits that differ by more than
            `CLOSE` and by more than rounding explains.
    """
    return tuple(_compared(exported, expected, batch) for batch in images)


def _compared(exported: Network, predict: Callable[[Tensor], Tensor], batch: Tensor) -> Compared:
    shape, expected = tuple(batch.shape), predict(batch)
    try:
        with torch.inference_mode():
            logits, labels = exported(batch)
    except Exception as error:  # of many kinds: onnxruntime's, guards of torch.export
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RunError(_failed(shape, f"it stops ({reason[:200].rstrip('.')})")) from error
    if logits.shape != expected.shape or labels.shape != (expected[:, 0]).shape:
        found = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
        raise RunError(_failed(shape, f"it gives {found}, not {tuple(expected.shape)}"))
    scale = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    differences = (logits - expected).abs() / scale
    undecided = torch.zeros_like(differences[:, 0], dtype=torch.bool)
    if not differences.max() <= CLOSE:
        with SecondPlaces():
            effect = (predict(batch) - expected).abs() / scale
        explained = (differences <= CLOSE + _COMBINED * effect).all(dim=1)
        undecided = (differences > CLOSE).any(dim=1) & explained
    difference = float(differences.amax(dim=1)[~undecided].amax()) if not undecided.all() else 0.0
    if not difference <= CLOSE or not torch.equal(logits.argmax(1).to(torch.uint8), labels):
        raise RunError(_failed(shape, f"its logits differ by {difference:.1e} of the largest"))
    same = float((logits.argmax(1) == expected.argmax(1)).float().mean())
    return Compared(shape, difference, same, float(undecided.float().mean()))


def _failed(shape: tuple[int, ...], what: str) -> str:
    sizes = " x ".join(map(str, shape))
    return (
        f"the exported file is not what the run computes: at images of {sizes} {what}. It was not "
        "kept. Try the other --format, or one size by --size."
    )
