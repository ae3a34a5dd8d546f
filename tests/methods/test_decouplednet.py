"""What is special to DecoupledNet's methods: each network learns from its own labels alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import whole
from torch import Tensor, nn

from semisup.errors import RecipeError
from semisup.losses.classification import multi_label_loss, precision_and_recall
from semisup.methods.base import Method, Task
from semisup.methods.decouplednet import (
    DecoupledNetClassifier,
    DecoupledNetJoint,
    DecoupledNetSegmentation,
    chosen_pixels,
)
from semisup.models import classifiers
from semisup.models.decouplednet import DecoupledNet
from semisup.types import IGNORE, Batch, Labelled, Progress, Weak

CLASSES = 3
SIDE = 32
Build = Callable[[], DecoupledNet]


@pytest.fixture
def build(own_networks: dict[str, Build]) -> Build:
    return own_networks["decouplednet"]


def with_norms(build: Build) -> Build:
    """The same with a backbone that has running statistics, as MobileNetV2 has."""

    def built() -> DecoupledNet:
        network = build()
        network.classifier.backbone.body[1] = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        )
        return network

    return built


def object_batch(seed: int, count: int = 8) -> Batch:
    """A square of class 1 (red), of class 2 (green), or one of each, on a dim background."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.3 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    mask = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    tags = torch.zeros(count, CLASSES, dtype=torch.bool)
    tags[:, 0] = True
    for i in range(count):
        for label in {0: [1], 1: [2], 2: [1, 2]}[i % 3]:
            top, left = torch.randint(0, 3, (2,), generator=generator).tolist()
            left = left + 16 * (label == 2) if i % 3 == 2 else 8 * left  # apart where both are
            place = (slice(8 * top, 8 * top + 14), slice(left, left + 14))
            image[i, label - 1][place] = 2.0
            mask[i][place] = label
        tags[i, mask[i].unique()] = True
    selection = tags.clone()
    selection[:, 0] = False
    for i in range(2, count, 3):  # of the images with both, one alone in two of three batches
        if seed % 3:
            selection[i, seed % 3] = False
    ids = tuple(map(str, range(count)))
    valid = torch.ones(count, SIDE, SIDE, dtype=torch.bool)
    return Batch(
        labelled=whole(image=image, mask=mask, ids=ids, selection=selection),
        weak=Weak(image=image, valid=valid, tags=tags, ids=ids),
    )


def take(method: Method, updates: Any, steps: int) -> list[dict[str, Tensor]]:
    scalars = []
    for step in range(steps):
        progress = Progress(step, steps)
        updates.begin(progress)
        scalars.append(dict(method.step(object_batch(step), progress, updates)))
    return scalars


@torch.no_grad()
def accuracy(method: Method) -> float:
    shown = object_batch(10_000, 24).labelled
    return float((method.eval().predictor()(shown.image).argmax(1) == shown.mask).float().mean())


def test_the_two_stages_learn_what_is_there_and_where(build: Build, make_updates: Any) -> None:
    torch.manual_seed(0)
    first = DecoupledNetClassifier(Task(build, CLASSES)).train()
    scalars = take(first, make_updates(first, lr=5e-3), 150)
    assert scalars[0]["loss_classification"] > 0.4
    with torch.no_grad():
        shown = object_batch(10_000, 24).weak
        found = first.eval().segmenter.classifier(shown.image) > 0
    assert (found == shown.tags[:, 1:]).float().mean() > 0.9

    second = DecoupledNetSegmentation(Task(build, CLASSES))
    second.segmenter.load_state_dict(first.predictor().state_dict(), strict=False)
    frozen = {k: v.clone() for k, v in second.segmenter.classifier.state_dict().items()}
    second.train()
    take(second, make_updates(second, lr=5e-3), 150)
    assert accuracy(second) > 0.9  # all background is 0.75
    after = second.segmenter.classifier.state_dict()
    assert all(torch.equal(after[key], frozen[key]) for key in frozen)


def test_the_joint_form_learns_both(build: Build, make_updates: Any) -> None:
    torch.manual_seed(0)
    method = DecoupledNetJoint(Task(build, CLASSES)).train()
    take(method, make_updates(method, lr=5e-3), 150)
    assert accuracy(method) > 0.9


# ---- Freezing, and the decoupling ----


def test_stage_two_leaves_weights_and_statistics_of_the_classifier(
    build: Build, make_updates: Any
) -> None:
    torch.manual_seed(0)
    method = DecoupledNetSegmentation(Task(with_norms(build), CLASSES)).train()
    before = {k: v.clone() for k, v in method.segmenter.classifier.state_dict().items()}
    assert any(key.endswith("running_mean") for key in before)
    moving = {k: v.clone() for k, v in method.segmenter.segmentation.state_dict().items()}
    take(method, make_updates(method), 3)
    after = method.segmenter.classifier.state_dict()
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    after = method.segmenter.segmentation.state_dict()
    assert [key for key in moving if torch.equal(moving[key], after[key])] != list(moving)
    assert not any(module.training for module in method.segmenter.classifier.modules())
    assert method.segmenter.segmentation.training


