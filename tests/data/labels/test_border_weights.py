"""The map of weights between objects: equal to a loop over pixels, and the paper's own numbers."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from semisup.data.labels.border_weights import BorderWeights
from semisup.types import IGNORE


def by_loops(mask: Tensor, weight: float, sigma: float) -> Tensor:
    """The formula, pixel by pixel, from the distances to every pixel of every object."""
    labels, count = ndimage.label((mask == 1).numpy())
    objects = [torch.from_numpy(labels == number).nonzero() for number in range(1, count + 1)]
    found = torch.zeros(mask.shape)
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            here = torch.tensor([row, column])
            distances = sorted(
                float(((pixels - here) ** 2).sum(1).min()) ** 0.5 for pixels in objects
            )
            if len(distances) > 1:
                total = distances[0] + distances[1]
                found[row, column] = weight * math.exp(-(total**2) / (2 * sigma**2))
    return found


def blobs(height: int, width: int, share: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(height // 3 + 1, width // 3 + 1, generator=generator) < share
    mask = coarse.byte().repeat_interleave(3, 0).repeat_interleave(3, 1)[:height, :width]
    mask[torch.rand(mask.shape, generator=generator) < 0.1] = IGNORE
    return mask


@pytest.mark.parametrize(
    ("share", "weight", "sigma"), [(0.1, 10.0, 5.0), (0.4, 10.0, 5.0), (0.2, 50.0, 1.5)]
)
def test_it_is_the_formula_pixel_by_pixel(share: float, weight: float, sigma: float) -> None:
    mask = blobs(24, 31, share, 0)
    found = BorderWeights(weight, sigma)(mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, by_loops(mask, weight, sigma), rtol=1e-6, atol=2e-8 * weight)
    assert float(found.max()) > 1


def test_a_gap_of_one_pixel_has_the_weight_of_the_paper() -> None:
    mask = torch.ones(9, 9, dtype=torch.uint8)
    mask[:, 4] = 0
    assert float(BorderWeights()(mask)[4, 4]) == pytest.approx(10 * math.exp(-4 / 50))
    assert 10 * math.exp(-4 / 50) == pytest.approx(9.231, abs=1e-3)


@pytest.mark.parametrize("objects", [0, 1])
def test_without_a_second_object_there_is_no_weight(objects: int) -> None:
    mask = torch.zeros(12, 14, dtype=torch.uint8)
    mask[3:6, 4:9] = objects
    assert not BorderWeights()(mask).any()


def test_void_is_no_object_and_joins_none() -> None:
    mask = torch.zeros(20, 20, dtype=torch.uint8)
    mask[5:9, 2:5] = 1
    mask[5:9, 8:11] = 1
    plain = BorderWeights()(mask)
    mask[5:9, 5:8] = IGNORE
    assert torch.equal(BorderWeights()(mask), plain)
    mask[5:9, 5:8] = 1
    assert not BorderWeights()(mask).any()


def test_objects_that_touch_by_a_corner_are_two() -> None:
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[:4, :4] = mask[4:, 4:] = 1
    assert float(BorderWeights()(mask)[3, 4]) == pytest.approx(10 * math.exp(-4 / 50))


def test_what_is_far_away_is_left_out_without_changing_float32() -> None:
    weights = BorderWeights()
    mask = torch.zeros(4, 100, dtype=torch.uint8)
    mask[:, 0] = mask[:, -1] = 1
    assert 1.0 + float(weights(mask).max()) == 1.0
    assert float(torch.tensor(1.0) + by_loops(mask, 10.0, 5.0).max()) == 1.0
