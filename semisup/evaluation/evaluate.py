"""The one evaluator: from a predictor and a data set to scores with their protocol."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semisup.data.base import SegmentationData
from semisup.errors import DataError
from semisup.evaluation.inference import Inference
from semisup.evaluation.volumes import VolumeInference
from semisup.metrics.bootstrap import bootstrap_interval
from semisup.metrics.boundary import BoundaryScores
from semisup.metrics.confusion import (
    Confusion,
    Scores,
    class_iou,
    label_map,
    scored_classes,
    scores,
)
from semisup.system.distributed import gather, rank, sum_over_ranks, world
from semisup.system.progress import track

BOOTSTRAP_SEED = 0
BOOTSTRAP_RESAMPLES = 1000

_BATCH_PIXELS = 1 << 18
"""Images of equal size are predicted together up to this many pixels."""

_BLOCK = 16
"""Images that follow one another and go to one process. Only images of one block are predicted
together: sums of floats differ with the size of a batch, and a score must not depend on how many
processes counted it."""


@dataclass(frozen=True)
class Evaluation:
    """What one pass over a set of images gave.

    Attributes:
        scores: from the one confusion matrix of all images.
        interval: 95 % bootstrap interval over images of the mIoU.
        boundary: boundary F1 and IoU; empty if they were not asked for.
        confusion: KK int64; row = truth, column = prediction.
        counts: NK3, see `image_counts`.
        ids: the N images.
        classes: K names.
    """

    scores: Scores
    interval: tuple[float, float]
    boundary: dict[str, Any]
    confusion: Tensor
    counts: Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Scores for a result file, but for those per class."""
        plain: dict[str, Any] = self.scores.as_dict()
        plain.pop("per_class_iou")
        single = {k: v for k, v in self.boundary.items() if not k.startswith("per_class")}
        absent = {"absent": list(self.absent)} if self.absent else {}
        return plain | {"miou_interval_95": list(self.interval)} | single | absent

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that neither the ground truth nor the prediction holds."""
        return tuple(name for name, iou in self.iou().items() if iou is None)

    def iou(self) -> dict[str, float | None]:
        """Class -> its IoU; None where the class does not count."""
        return {name: row["iou"] for name, row in self.per_class().items()}

    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Class -> its IoU and, where they were counted, its boundary scores."""
        columns = {"iou": self.scores.as_dict()["per_class_iou"]} | {
            name.removeprefix("per_class_"): values
            for name, values in self.boundary.items()
            if name.startswith("per_class")
        }
        return {
            name: {column: values[k] for column, values in columns.items()}
            for k, name in enumerate(self.classes)
        }

    def image_miou(self, index: int) -> float:
        """mIoU of one image over the classes in it: for captions, never averaged."""
        return float(class_iou(self.counts[index]).nanmean())

    def image_classes(self, index: int) -> int:
        """The number of classes that `image_miou` is a mean of."""
        return int(class_iou(self.counts[index]).isfinite().sum())

    def describe_image(self, index: int) -> str:
        """mIoU of one image, over how many classes, and which are missed or are not in it at all.

        Such as "mIoU 0.47 over 2 of 9 classes; missed: cat".
        """
        right, predicted, true = self.counts[index].unbind(-1)
        missed = [self.classes[k] for k in ((true > 0) & (right == 0)).nonzero().flatten().tolist()]
        wrong = ((true == 0) & (predicted > 0)).nonzero().flatten().tolist()
        parts = [
            f"mIoU {self.image_miou(index):.2f} over {self.image_classes(index)} of "
            f"{len(self.classes)} classes",
            *[f"missed: {', '.join(missed)}"] * bool(missed),
            *[f"found but not there: {', '.join(self.classes[k] for k in wrong)}"] * bool(wrong),
        ]
        return "; ".join(parts)


