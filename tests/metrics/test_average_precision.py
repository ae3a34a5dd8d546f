"""Average precision by COCO's rules, on cases that can be counted by hand."""

from __future__ import annotations

import builtins
import copy
from collections.abc import Sequence
from typing import Any

import pytest

from semisup.errors import DataError
from semisup.metrics.average_precision import average_precision

pytest.importorskip("pycocotools")

SIZE = 200


def truth(*boxes: Sequence[float], **changes: Any) -> dict[str, Any]:
    """An image with objects of one class."""
    return {
        "images": [{"id": 5, "height": SIZE, "width": SIZE}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [
            {
                "id": number,
                "image_id": 5,
                "category_id": 3,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
                **changes,
            }
            for number, box in enumerate(boxes, start=1)
        ],
    }


def found(box: Sequence[float], score: float = 0.9) -> dict[str, Any]:
    return {"image_id": 5, "category_id": 3, "bbox": list(box), "score": score}


ONE, OTHER = (10, 10, 40, 40), (100, 100, 60, 60)


def test_all_found_is_1_and_nothing_found_is_0() -> None:
    scores = average_precision(truth(ONE, OTHER), [found(ONE), found(OTHER)], "bbox")
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx((1, 1, 1))
    assert (scores.ap_medium, scores.ar_100) == pytest.approx((1, 1))
    assert (scores.ar_1, scores.ar_10) == pytest.approx((0.5, 1))
    assert scores.ap_small is None  # there is no small object
    assert average_precision(truth(ONE), [], "bbox").ap == 0


def test_a_half_shifted_box_counts_at_the_lower_overlaps_alone() -> None:
    shifted = (20, 10, 40, 40)  # IoU 30 / 50 = 0.6: at 0.50, 0.55 and 0.60
    scores = average_precision(truth(ONE), [found(shifted)], "bbox")
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx((0.3, 1, 0))


def test_a_detection_in_a_crowd_is_no_error() -> None:
    crowded = truth(ONE)
    crowded["annotations"] += truth((100, 100, 90, 90), id=9, iscrowd=1)["annotations"]
    scores = average_precision(crowded, [found(OTHER, 0.95), found(ONE)], "bbox")
    assert scores.ap == pytest.approx(1)
    wrong = average_precision(truth(ONE), [found(OTHER, 0.95), found(ONE)], "bbox")
    assert wrong.ap == pytest.approx(0.5, abs=0.01)


def test_a_class_without_objects_counts_in_no_mean() -> None:
    dog = {**found(OTHER), "category_id": 4}
    assert average_precision(truth(ONE), [found(ONE), dog], "bbox").ap == pytest.approx(1)


def test_nothing_that_is_given_changes(capsys: pytest.CaptureFixture[str]) -> None:
    annotated, detections = truth(ONE), [found(ONE)]
    before = copy.deepcopy((annotated, detections))
    average_precision(annotated, detections, "bbox")
    assert (annotated, detections) == before
    assert capsys.readouterr().out == ""


def test_without_pycocotools_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r"pip install 'semisup\[coco\]'"):
        average_precision(truth(ONE), [], "bbox")
