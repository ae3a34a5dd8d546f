"""The confusion matrix and the scores that follow from it.

One matrix is counted over the whole set and every score is taken from it: averaging the scores of
single images gives another number, several points away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from semisup.errors import DataError
from semisup.types import IGNORE

Absent = Literal["excluded", "zero"]
"""What a class does to a mean when it has no pixel to be scored on (see `mean_iou`)."""

_MOST_CLASSES = IGNORE
_FEW_CLASSES = 32


def label_map(logits: Tensor) -> Tensor:
    """The class with the highest logit of each pixel; the first one among equals.

    The same answer as `logits.argmax(1)`, sooner on the CPU. There torch's argmax along a strided
    dimension is slow: planes (NCHW) are 2 to 30 times faster here. Where the logits of a pixel lie
    side by side (NHWC), torch's max, one pass without a vector instruction, was the fastest of all
    ways tried: transposing first costs more than it saves.

    Args:
        logits: BKHW, K at most 255.

    Returns:
        BHW uint8.
    """
    num_classes = logits.shape[1]
    assert 1 <= num_classes <= _MOST_CLASSES, f"{num_classes} classes do not fit into uint8"
    in_planes = logits.stride(-1) == 1
    if logits.device.type == "cpu" and in_planes and num_classes <= _FEW_CLASSES:
        return _running_argmax(logits.detach())
    return logits.detach().max(1).indices.to(torch.uint8)


def _running_argmax(logits: Tensor) -> Tensor:
    # Each class plane is read once, contiguously, and the labels stay in one byte. A later class
    # wins only where it is strictly greater, and its number is the greatest so far: a maximum of
    # labels does for a slower masked write.
    highest = logits[:, 0].clone()
    label = torch.zeros(highest.shape, dtype=torch.uint8)
    for k in range(1, logits.shape[1]):
        wins = (logits[:, k] > highest).view(torch.uint8)
        torch.maximum(label, wins.mul_(k), out=label)
        torch.maximum(highest, logits[:, k], out=highest)
    if highest.isnan().any():  # no comparison finds a NaN; argmax calls it the greatest
        return logits.max(1).indices.to(torch.uint8)
    return label


def confusion_matrix(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true and predicted class.

    A pixel is left out when its ground truth is void, and for no other reason.

    Args:
        prediction: HW or BHW, any integer dtype (uint8 is fastest), labels 0..K-1.
        truth: as `prediction`, labels 0..K-1 and `IGNORE`.
        num_classes: K, at most 255.

    Returns:
        KK int64 on the device of `truth`; row = truth, column = prediction.

    Raises:
        DataError: `truth` holds a label that is neither a class nor `IGNORE`.
    """
    if truth.dtype != torch.uint8:
        _refuse_beyond_a_byte(truth)
    rows = _label_rows(prediction, truth, num_classes)
    unknown = rows[num_classes:IGNORE].sum(1)
    if unknown.any():
        raise DataError(_unknown_label(num_classes + int(unknown.nonzero()[0]), num_classes))
    return rows[:num_classes].clone()


class Confusion:
    """The confusion matrix of a set and the counts of each image, without waiting for the device.

    Whether the ground truth holds a label that is no class is counted too and only looked at by
    `check`, once. Two of these, of two processes, become one by adding up `matrix` and
    concatenating `counts`.

    Args:
        num_classes: K, at most 255.
        device: where to count; best that of the predictions.

    Attributes:
        matrix: KK int64 on `device`; row = truth, column = prediction.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.num_classes = num_classes
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self._counts: list[Tensor] = []
        self._unknown: list[Tensor] = []

    def add(self, predictions: Tensor, truths: Sequence[Tensor]) -> None:
        """Count some images.

        Args:
            predictions: BHW uint8, labels 0..K-1.
            truths: B of HW uint8, labels 0..K-1 and `IGNORE`; on any device.
        """
        device = self.matrix.device
        beside = device.type != "cpu"  # a copy to the host is there only once it was waited for
        for prediction, truth in zip(predictions, truths, strict=True):
            assert truth.dtype == torch.uint8, truth.dtype
            rows = _label_rows(
                prediction.to(device, non_blocking=beside),
                truth.to(device, non_blocking=beside),
                self.num_classes,
            )
            confusion = rows[: self.num_classes]
            self.matrix += confusion
            self._counts.append(image_counts(confusion))
            self._unknown.append(rows[self.num_classes : IGNORE].sum(1))

    @property
    def counts(self) -> Tensor:
        """NK3 int64 on the device: `image_counts` of each image, in the order of `add`."""
        if not self._counts:
            return self.matrix.new_zeros(0, self.num_classes, 3)
        return torch.stack(self._counts)

    def check(self, name: Callable[[int], object] = "image {}".format) -> None:
        """Look for labels in the ground truth that are neither a class nor `IGNORE`. Synchronises.

        Args:
            name: position of an image, from 0 in the order of `add` -> what to call it, such as
                the file of its mask.

        Raises:
            DataError: there is one; names the first image that has one.
        """
        if not self._unknown:
            return
        found = torch.stack(self._unknown).nonzero()
        if len(found):
            image, label = found[0].tolist()
            problem = _unknown_label(self.num_classes + label, self.num_classes)
            raise DataError(f"{name(image)}: {problem}")


def _label_rows(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Pixels by true label and predicted class, 256 x K int64: a row for any label of a byte."""
    assert prediction.shape == truth.shape, (prediction.shape, truth.shape)
    assert 1 <= num_classes <= _MOST_CLASSES, num_classes
    if prediction.device.type == "cpu" and prediction.numel():
        lowest, highest = int(prediction.min()), int(prediction.max())
        assert lowest >= 0, f"the prediction holds the label {lowest}"
        assert highest < num_classes, f"the prediction holds the label {highest}"
    # Void and unknown labels are counted apart in the same pass, with no mask of valid pixels.
    cell = (truth.to(torch.int32) * num_classes).add_(prediction.to(torch.int32)).flatten()
    counted = _bincount if cell.device.type == "cpu" else _bincount_without_waiting
    return counted(cell, 256 * num_classes).view(256, num_classes)


