from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor

from semisup.ops.image_pool import ImagePool

SIZE = (2, 3)


def numbered(*numbers: int) -> Tensor:
    """Images that are told apart by their one value."""
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, 3, *SIZE)


def numbers(images: Tensor) -> list[int]:
    assert images.shape[1:] == (3, *SIZE)
    assert torch.equal(images, images[:, :1, :1, :1].expand_as(images)), "an image was mixed"
    return [int(image) for image in images[:, 0, 0, 0]]


def test_while_there_is_room_all_are_kept_and_shown() -> None:
    pool = ImagePool(5, SIZE)
    assert numbers(pool.exchange(numbered(1, 2))) == [1, 2]
    assert numbers(pool.exchange(numbered(3, 4))) == [3, 4]
    assert int(pool.filled) == 4
    assert numbers(pool.images) == [1, 2, 3, 4, 0]
    shown = numbers(pool.exchange(numbered(5, 6)))
    assert shown[0] == 5
    assert int(pool.filled) == 5
    assert sorted([*numbers(pool.images), shown[1]]) == [1, 2, 3, 4, 5, 6]


def test_nothing_is_lost_and_nothing_is_shown_twice_at_once() -> None:
    """What goes in is shown now or kept; half of it, any of it, from any place."""
    torch.manual_seed(0)
    pool, swapped, at_once, ages = ImagePool(8, SIZE), 0, [0] * 4, set()
    for step in range(250):
        fresh = list(range(4 * step + 1, 4 * step + 5))
        before = numbers(pool.images)
        shown = numbers(pool.exchange(numbered(*fresh)))
        if step < 2:
            continue
        assert sorted(shown + numbers(pool.images)) == sorted(fresh + before)
        for place, (own, other) in enumerate(zip(fresh, shown, strict=True)):
            assert other == own or other in before
            at_once[place] += other != own
            ages.add(before.index(other) if other in before else None)
        swapped += sum(own != other for own, other in zip(fresh, shown, strict=True))
    assert swapped / (248 * 4) == pytest.approx(0.5, abs=0.05)
    assert min(at_once) > 80
    assert ages == {None, *range(8)}


def test_a_pool_that_is_smaller_than_the_batch() -> None:
    torch.manual_seed(0)
    pool = ImagePool(2, SIZE)
    assert numbers(pool.exchange(numbered(1, 2, 3))) == [1, 2, 3]
    seen = [numbers(pool.exchange(numbered(n, n + 1, n + 2))) for n in range(10, 40, 3)]
    assert [shown[2] for shown in seen] == list(range(12, 42, 3))
    assert any(shown[:2] != [n, n + 1] for shown, n in zip(seen, range(10, 40, 3), strict=True))


def test_a_restored_pool_goes_on_bit_for_bit() -> None:
    torch.manual_seed(0)
    pool = ImagePool(4, SIZE)
    for start in (1, 4):
        pool.exchange(numbered(start, start + 1, start + 2))
    file = io.BytesIO()
    torch.save(pool.state_dict(), file)
    file.seek(0)
    other = ImagePool(4, SIZE)
    other.load_state_dict(torch.load(file, weights_only=True))
    ends = []
    for one in (pool, other):
        torch.manual_seed(1)
        ends.append([numbers(one.exchange(numbered(n, n + 1))) for n in range(10, 30, 2)])
        ends[-1].append(numbers(one.images))
    assert ends[0] == ends[1]


def test_what_is_shown_is_cut_off_from_the_pool_and_from_the_graph() -> None:
    torch.manual_seed(0)
    pool = ImagePool(2, SIZE)
    fresh = numbered(1, 2).clone().requires_grad_()
    shown = pool.exchange(fresh)
    kept = copy.deepcopy(pool.images)
    assert not shown.requires_grad
    shown.zero_()
    assert torch.equal(pool.images, kept)
    assert torch.equal(fresh.detach(), numbered(1, 2))


def test_nothing_waits_for_the_device() -> None:
    """A meta tensor has no values: whoever asks for one is told so."""
    pool = ImagePool(3, SIZE).to("meta")
    assert pool.exchange(numbered(1, 2, 3, 4).to("meta")).shape == (4, 3, *SIZE)


def test_images_of_half_precision_stay_so() -> None:
    pool = ImagePool(2, SIZE)
    for _ in range(3):
        assert pool.exchange(numbered(1, 2).bfloat16()).dtype == torch.bfloat16
    assert pool.images.dtype == torch.float32


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 image, not 0"):
        ImagePool(0, SIZE)
