from __future__ import annotations

import pytest
import torch
from torch import Tensor

from semisup.data.views.blocks import BlockView, _spline, resample, smooth_noise
from semisup.data.views.cropping import View
from semisup.data.views.weak import WeakView
from semisup.data.volumes import Block
from semisup.types import IGNORE


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slab(depth: int = 9, height: int = 12, width: int = 14) -> tuple[Tensor, Tensor]:
    """Random labels, and an image whose values are they."""
    mask = torch.randint(0, 200, (depth, height, width), generator=seeded()).byte()
    return mask[None].clone(), mask


def test_a_plain_block_is_cut_out() -> None:
    image, mask = slab()
    view = BlockView(Block(4), WeakView((6, 7)))(image, mask, seeded(1))
    assert view.mask is not None
    assert view.image.shape == (1, 4, 6, 7)
    assert torch.equal(view.image[0], view.mask)
    windows = mask.unfold(0, 4, 1).unfold(1, 6, 1).unfold(2, 7, 1)
    assert (windows == view.mask).flatten(3).all(-1).sum() == 1
    assert view.valid.all()


def test_every_place_along_the_volume_is_cut() -> None:
    mask = torch.arange(6).byte()[:, None, None].expand(6, 4, 4)
    view = BlockView(Block(3), WeakView((4, 4)))
    generator = seeded()
    firsts = {int(view(mask[None], mask, generator).image[0, 0, 0, 0]) for _ in range(60)}
    assert firsts == {0, 1, 2, 3}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_of_the_blocks_are_mirrored_along_each_axis(axis: int) -> None:
    shape = [1, 1, 1]
    shape[axis] = 4
    mask = torch.arange(4).byte().view(shape).expand(4, 4, 4)
    view, generator = BlockView(Block(4), WeakView((4, 4), flip=True)), seeded()
    seen = [view(mask[None], mask, generator).image[0].flatten()[0] for _ in range(200)]
    assert 70 < sum(int(first) == 3 for first in seen) < 130


def test_masks_follow_their_images_through_a_deformation() -> None:
    coarse = torch.randint(0, 2, (4, 4, 4), generator=seeded()).byte()
    mask = torch.nn.functional.interpolate(coarse[None, None].float(), scale_factor=8)[0, 0].byte()
    view = BlockView(Block(32, rotation=90.0, deformation=3.0), WeakView((32, 32)))
    made = view(mask[None] * 200, mask, seeded(4))
    assert made.mask is not None
    seen = made.mask != IGNORE
    assert 0.5 < seen.float().mean() < 1
    assert ((made.image[0] > 100) == (made.mask == 1))[seen].float().mean() > 0.97
    assert not torch.equal(made.mask, mask)


def test_a_quarter_turn() -> None:
    image, mask = slab(2, 5, 5)
    axes = [torch.arange(side, dtype=torch.float32) for side in (2, 5, 5)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    turned = resample(
        View(image, mask, torch.ones_like(mask, dtype=torch.bool)), torch.stack([z, x, 4 - y], -1)
    )
    assert turned.mask is not None
    assert torch.equal(turned.mask, mask.rot90(1, (1, 2)))
    assert torch.equal(turned.image[0], turned.mask)
    assert turned.valid.all()


def test_what_comes_from_beyond_the_border_is_void() -> None:
    image, mask = slab(1, 4, 4)
    z, y, x = torch.meshgrid(torch.zeros(1), torch.arange(4.0), torch.arange(4.0), indexing="ij")
    moved = resample(
        View(image, mask, torch.ones_like(mask, dtype=torch.bool)), torch.stack([z, y, x + 1], -1)
    )
    assert moved.mask is not None
    assert (moved.mask[..., 3] == IGNORE).all()
    assert torch.equal(moved.mask[..., :3], mask[..., 1:])
    assert torch.equal(moved.image[0, ..., 3], image[0, ..., 2])  # mirrored


def test_padding_stays_invalid() -> None:
    image, mask = slab(4, 5, 6)
    view = BlockView(Block(4, deformation=0.5), WeakView((8, 8)))(image, mask, seeded())
    assert view.mask is not None
    assert not view.valid.all()
    assert (view.mask[~view.valid] == IGNORE).all()


def test_displacements_are_smooth_and_of_the_stated_size() -> None:
    noise = torch.stack([smooth_noise((8, 64, 65), seeded(seed)) for seed in range(20)])
    assert noise.shape[1:] == (8, 64, 65, 3)
    assert noise.diff(dim=2).abs().max() < 0.15
    assert 0.2 < noise.std() < 0.7  # a spline lies between its coarse places


def test_a_cubic_spline_keeps_a_constant() -> None:
    for side in (1, 8, 33, 96):
        assert torch.allclose(_spline(side).sum(1), torch.ones(side))


@pytest.mark.parametrize("block", [Block(4), Block(4, 30.0), Block(4, 0.0, 2.0)])
def test_the_generator_alone_decides(block: Block) -> None:
    image, mask = slab()
    view = BlockView(block, WeakView((6, 6), (0.5, 2.0), True))
    one, again, other = (view(image, mask, seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image, other.image)
