"""CAM: pooling and maps in closed form, a step beside a textbook's, and what is learnt of tags."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.methods import create
from support.textbook import CLASSES, SIDE, Optimisers, descend, side_by_side

from semisup.contracts.toys import Gradients, ToySegmenter, toy_batch, toy_updates
from semisup.losses.classification import multi_label_loss
from semisup.methods.base import Task
from semisup.methods.cam import (
    SHARPNESS,
    ActivationMaps,
    Cam,
    Pooling,
    activation_maps,
    class_probabilities,
    pool,
)
from semisup.models.base import SeesAround, SegmentsByClass
from semisup.models.layers import resize
from semisup.types import Batch, Progress, Weak

POOLINGS: tuple[Pooling, ...] = ("mean", "max", "lse")
ALL = torch.ones(1, 1, 4, dtype=torch.bool)


def row(*scores: list[float]) -> torch.Tensor:
    """Logits of each class at the pixels of one image of one row: 1L1N."""
    return torch.tensor(scores, dtype=torch.float64)[None, :, None]


# ---- From pixels to an image ----


def test_the_logit_of_an_image_is_the_mean_the_maximum_or_between() -> None:
    logits = row([1.0, 2.0, 3.0, 6.0], [-2.0, -2.0, -2.0, -2.0])
    assert pool(logits, ALL, "mean").tolist() == [[3.0, -2.0]]
    assert pool(logits, ALL, "max").tolist() == [[6.0, -2.0]]
    own = sum(math.exp(SHARPNESS * value) for value in (1, 2, 3, 6)) / 4
    assert pool(logits, ALL, "lse").tolist()[0] == pytest.approx([math.log(own) / 5, -2.0])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_has_no_part_in_the_logit(pooling: Pooling) -> None:
    valid = torch.tensor([[[True, True, False, True]]])
    logits = row([1.0, 2.0, 50.0, 3.0])
    expected = pool(row([1.0, 2.0, 3.0]), ALL[..., :3], pooling)
    torch.testing.assert_close(pool(logits, valid, pooling), expected)
    nothing = pool(logits.requires_grad_(), torch.zeros_like(valid), pooling)
    nothing.sum().backward()
    assert bool(nothing.isfinite().all())
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_half_precision_pools_in_full() -> None:
    logits = torch.full((1, 1, 64, 64), 11.0, dtype=torch.float16)
    valid = torch.ones(1, 64, 64, dtype=torch.bool)
    for pooling in POOLINGS:
        found = pool(logits, valid, pooling)
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(11.0, rel=1e-5)


@pytest.mark.parametrize(
    ("pooling", "shares"),
    [
        ("mean", [0.25, 0.25, 0.25, 0.25]),
        ("max", [0.0, 0.0, 0.0, 1.0]),
        ("lse", torch.tensor([0.0, 0.5, 1.0, 1.5]).mul(SHARPNESS).softmax(0).tolist()),
    ],
)
def test_a_tag_pulls_its_own_map_up_and_an_absent_one_pulls_its_down(
    pooling: Pooling, shares: list[float]
) -> None:
    logits = row([0.0, 0.5, 1.0, 1.5], [0.0, 0.5, 1.0, 1.5]).requires_grad_()
    presence = pool(logits, ALL, pooling)
    loss = multi_label_loss(presence, torch.tensor([[True, False]]), torch.tensor([True]))
    loss.backward()
    assert logits.grad is not None
    chance = presence.detach().sigmoid()[0]
    for label, of_score in enumerate([(chance[0] - 1) / 2, chance[1] / 2]):
        expected = torch.tensor(shares, dtype=torch.float64) * of_score
        torch.testing.assert_close(logits.grad[0, label, 0], expected, rtol=1e-6, atol=1e-9)
    assert float(logits.grad[0, 0].sum()) < 0 < float(logits.grad[0, 1].sum())


# ---- Maps and probabilities ----


def test_maps_are_shares_of_their_maximum_and_absent_classes_have_none() -> None:
    logits = row([-1.0, 0.0, 2.0, 4.0], [8.0, 8.0, 8.0, 8.0], [-3.0, -1.0, -2.0, -4.0])
    maps = activation_maps(logits, torch.tensor([[True, False, True]]))
    torch.testing.assert_close(
        maps, row([0.0, 0.0, 0.5, 1.0], [0.0] * 4, [0.0] * 4), rtol=0, atol=1e-5
    )


def test_background_is_what_no_map_claims() -> None:
    maps = row([0.0, 0.5, 1.0, 0.2], [0.0, 0.25, 0.0, 0.2])
    found = class_probabilities(maps, 2.0)
    scores = row([1.0, 0.25, 0.0, 0.64], [0.0, 0.5, 1.0, 0.2], [0.0, 0.25, 0.0, 0.2])
    torch.testing.assert_close(found, scores / scores.sum(1, keepdim=True))
    more = class_probabilities(maps, 8.0)
    assert bool((more[:, 0] <= found[:, 0]).all()), "a higher power leaves less background"


def test_a_map_is_the_score_layer_applied_before_the_mean() -> None:
    """CAM: the score of a class is the mean of its map (and so Grad-CAM is the map too)."""
    torch.manual_seed(0)
    network = ToySegmenter().double()
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    everywhere = torch.ones(2, 8, 8, dtype=torch.bool)
    features = network.embed(network.encode(image)).detach().requires_grad_()
    maps = network.classify(features)
    score = pool(maps, everywhere, "mean")
    classic = features.mean((2, 3)) @ network.head.weight[:, :, 0, 0].T + network.head.bias
    torch.testing.assert_close(score, classic)
    # Grad-CAM of the features: weights are means of the gradient, one for each channel.
    (gradient,) = torch.autograd.grad(score[:, 1].sum(), features)
    weights = gradient.mean((2, 3))
    grad_cam = (weights[:, :, None, None] * features).sum(1)
    bias = network.head.bias[1]
    torch.testing.assert_close(grad_cam * image[0, 0].numel(), maps[:, 1] - bias)


# ---- The predictor ----


class Says(ToySegmenter):
    """Logits that are given, whatever the image."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__(logits.shape[1])
        self.says = logits

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return resize(self.says.float().expand(len(image), -1, -1, -1), image.shape[-2:])


