"""The Frechet distance against closed forms and against its definition without a matrix root."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from semisup.metrics.frechet import frechet_distance


def draw(rows: int, size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, size, generator=generator, dtype=torch.float64)


def gaussian(mean: Sequence[float], covariance: Tensor, rows: int = 50, seed: int = 0) -> Tensor:
    """Rows whose mean and covariance are these to the last digits."""
    size = len(covariance)
    white = draw(rows, size, seed)
    white = white - white.mean(dim=0)
    factor = torch.linalg.cholesky(white.T @ white / (rows - 1))
    white = torch.linalg.solve_triangular(factor, white.T, upper=False).T
    return white @ torch.linalg.cholesky(covariance).T + torch.tensor(mean, dtype=torch.float64)


def diagonal(*deviations: float) -> Tensor:
    return torch.tensor(deviations, dtype=torch.float64).square().diag()


def by_eigenvalues(a: Tensor, b: Tensor) -> float:
    """Tr (Ca Cb)^1/2 as the sum of the roots of the eigenvalues of Ca^1/2 Cb Ca^1/2."""
    first, second = a.T.cov(), b.T.cov()
    values, vectors = torch.linalg.eigh(first)
    half = vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T
    root = torch.linalg.eigvalsh(half @ second @ half).clamp(min=0).sqrt().sum()
    shift = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    return (shift + first.trace() + second.trace() - 2 * root).item()


def test_it_is_the_formula_with_scipys_matrix_root() -> None:
    a, b = draw(60, 6), 1.5 * draw(40, 6, seed=1) + 0.3
    first, second = a.T.cov().numpy(), b.T.cov().numpy()
    root = sqrtm(first @ second).trace().real
    shift = (a.mean(dim=0) - b.mean(dim=0)).square().sum().item()
    whole = shift + first.trace() + second.trace() - 2 * root
    assert frechet_distance(a, b) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(("rows", "size"), [(60, 4), (5, 4), (4, 4), (2, 30)])
def test_equal_sets_are_at_no_distance(rows: int, size: int) -> None:
    features = 7 + 3 * draw(rows, size)
    variance = features.var(dim=0).sum().item()
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(1))
    assert 0 <= frechet_distance(features, features) < 1e-12 * variance
    assert 0 <= frechet_distance(features, features[order]) < 1e-12 * variance


def test_one_feature_is_the_closed_form_of_two_means_and_deviations() -> None:
    a, b = gaussian([1.0], diagonal(2.0)), gaussian([4.0], diagonal(0.5), seed=1)
    assert frechet_distance(a, b) == pytest.approx(3.0**2 + 1.5**2, rel=1e-9)


def test_independent_features_add_up() -> None:
    a = gaussian([0.0, 1.0, -2.0], diagonal(1.0, 2.0, 3.0))
    b = gaussian([0.5, 1.0, 2.0], diagonal(4.0, 2.0, 0.1), rows=80, seed=1)
    expected = 0.5**2 + 4.0**2 + 3.0**2 + 2.9**2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_a_shift_is_its_squared_length() -> None:
    features = draw(40, 6)
    shift = torch.arange(6.0)
    assert frechet_distance(features, features + shift) == pytest.approx(55.0, rel=1e-9)
    few = features[:3]  # singular covariances
    assert frechet_distance(few, few + shift) == pytest.approx(55.0, rel=1e-9)


@pytest.mark.parametrize(("rows", "others"), [(50, 60), (9, 60), (3, 4)])
def test_is_symmetric(rows: int, others: int) -> None:
    a, b = draw(rows, 8), 1 + 2 * draw(others, 8, seed=1)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-7)


def test_correlated_features_are_the_definition_by_eigenvalues() -> None:
    for seed in range(5):
        mixing = draw(12, 12, seed=10 + seed)
        a, b = draw(40, 12, seed), draw(70, 12, seed=20 + seed) @ mixing
        assert frechet_distance(a, b) == pytest.approx(by_eigenvalues(a, b), rel=1e-9)


def test_scales_with_the_square_of_the_features() -> None:
    for rows in (50, 5):
        a, b = draw(rows, 8), 1 + draw(rows, 8, seed=1)
        once = frechet_distance(a, b)
        for scale in (1e-4, 1e4):
            assert frechet_distance(scale * a, scale * b) == pytest.approx(
                scale**2 * once, rel=1e-6
            )


@pytest.mark.parametrize("rows", [2, 5, 20])
def test_few_images_give_the_definition_too(rows: int) -> None:
    # The definition's own rounding shows here: the root of an eigenvalue of 1e-16 is 1e-8.
    a, b = draw(rows, 20), draw(rows, 20, seed=1) * torch.linspace(0.1, 3, 20)
    assert frechet_distance(a, b) == pytest.approx(by_eigenvalues(a, b), rel=1e-6)


def test_sets_of_different_sizes_around_the_number_of_features() -> None:
    for rows, others in [(7, 9), (8, 8), (9, 7), (3, 40)]:
        a, b = draw(rows, 8), draw(others, 8, seed=1) * torch.linspace(0.1, 3, 8)
        assert frechet_distance(a, b) == pytest.approx(by_eigenvalues(a, b), rel=1e-6)


def test_a_feature_that_never_varies_or_repeats_another_is_no_trouble() -> None:
    a, b = draw(50, 5), 2 * draw(50, 5, seed=1)
    dead = torch.full((50, 3), 0.25, dtype=torch.float64)
    once = frechet_distance(a, b)
    more = frechet_distance(torch.cat([a, dead], 1), torch.cat([b, dead], 1))
    assert more == pytest.approx(once, rel=1e-9)
    twice = frechet_distance(torch.cat([a, a], 1), torch.cat([b, b], 1))
    assert twice == pytest.approx(2 * once, rel=1e-9)


def test_two_points() -> None:
    a, b = torch.zeros(4, 3), torch.full((5, 3), 2.0)
    assert frechet_distance(a, b) == pytest.approx(12.0)
    spread = gaussian([0.0, 0.0, 0.0], diagonal(1.0, 2.0, 3.0))
    assert frechet_distance(a, spread) == pytest.approx(14.0, rel=1e-9)


def test_features_of_a_network_may_be_of_any_kind() -> None:
    a, b = draw(30, 4), 1 + draw(30, 4, seed=1)
    expected = frechet_distance(a, b)
    assert frechet_distance(a.float().requires_grad_(), b.float()) == pytest.approx(
        expected, rel=1e-5
    )
    assert frechet_distance(a.half(), b.bfloat16()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (torch.zeros(1, 3), torch.zeros(4, 3), "features_a has 1 image:"),
        (torch.zeros(4, 3), torch.zeros(0, 3), "features_b has 0 images"),
        (torch.zeros(4, 3), torch.zeros(4, 2), "3 and 2 features"),
        (torch.zeros(4), torch.zeros(4, 2), r"features_a must be .* shape \(4,\)"),
        (torch.zeros(4, 0), torch.zeros(4, 0), r"features_a must be .* shape \(4, 0\)"),
        (torch.zeros(4, 2), torch.full((4, 2), math.nan), "features_b is not finite"),
        (torch.full((4, 2), -math.inf), torch.zeros(4, 2), "features_a is not finite"),
    ],
)
def test_what_is_refused(a: Tensor, b: Tensor, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        frechet_distance(a, b)