def _bincount(cell: Tensor, cells: int) -> Tensor:
    return torch.bincount(cell, minlength=cells)


def _bincount_without_waiting(cell: Tensor, cells: int) -> Tensor:
    # torch.bincount reads the greatest number back from the device to know the size of its answer.
    ones = torch.ones_like(cell, dtype=torch.int64)
    return ones.new_zeros(cells).scatter_add_(0, cell.long(), ones)


def _refuse_beyond_a_byte(truth: Tensor) -> None:
    beyond = truth[(truth < 0) | (truth > IGNORE)]
    if beyond.numel():
        raise DataError(
            f"the ground truth holds the label {int(beyond[0])}; "
            f"map its labels to 0..K-1 and {IGNORE} for void"
        )


def _unknown_label(label: int, num_classes: int) -> str:
    return (
        f"the ground truth holds the label {label}, but the classes are 0 to {num_classes - 1}; "
        f"check the number of classes, or map the label to a class or to {IGNORE} (void)"
    )


def image_counts(confusion: Tensor) -> Tensor:
    """What the IoU of each class needs to know of a confusion matrix.

    Args:
        confusion: ...KK, of one image or of many.

    Returns:
        ...K3: pixels in the intersection, predicted pixels, true pixels.
    """
    intersection = confusion.diagonal(dim1=-2, dim2=-1)
    return torch.stack([intersection, confusion.sum(-2), confusion.sum(-1)], dim=-1)


def class_iou(counts: Tensor) -> Tensor:
    """Intersection over union of each class.

    Args:
        counts: ...K3, as `image_counts` gives them or sums of those.

    Returns:
        ...K float64; NaN where the union is empty, 0 where only the truth or only the prediction
        has the class.
    """
    intersection, predicted, true = counts.double().unbind(-1)
    return intersection / (predicted + true - intersection)


def mean_iou(iou: Tensor, absent: Absent = "excluded") -> Tensor:
    """Mean of the classes' IoU.

    Args:
        iou: ...K, NaN for a class with an empty union.
        absent: what becomes of a class that neither the truth nor the prediction has. "excluded",
            the field's rule, leaves it out of the mean; "zero" counts it as 0. A class that is
            predicted somewhere and true nowhere counts as 0 under both.

    Returns:
        ... (one less dimension); NaN where every class is excluded.
    """
    return iou.nan_to_num(0.0).mean(-1) if absent == "zero" else iou.nanmean(-1)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one confusion matrix, each a share in [0, 1] or NaN where it is undefined.

    Attributes:
        miou: mean intersection over union of the classes, by the rule `absent` of `scores`.
        per_class_iou: K values; NaN for a class absent from truth and prediction.
        pixel_accuracy: share of the valid pixels that are right ("global accuracy").
        mean_class_accuracy: mean over the classes of the share of their true pixels that is right
            ("class average"). A class without a true pixel is excluded or zero, as in `miou`.
        frequency_weighted_iou: IoU weighted by the share of true pixels of each class.
    """

    miou: float
    per_class_iou: tuple[float, ...]
    pixel_accuracy: float
    mean_class_accuracy: float
    frequency_weighted_iou: float

    def as_dict(self) -> dict[str, float | list[float | None] | None]:
        """For JSON: name -> value, None in place of NaN."""
        values = asdict(self)
        per_class = [_or_none(iou) for iou in values.pop("per_class_iou")]
        return {name: _or_none(value) for name, value in values.items()} | {
            "per_class_iou": per_class
        }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def scores(
    confusion: Tensor, *, absent: Absent = "excluded", left_out: Sequence[int] = ()
) -> Scores:
    """Scores of a confusion matrix.

    Args:
        confusion: KK, row = truth, column = prediction.
        absent: classes without a pixel to be scored on; see `mean_iou`. It belongs in the
            protocol of a result.
        left_out: classes that the set does not have at all: they count in no mean, whatever
            `absent` says, and predicting one is an error of the true class.
    """
    counts = image_counts(confusion).cpu().double()
    intersection, _, true = counts.unbind(-1)
    kept = scored_classes(len(counts), left_out)
    iou = torch.full_like(true, math.nan)
    iou[kept] = class_iou(counts[kept])
    share = true / true.sum()
    return Scores(
        miou=float(mean_iou(iou[kept], absent)),
        per_class_iou=tuple(iou.tolist()),
        pixel_accuracy=float(intersection.sum() / true.sum()),
        mean_class_accuracy=float(mean_iou((intersection / true)[kept], absent)),
        frequency_weighted_iou=float((share * iou.nan_to_num(0.0)).sum()),
    )


def scored_classes(num_classes: int, left_out: Sequence[int]) -> list[int]:
    """The classes that count: all but those left out, in order."""
    return [k for k in range(num_classes) if k not in left_out]
