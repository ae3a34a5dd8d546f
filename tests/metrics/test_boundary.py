"""Boundary scores against brute force on tiny maps, and against cases worked out by hand."""

from __future__ import annotations

import json
import math
import pickle
import threading

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from semisup.metrics import boundary
from semisup.metrics.boundary import BoundaryScores
from semisup.types import IGNORE

Pixel = tuple[int, int]


def score(prediction: Tensor, truth: Tensor, num_classes: int = 2) -> dict[str, object]:
    counted = BoundaryScores(num_classes)
    counted.add(prediction, truth)
    return counted.result()


def square(size: int, top: int, left: int, side: int) -> Tensor:
    labels = torch.zeros(size, size, dtype=torch.uint8)
    labels[top : top + side, left : left + side] = 1
    return labels


def random_maps(seed: int, num_classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, num_classes, (2, 3, 4), generator=generator)
    maps = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :11, :14].to(torch.uint8)
    for labels in maps:
        noisy = torch.rand(labels.shape, generator=generator) < 0.1
        labels[noisy] = seed % num_classes
    maps[1][torch.rand(maps[1].shape, generator=generator) < 0.1] = IGNORE
    return maps[0], maps[1]


def contour_by_loop(labels: list[list[int]], k: int) -> set[Pixel]:
    found = set()
    for y, row in enumerate(labels):
        for x, label in enumerate(row):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= v < len(labels) and 0 <= u < len(row)
                if label == k and inside and labels[v][u] not in (k, IGNORE):
                    found.add((y, x))
    return found


def inner_by_loop(labels: list[list[int]], k: int, width: int) -> set[Pixel]:
    found = set()
    for y, row in enumerate(labels):
        for x, label in enumerate(row):
            for v in range(y - width, y + width + 1):
                for u in range(x - width, x + width + 1):
                    inside = 0 <= v < len(labels) and 0 <= u < len(row)
                    if label == k and (not inside or labels[v][u] not in (k, IGNORE)):
                        found.add((y, x))
    return found


def f1_by_loop(predicted: set[Pixel], true: set[Pixel], radius: float) -> float:
    def matched(points: set[Pixel], others: set[Pixel]) -> int:
        return sum(any(math.dist(p, q) <= radius for q in others) for p in points)

    if not matched(predicted, true):
        return 0.0
    precision = matched(predicted, true) / len(predicted)
    recall = matched(true, predicted) / len(true)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(6))
