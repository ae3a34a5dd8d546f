"""The one evaluator: from a predictor and a data set to scores with their protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
from semisup.metrics.confusion import (
    Scores,
    confusion_matrix,
    image_counts,
    label_map,
    scores,
)

BOOTSTRAP_SEED = 0
BOOTSTRAP_RESAMPLES = 1000

_BATCH_PIXELS = 1 << 18
"""Images of equal size are predicted together up to this many pixels."""


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
    """Score a predictor; each image counts exactly once.

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
        raise DataError(f"{data.name} {data.subset}: there is no image to score.")
    total = torch.zeros(data.num_classes, data.num_classes, dtype=torch.int64)
    total = total.to(inference.device)
    counts: list[Tensor] = []
    wanted = inference.settings.boundary if boundary is None else boundary
    edges = BoundaryScores(data.num_classes) if wanted else None
    for images, masks in _batches(track(_read_ahead(data, chosen), description, len(chosen))):
        labels = label_map(inference(images))
        for label, mask in zip(labels, masks, strict=True):
            confusion = confusion_matrix(label, mask.to(label.device), data.num_classes)
            total += confusion
            counts.append(image_counts(confusion))
            if edges is not None:
                edges.add(label, mask)
    if not total.any():
        raise DataError(f"{data.name} {data.subset}: every pixel is void; there is none to score.")
    absent = inference.settings.absent
    per_image = torch.stack(counts).cpu()
    return Evaluation(
        scores=scores(total, absent=absent),
        interval=bootstrap_interval(
            per_image, seed=BOOTSTRAP_SEED, resamples=BOOTSTRAP_RESAMPLES, absent=absent
        ),
        boundary=edges.result() if edges is not None else {},
        confusion=total.cpu(),
        counts=per_image,
        ids=chosen,
        classes=data.classes,
    )


def _batches(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Images of equal size that follow one another, together."""
    images: list[Tensor] = []
    masks: list[Tensor] = []
    for image, mask in pairs:
        pixels = image.shape[-2] * image.shape[-1]
        full = (len(images) + 1) * pixels > _BATCH_PIXELS
        if images and (full or image.shape != images[0].shape):
            yield torch.stack(images), masks
            images, masks = [], []
        images.append(image)
        masks.append(mask)
    yield torch.stack(images), masks


def _read_ahead(
    data: SegmentationData, ids: Sequence[str], depth: int = 8
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode on two threads, at most `depth` images ahead, in order."""
    index = {name: i for i, name in enumerate(data.ids)}

    def read(name: str) -> tuple[Tensor, Tensor]:
        i = index[name]
        image, mask = data.image(i), data.mask(i)
        if image.shape[-2:] != mask.shape:
            raise DataError(
                f"{data.mask_path(i)}: is {tuple(mask.shape)} (H, W) but its image is "
                f"{tuple(image.shape[-2:])}. Masks must have the size of their images."
            )
        return image, mask

    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting: list[Future[tuple[Tensor, Tensor]]] = []
        for name in ids:
            waiting.append(pool.submit(read, name))
            if len(waiting) >= depth:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


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
        "crf": None,
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
        "no CRF",
        f"absent classes {block['absent_classes']}",
        f"pretraining {block['pretraining']}",
        block["selection"],
    ]
    return ", ".join(parts)
