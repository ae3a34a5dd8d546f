"""Weak labels that are made of masks: what holds of every kind, and each kind on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.weak_labels import ALL, VOID, blobs, clicks, coloured, made

from semisup.data.weak_labels.base import ImageRandom, Truth, WeakKind, weaken
from semisup.data.weak_labels.blocks import Blocks
from semisup.data.weak_labels.boxes import Box, Boxes, RefinedBoxes, fill
from semisup.data.weak_labels.clicks import Click
from semisup.data.weak_labels.coarse import Coarse, filled, outline_of, simplified
from semisup.data.weak_labels.points import Points, draw_click
from semisup.data.weak_labels.regions import regions_of
from semisup.data.weak_labels.scribbles import Scribbles, stroke
from semisup.data.weak_labels.writing import KINDS
from semisup.errors import RecipeError


def test_all_kinds_in_the_table_are_tried_here() -> None:
    assert set(KINDS) == {kind.name for kind in ALL.values()}


@pytest.mark.parametrize("name", ALL)
def test_the_seed_and_the_id_say_what_is_drawn(name: str) -> None:
    mask, kind = blobs(1, 80, 90), ALL[name]
    truth = Truth(mask, picture=lambda: coloured(mask))
    once = weaken(kind, truth, "one", 0)
    assert np.array_equal(once, weaken(kind, truth, "one", 0))
    others = [weaken(kind, truth, "two", 0), weaken(kind, truth, "one", 1)]
    random = name not in ("boxes", "refined boxes", "coarse", "grown", "shrunk")
    assert all(random != np.array_equal(once, other) for other in others)


def test_a_void_mask_has_no_label() -> None:
    mask = np.full((8, 9), VOID, np.uint8)
    assert all((made(kind, mask) == VOID).all() for kind in ALL.values())


@pytest.mark.parametrize(
    ("kind", "options", "what"),
    [
        (Points, {"clicks": 0}, "clicks >= 1"),
        (Points, {"radius": -1}, "radius >= 0"),
        (Points, {"miss_rate": 1.5}, "miss_rate in 0..1"),
        (Scribbles, {"width": 0}, "width >= 1"),
        (Scribbles, {"length": 0.0}, "length above 0"),
        (Boxes, {"jitter": -1.0}, "jitter >= 0"),
        (RefinedBoxes, {"middle": 1.5}, "middle and sure in"),
        (RefinedBoxes, {"sure": -0.5}, "middle and sure in"),
        (Blocks, {"share": 0.0}, "share above 0"),
        (Blocks, {"grid": 0}, "grid >= 1"),
        (Coarse, {"corners": 2}, "corners >= 3"),
        (Coarse, {"margin": -1}, "margin >= 0"),
    ],
)
def test_an_option_out_of_its_range_is_refused(
    kind: type[WeakKind], options: dict[str, Any], what: str
) -> None:
    with pytest.raises(RecipeError, match=what):
        kind(**options)


def test_draws_do_not_change_from_version_to_version() -> None:
    draws = ImageRandom(3, "points", "one")
    assert [draws.below(1000) for _ in range(4)] == [423, 909, 55, 396]


# Regions.


def test_regions_are_connected_pixels_diagonally_too_the_largest_first() -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[1:4, 1:4] = 1
    mask[4:8, 4:8] = 1  # touches the first at a corner
    mask[0:4, 9:12] = 1
    mask[11, 0] = 1  # a speck
    found = [(r.label, r.area, r.box) for r in regions_of(mask)]
    assert found == [
        (0, 144 - 25 - 12 - 1, (0, 0, 12, 12)),
        (1, 25, (1, 1, 8, 8)),
        (1, 12, (9, 0, 12, 4)),
    ]


def test_a_class_of_specks_alone_keeps_its_largest() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[0, 0], mask[5, 5:7] = 2, 2
    assert [(r.label, r.area) for r in regions_of(mask)] == [(0, 78), (2, 2)]


def test_an_object_is_one_region_in_however_many_parts_it_is_seen() -> None:
    mask, numbers = np.zeros((12, 20), np.uint8), np.zeros((12, 20), np.uint8)
    mask[2:10, 1:19] = 3
    numbers[2:10, 1:6], numbers[2:10, 14:19], numbers[2:10, 6:14] = 7, 7, 9
    numbers[0], numbers[11] = 5, 255  # of another class, and void: of no object here
    found = [(r.label, r.area) for r in regions_of(mask, numbers) if r.label == 3]
    assert found == [(3, 80), (3, 64)]
    assert [(r.label, r.area) for r in regions_of(mask) if r.label == 3] == [(3, 144)]


# Points.


@pytest.mark.parametrize("rate", [0.0, 0.182, 0.5, 1.0])
def test_clicks_lie_beside_their_object_at_the_rate_asked_for(rate: float) -> None:
    hits = []
    for seed in range(60):
        mask = blobs(seed, 60, 60, 3)
        placed = clicks(Points(miss_rate=rate, clicks=5), mask, seed)
        hits += [bool(mask[c.row, c.column] == c.label) for c in placed]
    # Beside its object a click may lie on another one of its class, which is no error then.
    share = 1 - np.mean(hits)
    error = 3 * np.sqrt(max(rate * (1 - rate), 1e-9) / len(hits))
    assert 0.85 * rate - error <= share <= rate + error


def test_a_click_that_fills_the_image_cannot_lie_beside_it() -> None:
    placed = clicks(Points(miss_rate=1.0), np.zeros((5, 6), np.uint8))
    assert [c.label for c in placed] == [0]


def test_the_pixels_of_a_region_are_clicked_alike() -> None:
    mask = np.full((3, 40), VOID, np.uint8)
    mask[1] = 1
    truth, points = Truth(mask), Points()
    placed = (points.place(truth, ImageRandom(seed, "one")) for seed in range(4000))
    columns = [click.column for clicks_of_seed in placed for _, click in clicks_of_seed]
    counts = np.bincount(columns, minlength=40)
    assert abs(counts - 100).max() < 45  # 4.5 standard deviations


def test_a_disc_is_drawn_on_its_region_alone_and_cut_at_the_border() -> None:
    labels = np.full((7, 7), VOID, np.uint8)
    draw_click(labels, Click(0, 3, 2), 2)
    far = [(r, c) for r in range(7) for c in range(7) if r**2 + (c - 3) ** 2 > 4]
    assert (labels != VOID).sum() == 49 - len(far)
    assert all(labels[place] == VOID for place in far)
    mask = np.zeros((7, 7), np.uint8)
    mask[:, 4:] = 1
    label = np.full((7, 7), VOID, np.uint8)
    draw_click(label, Click(3, 4, 1), 2, regions_of(mask)[1])
    assert (label[:, :4] == VOID).all()
    assert (label[1:6, 4] == 1).all()


# Scribbles.


def test_a_scribble_runs_along_the_middle_of_a_bar() -> None:
    inside = np.ones((21, 200), np.bool_)
    line = stroke(inside, 0.6, ImageRandom(0, "bar"))
    assert abs(line[:, 0] - 10).max() <= 5
    assert abs(line[-1, 1] - line[0, 1]) > 0.5 * 200 * 0.6


def test_a_scribble_turns_with_its_region() -> None:
    """A ring cut open: the ends are near, but the way between them is long."""
    y, x = np.mgrid[-50:51, -50:51]
    radius = np.hypot(y, x)
    ring = (radius < 48) & (radius > 36) & ~((x > 0) & (abs(y) < 4))
    line = stroke(ring, 0.9, ImageRandom(0, "ring"))
    length = np.hypot(*np.diff(line, axis=0).T).sum()
    assert length > 0.5 * 2 * np.pi * 42
    inside = ring[tuple(np.rint(line).astype(int).T)]
    assert inside.mean() > 0.95


def test_a_longer_share_makes_a_longer_scribble() -> None:
    inside = np.ones((30, 150), np.bool_)
    short, long = (
        np.mean([np.ptp(stroke(inside, share, ImageRandom(s, "bar"))[:, 1]) for s in range(30)])
        for share in (0.1, 0.9)
    )
    assert long > 1.3 * short


# Boxes.


def test_boxes_bound_their_regions_and_the_smallest_is_on_top() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[2:18, 3:25] = 1
    mask[5:9, 6:12] = 2
    placed = Boxes().place(Truth(mask), ImageRandom(0))
    assert placed == [Box(3, 2, 25, 18, 1), Box(6, 5, 12, 9, 2)]
    labels = np.full_like(mask, VOID)
    fill(labels, placed[::-1], 0)
    assert np.array_equal(labels, mask)


def test_void_stays_void_and_without_a_background_all_classes_are_boxed() -> None:
    mask = np.full((20, 30), VOID, np.uint8)
    mask[2:18, 3:25] = 1
    mask[5:9, 6:12] = 0
    mask[10, 10] = VOID
    expected = np.full_like(mask, VOID)
    expected[2:18, 3:25] = 1
    everything = weaken(Boxes(), Truth(mask, background=-1), "one", 0)
    assert (everything[5:9, 6:12] == 0).all()
    everything[5:9, 6:12] = 1
    expected[10, 10] = VOID
    assert np.array_equal(everything, expected)
    some = made(Boxes(), mask)
    assert (some == 0).sum() == 0  # what is void is not background, and the hole is in the box


def test_a_box_is_off_by_the_pixels_asked_for() -> None:
    mask = np.zeros((300, 300), np.uint8)
    mask[100:200, 100:200] = 1
    sides = np.array(
        [Boxes(jitter=5.0).place(Truth(mask), ImageRandom(seed))[0][:4] for seed in range(300)]
    )
    off = sides - (100, 100, 200, 200)
    assert abs(off.mean(0)).max() < 1.0
    assert abs(off.std(0) - 5.0).max() < 0.8


def test_a_box_that_is_far_off_still_lies_in_the_image() -> None:
    mask = np.zeros((6, 6), np.uint8)
    mask[0:2, 0:2] = 1
    for seed in range(50):
        box = Boxes(jitter=50.0).place(Truth(mask), ImageRandom(seed))[0]
        assert 0 <= box.left < box.right <= 6
        assert 0 <= box.top < box.bottom <= 6


def test_refined_boxes_find_what_differs_in_colour_where_filled_ones_are_wrong() -> None:
    mask = np.zeros((48, 60), np.uint8)
    rows, columns = np.ogrid[:48, :60]
    mask[(rows - 24) ** 2 + (columns - 20) ** 2 < 15**2] = 1
    mask[(rows - 30) ** 2 / 2 + (columns - 46) ** 2 < 9**2] = 2
    mask[24, 20] = VOID
    filled, refined = made(Boxes(), mask), made(RefinedBoxes(), mask)
    assert (filled != mask).mean() > 0.05
    assert (refined == mask)[refined != VOID].mean() > 0.995
    assert refined[24, 20] == VOID, "void of the mask stays void"


def test_refined_boxes_refuse_what_they_cannot_compare() -> None:
    mask = blobs(1)
    for picture, background, what in [
        (torch.zeros(3, 40, 56, dtype=torch.uint16), 0, "has 3 channels of 16 bits: take boxes"),
        (torch.zeros(4, 40, 56, dtype=torch.uint8), 0, "has 4 channels of 8 bits: take boxes"),
        (coloured(mask), -1, r"need a class 'background' \(0\)"),
    ]:
        truth = Truth(mask, None, background, lambda picture=picture: picture)
        with pytest.raises(RecipeError, match=what):
            weaken(RefinedBoxes(), truth, "one", 0)
    grey = Truth(mask, picture=lambda: coloured(mask)[:1])
    assert set(np.unique(weaken(RefinedBoxes(), grey, "one", 0))) <= {0, 1, 2, 3, VOID}


def test_the_background_in_a_box_that_would_be_void_is_void() -> None:
    labels = np.full((30, 40), VOID, np.uint8)
    boxes = [Box(2, 2, 12, 12, 1), Box(6, 6, 30, 28, VOID)]
    picture = coloured(np.pad(np.ones((10, 10), np.uint8), ((2, 18), (2, 28))))
    RefinedBoxes().write(labels, boxes, 0, lambda: picture)
    assert (labels[2:12, 2:12] == 1).all()
    assert (labels[12:28, 6:30] == VOID).all()
    assert (labels[:2] == 0).all()


# Blocks.


@pytest.mark.parametrize("share", [0.01, 0.12, 0.5, 1.0])
def test_blocks_label_the_share_asked_for_as_the_mask_has_it(share: float) -> None:
    mask = blobs(2, 100, 100)
    label = made(Blocks(share=share), mask)
    blocks = label.reshape(10, 10, 10, 10).swapaxes(1, 2)
    truth = mask.reshape(10, 10, 10, 10).swapaxes(1, 2)
    shown = [(blocks[i] == truth[i]).all() for i in np.ndindex(10, 10)]
    hidden = [(blocks[i] == VOID).all() for i in np.ndindex(10, 10)]
    assert sum(shown) == np.ceil(share * 100)
    assert all(a or b for a, b in zip(shown, hidden, strict=True))


# Coarse masks.


def test_the_outline_of_a_rectangle_has_its_four_corners() -> None:
    inside = np.zeros((9, 9), np.bool_)
    inside[2:5, 3:8] = True
    assert {tuple(corner) for corner in outline_of(inside).tolist()} == {
        (2.0, 3.0),
        (2.0, 8.0),
        (5.0, 8.0),
        (5.0, 3.0),
    }


def test_the_outline_goes_around_holes_and_along_the_largest_part() -> None:
    inside = np.zeros((12, 20), np.bool_)
    inside[1:11, 1:11] = True
    inside[3:9, 3:9] = False
    inside[0:2, 15:17] = True
    corners = outline_of(inside)
    assert corners.min() == 1
    assert corners.max() == 11
    assert len(corners) == 4


def test_the_outline_is_never_that_of_a_hole_however_jagged() -> None:
    inside = np.ones((100, 100), np.bool_)
    inside[20:80, 20:80:2] = False  # a comb, whose outline is longer than the border
    inside[20:22, 20:80] = False
    corners = outline_of(inside)
    assert corners.min() == 0
    assert corners.max() == 100
    assert len(corners) == 4
    mask = np.where(inside, 0, 1).astype(np.uint8)
    assert (made(Coarse(corners=4), mask)[:15] == 0).all()


def test_the_corner_that_matters_least_goes_first() -> None:
    outline = np.array([(0, 0), (0, 5), (0.1, 9), (0, 10), (10, 10), (10, 0)], np.float64)
    assert simplified(outline, 5).tolist() == [[0, 0], [0.1, 9], [0, 10], [10, 10], [10, 0]]


def test_a_rectangle_is_its_own_coarse_mask() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:15, 6:20] = 1
    assert np.array_equal(made(Coarse(corners=4), mask), mask)


def test_a_polygon_is_filled_where_it_has_the_centres_of_pixels() -> None:
    triangle = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)])
    rows, columns = np.mgrid[:12, :9] + 0.5
    inside = (columns < rows) & (rows < 10)
    own = filled(triangle, (12, 9))
    edge = columns == rows  # a centre on the border may be on either side
    assert np.array_equal(own | edge, inside | edge)
    assert not filled(triangle - 20, (12, 9)).any()
    assert filled((triangle - 0.5) * 1000, (12, 9))[1:, 0].all()


def test_a_margin_has_no_label_and_growing_moves_the_border() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    label = made(Coarse(margin=3), mask)
    assert (label[13:27, 13:27] == 1).all()
    assert (label[20, 8:12] == VOID).all()
    assert (label[:7] == 0).all()
    grown, shrunk = (made(Coarse(dilate=by), mask) for by in (4, -4))
    assert (grown == 1).sum() > 20 * 20 * 1.3
    assert (shrunk == 1).sum() < 20 * 20 * 0.7


def test_more_corners_are_nearer_to_the_mask() -> None:
    def agreement(corners: int) -> float:
        rates = []
        for seed in range(6):
            mask = blobs(seed, 100, 120, 3)
            label = made(Coarse(corners=corners), mask)
            known = (label != VOID) & (mask != VOID)
            rates.append(float((label == mask)[known].mean()))
        return float(np.mean(rates))

    few, more, many = (agreement(corners) for corners in (3, 10, 60))
    assert few < more < many
    assert many > 0.97
