"""Closed forms, gradients, and pixels that must not count."""

from __future__ import annotations

import math

import pytest
import torch
from semisup.losses.adversarial import PixelGame, binary_cross_entropy_map
from torch import Tensor

from semisup.losses.gan import Form, Game
from semisup.losses.pseudo_labels import self_taught_loss, trusted_pixels
from semisup.losses.segmentation import masked_mean
from semisup.ops.masks import one_hot
from semisup.types import IGNORE


@pytest.mark.parametrize(("target", "expected"), [(1.0, math.log(4 / 3)), (0.0, math.log(4.0))])
def test_binary_cross_entropy_of_a_known_probability(target: float, expected: float) -> None:
    logits = torch.full((2, 1, 3, 3), math.log(3.0))  # sigmoid 3/4
    assert binary_cross_entropy_map(logits, target).item() == pytest.approx(expected)


def test_blind_discriminator_loses_log_2() -> None:
    assert binary_cross_entropy_map(torch.zeros(1, 1, 2, 2), 1.0).item() == pytest.approx(
        math.log(2.0)
    )


def test_map_is_averaged_over_valid_pixels_alone() -> None:
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    valid = torch.zeros(2, 4, 4, dtype=torch.bool)
    valid[0, 1:3] = True
    loss = binary_cross_entropy_map(logits, 0.0, valid)
    kept = binary_cross_entropy_map(logits[:1, :, 1:3], 0.0)
    assert loss.item() == pytest.approx(kept.item())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient.squeeze(1) != 0, valid)


def test_no_valid_pixel_gives_zero_and_zero_gradient() -> None:
    logits = torch.randn(1, 1, 2, 2, requires_grad=True)
    loss = binary_cross_entropy_map(logits, 1.0, torch.zeros(1, 2, 2, dtype=torch.bool))
    assert loss.item() == 0.0
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("target", [0.0, 0.9, 1.0])
def test_gradients_of_the_map_are_right(target: float) -> None:
    logits = torch.randn(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[[True, False, True], [True, True, False]]])
    assert torch.autograd.gradcheck(lambda x: binary_cross_entropy_map(x, target, valid), logits)


def test_the_game_of_pixels_is_the_map_to_the_bit_in_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, valid = 3 * torch.randn(2, 1, 8, 8), torch.rand(2, 8, 8) > 0.3
    game = PixelGame()
    for paid, target in ((game.fool, 1.0), (game.real, 1.0), (game.fake, 0.0)):
        found = masked_mean(paid(logits).squeeze(1), valid)
        assert torch.equal(found, binary_cross_entropy_map(logits, target, valid))


@pytest.mark.parametrize("form", ["cross_entropy", "hinge", "least_squares"])
def test_the_game_of_pixels_is_that_of_all(form: Form) -> None:
    logits = torch.linspace(-4, 4, 33, dtype=torch.float64)
    options = {"form": form, "label_smoothing": 0.1}
    one, other = PixelGame(**options), Game(**options)
    for side in ("real", "fake", "fool"):
        assert torch.allclose(getattr(one, side)(logits), getattr(other, side)(logits))


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
    assert trusted_pixels(said, threshold, "least_squares")[0, 0].tolist() == expected
    logits = torch.randn(1, 3, 1, 4)
    _, share = self_taught_loss(logits, said, threshold, form="least_squares")
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
    assert binary_cross_entropy_map(logits[:, :1], 1.0, mask > 0).shape == ()
    loss, share = self_taught_loss(logits, logits[:, :1], 0.2, mask > 0)
    assert loss.shape == share.shape == ()