GIVEN = row([9.0] * 4, [-1.0, 2.0, 4.0, 1.0], [-4.0, -4.0, 1.0, 2.0])
IMAGE = torch.zeros(2, 3, 1, 4)


def predictor(pooling: Pooling = "mean") -> ActivationMaps:
    return ActivationMaps(Says(GIVEN), pooling, 4.0)


def test_classes_that_the_classifier_does_not_find_have_no_probability() -> None:
    shares = predictor()(IMAGE).exp()
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 1, 4))
    assert float(shares[:, 2].max()) < 1e-7, "its mean is below 0"
    assert shares[0].argmax(0).tolist() == [[0, 1, 1, 0]]
    assert predictor("max")(IMAGE)[0].argmax(0).tolist() == [[0, 1, 1, 2]]


def test_tags_say_which_classes_are_there_until_they_are_taken_back() -> None:
    network = predictor()
    assert isinstance(network, SegmentsByClass)
    network.force_classes([2])
    assert network(IMAGE)[0].argmax(0).tolist() == [[0, 0, 2, 2]]
    network.force_classes([])
    assert network(IMAGE)[0].argmax(0).tolist() == [[0, 0, 0, 0]]
    network.force_classes(None)
    assert network(IMAGE)[0].argmax(0).tolist() == [[0, 1, 1, 0]]
    for label in (0, 3):
        with pytest.raises(ValueError, match=rf"class {label} is not in 1\.\.2"):
            network.force_classes([label])


def test_a_window_is_what_it_is_in_the_whole_image() -> None:
    network = predictor()
    assert isinstance(network, SeesAround)
    window = network.forward_window(IMAGE, slice(0, 1), slice(2, 4))
    assert torch.equal(window, network(IMAGE)[..., 2:4])


def test_it_explains_itself_by_its_maps() -> None:
    network = predictor()
    found = network.explain(IMAGE[:1])
    assert list(found) == [0, 1]
    assert torch.equal(found[1]["saliency"], network.maps(IMAGE[:1])[0, 0])
    torch.testing.assert_close(found[0]["map"], network(IMAGE[:1])[0, 0].exp(), atol=1e-7, rtol=0)
    network.force_classes([])
    assert network.explain(IMAGE[:1]) == {}


