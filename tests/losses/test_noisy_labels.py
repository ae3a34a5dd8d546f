"""Closed forms, loops over pixels in floats of Python, directions, and masks that are all void."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.noisy_labels import HARD_SHARE, NO_LABEL, SOFT_SHARE, bootstrap, symmetric
from semisup.losses.segmentation import Divisor, cross_entropy
from semisup.losses.supervised import Kind, SupervisedLoss
from semisup.types import IGNORE

WEIGHTS = [0.5, 1.0, 2.0, 4.0]


def wave() -> tuple[Tensor, Tensor]:
    """Logits 2 x 4 x 8 x 8 and masks of 4 classes with some void, by a formula."""
    place = torch.arange(1, 513, dtype=torch.float64)
    mask = ((0.29 * place[:128]).sin().abs() * 4).floor().long()
    mask[[0, 5, 77]] = IGNORE
    return (4 * (0.37 * place).sin()).view(2, 4, 8, 8).requires_grad_(), mask.view(2, 8, 8)


def soft(shares: list[float], label: int, share: float) -> float:
    mixed = [share * (k == label) + (1 - share) * q for k, q in enumerate(shares)]
    return -math.fsum(t * math.log(q) for t, q in zip(mixed, shares, strict=True))


def hard(shares: list[float], label: int, share: float) -> float:
    first = shares.index(max(shares))
    mixed = [share * (k == label) + (1 - share) * (k == first) for k in range(len(shares))]
    return -math.fsum(t * math.log(q) for t, q in zip(mixed, shares, strict=True))


def both_ways(shares: list[float], label: int, alpha: float, beta: float) -> float:
    truth = [0.0 if k == label else -NO_LABEL for k in range(len(shares))]  # logarithms
    reverse = -math.fsum(q * log for q, log in zip(shares, truth, strict=True))
    return -alpha * math.log(shares[label]) + beta * reverse


LOOPS: tuple[tuple[Callable[..., Tensor], Callable[[list[float], int], float]], ...] = (
    (partial(bootstrap, label_share=0.6), partial(soft, share=0.6)),
    (bootstrap, partial(soft, share=0.95)),
    (partial(bootstrap, label_share=0.6, hard=True), partial(hard, share=0.6)),
    (partial(symmetric, alpha=0.3, beta=0.7), partial(both_ways, alpha=0.3, beta=0.7)),
    (symmetric, partial(both_ways, alpha=0.1, beta=1.0)),
)


@pytest.mark.parametrize("divisor", ["pixels", "weights"])
@pytest.mark.parametrize(("loss", "loop"), LOOPS)
def test_a_loop_over_pixels_gives_the_same(
    loss: Callable[..., Tensor], loop: Callable[[list[float], int], float], divisor: Divisor
) -> None:
    logits, mask = wave()
    border = torch.linspace(0, 1, 128, dtype=torch.float64).view(2, 8, 8)
    values, factors = [], []
    rows = logits.permute(0, 2, 3, 1).reshape(-1, 4).tolist()
    for row, label, added in zip(
        rows, mask.flatten().tolist(), border.flatten().tolist(), strict=True
    ):
        if label != IGNORE:
            powers = [math.exp(value) for value in row]
            values.append(loop([power / sum(powers) for power in powers], label))
            factors.append(WEIGHTS[label] + added)
    weighted = math.fsum(v * f for v, f in zip(values, factors, strict=True))
    total = math.fsum(factors) if divisor == "weights" else len(values)
    classes = torch.tensor(WEIGHTS, dtype=torch.float64)
    found = loss(logits, mask, class_weights=classes, border_weights=border, divisor=divisor)
    assert found.item() == pytest.approx(weighted / total, rel=1e-12)
    plain = loss(logits, mask).item()
    assert plain == pytest.approx(math.fsum(values) / len(values), rel=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        partial(bootstrap, label_share=1.0),
        partial(bootstrap, label_share=1.0, hard=True),
        partial(symmetric, alpha=1.0, beta=0.0),
    ],
)
def test_with_the_label_alone_each_is_the_cross_entropy(loss: Callable[..., Tensor]) -> None:
    logits, mask = wave()
    expected = cross_entropy(logits, mask)
    assert loss(logits, mask).item() == pytest.approx(expected.item(), rel=1e-14)
    slopes = [torch.autograd.grad(one, logits)[0] for one in (loss(logits, mask), expected)]
    torch.testing.assert_close(*slopes)


def test_the_numbers_of_the_authors_program() -> None:
    """Wang et al. clip labels at 1e-4 and predictions at 1e-7; that is beta A = ln 1e4."""
    logits, mask = wave()
    shares = logits.softmax(1).clamp(1e-7, 1.0)
    truth = F.one_hot(mask.masked_fill(mask == IGNORE, 0), 4).permute(0, 3, 1, 2).double()
    reverse = -(shares * truth.clamp(1e-4, 1.0).log()).sum(1)
    valid = mask != IGNORE
    forward = F.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    expected = 0.1 * forward[valid].mean() + 1.0 * reverse[valid].mean()
    found = symmetric(logits, mask, alpha=0.1, beta=math.log(1e4) / NO_LABEL)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_uniform_probabilities_have_closed_forms() -> None:
    logits, mask = torch.zeros(1, 4, 2, 4), torch.arange(4).repeat(2).view(1, 2, 4)
    for hard_form in (False, True):
        found = bootstrap(logits, mask, label_share=0.3, hard=hard_form)
        assert found.item() == pytest.approx(math.log(4))
    expected = 0.2 * math.log(4) + 0.5 * NO_LABEL * 3 / 4
    assert symmetric(logits, mask, alpha=0.2, beta=0.5).item() == pytest.approx(expected)


def gradient(loss: Callable[..., Tensor], share: float) -> float:
    """Of the loss by the logit of the label, which has this probability, of two classes."""
    logit = torch.tensor(math.log(share / (1 - share)), dtype=torch.float64, requires_grad=True)
    logits = torch.stack([logit, torch.zeros_like(logit)]).view(1, 2, 1, 1)
    (slope,) = torch.autograd.grad(loss(logits, torch.zeros(1, 1, 1, dtype=torch.long)), logit)
    return slope.item()


def test_a_network_that_is_sure_of_another_class_is_taught_less_than_by_cross_entropy() -> None:
    plain = gradient(cross_entropy, 0.01)
    for loss in (
        partial(bootstrap, label_share=0.8),
        partial(bootstrap, label_share=0.8, hard=True),
        partial(symmetric, alpha=0.1, beta=0.2),
    ):
        assert plain < gradient(loss, 0.01) < 0
    # The reverse term is least where the label seems surely wrong, and largest in between.
    reverse = partial(symmetric, alpha=0.0, beta=1.0)
    assert gradient(reverse, 0.5) == pytest.approx(-NO_LABEL / 4)
    assert abs(gradient(reverse, 0.01)) < 0.05 * abs(gradient(reverse, 0.5))


def test_a_label_that_the_network_believes_less_than_its_share_is_given_up() -> None:
    share = 0.6  # the hard form: below it, the most probable class gets the larger part
    loss = partial(bootstrap, label_share=0.4, hard=True)
    assert gradient(loss, 0.3) == pytest.approx(0.3 - 0.4)
    assert gradient(loss, 0.45) > 0
    assert gradient(partial(loss, label_share=share), 0.45) < 0


@pytest.mark.parametrize("kind", ["bootstrap", "bootstrap_hard", "symmetric"])
def test_nothing_labelled_is_zero_with_gradients_of_zero(kind: Kind) -> None:
    logits = (1e3 * torch.randn(1, 3, 4, 4)).requires_grad_()
    found = SupervisedLoss(kind)(logits, torch.full((1, 4, 4), IGNORE))
    (slope,) = torch.autograd.grad(found, logits)
    assert found.item() == 0.0
    assert torch.equal(slope, torch.zeros_like(slope))


def test_the_choice_hands_on_its_options_and_knows_the_published_ones() -> None:
    logits, mask = wave()
    cases: list[tuple[dict[str, Any], Callable[..., Tensor]]] = [
        ({"kind": "bootstrap"}, partial(bootstrap, label_share=SOFT_SHARE)),
        ({"kind": "bootstrap_hard"}, partial(bootstrap, label_share=HARD_SHARE, hard=True)),
        ({"kind": "bootstrap", "bootstrap_label_share": 0.0}, partial(bootstrap, label_share=0.0)),
        (
            {"kind": "symmetric", "symmetric_alpha": 0.5, "symmetric_beta": 0.25},
            partial(symmetric, alpha=0.5, beta=0.25),
        ),
    ]
    for options, expected in cases:
        assert torch.equal(SupervisedLoss(**options)(logits, mask), expected(logits, mask))
