from __future__ import annotations

import math

import pytest
import torch
from support.methods import belief, fake_loss, fooling_loss, real_loss, standing
from torch import Tensor

from semisup.losses.gan import Loss, feature_distance, gradient_penalty

FORMS: tuple[Loss, ...] = ("cross_entropy", "hinge", "least_squares")


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


@pytest.mark.parametrize(
    ("form", "real", "fake", "fooling"),
    [
        ("cross_entropy", softplus(-0.5), softplus(0.5), softplus(-0.5)),
        ("hinge", 0.5, 1.5, -0.5),
        ("least_squares", 0.25, 0.25, 0.25),
    ],
)
def test_closed_forms(form: Loss, real: float, fake: float, fooling: float) -> None:
    logits = torch.tensor([0.5])
    assert real_loss(logits, form).item() == pytest.approx(real)
    assert fake_loss(logits, form).item() == pytest.approx(fake)
    assert fooling_loss(logits, form).item() == pytest.approx(fooling)
    if form != "least_squares":
        assert fooling_loss(logits, form, saturating=True).item() == pytest.approx(-fake)


def test_a_hinge_asks_for_no_more_than_its_margin() -> None:
    assert real_loss(torch.tensor([1.0, 3.0]), "hinge").tolist() == [0.0, 0.0]
    assert fake_loss(torch.tensor([-1.0, -3.0]), "hinge").tolist() == [0.0, 0.0]


def test_smoothing_moves_the_best_answer() -> None:
    logits = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    best = {form: float(logits[real_loss(logits, form, smoothing=0.1).argmin()]) for form in FORMS}
    assert best["cross_entropy"] == pytest.approx(math.log(0.9 / 0.1), abs=1e-3)
    assert best["least_squares"] == pytest.approx(0.9, abs=1e-3)
    assert real_loss(torch.tensor([0.9]), "hinge", smoothing=0.1).item() == pytest.approx(0.0)


def slope(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), logits)[0]


@pytest.mark.parametrize("form", FORMS)
def test_the_players_pull_apart(form: Loss) -> None:
    logits = torch.tensor([-0.9, 0.1, 0.9], requires_grad=True)
    assert (slope(real_loss(logits, form), logits) < 0).all(), "up on real"
    away = slope(fake_loss(logits, form), logits)
    target_0 = form == "least_squares"  # on made input it asks for 0, not for less and less
    assert (away[1:] > 0).all()
    assert (away[0] < 0) if target_0 else (away[0] > 0)
    assert (slope(fooling_loss(logits, form), logits) < 0).all(), "the maker pulls up"
    if not target_0:
        saturating = slope(fooling_loss(logits, form, saturating=True), logits)
        assert (saturating < 0).all(), "in the minimax game, too"


def test_the_minimax_game_fades_where_the_other_does_not() -> None:
    lost = torch.tensor([-20.0], requires_grad=True)
    assert float(slope(fooling_loss(lost, saturating=True), lost).abs()) < 1e-8
    assert float(slope(fooling_loss(lost), lost)) == pytest.approx(-1.0)


@pytest.mark.parametrize("form", FORMS)
def test_no_logit_is_too_large(form: Loss) -> None:
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for loss in (real_loss(logits, form), fake_loss(logits, form), fooling_loss(logits, form)):
        assert torch.isfinite(loss).all()
        assert torch.isfinite(slope(loss, logits)).all()


def test_feature_distance() -> None:
    made = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    real = torch.tensor([[0.0, 5.0]], requires_grad=True)
    distance = feature_distance(made, real)
    assert distance.item() == pytest.approx((2.0 + 2.0) / 2)
    distance.backward()
    assert real.grad is None
    assert made.grad is not None
    assert made.grad.tolist() == [[0.25, -0.25], [0.25, -0.25]]
    assert feature_distance(real, real).item() == 0.0


def test_feature_distance_of_two_processes_is_that_of_their_whole_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = made.clone().requires_grad_()
    distance = feature_distance(whole, real)
    (wanted,) = torch.autograd.grad(distance, whole)
    apart = made.clone().requires_grad_()
    for part in (slice(0, 2), slice(2, 4)):
        means = iter([made.mean(dim=0), real.mean(dim=0)])
        monkeypatch.setattr("semisup.losses.gan.mean_over_ranks", lambda _, m=means: next(m))
        found = feature_distance(apart[part], real[part])
        assert found.item() == pytest.approx(distance.item())
        (found / 2).backward()  # the engine averages the processes' gradients
    assert apart.grad is not None
    assert torch.allclose(apart.grad, wanted)
    # Distances of its own for each process would point elsewhere.
    first, second = (made.view(2, 2, 6).mean(dim=1) - real.view(2, 2, 6).mean(dim=1)).sign()
    assert not torch.equal(first, second)


