from __future__ import annotations

import pytest
import torch

from semisup.losses.gan import with_noise


@pytest.mark.parametrize(("fraction", "deviation"), [(0.0, 0.5), (0.75, 0.125), (1.0, 0.0)])
def test_the_noise_has_its_deviation_and_fades(fraction: float, deviation: float) -> None:
    torch.manual_seed(0)
    maps = torch.full((100, 100), 3.0, dtype=torch.float64)
    noise = with_noise(maps, 0.5, fraction) - maps
    assert float(noise.std()) == pytest.approx(deviation, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    torch.manual_seed(0)
    assert torch.allclose(noise, deviation * torch.randn(100, 100, dtype=torch.float64))


def test_without_it_the_tensor_itself_comes_back_and_nothing_is_drawn() -> None:
    maps, before = torch.rand(2, 3), torch.get_rng_state()
    assert with_noise(maps, 0.0, 0.3) is maps
    assert torch.equal(before, torch.get_rng_state())


def test_gradients_pass_and_the_type_stays() -> None:
    maps = torch.rand(2, 3, dtype=torch.bfloat16, requires_grad=True)
    noisy = with_noise(maps, 0.1, 0.5)
    assert noisy.dtype == torch.bfloat16
    noisy.sum().backward()
    assert maps.grad is not None
    assert torch.equal(maps.grad, torch.ones_like(maps))
