"""Objects that a predictor finds in whole images, in COCO's form, and their average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semisup.data.base import Objects, SegmentationData
from semisup.data.sets.coco_annotations import mask_tools
from semisup.evaluation.inference import Inference
from semisup.metrics.average_precision import AveragePrecision, average_precision
from semisup.models.base import FindsObjects, Found
from semisup.system.distributed import gather, rank, world
from semisup.system.progress import track

MASK_THRESHOLD = 0.5
"""Above it, a pixel is of an object."""


@dataclass(frozen=True)
class ObjectEvaluation:
    """What was found in a set of images, and how right it is.

    Attributes:
        box: average precision of the boxes.
        mask: average precision of the masks.
        detections: what was found, as in COCO's files of results.
    """

    box: AveragePrecision
    mask: AveragePrecision
    detections: list[dict[str, Any]]


def evaluate_objects(
    inference: Inference, data: SegmentationData, description: str = "finding objects"
) -> ObjectEvaluation | None:
    """Score what a predictor finds in a set, each image as a whole, at one scale, not mirrored.

    Args:
        inference: the predictor with its normalisation, device and precision.
        data: the set.
        description: what the progress bar says.

    Returns:
        None where the predictor finds no objects, or the set does not tell any apart.
    """
    if not isinstance(inference.predictor, FindsObjects) or not data.has_objects:
        return None
    own = range(rank(), len(data), world())
    found = [_in_image(inference, data, index) for index in track(own, description, len(own))]
    parts = sorted((part for some in gather(found) for part in some), key=lambda part: part.index)
    annotations = [one for part in parts for one in part.annotations]
    for number, one in enumerate(annotations, start=1):  # 0 is no id to pycocotools
        one["id"] = number
    detections = [one for part in parts for one in part.detections]
    named = zip(data.category_ids[1:], data.classes[1:], strict=True)
    truth = {
        "images": [part.image for part in parts],
        "categories": [{"id": number, "name": name} for number, name in named],
        "annotations": annotations,
    }
    return ObjectEvaluation(
        box=average_precision(truth, detections, "bbox"),
        mask=average_precision(truth, detections, "segm"),
        detections=detections,
    )


@dataclass(frozen=True)
class _Part:
    """An image in COCO's form, its annotated objects and what was found in it."""

    index: int
    image: dict[str, int]
    annotations: list[dict[str, Any]]
    detections: list[dict[str, Any]]


def _in_image(inference: Inference, data: SegmentationData, index: int) -> _Part:
    image = data.image(index)
    found = inference.detect(image[None])[0]
    height, width = image.shape[-2:]
    return _Part(
        index,
        {"id": data.image_number(index), "height": height, "width": width},
        _annotations(data.objects(index), data, index),
        _detections(found, data, index),
    )


def _annotations(objects: Objects, data: SegmentationData, index: int) -> list[dict[str, Any]]:
    """The annotated objects of an image in COCO's form."""
    rows = zip(
        objects.labels.tolist(),
        objects.boxes.tolist(),
        objects.areas.tolist(),
        objects.crowd.tolist(),
        _packed(objects.masks),
        strict=True,
    )
    return [
        {
            "image_id": data.image_number(index),
            "category_id": data.category_ids[label],
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
            "segmentation": mask,
        }
        for label, box, area, crowd, mask in rows
    ]


def _detections(found: Found, data: SegmentationData, index: int) -> list[dict[str, Any]]:
    """What was found in an image in the form of COCO's results."""
    boxes = found.boxes.double()
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)
    rows = zip(
        found.labels.tolist(),
        boxes.tolist(),
        found.scores.double().tolist(),
        _packed(found.masks > MASK_THRESHOLD),
        strict=True,
    )
    return [
        {
            "image_id": data.image_number(index),
            "category_id": data.category_ids[label],
            "bbox": box,
            "score": score,
            "segmentation": mask,
        }
        for label, box, score, mask in rows
    ]


def _packed(masks: Tensor) -> list[dict[str, Any]]:
    """NHW as packed runs."""
    tools = mask_tools()
    columns = masks.to(device="cpu", dtype=torch.uint8).numpy()
    packed: Sequence[Any] = [tools.encode(np.asfortranarray(mask)) for mask in columns]
    return [{"size": list(one["size"]), "counts": one["counts"].decode("ascii")} for one in packed]
