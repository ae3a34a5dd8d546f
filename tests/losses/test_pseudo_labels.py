"""Pseudo-labels and class maps: closed forms, gradients, and pixels that must not count."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from semisup.losses import pseudo_labels
from semisup.losses.gan import Loss
from semisup.losses.pseudo_labels import exceeds, pseudo_labels_where
from semisup.ops.masks import one_hot
from semisup.types import IGNORE


def self_taught_loss(
    logits: Tensor,
    confidence: Tensor,
    threshold: float,
    valid: Tensor | None = None,
    loss: Loss = "cross_entropy",
) -> tuple[Tensor, Tensor]:
    """The loss where a discriminator's confidences B1HW are above a threshold."""
    accepted = exceeds(confidence.squeeze(1), threshold, loss)
    valid = torch.ones_like(accepted) if valid is None else valid
    return pseudo_labels.self_taught_loss(logits, accepted, valid)


def three_pixels() -> tuple[Tensor, Tensor]:
    """Segmenter logits (its answer has 1/2, 3/4 and 4/5) and confidences of 0.1, 0.3 and 0.9."""
    logits = torch.tensor([[[[0.0, math.log(3.0), 0.0]], [[0.0, 0.0, math.log(4.0)]]]])
    confidence = torch.logit(torch.tensor([[[[0.1, 0.3, 0.9]]]]))
    return logits, confidence


@pytest.mark.parametrize(
    ("threshold", "expected", "share"),
    [
        (0.5, math.log(5 / 4), 1 / 3),
        (0.2, (math.log(4 / 3) + math.log(5 / 4)) / 2, 2 / 3),
        (0.05, (math.log(2) + math.log(4 / 3) + math.log(5 / 4)) / 3, 1.0),
        (0.95, 0.0, 0.0),
    ],
)
def test_only_trusted_pixels_teach(threshold: float, expected: float, share: float) -> None:
    loss, used = self_taught_loss(*three_pixels(), threshold)
    assert loss.item() == pytest.approx(expected, abs=1e-7)
    assert used.item() == pytest.approx(share)


def test_pixels_that_are_not_valid_neither_teach_nor_count() -> None:
    valid = torch.tensor([[[True, True, False]]])
    loss, used = self_taught_loss(*three_pixels(), 0.2, valid)
    assert loss.item() == pytest.approx(math.log(4 / 3))
    assert used.item() == pytest.approx(1 / 2)
    loss, used = self_taught_loss(*three_pixels(), 0.2, torch.zeros_like(valid))
    assert (loss.item(), used.item()) == (0.0, 0.0)


@pytest.mark.parametrize(("threshold", "share"), [(0.0, 1.0), (1.0, 0.0)])
def test_thresholds_0_and_1_take_all_and_none(threshold: float, share: float) -> None:
    # float32 sigmoids of these are exactly 0, 0.5 and 1.
    confidence = torch.tensor([[[[-200.0, 0.0, 200.0]]]])
    logits = torch.randn(1, 4, 1, 3, requires_grad=True)
    loss, used = self_taught_loss(logits, confidence, threshold)
    assert used.item() == share
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.isfinite().all()
    assert (loss.item() > 0) == (share > 0)
    assert bool(gradient.any()) == (share > 0)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.0, [True, True, True, True]),
        (0.3, [False, False, True, True]),
        (0.5, [False, False, False, True]),
        (1.0, [False, False, False, False]),
    ],
)
def test_least_squares_trust_by_what_is_said(threshold: float, expected: list[bool]) -> None:
    said = torch.tensor([[[[-2.0, 0.2, 0.4, 9.0]]]])
    assert exceeds(said, threshold, "least_squares")[0, 0, 0].tolist() == expected
    logits = torch.randn(1, 3, 1, 4)
    _, share = self_taught_loss(logits, said, threshold, loss="least_squares")
    assert float(share) == pytest.approx(sum(expected) / 4)


def test_gradient_reaches_trusted_pixels_of_the_segmenter_alone() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    confidence = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss, share = self_taught_loss(logits, confidence, 0.6)
    assert not share.requires_grad
    loss.backward()
    assert confidence.grad is None
    assert logits.grad is not None
    trusted = confidence.squeeze(1).sigmoid() > 0.6
    assert torch.equal(logits.grad.abs().sum(1) > 0, trusted)


def test_gradients_of_the_self_taught_loss_are_right() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    confidence = torch.randn(1, 1, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: self_taught_loss(x, confidence, 0.4)[0], logits)


def test_one_hot_has_a_one_at_each_label_and_none_at_void() -> None:
    mask = torch.tensor([[[0, 2], [IGNORE, 1]]])
    channels = one_hot(mask, 3)
    assert channels.dtype == torch.float32
    assert channels.tolist() == [[[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 0]]]]
    assert torch.equal(one_hot(mask.to(torch.uint8), 3), channels)


def test_nothing_waits_for_the_device() -> None:
    # A meta tensor has no values: whatever would fetch one from the device raises here.
    logits = torch.empty(2, 3, 4, 4, device="meta")
    mask = torch.empty(2, 4, 4, dtype=torch.int64, device="meta")
    assert one_hot(mask, 3).shape == (2, 3, 4, 4)
    loss, share = self_taught_loss(logits, logits[:, :1], 0.2, mask > 0)
    assert loss.shape == share.shape == ()


def test_whole_images_are_accepted_or_not() -> None:
    """Of three images the second is accepted, and the third is all padding."""
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 2, 2)
    valid = torch.ones(3, 2, 2, dtype=torch.bool)
    valid[1, 0], valid[2] = False, False
    accepted = torch.tensor([False, True, True])
    loss, share = pseudo_labels.self_taught_loss(logits, accepted, valid)
    expected = -logits[1, :, 1].log_softmax(dim=0).amax(dim=0).mean()
    assert loss.item() == pytest.approx(expected.item())
    assert share.item() == pytest.approx(1 / 2), "of the two images that have a pixel"


def test_pseudo_labels_are_void_where_nothing_is_accepted() -> None:
    logits = torch.tensor([[[[3.0, 0.0, 1.0]], [[0.0, 2.0, 5.0]]]])
    accepted = torch.tensor([[[True, True, False]]])
    assert pseudo_labels_where(logits, accepted).tolist() == [[[0, 1, IGNORE]]]