def test_equals_brute_force(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Wider than the papers': at this size theirs would be less than a pixel.
    monkeypatch.setattr(boundary, "F1_TOLERANCE", 0.1)
    monkeypatch.setattr(boundary, "IOU_WIDTH", 0.1)
    prediction, truth = random_maps(seed)
    read = torch.where(truth == IGNORE, truth, prediction).tolist()
    true = truth.tolist()
    diagonal = math.hypot(*truth.shape)

    closed = torch.from_numpy(boundary.close_void(truth.numpy(), 0.1 * diagonal))
    seen = torch.where(closed == IGNORE, closed, prediction).tolist()

    f1, iou = [], []
    for k in range(3):
        if contour_by_loop(closed.tolist(), k):
            a, b = contour_by_loop(seen, k), contour_by_loop(closed.tolist(), k)
            f1.append(f1_by_loop(a, b, 0.1 * diagonal))
        inner, true_inner = (inner_by_loop(m, k, round(0.1 * diagonal)) for m in (read, true))
        if inner | true_inner:
            iou.append(len(inner & true_inner) / len(inner | true_inner))
    found = score(prediction, truth, 3)
    assert found["boundary_f1"] == pytest.approx(sum(f1) / len(f1))
    assert found["boundary_iou"] == pytest.approx(sum(iou) / len(iou))


def test_perfect_prediction_scores_one() -> None:
    truth = square(100, 30, 30, 40)
    found = score(truth, truth)
    assert found["boundary_f1"] == found["boundary_iou"] == 1.0


@pytest.mark.parametrize(("shift", "f1"), [(1, 1.0), (2, None)])
def test_shift_within_the_tolerance_costs_nothing(shift: int, f1: float | None) -> None:
    # 0.75 % of the diagonal of 100 x 100 is 1.06 pixels.
    found = score(square(100, 30, 30 + shift, 40), square(100, 30, 30, 40))["boundary_f1"]
    if f1 is None:
        assert found is not None
        assert 0.3 < found < 0.6  # type: ignore[operator]
    else:
        assert found == f1


def test_shifted_square_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # A square of 40 shifted by 2, tolerance 1.06 px. Of class 1's 156 contour pixels these match:
    # of the two sides along the shift the 38 that overlap and 1 next to them, and of one other
    # side the 2 that touch the other square's sides: 2 * 39 + 2, both ways.
    found = score(square(100, 30, 32, 40), square(100, 30, 30, 40))
    per_class = found["per_class_boundary_f1"]
    assert per_class[1] == pytest.approx(80 / 156)  # type: ignore[index]

    # Inner region of width 2: a frame of 40^2 - 36^2 = 304. The overlap of two frames shifted by 2:
    # two bars of 2 x 38 along the shift, and the frames' upright sides meet nowhere else.
    monkeypatch.setattr(boundary, "IOU_WIDTH", 0.0142)
    found = score(square(100, 30, 32, 40), square(100, 30, 30, 40))
    per_class = found["per_class_boundary_iou"]
    assert per_class[1] == pytest.approx(152 / (2 * 304 - 152))  # type: ignore[index]


def test_tolerance_includes_its_end() -> None:
    # 480 x 640 has a diagonal of 800: the tolerance is 6 pixels, and 6 is within, 7 is not.
    def edge_at(column: int) -> Tensor:
        labels = torch.zeros(480, 640, dtype=torch.uint8)
        labels[:, column:] = 1
        return labels

    assert score(edge_at(306), edge_at(300))["boundary_f1"] == 1.0
    assert score(edge_at(307), edge_at(300))["boundary_f1"] == 0.0


def test_edge_of_the_image_is_no_contour_but_bounds_the_inner_region() -> None:
    uniform = torch.zeros(50, 50, dtype=torch.uint8)
    found = score(uniform, uniform)
    assert found["boundary_f1"] is None
    assert found["per_class_boundary_iou"] == [1.0, None]


def test_classes_match_only_themselves() -> None:
    truth = square(60, 20, 20, 20)
    found = score(truth * 2, truth, 3)
    assert found["per_class_boundary_f1"] == [1.0, 0.0, None]
    assert found["per_class_boundary_iou"][1:] == [0.0, 0.0]  # type: ignore[index]


def test_void_takes_no_part() -> None:
    truth = square(60, 20, 20, 20)
    truth[40:, :] = IGNORE
    prediction = square(60, 20, 20, 20)
    noise = prediction.clone()
    noise[40:, :] = torch.randint(0, 2, (20, 60), dtype=torch.uint8)
    assert score(noise, truth) == score(prediction, truth)
    # The lower side of the square meets void: no contour there, so both agree wherever it is known.
    assert score(prediction, truth)["boundary_f1"] == 1.0


def test_contour_under_a_band_of_void_lies_in_its_middle() -> None:
    truth = square(200, 60, 60, 80)
    banded = truth.clone()
    banded[58:142, 58:142] = IGNORE
    banded[62:138, 62:138] = 1
    found = score(truth, banded)  # the tolerance is 2.12 pixels, half the band 2
    assert found["boundary_f1"] == 1.0
    assert found["boundary_iou"] == 1.0
    smaller = score(square(200, 66, 66, 68), banded)
    assert smaller["boundary_iou"] < 0.8  # type: ignore[operator]
    assert smaller["boundary_f1"] < 0.1  # type: ignore[operator]


def test_contour_under_a_wide_band_of_void_is_unknown_to_f1() -> None:
    banded = square(200, 60, 60, 80)
    banded[55:145, 55:145] = IGNORE
    banded[65:135, 65:135] = 1
    assert score(square(200, 60, 60, 80), banded)["boundary_f1"] is None


@pytest.mark.parametrize("seed", range(3))
def test_closing_takes_the_nearest_label_and_no_more(seed: int) -> None:
    truth = random_maps(seed)[1]
    truth[2:9, 3:11] = IGNORE
    closed = boundary.close_void(truth.numpy(), 2.0)
    labelled = [(y, x) for y, x in np.ndindex(*truth.shape) if truth[y, x] != IGNORE]
    for pixel in np.ndindex(*truth.shape):
        distances = {p: math.dist(p, pixel) for p in labelled}
        nearest = min(distances.values())
        allowed = {int(truth[p]) for p, d in distances.items() if d == nearest}
        assert int(closed[pixel]) in (allowed if nearest <= 2.0 else {IGNORE})


@pytest.mark.parametrize("seed", range(20))
def test_closing_in_a_box_around_the_void_equals_closing_the_whole_map(seed: int) -> None:
    # Many pixels have several nearest ones: the choice among them must not depend on the box.
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 30, 2)
    labels = generator.integers(0, 4, (height, width)).astype(np.uint8)
    y, x = generator.integers(0, height), generator.integers(0, width)
    labels[y : y + 9, x : x + 9] = IGNORE
    labels[generator.random(labels.shape) < 0.02] = IGNORE
    void = labels == IGNORE
    assert void.any()
    assert not void.all()
    distance, (rows, columns) = ndimage.distance_transform_edt(void, return_indices=True)
    for radius in (1.0, 2.5, 4.6875):
        expected = np.where(distance <= radius, labels[rows, columns], labels)
        assert np.array_equal(boundary.close_void(labels, radius), expected)


