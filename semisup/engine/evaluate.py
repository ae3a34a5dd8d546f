"""The one evaluator: from a predictor and a data set to scores with their protocol."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from semisup.console import track
from semisup.data.base import SegmentationData
from semisup.engine.inference import Inference
from semisup.engine.settings import EvalSettings
from semisup.errors import DataError
from semisup.metrics.bootstrap import bootstrap_interval
from semisup.metrics.boundary import BoundaryScores
from semisup.metrics.confusion import Confusion, Scores, label_map, scores
from semisup.ops.ranks import gather, rank, sum_over_ranks, world

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
        plain = self.scores.as_dict()
        plain.pop("per_class_iou")
        single = {k: v for k, v in self.boundary.items() if not k.startswith("per_class")}
        return plain | {"miou_interval_95": list(self.interval)} | single

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
        inside, predicted, true = self.counts[index].double().unbind(-1)
        return float((inside / (predicted + true - inside)).nanmean())


def evaluate(
    inference: Inference,
    data: SegmentationData,
    ids: Sequence[str] | None = None,
    *,
    boundary: bool | None = None,
    description: str = "scoring",
) -> Evaluation:
    """Score a predictor; each image counts exactly once, however many processes share the work.

    Args:
        inference: the predictor with its protocol.
        data: the set; its masks are read at their original size and never resized.
        ids: which images; None for all.
        boundary: whether to count boundary scores; None as the protocol says.
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
    number = {name: i for i, name in enumerate(data.ids)}
    numbers = [number[chosen[place]] for place in share]
    pairs = track(_read_ahead(data, numbers), description, len(share))
    for images, masks in _batches(zip(share, pairs, strict=True)):
        labels = label_map(inference(images))
        counted.add(labels, masks)
        if edges is not None:
            for label, mask in zip(labels, masks, strict=True):
                edges.add(label, mask)
    counted.check(lambda i: data.mask_path(numbers[i]))
    matrix, per_image = _join(counted, share, len(chosen))
    if not matrix.any():
        raise DataError(f"{data.name} {data.subset}: every pixel is void. Correct the masks.")
    absent = inference.settings.absent
    return Evaluation(
        scores=scores(matrix, absent=absent),
        interval=bootstrap_interval(
            per_image, seed=BOOTSTRAP_SEED, resamples=BOOTSTRAP_RESAMPLES, absent=absent
        ),
        boundary=_join_edges(edges).result() if edges is not None else {},
        confusion=matrix,
        counts=per_image,
        ids=chosen,
        classes=data.classes,
    )


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

    def read(i: int) -> tuple[Tensor, Tensor]:
        image, mask = data.image(i), data.mask(i)
        if image.shape[-2:] != mask.shape:
            raise DataError(
                f"{data.mask_path(i)}: is {tuple(mask.shape)} (H, W) but its image is "
                f"{tuple(image.shape[-2:])}. Masks must have the size of their images."
            )
        return image, mask

    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for i in numbers:
            waiting.append(pool.submit(read, i))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def protocol(
    settings: EvalSettings,
    data: SegmentationData,
    ids: Sequence[str],
    *,
    pretraining: str,
    selection: str,
    precision: str,
) -> dict[str, Any]:
    """Everything that a score depends on beside the weights.

    Results whose protocols differ must not stand in one table.

    Args:
        pretraining: what the weights started from, such as a file with its hash, or "none".
        selection: how the checkpoint was chosen.
        precision: of the forward passes.
    """
    text = "\n".join(sorted(ids))
    crf = settings.dense_crf()
    sliding = {"window": list(settings.window), "overlap": settings.overlap}
    return {
        "data": data.name,
        "subset": data.subset,
        "images": len(ids),
        "ids_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "classes": list(data.classes),
        "scored_size": "original",
        "void": "left out by ground truth",
        "absent_classes": settings.absent,
        "mode": settings.mode,
        **(sliding if settings.mode == "slide" else {}),
        "scales": list(settings.scales),
        "flip": settings.flip,
        "crf": None if crf is None else asdict(crf),
        "precision": precision,
        "pretraining": pretraining,
        "selection": selection,
        **data.facts(),
    }


def protocol_line(block: dict[str, Any]) -> str:
    """The protocol block in one line for people."""
    mode = block["mode"]
    if mode == "slide":
        high, wide = block["window"]
        mode = f"sliding window {high}x{wide}"
    else:
        mode = "whole image"
    scales = ", ".join(f"{scale:g}" for scale in block["scales"])
    parts = [
        f"{block['data']} {block['subset']}",
        f"{block['images']} images (ids {block['ids_sha256'][:8]})",
        f"{len(block['classes'])} classes",
        f"scored at {block['scored_size']} size",
        mode,
        f"scale {scales}",
        "flip" if block["flip"] else "no flip",
        _crf_line(block["crf"]),
        f"absent classes {block['absent_classes']}",
        f"pretraining {block['pretraining']}",
        block["selection"],
    ]
    return ", ".join(parts)


def _crf_line(crf: dict[str, Any] | None) -> str:
    if crf is None:
        return "no CRF"
    return (
        f"{'exact ' if crf['exact'] else ''}CRF ({crf['iterations']} iterations, smoothness "
        f"{crf['smoothness_weight']:g} within {crf['smoothness_sigma']:g} px, appearance "
        f"{crf['appearance_weight']:g} within {crf['appearance_sigma']:g} px and "
        f"{crf['colour_sigma']:g} levels)"
    )
