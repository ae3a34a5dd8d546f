from __future__ import annotations

import math

import pytest
import torch
from support.methods import fake_loss, fooling_loss, real_loss

from semisup.losses.extra_class import realness, tag_set_loss


def test_the_identity_of_k_plus_1_classes() -> None:
    """log(1 - p_G) is LSE of the classes less LSE of all, and p_G is a sigmoid of realness."""
    logits = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    generated = logits.softmax(dim=1)[:, -1]
    expected = logits[:, :-1].logsumexp(1) - logits.logsumexp(1)
    assert torch.allclose(-real_loss(realness(logits)), expected)
    assert torch.allclose(-real_loss(realness(logits)), (1 - generated).log())
    assert torch.allclose(-fake_loss(realness(logits)), generated.log())
    assert torch.allclose(fooling_loss(realness(logits)), -(1 - generated).log())


def test_it_does_not_overflow() -> None:
    logits = torch.tensor([1e4, -1e4, -1e4]).view(1, 3, 1, 1).requires_grad_()
    loss = fake_loss(realness(logits)).sum()
    assert loss.item() == pytest.approx(2e4)
    assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()


def test_made_images_raise_the_last_logit_of_the_judge_and_the_maker_lowers_it() -> None:
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    (judge,) = torch.autograd.grad(fake_loss(realness(logits)).mean(), logits)
    (maker,) = torch.autograd.grad(fooling_loss(realness(logits)).mean(), logits)
    assert (judge[:, -1] < 0).all(), "a step against the gradient raises it"
    assert (judge[:, :-1] > 0).all()
    assert (maker[:, -1] > 0).all()


def test_tags_by_hand() -> None:
    shares = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])  # two pixels
    logits = shares.log().T.reshape(1, 4, 1, 2) + 7.0
    tags = torch.tensor([[True, False, True]])
    valid = torch.tensor([[[True, True]]])
    expected = -(math.log(0.1 + 0.3) + math.log(0.4 + 0.2)) / 2
    assert tag_set_loss(logits, tags, valid).item() == pytest.approx(expected, rel=1e-5)
    first = torch.tensor([[[True, False]]])
    assert tag_set_loss(logits, tags, first).item() == pytest.approx(-math.log(0.4), rel=1e-5)
    assert tag_set_loss(logits, tags, ~valid).item() == 0.0


def test_with_all_tags_it_is_not_generated_and_with_one_it_is_cross_entropy() -> None:
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    valid = torch.ones(2, 3, 3, dtype=torch.bool)
    everything = torch.ones(2, 3, dtype=torch.bool)
    assert tag_set_loss(logits, everything, valid).item() == pytest.approx(
        real_loss(realness(logits)).mean().item()
    )
    one = torch.tensor([[False, True, False]]).expand(2, 3)
    expected = -logits.log_softmax(1)[:, 1].mean()
    assert tag_set_loss(logits, one, valid).item() == pytest.approx(expected.item())


def test_absent_tags_and_generated_are_pushed_down() -> None:
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    tags = torch.tensor([[True, False, True]])
    loss = tag_set_loss(logits, tags, torch.ones(1, 2, 2, dtype=torch.bool))
    (slope,) = torch.autograd.grad(loss, logits)
    assert (slope[:, [1, 3]] > 0).all()
    assert (slope[:, [0, 2]] < 0).all()
