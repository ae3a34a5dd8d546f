"""The pixels in a box that belong to its object, by what the image looks like.

Bbox-Seg of Papandreou, Chen, Murphy and Yuille, "Weakly- and semi-supervised learning of a deep
convolutional network for semantic image segmentation", ICCV 2015,
https://arxiv.org/abs/1502.02734: a dense CRF (`ops.crf`) in which

- what lies in no box is background,
- the middle of a box, a share of its area in the form of the box, is of its class,
- what lies between is background or of the class of one of the boxes that it is in, all alike.

What differs: a pixel whose class has a smaller marginal than `sure` is left without a label (0 in
the paper: every pixel gets one). Where middles lie over one another, the smaller box has the pixel,
as in Bbox-Rect. The paper names no parameters and says that they were chosen on some images with
masks; so are those here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semisup.ops.crf import dense_crf
from semisup.ops.crf_settings import CrfSettings
from semisup.types import IGNORE

Rectangle = tuple[int, int, int, int, int]
"""Left, top, right, bottom (one beyond) and class."""

_NEVER = -1e4
"""Logit of a class that a pixel cannot have."""


def segment_boxes(
    image: Tensor,
    boxes: Sequence[Rectangle],
    *,
    middle: float,
    sure: float,
    settings: CrfSettings,
) -> Tensor:
    """What of the boxes their objects are; class 0 is the background.

    Args:
        image: 3HW RGB in 0..255.
        boxes: in any order, of classes from 1 on, within the image, at least a pixel large.
        middle: share of the area of a box that is of its class in any case, in [0, 1]; a pixel
            at least, so that no object is lost but to a smaller one.
        sure: least marginal of a label, in [0, 1].
        settings: of the CRF.

    Returns:
        uint8 HW: 0, the classes of the boxes, and `IGNORE`.
    """
    classes = sorted({0, *(box[4] for box in boxes)})
    size = tuple(image.shape[-2:])
    logits = torch.full((len(classes), *size), _NEVER)
    logits[0] = 0.0
    for left, top, right, bottom, label in boxes:
        logits[classes.index(label), top:bottom, left:right] = 0.0
    for left, top, right, bottom, label in sorted(boxes, key=_area, reverse=True):
        rows, columns = _middle(top, bottom, middle), _middle(left, right, middle)
        logits[:, rows, columns] = _NEVER
        logits[classes.index(label), rows, columns] = 0.0
    scores = dense_crf(logits[None], image[None], settings)[0]
    marginals, best = scores.softmax(0).max(0)
    labels = torch.tensor(classes, dtype=torch.uint8)[best]
    return labels.masked_fill(marginals < sure, IGNORE)


def _area(box: Rectangle) -> int:
    left, top, right, bottom, _ = box
    return (right - left) * (bottom - top)


def _middle(start: int, end: int, share: float) -> slice:
    """The middle of a side, by which the area of the middle is this share of the box."""
    length = max(1, round((end - start) * share**0.5))
    first = start + (end - start - length) // 2
    return slice(first, first + length)
