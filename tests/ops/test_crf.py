"""The dense CRF against mean-field inference in plain loops, and the lattice against all pairs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semisup.data.sets.scenes.drawing import draw_scene
from semisup.data.sets.scenes.pairs import PAIRS
from semisup.ops import crf
from semisup.ops.crf import CrfSettings, dense_crf
from semisup.ops.lattice import Lattice

SMALL = CrfSettings(
    iterations=5,
    smoothness_weight=1.5,
    smoothness_sigma=1.2,
    appearance_weight=4.0,
    appearance_sigma=3.0,
    colour_sigma=40.0,
)


def random_case(height: int, width: int, classes: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Logits and images, both of large blocks with noise on them."""
    generator = torch.Generator().manual_seed(height + 10 * width + 100 * classes)
    coarse = torch.randn(batch, classes, 2, 3, generator=generator)
    logits = 2 * F.interpolate(coarse, (height, width))
    logits += torch.randn(logits.shape, generator=generator)
    blocks = 255 * torch.rand(batch, 3, 2, 2, generator=generator)
    images = F.interpolate(blocks, (height, width))
    images += 20 * torch.randn(images.shape, generator=generator)
    return logits.double(), images.clamp(0, 255).to(torch.uint8)


def marginals_by_loops(logits: Tensor, image: Tensor, settings: CrfSettings) -> np.ndarray:
    """Mean-field inference of one image, a pixel and a pair of pixels at a time."""
    classes, height, width = logits.shape
    pixels = [(row, column) for row in range(height) for column in range(width)]
    unary = [[float(logits[k, r, c]) for k in range(classes)] for r, c in pixels]
    colours = [[int(image[channel, r, c]) for channel in range(3)] for r, c in pixels]
    smooth = np.zeros((len(pixels), len(pixels)))
    alike = np.zeros((len(pixels), len(pixels)))
    for i, (row, column) in enumerate(pixels):
        for j, (other_row, other_column) in enumerate(pixels):
            far = (row - other_row) ** 2 + (column - other_column) ** 2
            unlike = sum((a - b) ** 2 for a, b in zip(colours[i], colours[j], strict=True))
            smooth[i, j] = math.exp(-far / (2 * settings.smoothness_sigma**2))
            alike[i, j] = math.exp(
                -far / (2 * settings.appearance_sigma**2) - unlike / (2 * settings.colour_sigma**2)
            )
    pairwise = np.zeros_like(smooth)
    weights = (settings.smoothness_weight, settings.appearance_weight)
    for weight, kernel in zip(weights, (smooth, alike), strict=True):
        degree = kernel.sum(axis=1)
        pairwise += weight * kernel / np.sqrt(np.outer(degree, degree))
    marginals = np.array([normalised(scores) for scores in unary])
    for _ in range(settings.iterations):
        heard = [
            [float(pairwise[i] @ marginals[:, k]) for k in range(classes)]
            for i in range(len(pixels))
        ]
        marginals = np.array(
            [
                normalised([u + m for u, m in zip(unary[i], heard[i], strict=True)])
                for i in range(len(pixels))
            ]
        )
    return marginals.T.reshape(classes, height, width)


