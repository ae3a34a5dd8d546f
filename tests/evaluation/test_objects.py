"""Objects that are found, in COCO's form: the average precision is pycocotools' own."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from support.coco import make_coco
from torch import Tensor, nn

from semisup.catalog import create_dataset
from semisup.data.base import SegmentationData
from semisup.data.by_name import ClassesByName
from semisup.evaluation.evaluate import evaluate
from semisup.evaluation.inference import Inference
from semisup.evaluation.objects import ObjectEvaluation, evaluate_objects
from semisup.models.base import Found
from semisup.models.mask_rcnn import MaskRCNN
from semisup.settings import EvalSettings

pytest.importorskip("pycocotools")

CPU = torch.device("cpu")


class Guesses(nn.Module):
    """Finds the annotated objects of the images in their order, some of them a little off.

    Args:
        data: whose objects.
        shift: pixels by which every other object is moved.
        silent: find nothing at all.
    """

    def __init__(self, data: SegmentationData, shift: int = 3, silent: bool = False) -> None:
        super().__init__()
        self._data, self._shift, self._silent, self._next = data, shift, silent, 0

    def detect(self, image: Tensor) -> list[Found]:
        objects = self._data.objects(self._next)
        self._next += 1
        kept = ~objects.crowd & (not self._silent)
        moved = torch.arange(int(kept.sum())) % 2 == 1
        masks, boxes = objects.masks[kept].float(), objects.boxes[kept].float()
        masks[moved] = masks[moved].roll(self._shift, -1)
        boxes[moved, 0] += self._shift
        boxes[:, 2:] += boxes[:, :2]
        scores = torch.linspace(0.9, 0.3, len(masks))
        return [Found(boxes, objects.labels[kept], scores, masks)]

    def forward(self, image: Tensor) -> Tensor:
        raise NotImplementedError


def inference(predictor: nn.Module) -> Inference:
    return Inference(predictor, EvalSettings(boundary=False), CPU)


def scored(predictor: nn.Module, data: SegmentationData) -> ObjectEvaluation:
    found = evaluate_objects(inference(predictor), data)
    assert found is not None
    return found


def own(
    annotations: Path, detections: Path, kind: str, classes: Sequence[int] = ()
) -> tuple[float | None, ...]:
    """What pycocotools says of two files, called as its users do."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's about pycocotools
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(detections)), kind)
        if classes:
            evaluation.params.catIds = list(classes)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return tuple(None if number < 0 else float(number) for number in evaluation.stats)


def check_equal(data: SegmentationData, found: ObjectEvaluation, folder: Path) -> None:
    path = folder / "detections.json"
    path.write_text(json.dumps(found.detections))
    for kind, scores in (("bbox", found.box), ("segm", found.mask)):
        assert astuple(scores) == own(data.mask_path(0), path, kind, data.category_ids[1:])


@pytest.mark.parametrize(
    "options", [{}, {"classes": ["background", "cat"]}, {"ignore_classes": ["car"]}]
)
@pytest.mark.parametrize("shift", [0, 2, 9])
def test_it_is_what_pycocotools_says_of_the_files(
    tmp_path: Path, shift: int, options: dict[str, Any]
) -> None:
    data = create_dataset("coco", make_coco(tmp_path), "val", **options)
    found = scored(Guesses(data, shift), data)
    check_equal(data, found, tmp_path)
    assert found.box.ap is not None
    assert found.box.ap == pytest.approx(1) if shift == 0 else 0 < found.box.ap < 1 or options
    assert {one["category_id"] for one in found.detections} <= set(data.category_ids[1:])


def test_it_is_what_pycocotools_says_of_the_real_subset(shared_data: Path, tmp_path: Path) -> None:
    classes = ["background", "dog", "cat", "train"]
    data = create_dataset("coco", shared_data, "val", classes=classes)
    found = scored(Guesses(data, 9), data)
    check_equal(data, found, tmp_path)
    assert found.mask.ap is not None
    assert 0.1 < found.mask.ap < 1
    assert found.detections


def test_detections_have_the_form_of_results(tmp_path: Path) -> None:
    data = create_dataset("coco", make_coco(tmp_path), "val")
    first = scored(Guesses(data), data).detections[0]
    assert first.keys() == {"image_id", "category_id", "bbox", "score", "segmentation"}
    assert (first["image_id"], first["category_id"]) == (135, 3)
    assert first["bbox"] == [2, 8, 30, 20]
    assert first["segmentation"]["size"] == [48, 64]
    assert json.loads(json.dumps(first)) == first


def test_nothing_found_is_0(tmp_path: Path) -> None:
    data = create_dataset("coco", make_coco(tmp_path), "val")
    found = scored(Guesses(data, silent=True), data)
    assert (found.box.ap, found.mask.ap, found.detections) == (0, 0, [])


def test_who_finds_none_and_sets_without_objects_have_none(tmp_path: Path) -> None:
    coco = create_dataset("coco", make_coco(tmp_path / "coco"), "val")
    scenes = create_dataset("scenes", tmp_path, "val", train=1, val=1, test=1, size=(48, 64))
    assert evaluate_objects(inference(nn.Identity()), coco) is None
    assert evaluate_objects(inference(Guesses(coco)), scenes) is None
    named = ClassesByName(coco, coco.classes[::-1], coco.palette[::-1])
    assert evaluate_objects(inference(Guesses(coco)), named) is None


def test_the_map_of_its_objects_is_scored_as_any_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = create_dataset("coco", make_coco(tmp_path), "val")
    network = MaskRCNN(
        4, backbone="mobilenet_v2", min_size=48, max_size=64, width=8, box_width=16,
        score_threshold=0.0,
    ).eval()  # fmt: skip
    found = evaluate(inference(network), data)
    assert found.confusion.sum() == sum(int((data.mask(i) != 255).sum()) for i in range(len(data)))
    assert 0 <= found.scores.miou <= 1
    assert (found.confusion.sum(0) > 0).sum() > 1  # it does not say the same everywhere
    check_equal(data, scored(network, data), tmp_path)