# ---- Training ----


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_step_equals_the_textbook(pooling: Pooling) -> None:
    def score(map_: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        rows = map_[:, seen]
        if pooling == "mean":
            return rows.mean(1)
        return rows.amax(1) if pooling == "max" else (5 * rows).exp().mean(1).log() / 5

    def textbook(method: Any, batch: Batch, optimisers: Optimisers, _: Progress) -> None:
        weak = batch.weak
        assert weak.tags is not None
        loss = torch.zeros((), dtype=torch.float64)
        maps = method.segmenter.training_logits(weak.image)
        for factor, logits in zip((1.0, *method.segmenter.auxiliary_weights), maps, strict=True):
            for own, seen, tags in zip(logits, weak.valid, weak.tags, strict=True):
                chance = score(own, seen)[1:].sigmoid()
                there = torch.where(tags[1:], chance, 1 - chance)
                loss = loss - factor * there.log().mean() / len(logits)
        descend(optimisers["segmenter"], loss)

    fast, slow, start = side_by_side(
        "cam",
        lambda: ToySegmenter(auxiliary=True),
        {"pooling": pooling},
        textbook,
        lambda method, step: toy_batch(method.reads, step, dtype=torch.float64),
    )
    moved = 0.0
    for key, value in fast.state_dict().items():
        torch.testing.assert_close(value, slow.state_dict()[key], rtol=1e-9, atol=1e-12)
        moved += float((value.double() - start[key].double()).abs().sum())
    assert moved > 0.1


def test_the_logit_of_background_is_not_trained() -> None:
    method = create("cam", ToySegmenter, CLASSES, (SIDE, SIDE)).train()
    assert isinstance(method, Cam)
    assert (method.reads.streams, method.takes_class_weights) == (("weak",), False)
    update = Gradients(method)
    method.step(toy_batch(method.reads), Progress(0, 10), update)
    *_, weight, bias = torch.split(
        update.vector("segmenter"), [p.numel() for p in method.segmenter.parameters()]
    )
    assert not weight.view(CLASSES, -1)[0].any()
    assert bool(weight.view(CLASSES, -1)[1:].any(1).all())
    assert bias.tolist()[0] == 0


def squares(seed: int, count: int = 8) -> tuple[Weak, torch.Tensor]:
    """A red square of class 1, a green one of class 2, or one of each, on grey noise; masks BHW."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    mask = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    for number in range(count):
        for label in ((1,), (2,), (1, 2), ())[number % 4]:
            top, left = torch.randint(0, SIDE // 2 - 8, (2,), generator=generator).tolist()
            left += (label - 1) * SIDE // 2
            place = (slice(2 * top, 2 * top + 10), slice(left, left + 8))
            image[number, label - 1][place] += 2.0
            mask[number][place] = label
    tags = torch.stack([(mask == k).flatten(1).any(1) | (k == 0) for k in range(CLASSES)], 1)
    valid = torch.ones(count, SIDE, SIDE, dtype=torch.bool)
    return Weak(image, valid, tuple(map(str, range(count))), tags), mask


@pytest.mark.parametrize("pooling", POOLINGS)
def test_tags_alone_teach_what_is_there_and_where(pooling: Pooling) -> None:
    torch.manual_seed(0)
    method = create("cam", ToySegmenter, CLASSES, (SIDE, SIDE), pooling=pooling).train()
    updates = toy_updates(method, lr=3e-2)
    first: dict[str, torch.Tensor] = {}
    for step in range(40):
        progress = Progress(step, 40)
        updates.begin(progress)
        last = dict(method.step(Batch(weak=squares(step)[0]), progress, updates))
        first = first or last
    assert last["loss_classification"] < 0.5 * first["loss_classification"]
    assert min(last["tag_precision"], last["tag_recall"]) > 0.9
    shown, mask = squares(1000, 16)
    with torch.no_grad():
        found = method.eval().predictor()(shown.image).argmax(1)
    both = ((found == mask) & (mask > 0)).sum() / ((found > 0) | (mask > 0)).sum()
    assert both > 0.5, "the objects are where the maps are; nothing is all background"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"background_power": 0.0}, "background_power must be above 0, but is 0.0"),
        ({"pooling": "sum"}, "pooling"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], line: str) -> None:
    with pytest.raises(Exception, match=line):
        create("cam", ToySegmenter, CLASSES, (SIDE, SIDE), **options)


def test_background_alone_cannot_be_tagged() -> None:
    with pytest.raises(ValueError, match="besides background"):
        Cam(Task(lambda: ToySegmenter(1), 1))