def normalised(scores: list[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def made_picture(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A drawn scene, and logits that know its labels blurred and with noise. B is 1."""
    scene = draw_scene((height, width), np.random.default_rng(3), PAIRS)
    labels = torch.from_numpy(scene.mask.astype(np.int64)) % 6
    truth = F.one_hot(labels, 6).permute(2, 0, 1)[None].float()
    coarse = F.interpolate(truth, (height // 8, width // 8), mode="area")
    noise = torch.randn(coarse.shape, generator=torch.Generator().manual_seed(0))
    logits = F.interpolate(4 * coarse + 0.7 * noise, (height, width), mode="bilinear")
    return logits, torch.from_numpy(scene.picture).permute(2, 0, 1)[None]


@pytest.fixture
def always_lattice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crf, "EXACT_PIXELS", 0)


# All pairs


@pytest.mark.parametrize("size", [(6, 9), (1, 1), (1, 7), (5, 1)])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_all_pairs_are_mean_field_inference_in_plain_loops(
    size: tuple[int, int], classes: int
) -> None:
    logits, images = random_case(*size, classes)
    expected = torch.from_numpy(marginals_by_loops(logits[0], images[0], SMALL))
    found = dense_crf(logits, images, SMALL).softmax(1)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    single = dense_crf(logits.float(), images, SMALL)
    assert single.dtype is torch.float32
    torch.testing.assert_close(single.softmax(1)[0].double(), expected, rtol=0, atol=1e-5)
    if classes > 1 and size == (6, 9):
        assert (expected - logits[0].softmax(0)).abs().max() > 0.3


@pytest.mark.parametrize("left_out", ["smoothness_weight", "appearance_weight"])
def test_one_kernel_alone(left_out: str) -> None:
    settings = replace(SMALL, **{left_out: 0.0})
    logits, images = random_case(5, 8, 3)
    expected = torch.from_numpy(marginals_by_loops(logits[0], images[0], settings))
    found = dense_crf(logits, images, settings).softmax(1)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_pairs_tile_by_tile_are_those_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, images = random_case(34, 33, 3)  # 1,122 pixels: four tiles
    kept = dense_crf(logits, images, SMALL)
    monkeypatch.setattr(crf, "EXACT_PIXELS", 0)
    tiled = dense_crf(logits, images, replace(SMALL, exact=True))
    torch.testing.assert_close(tiled, kept, rtol=0, atol=1e-9)


def test_the_smoothness_kernel_is_exact_on_long_sides() -> None:
    length, sigma = 3 * crf._STRIP + 5, 3.0
    values = torch.rand(2, length, 4, dtype=torch.float64)
    kernel = crf._axis_kernel(length, sigma, values)
    found = crf._along(values, kernel, int(crf._SIGMAS * sigma) + 1)
    torch.testing.assert_close(found, kernel @ values, rtol=0, atol=1e-8)


def test_small_images_are_exact_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(features: Tensor) -> Any:
        raise AssertionError("a lattice")

    monkeypatch.setattr(crf, "Lattice", refuse)
    logits, images = random_case(64, 64, 2)
    once = replace(SMALL, iterations=1)
    dense_crf(logits, images, once)
    dense_crf(*random_case(64, 65, 2), replace(once, exact=True))
    with pytest.raises(AssertionError, match="a lattice"):
        dense_crf(*random_case(64, 65, 2), once)


# The lattice


def test_the_lattice_agrees_with_all_pairs_on_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, images = made_picture(64, 80)
    settings = CrfSettings(smoothness_sigma=1.0, appearance_sigma=20.0)
    fast = dense_crf(logits, images, settings).softmax(1)
    monkeypatch.setattr(crf, "EXACT_PIXELS", 64 * 80)  # the pairs are kept, which is faster
    exact = dense_crf(logits, images, settings).softmax(1)
    assert (fast.argmax(1) == exact.argmax(1)).float().mean() > 0.99
    assert (fast - exact).abs().sum(1).mean() / 2 < 0.005
    before = logits.softmax(1)
    assert (before - exact).abs().sum(1).mean() / 2 > 0.1  # and there was something to agree on


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_the_lattice_is_a_gaussian_but_for_its_unit(dimensions: int) -> None:
    generator = torch.Generator().manual_seed(dimensions)
    points = torch.rand(1500, dimensions, dtype=torch.float64, generator=generator) * 3 - 1.5
    values = points[:, :1].sign()  # half of the space says 1, the other -1
    kernel = (-torch.cdist(points, points).square() / 2).exp()
    ones = torch.ones(1500, 1, dtype=torch.float64)
    lattice = Lattice(points)
    unit = (lattice(ones) / kernel.sum(1, keepdim=True)).squeeze()
    assert unit.std() / unit.mean() < 0.04
    means = lattice(values) / lattice(ones)
    expected = kernel @ values / kernel.sum(1, keepdim=True)
    assert (means - expected).abs().mean() < 0.025


def test_the_matrix_of_the_lattice_is_symmetric_and_has_no_negative_eigenvalue() -> None:
    points = torch.randn(80, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = Lattice(points)(torch.eye(80, dtype=torch.float64))
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-12
    assert (matrix.diagonal() > 0).all()


def test_points_far_apart_do_not_speak_wherever_they_lie() -> None:
    points = torch.tensor([[0.0, 0, 0, 0, 0], [9, 0, 0, 0, 0], [1e7, -3e6, 0, 0, 5e6]])
    matrix = Lattice(points)(torch.eye(3))
    assert (matrix.diagonal() > 0).all()
    assert torch.count_nonzero(matrix) == 3


def test_equal_points_get_what_they_give() -> None:
    points = torch.full((7, 5), 0.3)
    lattice = Lattice(points)
    values = torch.arange(7.0).view(7, 1)
    torch.testing.assert_close(lattice(values) / lattice(torch.ones(7, 1)), torch.full((7, 1), 3.0))
    assert lattice.vertices <= 6 * 13


# Both


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.usefixtures("always_lattice")
def test_a_batch_is_its_images_one_at_a_time(exact: bool) -> None:
    settings = replace(SMALL, exact=exact)
    logits, images = random_case(9, 13, 4, batch=3)
    together = dense_crf(logits.float(), images, settings)
    alone = [dense_crf(logits[[i]].float(), images[[i]], settings) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))
    assert torch.equal(together, dense_crf(logits.float(), images, settings))  # the same bits


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.usefixtures("always_lattice")
def test_noise_is_cleaned_along_the_edge_of_the_colours(exact: bool) -> None:
    height, width = 24, 40
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    truth = (column > 12 + row // 2).long()  # an oblique edge
    image = torch.tensor([[200, 60, 50], [60, 80, 190]], dtype=torch.uint8)[truth].permute(2, 0, 1)
    noise = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(0))
    logits = F.one_hot(truth, 2).permute(2, 0, 1)[None] + noise
    right_before = (logits.argmax(1) == truth).float().mean()
    assert 0.7 < right_before < 0.8
    settings = replace(CrfSettings(), exact=exact)
    assert torch.equal(dense_crf(logits, image[None], settings).argmax(1)[0], truth)
    blind = dense_crf(logits, torch.full_like(image, 90)[None], settings).argmax(1)[0]
    assert (blind == truth).float().mean() < 0.97  # it is the colours that tell where the edge is


@pytest.mark.usefixtures("always_lattice")
def test_without_weights_it_is_the_softmax_itself() -> None:
    logits, images = random_case(8, 9, 4)
    settings = replace(SMALL, smoothness_weight=0.0, appearance_weight=0.0)
    assert torch.equal(dense_crf(logits, images, settings).softmax(1), logits.softmax(1))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (12, 9)])
@pytest.mark.parametrize("classes", [1, 21, 60])
@pytest.mark.usefixtures("always_lattice")
def test_marginals_are_finite_and_sum_to_one(
    exact: bool, size: tuple[int, int], classes: int
) -> None:
    logits, images = random_case(*size, classes, batch=2)
    images[0] = 255  # flat
    huge = logits.float() * 1e37
    huge[:, 0, 0, 0] = torch.finfo(torch.float32).min
    for given in (logits.float(), huge, torch.zeros_like(huge)):
        found = dense_crf(given, images, replace(CrfSettings(), exact=exact)).softmax(1)
        assert found.isfinite().all()
        torch.testing.assert_close(found.sum(1), torch.ones(2, *size))


def test_on_a_flat_picture_the_lattice_agrees_with_all_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, _ = random_case(30, 40, 3)
    images = torch.full((1, 3, 30, 40), 77, dtype=torch.uint8)
    exact = dense_crf(logits, images, CrfSettings()).softmax(1)
    monkeypatch.setattr(crf, "EXACT_PIXELS", 0)
    torch.testing.assert_close(
        dense_crf(logits, images, CrfSettings()).softmax(1), exact, rtol=0, atol=0.01
    )


def test_what_is_given_stays_as_it_is_and_may_be_of_any_kind() -> None:
    logits, images = random_case(6, 7, 3)
    before = logits.clone(), images.clone()
    found = dense_crf(logits, images, SMALL)
    assert found.shape == logits.shape
    assert torch.equal(logits, before[0])
    assert torch.equal(images, before[1])
    assert torch.equal(dense_crf(logits, images.double(), SMALL), found)
    side_by_side = logits.contiguous(memory_format=torch.channels_last)
    assert torch.equal(dense_crf(side_by_side, images, SMALL), found)


@pytest.mark.gpu
@pytest.mark.parametrize("exact", [True, False])
def test_a_gpu_gives_what_a_cpu_gives(exact: bool) -> None:
    logits, images = made_picture(64, 80)
    settings = replace(CrfSettings(), exact=exact)
    expected = dense_crf(logits, images, settings).softmax(1)
    found = dense_crf(logits.cuda(), images.cuda(), settings).softmax(1)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-3)
