"""Combinations of classes: every subset in its turn, and windows that keep the promise."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from semisup.data.sets.voc import Voc
from semisup.data.views.class_crops import CombinationView
from semisup.data.views.cropping import View
from semisup.errors import RecipeError
from semisup.types import IGNORE


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(**places: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """A picture of 60 x 80 with rectangles (top, left, height, width) of label 3 for `c3`.

    Red is the row and green the column, so that a crop shows where it comes from.
    """
    mask = torch.zeros(60, 80, dtype=torch.uint8)
    for name, (top, left, height, width) in places.items():
        mask[top : top + height, left : left + width] = int(name[1:])
    rows, columns = torch.arange(60, dtype=torch.uint8), torch.arange(80, dtype=torch.uint8)
    image = torch.stack(
        [rows[:, None].expand(60, 80), columns[None].expand(60, 80), torch.full((60, 80), 200)]
    )
    return image.byte(), mask


THREE = blocks(c2=(5, 5, 20, 25), c5=(30, 40, 20, 30), c9=(10, 50, 10, 12), c255=(55, 0, 5, 80))


def views(count: int, view: CombinationView, picture: tuple[Tensor, Tensor]) -> list[View]:
    return [view(*picture, seeded(number), number) for number in range(count)]


def selected(view: View) -> tuple[int, ...]:
    assert view.selection is not None
    assert view.selection.dtype == torch.int64
    return tuple(view.selection.tolist())


def test_every_subset_comes_once_a_round() -> None:
    found = [selected(view) for view in views(14, CombinationView((32, 32)), THREE)]
    every = {subset for size in (1, 2, 3) for subset in combinations((2, 5, 9), size)}
    assert set(found[:7]) == every
    assert found[:7] == found[7:]
    # Wherever it begins, and however large the number of the turn is.
    far = [selected(CombinationView((32, 32))(*THREE, seeded(0), 2**62 + n)) for n in range(7)]
    assert set(far) == every


def test_two_classes_are_cut_alone_as_often_as_together() -> None:
    picture = blocks(c1=(0, 0, 20, 20), c4=(30, 30, 20, 20))
    assert [selected(view) for view in views(3, CombinationView((32, 32)), picture)] == [
        (1,), (4,), (1, 4),
    ]  # fmt: skip


@pytest.fixture
def resorts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The windows that were the last resort."""
    last_resort = CombinationView._last_resort
    found: list[tuple[int, ...]] = []

    def noted(view: CombinationView, sums: Any) -> tuple[int, int, int, int]:
        found.append(last_resort(view, sums))
        return found[-1]  # type: ignore[return-value]

    monkeypatch.setattr(CombinationView, "_last_resort", noted)
    return found


@pytest.mark.parametrize("crop", [(32, 32), (20, 50), (60, 24)])
def test_windows_hold_what_they_promise(
    crop: tuple[int, int], resorts: list[tuple[int, ...]]
) -> None:
    """Read back from the picture: red and green of its pixels are their rows and columns."""
    options = CombinationView(crop, flip=False, held=0.6, cover=0.1)
    _, mask = THREE
    drawn = 0
    for number in range(70):
        resorts.clear()
        view = options(*THREE, seeded(number), number)
        subset = view.selection
        assert subset is not None
        rows, columns = view.image[0][view.valid], view.image[1][view.valid]
        # A pixel is averaged over those it covers: the outermost may be one off.
        down = slice(max(0, int(rows.min()) - 1), int(rows.max()) + 2)
        across = slice(max(0, int(columns.min()) - 1), int(columns.max()) + 2)
        for label in subset:
            share = (mask[down, across] == label).sum() / (mask == label).sum()
            assert share >= (1.0 if resorts else 0.6)
        assert view.mask is not None
        drawn += not resorts
        cover = torch.isin(view.mask, subset.byte()).float().mean()
        assert resorts or cover > 0.1 * 0.85  # but for rounding
        if view.valid.all():
            shape = (down.stop - down.start - 2) / (across.stop - across.start - 2)
            assert shape == pytest.approx(crop[0] / crop[1], rel=0.15)
    assert drawn > 40


def test_sizes_and_places_differ() -> None:
    picture = blocks(c1=(15, 20, 30, 40))
    wide, starts, mirrored = set(), set(), 0
    for number in range(40):
        view = CombinationView((32, 32))(*picture, seeded(number), 0)
        green = view.image[1][view.valid]
        wide.add(int(green.max()) - int(green.min()))
        starts.add(int(green.min()))
        row = view.image[1, 16][view.valid[16]].int()
        mirrored += int(row[0] > row[-1])
    assert len(wide) > 15
    assert len(starts) > 10
    assert 10 < mirrored < 30
    plain = CombinationView((32, 32), flip=False)
    assert all(
        (view.image[1, 16][view.valid[16]].int().diff() >= 0).all()
        for view in views(10, plain, picture)
    )


