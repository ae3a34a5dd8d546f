from __future__ import annotations

import itertools
from typing import Literal

import pytest
import torch

from semisup.models.adversarial.generators import ImageGenerator


def parameters(generator: ImageGenerator) -> int:
    return sum(p.numel() for p in generator.parameters())


def test_at_64_pixels_it_is_the_dcgan_of_pytorchs_example() -> None:
    with torch.device("meta"):
        assert parameters(ImageGenerator((64, 64))) == 3_576_704


def test_count_of_any_size() -> None:
    """Grid 6 x 6, six doublings: 8w 8w 8w 4w 2w w 3."""
    with torch.device("meta"):
        generator = ImageGenerator((321, 321), noise=7, tags=20, width=4)
    channels = [32, 32, 32, 16, 8, 4, 3]
    pairs = list(itertools.pairwise(channels))
    layers = 27 * 32 * 36 + sum(16 * a * b for a, b in pairs)
    assert parameters(generator) == layers + sum(2 * a for a, _ in pairs)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("size", [(8, 8), (33, 47), (64, 64), (96, 128), (176, 176), (321, 321)])
def test_images_have_the_size_of_the_crops(
    size: tuple[int, int], upsampling: Literal["transposed", "resize"]
) -> None:
    with torch.device("meta"):
        generator = ImageGenerator(size, width=8, upsampling=upsampling)
        assert generator(torch.empty(2, 100)).shape == (2, 3, *size)


def test_images_lie_in_0_1_and_come_from_the_noise_and_the_tags() -> None:
    torch.manual_seed(0)
    generator = ImageGenerator((16, 24), noise=5, tags=2, width=8)
    noise = generator.draw(3, torch.empty(0))
    assert noise.shape == (3, 5)
    assert noise.abs().max() <= 1
    tags = torch.tensor([[True, False], [True, True], [False, False]])
    images = generator(noise, tags)
    assert images.shape == (3, 3, 16, 24)
    assert 0 <= images.min() < images.max() <= 1
    assert not torch.equal(images, generator(noise, ~tags))
    assert not torch.equal(images, generator(generator.draw(3, noise), tags))


def test_noise_of_a_source_of_its_own_leaves_torchs_alone() -> None:
    generator, state = ImageGenerator((8, 8), noise=50, width=4), torch.get_rng_state()
    source = torch.Generator().manual_seed(3)
    first, second = (generator.draw(20, torch.empty(0), source) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, generator.draw(20, torch.empty(0), source.manual_seed(3)))
    assert -1 <= first.min() < -0.9
    assert 0.9 < first.max() < 1
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(3)
    assert torch.equal(first, generator.draw(20, torch.empty(0)))


def test_the_cut_is_in_the_middle() -> None:
    generator = ImageGenerator((12, 9), width=4).eval()
    whole = ImageGenerator((12, 10), width=4).eval()
    whole.load_state_dict(generator.state_dict())
    with torch.no_grad():
        noise = generator.draw(1, torch.empty(0))
        assert torch.equal(generator(noise), whole(noise)[..., :9])


def test_a_crop_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 x 8 pixels, not 7 x 9"):
        ImageGenerator((7, 9))
    with pytest.raises(ValueError, match="must be at least 1, not 0 and 64"):
        ImageGenerator((8, 8), noise=0)