def test_gradient_penalty_of_a_known_slope() -> None:
    real = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    logits = (real.square() * weight).sum(dim=1)  # slope 2 w x
    expected = ((6.0**2 + 16.0**2) + (3.0**2 + 8.0**2)) / 2 / 2
    penalty = gradient_penalty(logits, real)
    assert penalty.item() == pytest.approx(expected)
    (by_weight,) = torch.autograd.grad(penalty, weight)
    squares = real.detach().square().sum(dim=0)
    assert torch.allclose(by_weight, 2 * weight.detach() * squares)  # of sum 4 w^2 x^2 / 4


def test_padding_has_no_say_in_a_gradient_penalty() -> None:
    """Slopes of 2 and 4 at valid places, 100 at one that is not; the third input is all padding."""
    real = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[[2.0, 100.0]], [[4.0, 4.0]], [[7.0, 7.0]]], dtype=torch.float64)
    weight.requires_grad_()
    logits = real[:, None] * weight  # B1W
    valid = torch.tensor([[True, False], [True, True], [False, False]])
    expected = (2.0**2 + (4.0**2 + 4.0**2) / 4) / 2 / 2  # the mean over two places halves a slope
    penalty = gradient_penalty(logits, real, valid)
    assert penalty.item() == pytest.approx(expected)
    (by_weight,) = torch.autograd.grad(penalty, weight, retain_graph=True)
    assert torch.equal(by_weight[:, 0] != 0, valid)
    assert gradient_penalty(logits, real, valid.double() / 3).item() == pytest.approx(expected)
    everywhere = torch.ones_like(valid)
    assert gradient_penalty(logits, real, everywhere).item() == pytest.approx(
        gradient_penalty(logits, real).item()
    )
    none = gradient_penalty(logits, real, torch.zeros_like(valid))
    assert none.item() == 0.0
    assert not torch.autograd.grad(none, weight)[0].any()


def test_the_gradient_of_a_gradient_penalty_is_right() -> None:
    torch.manual_seed(0)
    real = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True, False, True], [True, True, False]])

    def penalty(weight: Tensor) -> Tensor:
        return gradient_penalty(torch.tanh(real @ weight), real, valid)

    weight = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, weight)


@pytest.mark.parametrize("kind", [torch.nn.Linear, torch.nn.Conv2d])
def test_a_gradient_penalty_is_not_taken_in_half_precision(kind: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    place = (1, 1) if kind is torch.nn.Conv2d else ()
    layer = kind(4, 1, *place[:1])
    real = torch.rand(3, 4, *place).requires_grad_()
    logits = layer(real)
    expected = gradient_penalty(logits, real)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradient_penalty(logits, real)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("form", FORMS)
def test_belief(form: Loss) -> None:
    logits = torch.tensor([-3.0, 0.0, 0.25, 4.0])
    found = belief(logits, form)
    if form == "least_squares":
        assert found.tolist() == [0.0, 0.0, 0.25, 1.0]
    else:
        assert torch.equal(found, torch.sigmoid(logits))


def test_standing() -> None:
    real = torch.tensor([2.0, -1.0, 50.0])
    fake = torch.tensor([-2.0, -3.0, -4.0, 9.0])
    found = standing(real, fake, torch.tensor([True, True, False]))
    sigmoid = torch.sigmoid
    assert found["d_real"].item() == pytest.approx(sigmoid(real[:2]).mean().item())
    assert found["d_fake"].item() == pytest.approx(sigmoid(fake).mean().item())
    assert found["d_accuracy"].item() == pytest.approx((0.5 + 0.75) / 2)
    squares = standing(torch.tensor([0.4, 3.0]), torch.tensor([0.2, -5.0]), loss="least_squares")
    assert squares["d_real"].item() == pytest.approx((0.4 + 1.0) / 2)
    assert squares["d_fake"].item() == pytest.approx((0.2 + 0.0) / 2)
    assert squares["d_accuracy"].item() == pytest.approx((0.5 + 1.0) / 2)
    nothing = standing(real, fake, torch.zeros(3, dtype=torch.bool))
    assert nothing["d_real"].item() == 0.0