def test_map_of_void_alone_scores_nothing() -> None:
    void = torch.full((20, 30), IGNORE, dtype=torch.uint8)
    assert score(torch.zeros_like(void), void) == {
        "boundary_f1": None,
        "per_class_boundary_f1": [None, None],
        "boundary_iou": None,
        "per_class_boundary_iou": [None, None],
    }


def test_f1_averages_over_images_and_iou_over_the_set() -> None:
    truth = square(100, 30, 30, 40)
    shifted = square(100, 30, 33, 40)
    both = BoundaryScores(2)
    both.add(truth, truth)
    both.add(shifted, truth)
    single = score(shifted, truth)
    assert both.result()["boundary_f1"] == pytest.approx((1.0 + single["boundary_f1"]) / 2)  # type: ignore[operator]
    # Sums over the set: the mean of the images' IoUs is another number.
    alone, perfect = inner_overlap(shifted, truth), inner_overlap(truth, truth)
    expected = (alone[0] + perfect[0]) / (alone[1] + perfect[1])
    assert both.result()["boundary_iou"] == pytest.approx(expected.mean())


def inner_overlap(prediction: Tensor, truth: Tensor) -> tuple[np.ndarray, np.ndarray]:
    found = boundary._judge(prediction, truth, 2)
    return found.intersection, found.union


def test_parts_of_other_processes_in_any_order_equal_one_pass_to_the_last_bit() -> None:
    maps = [random_maps(seed) for seed in range(9)]
    whole = BoundaryScores(3)
    parts = [BoundaryScores(3) for _ in range(3)]
    for number, (prediction, truth) in enumerate(maps):
        whole.add(prediction, truth)
        parts[number % 3].add(prediction, truth)
    expected = whole.result()
    for order in ((0, 1, 2), (2, 0, 1)):
        joined = BoundaryScores(3)
        for number in order:
            joined.merge(pickle.loads(pickle.dumps(parts[number])))
        assert joined.result() == expected
        joined.merge(parts[0])
        assert joined.result() != expected  # so an image does count


def test_more_images_than_may_wait_are_all_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "_MOST_WAITING", 2)
    judged: list[int] = []
    judge = boundary._judge

    def counting(prediction: Tensor, truth: Tensor, num_classes: int) -> object:
        judged.append(num_classes)
        return judge(prediction, truth, num_classes)

    monkeypatch.setattr(boundary, "_judge", counting)
    scores = BoundaryScores(3)
    for number in range(20):
        scores.add(*random_maps(number % 4))
        assert len(scores._waiting) <= 2
    scores.result()
    assert scores.result() == scores.result()
    assert len(judged) == len(scores._images) == 20


def test_images_are_judged_beside_the_callers_work(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    judge = boundary._judge
    go_on = threading.Event()

    def waiting(prediction: Tensor, truth: Tensor, num_classes: int) -> object:
        assert go_on.wait(10)
        threads.append(threading.current_thread().name)
        return judge(prediction, truth, num_classes)

    monkeypatch.setattr(boundary, "_judge", waiting)
    scores = BoundaryScores(3)
    scores.add(*random_maps(0))
    assert threads == []  # add has returned, though the image is not judged
    go_on.set()
    assert scores.result()["boundary_f1"] is not None
    assert threads != [threading.current_thread().name]


def test_an_error_on_the_way_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(prediction: Tensor, truth: Tensor, num_classes: int) -> object:
        raise MemoryError

    monkeypatch.setattr(boundary, "_judge", fail)
    scores = BoundaryScores(3)
    scores.add(*random_maps(0))
    with pytest.raises(MemoryError):
        scores.result()


def test_result_is_json_and_inputs_stay_as_they_were() -> None:
    prediction, truth = random_maps(0)
    before = prediction.clone(), truth.clone()
    found = score(prediction, truth, 5)
    assert torch.equal(prediction, before[0])
    assert torch.equal(truth, before[1])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert not any(isinstance(value, np.generic) for value in found.values())