def test_stage_one_moves_statistics_too(build: Build, make_updates: Any) -> None:
    method = DecoupledNetClassifier(Task(with_norms(build), CLASSES)).train()
    before = {k: v.clone() for k, v in method.segmenter.state_dict().items()}
    take(method, make_updates(method), 1)
    after = method.segmenter.state_dict()
    assert [key for key in before if torch.equal(before[key], after[key])] == []


def test_masks_do_not_reach_the_classifier_nor_tags_the_segmentation(
    build: Build, gradients: Any
) -> None:
    torch.manual_seed(0)
    method = DecoupledNetJoint(Task(build, CLASSES)).eval()  # without dropout
    batch, other = object_batch(0), object_batch(1)

    def step(labelled: Labelled, weak: Weak) -> dict[str, Tensor]:
        update = gradients(method)
        method.step(Batch(labelled=labelled, weak=weak), Progress(0, 1), update)
        return {player: update.vector(player) for player in ("classifier", "segmenter")}

    before = step(batch.labelled, batch.weak)
    masks, tags = step(other.labelled, batch.weak), step(batch.labelled, other.weak)
    assert torch.equal(masks["classifier"], before["classifier"])
    assert not torch.equal(masks["segmenter"], before["segmenter"])
    assert torch.equal(tags["segmenter"], before["segmenter"])
    assert not torch.equal(tags["classifier"], before["classifier"])


def test_the_joint_form_puts_the_classifier_back_into_training(
    build: Build, make_updates: Any
) -> None:
    method = DecoupledNetJoint(Task(build, CLASSES)).train()
    take(method, make_updates(method), 1)
    assert all(module.training for module in method.modules())


def test_the_selection_changes_what_is_learnt(build: Build, gradients: Any) -> None:
    torch.manual_seed(0)
    method = DecoupledNetSegmentation(Task(build, CLASSES))
    labelled = object_batch(0).labelled
    assert labelled.selection is not None
    found = []
    for columns in ([0, 1, 2], [0, 2, 1]):
        update = gradients(method)
        changed = whole(labelled.image, labelled.mask, labelled.ids, labelled.selection[:, columns])
        method.step(Batch(labelled=changed), Progress(0, 1), update)
        found.append(update.vector("segmenter"))
    assert not torch.allclose(*found)


# ---- Closed forms ----


def test_the_mask_of_a_selection() -> None:
    mask = torch.tensor([[[0, 1, 2, IGNORE]], [[2, 2, 1, 0]]])
    selection = torch.tensor([[False, True, False], [False, True, True]])
    chosen = chosen_pixels(mask, selection)
    assert chosen.tolist() == [[[0, 1, 0, IGNORE]], [[1, 1, 1, 0]]]
    nothing = chosen_pixels(mask, torch.zeros(2, 3, dtype=torch.bool))
    assert nothing.tolist() == [[[0, 0, 0, IGNORE]], [[0, 0, 0, 0]]]


def test_the_loss_of_tags() -> None:
    presence = torch.tensor([[0.0, math.log(3)], [5.0, -5.0]])
    tags = torch.tensor([[True, False], [True, True]])
    loss = multi_label_loss(presence, tags, torch.tensor([True, False]))
    # -ln(1/2) and -ln(1 - 3/4); the second image is padding alone.
    assert float(loss) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert float(multi_label_loss(presence, tags, torch.tensor([False, False]))) == 0.0


def test_precision_and_recall_by_hand() -> None:
    found = torch.tensor([[True, True, False], [False, True, False]])
    tags = torch.tensor([[True, False, False], [False, True, True]])
    precision, recall = precision_and_recall(found, tags)
    assert float(precision) == pytest.approx(2 / 3)
    assert float(recall) == pytest.approx(2 / 3)
    assert float(precision_and_recall(torch.zeros_like(found), tags)[0]) == 0.0


def test_the_value_carried_back_is_the_presence_at_the_best_place(build: Build) -> None:
    torch.manual_seed(0)
    network = build().eval()
    labelled = object_batch(0).labelled
    assert labelled.selection is not None
    encoded = network.classifier.encode(labelled.image)
    seen: list[Tensor] = []
    carry = network.classifier.saliency
    network.classifier.saliency = lambda e, injected: seen.append(injected) or carry(e, injected)
    network.saliency_of(encoded, labelled.selection)
    best = encoded.scores.flatten(2).max(2).values.sigmoid()
    assert torch.equal(seen[0].flatten(2).sum(2), best * labelled.selection[:, 1:])


@pytest.mark.parametrize(
    "method", [DecoupledNetClassifier, DecoupledNetSegmentation, DecoupledNetJoint]
)
def test_it_trains_its_own_network_and_no_other(
    method: type[Method], segmenters: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError, match=r"train model.name = 'decouplednet', not a ToySegmenter"):
        method(Task(segmenters["plain"], CLASSES))


def test_the_toy_backbone_is_of_these_tests_alone() -> None:
    assert "toy" in classifiers.BACKBONES
    assert set(classifiers.BACKBONES) == {"mobilenet_v2", "resnet50", "vgg16", "vgg16_bn", "toy"}
