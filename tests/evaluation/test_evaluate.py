"""The evaluator and the inference protocols, against plain loops and computations by hand."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisup.errors import CheckpointError, DataError
from semisup.evaluation import evaluate as evaluating
from semisup.evaluation.evaluate import Evaluation, evaluate
from semisup.evaluation.inference import Inference, slide, window_starts
from semisup.evaluation.protocol import protocol, protocol_line
from semisup.ops.crf import CrfSettings, dense_crf
from semisup.ops.pixels import normalise
from semisup.settings import EvalSettings
from semisup.training.selection import Selection
from semisup.types import IGNORE

CPU = torch.device("cpu")
MIXED = [(12, 14), (12, 14), (10, 9), (12, 14), (7, 21), (7, 21), (7, 21)]

Make = Callable[..., Any]


def inference(predictor: nn.Module, **settings: Any) -> Inference:
    return Inference(predictor, EvalSettings(**settings), CPU)


class Counting(nn.Module):
    """Counts calls and images, and predicts as another does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.shapes.append(tuple(image.shape))
        return self.inner(image)


class Smooth(nn.Module):
    """A fixed random convolution without dropout: not equivariant to a mirror."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image)


def pixel_by_pixel(predictor: nn.Module, data: Any) -> list[list[int]]:
    counts = [[0] * data.num_classes for _ in range(data.num_classes)]
    for index in range(len(data)):
        scores = predictor(normalise(data.image(index)[None]))[0]
        truth = data.mask(index)
        for row in range(truth.shape[0]):
            for column in range(truth.shape[1]):
                label = int(truth[row, column])
                if label != IGNORE:
                    values = scores[:, row, column].tolist()
                    counts[label][values.index(max(values))] += 1
    return counts


@torch.no_grad()
def test_the_evaluator_counts_as_a_loop_over_pixels_does(patches: Make) -> None:
    data, predictor = patches(MIXED), Smooth()
    counts = pixel_by_pixel(predictor, data)
    found = evaluate(inference(predictor), data)
    assert found.confusion.tolist() == counts
    classes = range(3)
    ious = [
        counts[k][k] / (sum(counts[k]) + sum(counts[t][k] for t in classes) - counts[k][k])
        for k in classes
    ]
    assert found.scores.per_class_iou == pytest.approx(ious)
    assert found.scores.miou == pytest.approx(sum(ious) / 3)
    total = sum(map(sum, counts))
    assert found.scores.pixel_accuracy == pytest.approx(sum(counts[k][k] for k in classes) / total)
    low, high = found.interval
    assert 0 < low <= found.scores.miou <= high < 1
    assert [row["iou"] for row in found.per_class().values()] == pytest.approx(ious)


def test_each_image_counts_once_and_equal_neighbours_go_together(
    patches: Make, colours: Make
) -> None:
    data = patches(MIXED)
    predictor = Counting(colours())
    found = evaluate(inference(predictor), data)
    assert sorted(data.opened) == sorted(data.ids)
    assert [(shape[0], *shape[2:]) for shape in predictor.shapes] == [
        (2, 12, 14),
        (1, 10, 9),
        (1, 12, 14),
        (3, 7, 21),
    ]
    assert found.ids == data.ids
    assert found.counts.shape == (7, 3, 3)
    for index in range(7):
        alone = evaluate(inference(colours()), data, [data.ids[index]])
        assert torch.equal(alone.counts[0], found.counts[index])


def test_large_images_are_not_put_together(patches: Make, colours: Make) -> None:
    predictor = Counting(colours())
    evaluate(inference(predictor, boundary=False), patches([(400, 400)] * 3))
    assert [shape[0] for shape in predictor.shapes] == [1, 1, 1]


def test_the_images_may_be_chosen_and_come_in_the_order_asked_for(
    patches: Make, colours: Make
) -> None:
    data = patches(MIXED)
    chosen = [data.ids[4], data.ids[0]]
    found = evaluate(inference(colours()), data, chosen)
    assert found.ids == tuple(chosen)
    assert sorted(data.opened) == sorted(chosen)


def test_no_image_is_an_error(patches: Make, colours: Make) -> None:
    with pytest.raises(DataError, match="no image to score"):
        evaluate(inference(colours()), patches(MIXED), [])


def test_nothing_but_void_is_an_error(patches: Make, colours: Make) -> None:
    masks = {0: torch.full((8, 8), IGNORE, dtype=torch.uint8)}
    with pytest.raises(DataError, match="every pixel is void"):
        evaluate(inference(colours()), patches([(8, 8)], masks=masks))


def test_a_mask_of_another_size_is_an_error_that_names_it(patches: Make, colours: Make) -> None:
    masks = {2: torch.zeros(10, 8, dtype=torch.uint8)}
    with pytest.raises(DataError, match=r"train02\.png: the mask is 10x8 .* is 10x9 "):
        evaluate(inference(colours()), patches(MIXED, masks=masks))


def test_a_class_that_is_absent_is_excluded_or_zero(patches: Make, colours: Make) -> None:
    labels = torch.zeros(8, 8, dtype=torch.uint8)
    data = patches([(8, 8)], masks={0: labels})

    class Right(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(-1, -1, 8, 8)

    assert evaluate(inference(Right(), absent="excluded"), data).scores.miou == 1.0
    zero = evaluate(inference(Right(), absent="zero"), data)
    assert zero.scores.miou == pytest.approx(1 / 3)
    assert zero.per_class()["b"]["iou"] is None
    assert zero.absent == ("b", "c")
    assert zero.summary()["absent"] == ["b", "c"]


def test_some_images_of_nothing_but_void_are_named(patches: Make, colours: Make) -> None:
    masks = {2: torch.full(MIXED[2], IGNORE, dtype=torch.uint8)}
    data = patches(MIXED, masks=masks)
    with pytest.raises(DataError, match=r"1 image of .* \('train02'\): every pixel is void"):
        evaluate(inference(colours()), data, [data.ids[2]])


def test_boundary_scores_come_only_where_they_are_asked_for(patches: Make, colours: Make) -> None:
    data = patches(MIXED)
    with_them = evaluate(inference(colours(), boundary=True), data)
    without = evaluate(inference(colours(), boundary=False), data)
    assert with_them.summary().keys() - without.summary().keys() == {"boundary_f1", "boundary_iou"}
    assert set(with_them.per_class()["a"]) == {"iou", "boundary_f1", "boundary_iou"}
    assert set(without.per_class()["a"]) == {"iou"}
    assert evaluate(inference(colours(), boundary=True), data, boundary=False).boundary == {}
    assert evaluate(inference(colours(), boundary=False), data, boundary=True).boundary != {}


def test_the_summary_holds_plain_numbers(patches: Make, colours: Make) -> None:
    found = evaluate(inference(colours()), patches(MIXED))
    summary = found.summary()
    assert summary["miou"] == found.scores.miou
    assert summary["miou_interval_95"] == list(found.interval)
    singles = {k: v for k, v in summary.items() if k != "miou_interval_95"}
    assert all(isinstance(value, float) for value in singles.values())
    assert found.absent == ()


def test_the_miou_of_one_image_is_over_the_classes_in_it(patches: Make, colours: Make) -> None:
    data = patches(MIXED)
    found: Evaluation = evaluate(inference(colours()), data)
    alone = evaluate(inference(colours()), data, [data.ids[4]])
    assert found.image_miou(4) == pytest.approx(alone.scores.miou)
    assert found.image_classes(4) == len(alone.classes) - len(alone.absent)


# Inference


def image(height: int, width: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = (batch, 3, height, width)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


@torch.no_grad()
def test_whole_images_give_the_logits_themselves() -> None:
    pictures = image(11, 13)
    found = inference(Smooth())(pictures)
    assert found.shape == (2, 3, 11, 13)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, Smooth()(normalise(pictures)))


def test_the_predictor_is_put_into_eval_mode_and_keeps_its_statistics(tiny_segmenter: Make) -> None:
    network = tiny_segmenter(dropout=0.9).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    run = inference(network)
    assert torch.equal(run(image(8, 8)), run(image(8, 8)))
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


@torch.no_grad()
def test_scales_and_mirror_are_a_mean_of_probabilities() -> None:
    pictures, network = image(12, 10), Smooth()
    shown = normalise(pictures)
    views = []
    for scale in (0.5, 1.0, 1.5):
        size = (round(12 * scale), round(10 * scale))
        resized = shown
        if scale != 1.0:
            resized = F.interpolate(shown, size, mode="bilinear", antialias=scale < 1)
        for mirror in (False, True):
            seen = resized.flip(-1) if mirror else resized
            logits = network(seen)
            logits = logits.flip(-1) if mirror else logits
            logits = F.interpolate(logits, (12, 10), mode="bilinear")
            views.append(logits.softmax(1))
    found = inference(network, scales=[0.5, 1.0, 1.5], flip=True)(pictures)
    torch.testing.assert_close(found, torch.stack(views).mean(0))
    torch.testing.assert_close(found.sum(1), torch.ones(2, 12, 10))


@torch.no_grad()
def test_the_mirror_changes_nothing_for_a_predictor_that_does_not_care() -> None:
    pictures = image(9, 14)

    class Symmetric(Smooth):
        def forward(self, seen: Tensor) -> Tensor:
            weight = (self.convolution.weight + self.convolution.weight.flip(-1)) / 2
            return F.conv2d(seen, weight, self.convolution.bias, padding=1)

    plain, mirrored = inference(Symmetric())(pictures), inference(Symmetric(), flip=True)(pictures)
    torch.testing.assert_close(mirrored, plain.softmax(1))
    lopsided = inference(Smooth(), flip=True)(pictures)
    assert not torch.allclose(lopsided, inference(Smooth())(pictures).softmax(1), atol=1e-3)


@torch.no_grad()
def test_a_window_as_large_as_the_image_is_the_whole_image() -> None:
    pictures = image(11, 17)
    whole = inference(Smooth())(pictures)
    for window in ((11, 17), (40, 60)):
        predictor = Counting(Smooth())
        found = inference(predictor, mode="slide", window=window)(pictures)
        torch.testing.assert_close(found, whole)
        assert predictor.shapes == [(2, 3, 11, 17)]


@torch.no_grad()
def test_windows_are_averaged_where_they_overlap() -> None:
    pictures = image(10, 23)
    network = Smooth()
    shown = normalise(pictures)
    total, seen = torch.zeros(2, 3, 10, 23), torch.zeros(10, 23)
    for left in (0, 5, 10, 15):  # step floor(8 * 0.75) = 6: ceil(15 / 6) + 1 = 4 windows
        total[..., left : left + 8] += network(shown[..., left : left + 8])
        seen[:, left : left + 8] += 1
    predictor = Counting(network)
    found = inference(predictor, mode="slide", window=[16, 8], overlap=0.25)(pictures)
    torch.testing.assert_close(found, total / seen)
    assert predictor.shapes == [(2, 3, 10, 8)] * 4


@pytest.mark.parametrize(("side", "overlap"), [(40, 0.99), (60, 0.8), (32, 0.999)])
def test_many_windows_are_counted_once(side: int, overlap: float) -> None:
    found = inference(Smooth(), mode="slide", window=[8, 8], overlap=overlap)
    with pytest.warns(UserWarning, match=rf"{side}x{side} takes [\d,]+ windows of 8x8"):
        found(image(side, side))
    found(image(side, side))  # a warning is an error here


def alone(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor, slice, slice], Tensor]:
    """What labels a window by itself."""
    return lambda picture, rows, columns: forward(picture[..., rows, columns])


def test_windows_of_a_local_predictor_give_the_whole_image(colours: Make) -> None:
    pictures = image(31, 45).float()
    for window, overlap in (((8, 8), 0.0), ((7, 20), 0.5), ((31, 9), 0.9)):
        found = slide(pictures, alone(colours()), window, overlap)
        torch.testing.assert_close(found, colours()(pictures))


@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.5, 0.95])
def test_windows_cover_everything_and_overlap_enough(overlap: float) -> None:
    for window in (1, 2, 7, 32):
        for length in range(1, 90):
            starts = window_starts(length, window, overlap)
            assert starts[0] == 0
            assert starts == sorted(set(starts))
            if length <= window:
                assert starts == [0]
                continue
            assert starts[-1] == length - window
            steps = [b - a for a, b in pairwise(starts)]
            largest = max(1, math.floor(window * (1 - overlap)))
            assert max(steps) <= largest
            assert max(steps) - min(steps) <= 1  # evenly spread
            assert len(starts) == math.ceil((length - window) / largest) + 1  # and no more


def test_bf16_comes_out_as_float32_near_the_same_scores() -> None:
    pictures = image(8, 8)
    exact = inference(Smooth())(pictures)
    coarse = Inference(Smooth(), EvalSettings(), CPU, "bf16")(pictures)
    assert coarse.dtype is torch.float32
    assert not torch.equal(coarse, exact)
    torch.testing.assert_close(coarse, exact, rtol=0.05, atol=0.1)


@torch.no_grad()
def test_the_crf_refines_the_only_view_by_the_picture_itself() -> None:
    pictures, network = image(12, 10), Smooth()
    run = inference(network, crf=True, crf_iterations=3, crf_colour_sigma=60.0)
    settings = CrfSettings(iterations=3, colour_sigma=60.0)
    expected = dense_crf(network(normalise(pictures)), pictures, settings)
    torch.testing.assert_close(run(pictures), expected)
    torch.testing.assert_close(run.logits(pictures), expected)
    assert not torch.allclose(expected, inference(network)(pictures), atol=0.1)


def test_the_crf_comes_after_scales_mirror_and_windows() -> None:
    pictures = image(12, 10)
    views = {"scales": [0.5, 1.0], "flip": True, "mode": "slide", "window": [8, 8]}
    probabilities = inference(Smooth(), **views)(pictures)
    run = inference(Smooth(), crf=True, **views)
    expected = dense_crf(probabilities.log(), pictures, CrfSettings())
    torch.testing.assert_close(run(pictures), expected)
    torch.testing.assert_close(run.logits(pictures), expected)


def test_the_keys_of_the_crf_are_its_settings() -> None:
    assert EvalSettings(crf_exact=True).dense_crf() is None
    assert EvalSettings(crf=True).dense_crf() == CrfSettings()
    other = {
        "iterations": 5,
        "smoothness_weight": 1.0,
        "smoothness_sigma": 2.0,
        "appearance_weight": 4.0,
        "appearance_sigma": 50.0,
        "colour_sigma": 6.0,
        "exact": True,
    }
    keys = {f"crf_{name}": value for name, value in other.items()}
    assert EvalSettings(crf=True, **keys).dense_crf() == CrfSettings(**other)


# The protocol

STATED = {"pretraining": "none", "selection": "last", "precision": "bf16"}


def test_the_protocol_states_all_that_a_score_depends_on(patches: Make) -> None:
    data = patches(MIXED)
    block = protocol(EvalSettings(), data, data.ids, **STATED)
    assert block == {
        "data": "patches",
        "subset": "train",
        "images": 7,
        "ids_sha256": hashlib.sha256("\n".join(sorted(data.ids)).encode()).hexdigest(),
        "classes": ["a", "b", "c"],
        "scored_size": "original",
        "void": "left out by ground truth",
        "absent_classes": "excluded",
        "mode": "whole",
        "scales": [1.0],
        "flip": False,
        "crf": None,
        "precision": "bf16",
        "pretraining": "none",
        "selection": "last",
    }
    assert protocol_line(block) == (
        f"patches train, 7 images (ids {block['ids_sha256'][:8]}), 3 classes, scored at original "
        "size, whole image, scale 1, no flip, no CRF, absent classes excluded, pretraining none, "
        "last"
    )


def test_the_protocol_of_a_window_and_of_what_the_data_adds(
    patches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = patches(MIXED)
    monkeypatch.setattr(data, "facts", lambda: {"classes_made_void": ["a"]})
    settings = EvalSettings(mode="slide", window=[32, 48], overlap=0.25, scales=[0.5, 1], flip=True)
    block = protocol(settings, data, data.ids, **STATED)
    assert block["window"] == [32, 48]
    assert block["overlap"] == 0.25
    assert block["classes_made_void"] == ["a"]
    line = protocol_line(block)
    assert "sliding window 32x48, scale 0.5, 1, flip" in line


def test_the_protocol_of_a_crf_names_its_parameters(patches: Make) -> None:
    data = patches(MIXED)
    block = protocol(EvalSettings(crf=True, crf_colour_sigma=5.0), data, data.ids, **STATED)
    assert block["crf"] == {
        "iterations": 10,
        "smoothness_weight": 3.0,
        "smoothness_sigma": 3.0,
        "appearance_weight": 10.0,
        "appearance_sigma": 80.0,
        "colour_sigma": 5.0,
        "exact": False,
    }
    line = "CRF (10 iterations, smoothness 3 within 3 px, appearance 10 within 80 px and 5 levels)"
    assert f"no flip, {line}, absent" in protocol_line(block)
    exact = protocol(EvalSettings(crf=True, crf_exact=True), data, data.ids, **STATED)
    assert "no flip, exact CRF (10 iterations" in protocol_line(exact)


def test_the_hash_of_the_ids_knows_the_set_but_not_its_order(patches: Make) -> None:
    data = patches(MIXED)

    def hashed(ids: tuple[str, ...]) -> str:
        block = protocol(
            EvalSettings(), data, ids, pretraining="none", selection="last", precision="bf16"
        )
        return str(block["ids_sha256"])

    assert hashed(data.ids) == hashed(data.ids[::-1])
    assert hashed(data.ids) != hashed(data.ids[1:])


# Selection


class Biased(nn.Module):
    """Says `label` everywhere; its one weight tells it from others."""

    def __init__(self, label: int, mark: float) -> None:
        super().__init__()
        self.label = label
        self.mark = nn.Parameter(torch.tensor(mark))

    def forward(self, seen: Tensor) -> Tensor:
        scores = torch.zeros(seen.shape[0], 3, *seen.shape[-2:])
        scores[:, self.label] = 1
        return scores


@pytest.fixture
def selection(patches: Make, tmp_path: Path) -> Selection:
    """On two images: class 0 fills three quarters, class 1 the rest; only one of them counts."""
    labels = torch.zeros(8, 8, dtype=torch.uint8)
    labels[:2] = 1
    data = patches([(8, 8), (8, 8)], masks={0: labels, 1: torch.full_like(labels, 2)})
    return Selection(data, data.ids[:1], "held_out", tmp_path, EvalSettings(), CPU, "float32")


def test_the_best_predictor_is_kept_and_the_first_of_equals(selection: Selection) -> None:
    labels = [1, 0, 0, 1, 2]  # IoU of the right class: 1/4, 3/4, 3/4, 1/4, 0
    scored = [selection(Biased(k, float(i)), step=i, facts={}) for i, k in enumerate(labels)]
    mious = [values["held_out/miou"] for values in scored]
    assert mious == pytest.approx([0.125, 0.375, 0.375, 0.125, 0.0])
    assert (selection.best_step, selection.best_miou) == (1, pytest.approx(0.375))
    assert selection.best({})["mark"] == 1.0
    assert scored[1].keys() == {"held_out/miou", "held_out_iou/a", "held_out_iou/b"}
    assert scored[1]["held_out_iou/a"] == pytest.approx(0.75)


def test_a_selection_goes_on_where_it_was(selection: Selection, tmp_path: Path) -> None:
    selection(Biased(0, 7.0), step=3, facts={})
    state = selection.state_dict()
    selection.best_step, selection.best_miou = 0, -1.0
    selection.load_state_dict(state)
    selection(Biased(1, 9.0), step=6, facts={})
    assert selection.best_step == 3
    assert selection.best({})["mark"] == 7.0


def test_a_selection_that_only_watches_keeps_nothing(patches: Make, tmp_path: Path) -> None:
    data = patches(MIXED)
    watch = Selection(data, data.ids, "val", None, EvalSettings(), CPU, "float32")
    assert "val/miou" in watch(Biased(0, 1.0), step=2, facts={})
    assert watch.best_step == 0
    assert list(tmp_path.iterdir()) == []


def test_a_selection_counts_no_boundary_scores(
    selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(num_classes: int) -> None:
        raise AssertionError("boundary scores cost more than they tell while training")

    monkeypatch.setattr(evaluating, "BoundaryScores", refuse)
    assert selection(Biased(0, 1.0), step=1, facts={})["held_out/miou"] == pytest.approx(0.375)


def test_a_selection_does_without_the_crf(
    patches: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a CRF costs more than the network")

    monkeypatch.setattr("semisup.evaluation.inference.dense_crf", refuse)
    data, settings = patches(MIXED), EvalSettings(crf=True)
    watch = Selection(data, data.ids, "val", None, settings, CPU, "float32")
    assert "val/miou" in watch(Biased(0, 1.0), step=2, facts={})
    with pytest.raises(AssertionError, match="costs more"):
        evaluate(Inference(Biased(0, 1.0), settings, CPU), data)


def test_a_kept_predictor_that_is_gone_is_an_error(selection: Selection, tmp_path: Path) -> None:
    selection(Biased(0, 7.0), step=3, facts={})
    (tmp_path / "best-00000003.pt").unlink()
    with pytest.raises(CheckpointError, match="the best predictor is gone"):
        selection.best({})


@pytest.mark.parametrize("facts", [{"recipe": "r2", "run": "a"}, {"recipe": "r1", "run": "b"}])
def test_a_kept_predictor_of_another_run_is_an_error(
    facts: dict[str, str], selection: Selection
) -> None:
    own = {"recipe": "r1", "run": "a"}
    selection(Biased(0, 7.0), step=3, facts=own)
    assert selection.best(own)["mark"] == 7.0
    with pytest.raises(
        CheckpointError, match=r"best-00000003\.pt: is the best predictor of another"
    ):
        selection.best(facts)