def evaluate(
    inference: Inference,
    data: SegmentationData,
    ids: Sequence[str] | None = None,
    *,
    boundary: bool | None = None,
    left_out: Sequence[int] = (),
    description: str = "scoring",
) -> Evaluation:
    """Score a predictor; each image counts exactly once, however many processes share the work.

    Args:
        inference: the predictor with its protocol.
        data: the set; its masks are read at their original size and never resized.
        ids: which images; None for all.
        boundary: whether to count boundary scores; None as the protocol says.
        left_out: classes that the set does not have, which count in no mean.
        description: what the progress bar says.

    Raises:
        DataError: no image, nothing but void, or a mask of another size than its image.
    """
    chosen = tuple(data.ids if ids is None else ids)
    if not chosen:
        raise DataError(
            f"{data.name} {data.subset}: there is no image to score. Choose another subset."
        )
    wanted = inference.settings.boundary if boundary is None else boundary
    share = _share(len(chosen))
    counted = Confusion(data.num_classes, inference.device)
    edges = BoundaryScores(data.num_classes) if wanted else None
    numbers = [data.index(chosen[place]) for place in share]
    for labels, masks in _labelled(inference, data, share, numbers, description):
        counted.add(labels, masks)
        if edges is not None:
            for label, mask in zip(labels, masks, strict=True):
                edges.add(label, mask)
    counted.check(lambda i: data.mask_path(numbers[i]))
    matrix, per_image = _join(counted, share, len(chosen))
    if not matrix.any():
        raise DataError(f"{_which(data, chosen)}: every pixel is void. Correct the masks.")
    absent = inference.settings.absent
    return Evaluation(
        scores=scores(matrix, absent=absent, left_out=left_out),
        interval=bootstrap_interval(
            per_image[:, scored_classes(data.num_classes, left_out)],
            seed=BOOTSTRAP_SEED,
            resamples=BOOTSTRAP_RESAMPLES,
            absent=absent,
        ),
        boundary=_join_edges(edges).result(left_out) if edges is not None else {},
        confusion=matrix,
        counts=per_image,
        ids=chosen,
        classes=data.classes,
    )


def _labelled(
    inference: Inference,
    data: SegmentationData,
    share: Sequence[int],
    numbers: Sequence[int],
    description: str,
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """What is predicted for images, and their masks; several of them together."""
    if isinstance(inference, VolumeInference):
        for number in track(numbers, description, len(share)):
            image, mask = data.pair(number)
            yield label_map(inference.logits_of(data, number, image)[None]), [mask]
        return
    pairs = track(_read_ahead(data, numbers), description, len(share))
    for images, masks in _batches(zip(share, pairs, strict=True)):
        yield label_map(inference(images)), masks


def _which(data: SegmentationData, chosen: Sequence[str]) -> str:
    """The images that are scored: a whole subset, or some of it by name."""
    whole = f"{data.name} {data.subset}"
    if len(chosen) == len(data):
        return whole
    some = ", ".join(f"'{name}'" for name in chosen[:3])
    images = "image" if len(chosen) == 1 else "images"
    return f"{len(chosen)} {images} of {whole} ({some}{', ...' if len(chosen) > 3 else ''})"


def _share(images: int) -> list[int]:
    """Which of the images this process scores: every `world`-th block."""
    return [place for place in range(images) if place // _BLOCK % world() == rank()]


def _join(counted: Confusion, share: Sequence[int], images: int) -> tuple[Tensor, Tensor]:
    """The confusion matrix and the counts (NK3) of all images, from what each process counted."""
    own = counted.counts
    counts = own.new_zeros(images, *own.shape[1:])
    counts[share] = own
    return sum_over_ranks(counted.matrix).cpu(), sum_over_ranks(counts).cpu()


def _join_edges(own: BoundaryScores) -> BoundaryScores:
    joined = BoundaryScores(own.num_classes)
    for part in gather(own):
        joined.merge(part)
    return joined


def _batches(
    pairs: Iterable[tuple[int, tuple[Tensor, Tensor]]],
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Images and masks of one size and one block that follow one another, together.

    Args:
        pairs: place of an image in the set; image and mask.
    """
    waiting: list[tuple[int, Tensor, Tensor]] = []

    def batch() -> tuple[Tensor, list[Tensor]]:
        _, images, masks = zip(*waiting, strict=True)
        waiting.clear()
        return torch.stack(images), list(masks)

    for place, (image, mask) in pairs:
        if waiting:
            before, first, _ = waiting[-1]
            full = (len(waiting) + 1) * mask.numel() > _BATCH_PIXELS
            if full or image.shape != first.shape or place // _BLOCK != before // _BLOCK:
                yield batch()
        waiting.append((place, image, mask))
    if waiting:
        yield batch()


def _read_ahead(
    data: SegmentationData, numbers: Sequence[int], depth: int = 8
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode on two threads, at most `depth` images ahead, in order."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for i in numbers:
            waiting.append(pool.submit(data.pair, i))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
