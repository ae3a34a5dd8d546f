"""Closed forms, loops over pixels, numbers of the authors' code, and pixels that must not count."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.losses.segmentation import Divisor, cross_entropy, supervised_loss
from semisup.losses.supervised import Kind, SupervisedLoss, dice, focal, lovasz, ohem
from semisup.types import IGNORE

KINDS: tuple[Kind, ...] = get_args(Kind)
BOTH = pytest.mark.parametrize("divisor", ["pixels", "weights"])
WEIGHTS = [0.5, 1.0, 2.0, 4.0]


def wave(classes: int = 4, void: tuple[int, ...] = (0, 5, 77)) -> tuple[Tensor, Tensor]:
    """Logits 2 x 4 x 8 x 8 and masks of the classes below `classes`, by a formula."""
    place = torch.arange(1, 513, dtype=torch.float64)
    logits = (4 * (0.37 * place).sin()).view(2, 4, 8, 8)
    mask = ((0.29 * place[:128]).sin().abs() * classes).floor().long()
    mask[list(void)] = IGNORE
    return logits.requires_grad_(), mask.view(2, 8, 8)


def pixels(logits: Tensor, mask: Tensor) -> list[tuple[list[float], int]]:
    """Probabilities and class of each valid pixel, in floats of Python."""
    found = []
    for image, labels in zip(logits.tolist(), mask.tolist(), strict=True):
        for y, row in enumerate(labels):
            for x, label in enumerate(row):
                powers = [math.exp(channel[y][x]) for channel in image]
                if label != IGNORE:
                    found.append(([power / sum(powers) for power in powers], label))
    return found


def mean(values: list[float], weights: list[float], divisor: str) -> float:
    total = math.fsum(v * w for v, w in zip(values, weights, strict=True))
    return total / (math.fsum(weights) if divisor == "weights" else len(values))


def looped_ohem(logits: Tensor, mask: Tensor, divisor: str, keep: int = 40) -> float:
    pairs = pixels(logits, mask)
    limit = max(0.3, sorted(p[label] for p, label in pairs)[keep - 1])
    kept = [(p[label], label) for p, label in pairs if p[label] <= limit]
    values = [-math.log(p) for p, _ in kept]
    return mean(values, [WEIGHTS[label] for _, label in kept], divisor)


def looped_focal(logits: Tensor, mask: Tensor, divisor: str) -> float:
    pairs = pixels(logits, mask)
    values = [-((1 - p[label]) ** 1.5) * math.log(p[label]) for p, label in pairs]
    return mean(values, [WEIGHTS[label] for _, label in pairs], divisor)


def looped_dice(logits: Tensor, mask: Tensor, divisor: str) -> float:
    pairs = pixels(logits, mask)
    present = sorted({label for _, label in pairs})
    values = []
    for k in present:
        both = math.fsum(p[k] for p, label in pairs if label == k)
        sizes = math.fsum(p[k] for p, _ in pairs) + sum(label == k for _, label in pairs)
        values.append(1 - 2 * both / sizes)
    return mean(values, [WEIGHTS[k] for k in present], divisor)


def looped_lovasz(logits: Tensor, mask: Tensor, divisor: str) -> float:
    pairs = pixels(logits, mask)
    present = sorted({label for _, label in pairs})
    values = []
    for k in present:
        errors = sorted(((abs((label == k) - p[k]), label == k) for p, label in pairs))[::-1]
        true = sum(hit for _, hit in errors)
        value, before = 0.0, 0.0
        for count in range(1, len(errors) + 1):
            wrong = errors[:count]
            missed = sum(hit for _, hit in wrong)
            after = 1 - (true - missed) / (true + count - missed)
            value, before = value + errors[count - 1][0] * (after - before), after
        values.append(value)
    return mean(values, [WEIGHTS[k] for k in present], divisor)


LOOPS: tuple[tuple[Callable[..., Tensor], Callable[..., float]], ...] = (
    (partial(ohem, threshold=0.3, min_kept=40), looped_ohem),
    (partial(ohem, threshold=0.3, min_kept=90), partial(looped_ohem, keep=90)),
    (partial(focal, gamma=1.5), looped_focal),
    (dice, looped_dice),
    (lovasz, looped_lovasz),
)


@BOTH
@pytest.mark.parametrize(("loss", "loop"), LOOPS)
@pytest.mark.parametrize("classes", [3, 4])
def test_a_loop_over_pixels_gives_the_same(
    loss: Callable[..., Tensor], loop: Callable[..., float], classes: int, divisor: str
) -> None:
    logits, mask = wave(classes)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    found = loss(logits, mask, class_weights=weights, divisor=divisor)
    assert found.item() == pytest.approx(loop(logits, mask, divisor), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "classes", "value", "slope"),
    [  # from the code of U2PL and UniMatch (OHEM), of Berman et al., and from loops
        (partial(ohem, threshold=0.7, min_kept=10), 4, 4.78605969269, 0.124691916636),
        (partial(ohem, threshold=0.2, min_kept=120), 4, 4.00453702578, 0.104046213716),
        (partial(ohem, threshold=0.7, min_kept=1000), 4, 3.84550058871, 0.0998864907256),
        (lovasz, 3, 0.807871546533, 0.00977882079278),
        (dice, 4, 0.762584672241, 0.0117181940539),
        (focal, 4, 3.68624484502, 0.105019568048),
    ],
)
def test_numbers_of_the_authors_code(
    loss: Callable[..., Tensor], classes: int, value: float, slope: float
) -> None:
    logits, mask = wave(classes)
    found = loss(logits, mask)
    assert found.item() == pytest.approx(value, rel=1e-10)
    (gradient,) = torch.autograd.grad(found, logits)
    assert gradient.norm().item() == pytest.approx(slope, rel=1e-10)


def test_both_divisors_of_weighted_cross_entropy() -> None:
    logits, mask = wave()
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    loss = partial(cross_entropy, logits, mask, class_weights=weights)
    assert loss(divisor="pixels").item() == pytest.approx(9.93331948557, rel=1e-10)
    found = loss(divisor="weights").item()
    assert found == pytest.approx(3.89847703515, rel=1e-10)
    torchs = F.cross_entropy(logits, mask, weight=weights, ignore_index=IGNORE)
    assert found == pytest.approx(torchs.item(), rel=1e-12)


def test_closed_forms_of_uniform_probabilities() -> None:
    logits, mask = torch.zeros(1, 4, 2, 4), torch.arange(4).repeat(2).view(1, 2, 4)
    assert ohem(logits, mask).item() == pytest.approx(math.log(4))
    assert focal(logits, mask).item() == pytest.approx(0.75**2 * math.log(4))
    assert dice(logits, mask).item() == pytest.approx(1 - 2 * (2 / 4) / (8 / 4 + 2))
    # Of each class two errors of 3/4 and six of 1/4, and 1 - IoU is 1 once both are wrong.
    assert lovasz(logits, mask).item() == pytest.approx(0.75)


def test_the_hardest_pixels_count_and_no_others() -> None:
    shares = torch.tensor([0.9, 0.6, 0.2, 0.4], dtype=torch.float64)
    logits = torch.stack([shares.log(), (1 - shares).log()]).view(1, 2, 1, 4)
    mask = torch.zeros(1, 1, 4, dtype=torch.int64)
    kept = {
        (0.5, 1): [0.2, 0.4],
        (0.5, 3): [0.2, 0.4, 0.6],
        (0.1, 1): [0.2],
        (0.7, 2): [0.2, 0.4, 0.6],
    }
    for (threshold, least), hard in kept.items():
        expected = sum(-math.log(share) for share in hard) / len(hard)
        found = ohem(logits, mask, threshold=threshold, min_kept=least)
        assert found.item() == pytest.approx(expected), (threshold, least)


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, mask = wave()
    found = focal(logits, mask, gamma=0.0)
    assert found.item() == pytest.approx(cross_entropy(logits, mask).item(), rel=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_of_a_pixel_that_is_surely_right_has_a_gradient_of_0(gamma: float) -> None:
    logits = torch.tensor([200.0, -200.0]).view(1, 2, 1, 1).requires_grad_()
    loss = focal(logits, torch.zeros(1, 1, 1, dtype=torch.int64), gamma=gamma)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0.0
    assert gradient.abs().sum() == 0.0


def test_lovasz_of_hard_predictions_is_the_mean_of_1_minus_iou() -> None:
    torch.manual_seed(0)
    said, mask = torch.randint(0, 3, (2, 9, 9)), torch.randint(0, 3, (2, 9, 9))
    logits = 1e4 * F.one_hot(said, 3).permute(0, 3, 1, 2).double()
    ious = [((said == k) & (mask == k)).sum() / ((said == k) | (mask == k)).sum() for k in range(3)]
    assert lovasz(logits, mask).item() == pytest.approx(1 - sum(ious).item() / 3)


def test_lovasz_of_many_pixels_is_right_in_float32() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 2, 512, 512), torch.randint(0, 2, (1, 512, 512))
    exact = lovasz(logits.double(), mask).item()
    assert lovasz(logits, mask).item() == pytest.approx(exact, rel=1e-5)


@pytest.fixture(params=KINDS)
def loss(request: pytest.FixtureRequest) -> SupervisedLoss:
    return SupervisedLoss(request.param, ohem_min_kept=5)


def test_gradients_are_right(loss: SupervisedLoss) -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[[0, 1, IGNORE], [2, IGNORE, 0], [1, 1, 2]]])
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, mask, class_weights=weights), logits)


def test_void_has_no_loss_and_no_gradient(loss: SupervisedLoss) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    mask = torch.randint(0, 3, (2, 4, 4))
    mask[:, :2] = IGNORE
    found = loss(logits, mask)
    assert found.item() == pytest.approx(loss(logits[:, :, 2:], mask[:, 2:]).item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(found, logits)
    assert gradient[:, :, :2].abs().sum() == 0
    assert gradient[:, :, 2:].abs().sum() > 0


@BOTH
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
def test_all_void_gives_zero_and_zero_gradient(
    loss: SupervisedLoss, weights: list[float] | None, divisor: Any
) -> None:
    loss = SupervisedLoss(loss.kind, divisor, ohem_min_kept=5)
    logits = (50 * torch.randn(1, 3, 4, 4)).requires_grad_()
    void = torch.full((1, 4, 4), IGNORE)
    found = loss(logits, void, class_weights=None if weights is None else torch.tensor(weights))
    assert found.item() == 0.0
    (gradient,) = torch.autograd.grad(found, logits)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_sure_logits_have_finite_gradients(loss: SupervisedLoss) -> None:
    torch.manual_seed(0)
    logits = (1e3 * torch.randn(1, 3, 6, 6)).requires_grad_()
    mask = torch.randint(0, 2, (1, 6, 6))
    found = loss(logits, mask)
    (gradient,) = torch.autograd.grad(found, logits)
    assert found.isfinite()
    assert gradient.isfinite().all()


def test_the_memory_format_changes_nothing(loss: SupervisedLoss) -> None:
    logits, mask = wave(3)
    other = logits.detach().to(memory_format=torch.channels_last).requires_grad_()
    found, again = loss(logits, mask), loss(other, mask)
    assert again.item() == pytest.approx(found.item(), rel=1e-14)
    gradients = [torch.autograd.grad(*pair)[0] for pair in ((found, logits), (again, other))]
    torch.testing.assert_close(*gradients)


def test_mixed_precision_is_summed_in_float32(loss: SupervisedLoss) -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(1, 2, 64, 64).bfloat16(), torch.randint(0, 2, (1, 64, 64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(logits, mask)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(logits.float(), mask).item(), rel=1e-6)


def test_nothing_waits_for_the_device(loss: SupervisedLoss) -> None:
    # A meta tensor has no values: whatever would fetch one from the device raises here.
    logits = torch.empty(2, 3, 4, 4, device="meta", requires_grad=True)
    mask = torch.empty(2, 4, 4, dtype=torch.int64, device="meta")
    weights = torch.empty(3, device="meta")
    for divisor in ("pixels", "weights"):
        chosen = SupervisedLoss(loss.kind, divisor, ohem_min_kept=5)  # type: ignore[arg-type]
        found = chosen(logits, mask, class_weights=weights)
        assert torch.autograd.grad(found, logits)[0].shape == logits.shape


def test_the_loss_by_default_is_cross_entropy_to_the_bit() -> None:
    logits, mask = wave()
    for weights in (None, torch.tensor(WEIGHTS, dtype=torch.float64)):
        found = SupervisedLoss()(logits, mask, class_weights=weights)
        assert torch.equal(found, cross_entropy(logits, mask, class_weights=weights))


def test_a_sum_is_the_sum_and_auxiliary_maps_have_the_same_loss() -> None:
    logits, mask = wave(3)
    parts = cross_entropy(logits, mask) + dice(logits, mask)
    chosen = SupervisedLoss("cross_entropy+dice")
    assert torch.equal(chosen(logits, mask), parts)
    both = supervised_loss([logits, 2 * logits], mask, (0.4,), criterion=chosen)
    assert both.item() == pytest.approx((parts + 0.4 * chosen(2 * logits, mask)).item())


def test_options_reach_their_loss() -> None:
    logits, mask = wave()
    options = SupervisedLoss("ohem", ohem_threshold=0.2, ohem_min_kept=120)
    assert torch.equal(options(logits, mask), ohem(logits, mask, threshold=0.2, min_kept=120))
    options = SupervisedLoss("focal", focal_gamma=3.0)
    assert torch.equal(options(logits, mask), focal(logits, mask, gamma=3.0))


@pytest.mark.parametrize("divisor", ["pixels", "weights"])
@pytest.mark.parametrize("kind", ["ohem", "focal"])
def test_border_weights_are_added_to_the_factor_of_each_pixel(kind: Kind, divisor: Divisor) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 6, 7, generator=generator)
    mask = torch.randint(0, 2, (2, 6, 7), generator=generator)
    mask[0, :2] = IGNORE
    loss = SupervisedLoss(kind, divisor, ohem_threshold=0.6, ohem_min_kept=1)
    classes, border = torch.tensor([0.5, 2.0]), torch.rand(2, 6, 7, generator=generator)
    found = loss(logits, mask, class_weights=classes, border_weights=border)
    pixels = torch.nn.functional.cross_entropy(logits, mask, ignore_index=IGNORE, reduction="none")
    true = (-pixels).exp()
    kept = mask != IGNORE
    if kind == "focal":
        pixels = (1 - true) ** 2 * pixels
    else:
        kept &= true <= 0.6
    factors = classes[mask.masked_fill(mask == IGNORE, 0)] + border
    total = factors[kept].sum() if divisor == "weights" else kept.sum()
    torch.testing.assert_close(found, (pixels * factors)[kept].sum() / total)


@pytest.mark.parametrize("kind", ["dice", "lovasz"])
def test_losses_of_no_pixel_know_no_border_weights(kind: Kind) -> None:
    logits, mask = torch.randn(1, 2, 4, 4), torch.randint(0, 2, (1, 4, 4))
    loss = SupervisedLoss(kind)
    assert torch.equal(loss(logits, mask, border_weights=torch.ones(1, 4, 4)), loss(logits, mask))
