"""Every score against a plain loop over pixels."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from semisup.errors import DataError
from semisup.metrics import confusion
from semisup.metrics.confusion import (
    Absent,
    Confusion,
    class_iou,
    confusion_matrix,
    image_counts,
    label_map,
    mean_iou,
    scores,
)
from semisup.types import IGNORE


def random_maps(num_classes: int, seed: int, *, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(0, num_classes, (batch, 9, 7), generator=generator)
    truth = torch.randint(0, num_classes, (batch, 9, 7), generator=generator)
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = IGNORE
    return prediction, truth


def by_loop(prediction: Tensor, truth: Tensor, num_classes: int) -> list[list[int]]:
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for p, t in zip(prediction.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if t != IGNORE:
            matrix[t][p] += 1
    return matrix


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
@pytest.mark.parametrize("num_classes", [1, 2, 21, 255])
def test_matrix_equals_a_loop_over_pixels(dtype: torch.dtype, num_classes: int) -> None:
    prediction, truth = random_maps(num_classes, seed=num_classes)
    matrix = confusion_matrix(prediction.to(dtype), truth.to(dtype), num_classes)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == by_loop(prediction, truth, num_classes)


def test_row_is_truth_and_column_is_prediction() -> None:
    prediction = torch.tensor([[1, 1, 0]], dtype=torch.uint8)
    truth = torch.tensor([[0, 0, IGNORE]], dtype=torch.uint8)
    assert confusion_matrix(prediction, truth, 2).tolist() == [[0, 2], [0, 0]]


def test_single_map_and_mixed_dtypes() -> None:
    prediction, truth = random_maps(3, seed=0)
    mixed = confusion_matrix(prediction[0].to(torch.uint8), truth[0], 3)
    assert mixed.tolist() == by_loop(prediction[0], truth[0], 3)


def test_map_of_void_counts_nothing() -> None:
    void = torch.full((2, 3), IGNORE, dtype=torch.uint8)
    assert confusion_matrix(torch.zeros_like(void), void, 4).sum() == 0


@pytest.mark.parametrize(
    ("dtype", "label"),
    [(torch.uint8, 3), (torch.uint8, 254), (torch.int64, -1), (torch.int64, 256)],
)
def test_truth_with_an_unknown_label_is_refused_by_name(dtype: torch.dtype, label: int) -> None:
    truth = torch.tensor([[0, 2, label]], dtype=dtype)
    with pytest.raises(DataError, match=f"label {label}[,;]"):
        confusion_matrix(torch.zeros_like(truth), truth, 3)


def test_prediction_that_is_no_class_is_our_bug() -> None:
    truth = torch.zeros(1, 2, dtype=torch.uint8)
    for label in (3, -1):
        with pytest.raises(AssertionError, match=f"label {label}"):
            confusion_matrix(torch.tensor([[0, label]]), truth, 3)


def filled(device: str = "cpu") -> tuple[Confusion, list[tuple[Tensor, Tensor]]]:
    """Batches of 2 and 3 images counted, and the maps of all five."""
    counted = Confusion(4, torch.device(device))
    maps: list[tuple[Tensor, Tensor]] = []
    for seed, batch in ((0, 2), (1, 3)):
        prediction, truth = (m.to(torch.uint8) for m in random_maps(4, seed, batch=batch))
        counted.add(prediction.to(device, non_blocking=True), list(truth))
        maps += zip(prediction, truth, strict=True)
    return counted, maps


def assert_counted(counted: Confusion, maps: list[tuple[Tensor, Tensor]]) -> None:
    matrices = torch.stack([torch.tensor(by_loop(*pair, 4)) for pair in maps])
    assert counted.matrix.dtype == counted.counts.dtype == torch.int64
    assert torch.equal(counted.matrix.cpu(), matrices.sum(0))
    assert torch.equal(counted.counts.cpu(), image_counts(matrices))


def test_images_of_a_set_are_counted_together_and_each() -> None:
    counted, maps = filled()
    counted.check()
    assert_counted(counted, maps)


def test_images_of_different_sizes_follow_one_another() -> None:
    counted = Confusion(2, torch.device("cpu"))
    for side in (2, 3):
        counted.add(torch.zeros(1, side, side, dtype=torch.uint8), [torch.ones(side, side).byte()])
    assert counted.matrix.tolist() == [[0, 0], [13, 0]]
    assert counted.counts[:, 1, 2].tolist() == [4, 9]


def test_nothing_counted_has_a_shape_all_the_same() -> None:
    nothing = Confusion(3, torch.device("cpu"))
    nothing.check()
    assert nothing.counts.shape == (0, 3, 3)
    assert nothing.counts.dtype == torch.int64


@pytest.mark.parametrize("label", [4, 254])
def test_a_label_that_is_no_class_is_found_afterwards_and_its_image_named(label: int) -> None:
    counted, maps = filled()
    truth = torch.full((2, 2, 3), IGNORE, dtype=torch.uint8)
    truth[1, 0, 2] = label
    counted.add(torch.zeros_like(truth), list(truth))
    with pytest.raises(DataError, match=f"^image 6: the ground truth holds the label {label},"):
        counted.check()
    with pytest.raises(DataError, match=r"^6\.png: "):
        counted.check("{}.png".format)
    assert_counted(counted, [*maps, *((torch.zeros(0), torch.zeros(0)) for _ in range(2))])


def test_as_many_images_as_masks() -> None:
    labels = torch.zeros(2, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match="zip"):
        Confusion(2, torch.device("cpu")).add(labels, [labels[0]])


def test_counting_without_waiting_equals_bincount() -> None:
    cell = torch.randint(0, 40, (1000,), generator=torch.Generator().manual_seed(0)).int()
    counted = confusion._bincount_without_waiting(cell, 50)
    assert torch.equal(counted, confusion._bincount(cell, 50))
    assert counted.dtype == torch.int64


class Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        self.seen.append(str(operation))
        return operation(*arguments, **keywords or {})


def test_nothing_waits_for_another_device_before_the_check() -> None:
    # "meta" has no memory: whatever had to read a value back would fail on it.
    counted = Confusion(4, torch.device("meta"))
    with Operations() as operations:
        for _ in range(2):
            counted.add(torch.zeros(2, 5, 5, dtype=torch.uint8), 2 * [torch.ones(5, 5).byte()])
        assert counted.counts.shape == (4, 4, 3)
    waiting = ("_local_scalar_dense", "nonzero", "bincount")
    assert [o for o in operations.seen if any(name in o for name in waiting)] == []
    assert any("scatter_add" in o for o in operations.seen)


@pytest.mark.gpu
def test_nothing_waits_for_the_gpu_before_the_check() -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        counted, maps = filled("cuda")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    counted.check()
    assert_counted(counted, maps)


@pytest.mark.gpu
def test_what_a_gpu_predicts_may_be_counted_on_the_host() -> None:
    prediction, truth = (m.to(torch.uint8) for m in random_maps(4, seed=2, batch=30))
    counted = Confusion(4, torch.device("cpu"))
    counted.add(prediction.cuda(), list(truth.cuda()))
    assert_counted(counted, list(zip(prediction, truth, strict=True)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("num_classes", [1, 2, 21, 32, 33, 150])
def test_label_map_is_argmax_with_ties_to_the_first(dtype: torch.dtype, num_classes: int) -> None:
    # Whole numbers from a small range: nearly every pixel has a tie.
    generator = torch.Generator().manual_seed(num_classes)
    logits = torch.randint(-3, 3, (2, num_classes, 11, 13), generator=generator).to(dtype)
    for layout in (logits, logits.to(memory_format=torch.channels_last), logits[:, :, ::2]):
        labels = label_map(layout)
        assert labels.dtype == torch.uint8
        assert torch.equal(labels.long(), layout.argmax(1))


LAYOUTS = {
    "planes": lambda logits: logits,
    "channels last": lambda logits: logits.contiguous(memory_format=torch.channels_last),
    # What FCN gives: a crop of a larger map, of which neither layout is contiguous.
    "crop of planes": lambda logits: pad(logits)[..., 3:-2, 2:-3],
    "crop of channels last": lambda logits: pad(logits).contiguous(
        memory_format=torch.channels_last
    )[..., 3:-2, 2:-3],
    "mirrored": lambda logits: logits.contiguous(memory_format=torch.channels_last).flip(-1),
}


def pad(logits: Tensor) -> Tensor:
    return torch.nn.functional.pad(logits, (2, 3, 3, 2), value=9.0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("num_classes", [2, 5, 21, 40])
def test_label_map_of_infinities_and_nan_is_argmax_too(layout: str, num_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    odd = torch.tensor([0.0, 1.0, -0.0, math.inf, -math.inf, math.nan])
    for values in (odd, odd[:5], odd[5:]):
        picked = torch.randint(0, len(values), (2, num_classes, 8, 8), generator=generator)
        logits = LAYOUTS[layout](values[picked])
        assert torch.equal(label_map(logits).long(), logits.argmax(1))


def test_label_map_leaves_the_logits_and_their_graph_alone() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    before = logits.detach().clone()
    assert not label_map(logits * 1.0).requires_grad
    assert torch.equal(logits, before)


def iou_by_loop(prediction: Tensor, truth: Tensor, k: int) -> float:
    both = either = 0
    for p, t in zip(prediction.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if t != IGNORE:
            both += p == k and t == k
            either += p == k or t == k
    return both / either if either else math.nan


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_a_loop_over_pixels(seed: int) -> None:
    num_classes = 5
    prediction, truth = random_maps(num_classes, seed)
    found = scores(confusion_matrix(prediction, truth, num_classes))

    pairs = zip(prediction.flatten().tolist(), truth.flatten().tolist(), strict=True)
    valid = [(p, t) for p, t in pairs if t != IGNORE]
    iou = [iou_by_loop(prediction, truth, k) for k in range(num_classes)]
    of_class = [[p == t for p, t in valid if t == k] for k in range(num_classes)]
    assert found.per_class_iou == pytest.approx(iou)
    assert found.miou == pytest.approx(sum(iou) / num_classes)
    assert found.pixel_accuracy == pytest.approx(sum(p == t for p, t in valid) / len(valid))
    assert found.mean_class_accuracy == pytest.approx(
        sum(sum(right) / len(right) for right in of_class) / num_classes
    )
    assert found.frequency_weighted_iou == pytest.approx(
        sum(len(right) / len(valid) * i for right, i in zip(of_class, iou, strict=True))
    )


@pytest.mark.parametrize(
    ("absent", "miou", "accuracy"),
    [("excluded", (0.75 + 0.0 + 0.0) / 3, (0.75 + 0.0) / 2), ("zero", 0.75 / 4, 0.75 / 4)],
)
def test_absent_classes(absent: Absent, miou: float, accuracy: float) -> None:
    # Class 0: 3 of 4 right. Class 1 is predicted and never true, class 2 true and never predicted,
    # class 3 neither.
    confusion = torch.tensor([[3, 1, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    found = scores(confusion, absent=absent)
    assert found.per_class_iou[:3] == (0.75, 0.0, 0.0)
    assert math.isnan(found.per_class_iou[3])
    assert found.miou == pytest.approx(miou)
    assert found.mean_class_accuracy == pytest.approx(accuracy)
    assert found.pixel_accuracy == pytest.approx(0.5)
    assert found.frequency_weighted_iou == pytest.approx(0.75 * 4 / 6)


def test_scores_of_nothing_are_none_in_json() -> None:
    values = scores(torch.zeros(2, 2, dtype=torch.int64)).as_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == {
        "miou": None,
        "per_class_iou": [None, None],
        "pixel_accuracy": None,
        "mean_class_accuracy": None,
        "frequency_weighted_iou": None,
    }


def test_image_counts_are_intersection_predicted_true() -> None:
    confusion = torch.tensor([[5, 2], [1, 4]])
    assert image_counts(confusion).tolist() == [[5, 6, 7], [4, 6, 5]]
    many = torch.stack([confusion, confusion.T])
    assert torch.equal(image_counts(many)[0], image_counts(confusion))
    assert image_counts(many)[1].tolist() == [[5, 7, 6], [4, 5, 6]]


def test_sums_of_image_counts_give_the_miou_of_the_set() -> None:
    prediction, truth = random_maps(4, seed=3, batch=6)
    images = zip(prediction, truth, strict=True)
    summed = torch.stack([image_counts(confusion_matrix(p, t, 4)) for p, t in images]).sum(0)
    whole = scores(confusion_matrix(prediction, truth, 4))
    assert float(mean_iou(class_iou(summed))) == pytest.approx(whole.miou)
