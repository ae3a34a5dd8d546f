"""Average precision of objects by the rules of COCO, computed by pycocotools itself."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from semisup.errors import DataError


@dataclass(frozen=True)
class AveragePrecision:
    """The twelve numbers of COCO, in [0, 1]; None where there is nothing to count.

    Attributes:
        ap: mean over the classes and over IoU from 0.50 to 0.95 in steps of 0.05.
        ap50: at an IoU of 0.50; `ap75` at 0.75.
        ap_small: of objects below 32 x 32 pixels; `ap_medium` from there to 96 x 96, `ap_large`
            above.
        ar_1: mean recall with one detection an image; `ar_10` and `ar_100` with 10 and 100.
        ar_small: `ar_100` of small objects, and so on.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


def average_precision(
    truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], kind: Literal["bbox", "segm"]
) -> AveragePrecision:
    """Score detections against annotated objects.

    Args:
        truth: "images", "categories" and "annotations" as in COCO's files.
        detections: as in COCO's files of results; there may be none.
        kind: whether boxes or masks are compared.

    Raises:
        DataError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise DataError(
            "average precision is computed by pycocotools, which is not installed: pip install "
            "'semisup[coco]'"
        ) from error
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's about pycocotools
        annotated = _indexed(COCO(), truth)
        # It writes into what it is given.
        found = copy.deepcopy([dict(one) for one in detections])
        results = (
            annotated.loadRes(found) if found else _indexed(COCO(), {**truth, "annotations": []})
        )
        scoring = COCOeval(annotated, results, kind)
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    numbers = [float(number) for number in scoring.stats]
    return AveragePrecision(*[None if number < 0 else number for number in numbers])


def _indexed(dataset: Any, content: Mapping[str, Any]) -> Any:
    dataset.dataset = copy.deepcopy(dict(content))
    dataset.createIndex()
    return dataset
