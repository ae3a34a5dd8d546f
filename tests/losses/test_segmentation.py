"""Closed forms, gradients, and pixels that must not count."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.segmentation import cross_entropy, masked_mean, supervised_loss
from semisup.types import IGNORE


def two_pixels() -> tuple[Tensor, Tensor, float, float]:
    """Logits and mask of a 1 x 2 image, and the loss of each pixel by hand."""
    logits = torch.tensor([[[[math.log(3.0), 0.0]], [[0.0, math.log(4.0)]]]], dtype=torch.float64)
    mask = torch.tensor([[[0, 1]]])
    return logits, mask, math.log(4 / 3), math.log(5 / 4)


def test_mean_of_the_pixels() -> None:
    logits, mask, a, b = two_pixels()
    assert cross_entropy(logits, mask).item() == pytest.approx((a + b) / 2)
    assert cross_entropy(logits, mask, reduction="sum").item() == pytest.approx(a + b)


def test_uniform_logits_give_the_log_of_the_number_of_classes() -> None:
    loss = cross_entropy(torch.zeros(2, 21, 4, 4), torch.randint(0, 21, (2, 4, 4)))
    assert loss.item() == pytest.approx(math.log(21))


def test_class_weights_divide_by_valid_pixels() -> None:
    logits, mask, a, b = two_pixels()
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    loss = cross_entropy(logits, mask, class_weights=weights)
    assert loss.item() == pytest.approx((a + 3 * b) / 2)
    assert F.cross_entropy(logits, mask, weight=weights).item() == pytest.approx((a + 3 * b) / 4)


def test_border_weights_are_added_to_those_of_the_classes() -> None:
    logits, mask, a, b = two_pixels()
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    border = torch.tensor([[[0.5, 2.0]]], dtype=torch.float64)
    found = cross_entropy(logits, mask, class_weights=weights, border_weights=border)
    assert found.item() == pytest.approx((1.5 * a + 5 * b) / 2)
    alone = cross_entropy(logits, mask, border_weights=border)
    assert alone.item() == pytest.approx((1.5 * a + 3 * b) / 2)
    mean = cross_entropy(
        logits, mask, class_weights=weights, border_weights=border, divisor="weights"
    )
    assert mean.item() == pytest.approx((1.5 * a + 5 * b) / 6.5)
    summed = cross_entropy(logits, mask, border_weights=border, reduction="sum")
    assert summed.item() == pytest.approx(1.5 * a + 3 * b)


def test_border_weights_of_void_do_not_count() -> None:
    logits, mask, a, _ = two_pixels()
    mask[..., 1] = IGNORE
    border = torch.tensor([[[0.5, 1e6]]], dtype=torch.float64)
    for divisor, expected in (("pixels", 1.5 * a), ("weights", a)):
        found = cross_entropy(logits, mask, border_weights=border, divisor=divisor)  # type: ignore[arg-type]
        assert found.item() == pytest.approx(expected)


def test_border_weights_of_0_change_no_loss() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 3, 5, 5), torch.randint(0, 3, (2, 5, 5))
    nothing = torch.zeros(2, 5, 5)
    assert torch.equal(
        cross_entropy(logits, mask, border_weights=nothing), cross_entropy(logits, mask)
    )


def test_summed_loss_of_copies_is_a_multiple() -> None:
    logits, mask = torch.randn(1, 3, 5, 5), torch.randint(0, 3, (1, 5, 5))
    one = cross_entropy(logits, mask, reduction="sum")
    four = cross_entropy(logits.repeat(4, 1, 1, 1), mask.repeat(4, 1, 1), reduction="sum")
    assert four.item() == pytest.approx(4 * one.item(), rel=1e-5)


def test_void_has_no_loss_and_no_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    mask = torch.randint(0, 3, (2, 4, 4))
    mask[:, :2] = IGNORE
    loss = cross_entropy(logits, mask)
    assert loss.item() == pytest.approx(cross_entropy(logits[:, :, 2:], mask[:, 2:]).item())
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[:, :, :2].abs().sum() == 0
    assert (logits.grad[:, :, 2:].abs().sum(1) > 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_all_void_gives_zero_and_zero_gradient(reduction: str) -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0])
    void = torch.full((1, 4, 4), IGNORE)
    for class_weights in (None, weights):
        loss = cross_entropy(logits, void, class_weights=class_weights, reduction=reduction)  # type: ignore[arg-type]
        assert loss.item() == 0.0
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    mask = torch.tensor([[[0, 1, IGNORE], [2, IGNORE, 0]]])
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, mask, class_weights=weights), logits)


def test_mixed_precision_is_summed_in_float32() -> None:
    logits = torch.randn(1, 2, 64, 64)
    mask = torch.randint(0, 2, (1, 64, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(logits.bfloat16(), mask)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(cross_entropy(logits.bfloat16().float(), mask).item())


def test_auxiliary_maps_are_weighted() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(1, 3, 4, 4) for _ in range(3)]
    mask = torch.randint(0, 3, (1, 4, 4))
    a, b, c = (cross_entropy(logits, mask).item() for logits in maps)
    assert supervised_loss(maps, mask, (0.4, 0.1)).item() == pytest.approx(a + 0.4 * b + 0.1 * c)
    assert supervised_loss(maps[:1], mask).item() == pytest.approx(a)
    weights = torch.tensor([1.0, 2.0, 3.0])
    weighted = supervised_loss(maps[:1], mask, class_weights=weights)
    assert torch.equal(weighted, cross_entropy(maps[0], mask, class_weights=weights))
    with pytest.raises(AssertionError):
        supervised_loss(maps, mask, (0.4,))


def test_masked_mean() -> None:
    values = torch.tensor([1.0, 3.0, math.nan, 50.0], requires_grad=True)
    valid = torch.tensor([True, True, False, False])
    mean = masked_mean(values, valid)
    assert mean.item() == 2.0
    (gradient,) = torch.autograd.grad(mean, values)
    assert gradient.tolist() == [0.5, 0.5, 0.0, 0.0]
    nothing = masked_mean(values, torch.zeros(4, dtype=torch.bool))
    assert nothing.item() == 0.0
    (gradient,) = torch.autograd.grad(nothing, values)
    assert gradient.tolist() == [0.0] * 4


def test_nothing_waits_for_the_device() -> None:
    # A meta tensor has no values: whatever would fetch one from the device raises here.
    logits = torch.empty(2, 3, 4, 4, device="meta")
    mask = torch.empty(2, 4, 4, dtype=torch.int64, device="meta")
    weights = torch.empty(3, device="meta")
    assert cross_entropy(logits, mask, class_weights=weights).shape == ()
    assert supervised_loss([logits, logits], mask, (0.4,)).shape == ()
    assert masked_mean(logits, logits > 0).shape == ()
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool((mask == IGNORE).any())