def test_image_mask_and_valid_lie_on_each_other() -> None:
    padded = 0
    view_of = CombinationView((40, 40), sides=(0.9, 1.0), overhang=0.5, held=0.1, cover=0.0)
    for view in views(40, view_of, THREE):
        assert view.image.shape == (3, 40, 40)
        assert view.mask is not None
        assert view.mask.shape == view.valid.shape == (40, 40)
        assert (view.image[:, ~view.valid] == 0).all()
        assert (view.mask[~view.valid] == IGNORE).all()
        assert (view.image[2][view.valid] == 200).all()
        # Where the picture says it is from, the mask has this place's label, but for borders.
        rows, columns = view.image[0][view.valid].long(), view.image[1][view.valid].long()
        agree = THREE[1][rows, columns] == view.mask[view.valid]
        assert agree.float().mean() > 0.9
        padded += int(not view.valid.all())
    assert padded > 20


@pytest.mark.parametrize("place", [(0, 0, 2, 2), (58, 78, 2, 2), (30, 0, 1, 1), (20, 79, 3, 1)])
def test_a_small_thing_is_found_by_the_last_resort(place: tuple[int, int, int, int]) -> None:
    picture = blocks(c7=place)
    view = CombinationView((30, 30), tries=1, cover=0.9, flip=False)(*picture, seeded(0), 0)
    assert selected(view) == (7,)
    assert view.mask is not None
    # All of it, in a window of a quarter of the picture's longer side: 20 pixels become 30.
    area = place[2] * place[3]
    assert (view.mask == 7).sum() == pytest.approx(2.25 * area, rel=0.5, abs=2)


def test_the_last_resort_is_the_grown_box() -> None:
    picture = blocks(c7=(10, 10, 40, 20))
    view = CombinationView((50, 50), tries=1, cover=1.0, flip=False)(*picture, seeded(0), 0)
    rows, columns = (view.image[channel][view.valid].unique() for channel in (0, 1))
    # 1.2 x 40 = 48 pixels on either side about the centre of the box, (30, 20): 4 are outside.
    assert view.valid.any(0).sum() == 50 - round(4 * 50 / 48)
    assert (int(rows.min()), int(rows.max())) == (6, 53)
    assert (int(columns.min()), int(columns.max())) == (0, 43)
    assert (view.mask == 7).float().mean().item() == pytest.approx(40 * 20 / 48**2, rel=0.05)


def test_without_foreground_there_is_a_window_and_no_selection() -> None:
    picture = blocks(c255=(0, 0, 30, 80))
    for view in views(10, CombinationView((32, 32)), picture):
        assert selected(view) == ()
        assert view.mask is not None
        assert set(view.mask.unique().tolist()) <= {0, IGNORE}
        assert view.valid.float().mean() > 0.4


def test_a_class_that_is_lost_in_the_crop_leaves_the_selection() -> None:
    mask = torch.zeros(200, 200, dtype=torch.uint8)
    mask[:, :100] = 1
    mask[150, 160] = 2
    image = torch.zeros(3, 200, 200, dtype=torch.uint8)
    found = {
        selected(CombinationView((100, 100), sides=(0.9, 1.0))(image, mask, seeded(number), 2))
        for number in range(60)
    }
    assert found == {(1,), (1, 2)}


def test_the_view_depends_on_generator_and_turn_alone() -> None:
    view = CombinationView((32, 32))
    generators = [seeded(3) for _ in range(3)]
    pictures = (THREE, blocks(c1=(0, 0, 1, 1)), blocks())
    for generator, picture in zip(generators, pictures, strict=True):
        view(*picture, generator, 1)
    assert len({generator.get_state().numpy().tobytes() for generator in generators}) == 1
    one, other = (view(*THREE, seeded(5), 4) for _ in range(2))
    assert torch.equal(one.image, other.image)
    assert not torch.equal(one.image, view(*THREE, seeded(6), 4).image)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": (0, 5)}, r"crop \(0, 5\)"),
        ({"sides": (0.0, 1.0)}, "sides"),
        ({"sides": (0.5, 0.2)}, "sides"),
        ({"overhang": 0.6}, "overhang 0.6"),
        ({"tries": 0}, "tries 0"),
        ({"held": 0.0}, "held 0.0"),
        ({"cover": 1.5}, "cover 1.5"),
        ({"grow": 0.5}, "grow 0.5"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=rf"combinations of classes: {words}.* its range"):
        CombinationView(**{"crop": (5, 5), **options})  # type: ignore[arg-type]


def test_real_masks_are_mostly_cut_by_a_drawn_window(
    shared_data: Path, resorts: list[tuple[int, ...]]
) -> None:
    data = Voc(shared_data / "voc2012_small", "val")
    covers = []
    for index in range(0, 240, 8):
        image, mask = data.image(index), data.mask(index)
        for turn in range(3):
            view = CombinationView((128, 128))(image, mask, seeded(index + turn), turn)
            assert selected(view)
            assert view.mask is not None
            assert view.selection is not None
            covers.append(torch.isin(view.mask, view.selection.byte()).float().mean())
    assert len(resorts) < 0.1 * len(covers)
    assert torch.stack(covers).mean() > 0.2
