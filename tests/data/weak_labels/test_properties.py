"""What holds of weak labels whatever the mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from support.weak_labels import ALL, EXACT, VOID, blobs, clicks, made

from semisup.data.weak_labels.coarse import outline_of, simplified
from semisup.data.weak_labels.points import Points
from semisup.data.weak_labels.regions import SMALLEST, regions_of
from semisup.data.weak_labels.scribbles import Scribbles

hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis, of the extra dev")
given, settings, st = hypothesis.given, hypothesis.settings, hypothesis.strategies

masks = st.builds(
    blobs, st.integers(0, 10**6), st.integers(5, 40), st.integers(5, 60), st.integers(1, 6)
)

noise = st.builds(
    lambda seed, height, width, classes: (
        np.random.default_rng(seed).integers(0, classes, (height, width)).astype(np.uint8)
    ),
    *(st.integers(0, 10**6), st.integers(1, 24), st.integers(1, 24), st.integers(1, 5)),
)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(mask=masks, seed=st.integers(0, 9))
def test_a_weak_label_never_names_an_absent_class(
    name: str, mask: npt.NDArray[np.uint8], seed: int
) -> None:
    label = made(ALL[name], mask, seed)
    assert label.shape == mask.shape
    ground = {0} if name in ("boxes", "boxes off", "refined boxes") else set()
    assert set(np.unique(label)) <= set(np.unique(mask)) | ground | {VOID}


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(mask=masks, seed=st.integers(0, 9))
def test_points_scribbles_and_blocks_agree_with_the_mask(
    name: str, mask: npt.NDArray[np.uint8], seed: int
) -> None:
    label = made(EXACT[name], mask, seed)
    assert (label == mask)[label != VOID].all()


@pytest.mark.parametrize("name", ["points", "points of classes", "scribbles", "thin scribbles"])
@settings(max_examples=6, deadline=None, derandomize=True)
@given(mask=masks, seed=st.integers(0, 9))
def test_points_and_scribbles_name_every_class_that_is_there(
    name: str, mask: npt.NDArray[np.uint8], seed: int
) -> None:
    label = made(EXACT[name], mask, seed)
    assert set(np.unique(mask)) - {VOID} == set(np.unique(label)) - {VOID}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(mask=masks | noise, number=st.integers(0, 10**6), told_apart=st.booleans())
def test_regions_are_the_objects_and_what_is_connected_of_the_rest(
    mask: npt.NDArray[np.uint8], number: int, told_apart: bool
) -> None:
    numbers = blobs(number, *mask.shape, 4) if told_apart else np.zeros_like(mask)
    wanted = []
    for label in set(np.unique(mask)) - {VOID}:
        of_label, is_object = mask == label, (numbers > 0) & (numbers < VOID)
        parts = [of_label & (numbers == one) for one in np.unique(numbers[of_label & is_object])]
        rest, count = ndimage.label(of_label & ~is_object, np.ones((3, 3)))
        parts += [rest == one for one in range(1, count + 1)]
        large = [part for part in parts if part.sum() >= SMALLEST]
        wanted += [(label, part) for part in large or [max(parts, key=np.sum)]]
    found = regions_of(mask, numbers if told_apart else None)
    rank = [(-r.area, r.label, r.top, r.left) for r in found]
    assert rank == sorted(rank)
    whole = []
    for region in found:
        left, top, right, bottom = region.box
        part = np.zeros(mask.shape, np.bool_)
        part[top:bottom, left:right] = region.inside
        assert region.area == part.sum()
        assert region.inside.any(axis=0)[[0, -1]].all()
        assert region.inside.any(axis=1)[[0, -1]].all()
        whole.append((region.label, part))
    assert {(label, part.tobytes()) for label, part in whole} == {
        (label, part.tobytes()) for label, part in wanted
    }
    assert len(whole) == len(wanted)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(mask=masks)
def test_the_pixels_of_a_region_are_counted_one_by_one(mask: npt.NDArray[np.uint8]) -> None:
    for region in regions_of(mask)[:4]:
        pixels = [region.pixel(number) for number in range(region.area)]
        own = np.argwhere(region.inside) + np.array([region.top, region.left])
        assert pixels == [tuple(pixel) for pixel in own.tolist()]
        assert all(mask[pixel] == region.label for pixel in pixels)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(mask=masks, number=st.integers(1, 4))
def test_each_region_or_each_class_gets_its_clicks(
    mask: npt.NDArray[np.uint8], number: int
) -> None:
    regions, classes = regions_of(mask), set(np.unique(mask)) - {VOID}
    of_objects, of_classes = (
        clicks(Points(per=per, clicks=number), mask) for per in ("object", "class")
    )
    assert len(of_objects) == number * len(regions)
    assert sorted(c.label for c in of_classes) == sorted([*classes] * number)
    assert all(mask[c.row, c.column] == c.label for c in [*of_objects, *of_classes])


@settings(max_examples=10, deadline=None, derandomize=True)
@given(mask=masks, seed=st.integers(0, 9))
def test_a_scribble_stays_in_its_region_and_every_region_has_one(
    mask: npt.NDArray[np.uint8], seed: int
) -> None:
    label = made(Scribbles(), mask, seed)
    for region in regions_of(mask):
        left, top, right, bottom = region.box
        drawn = label[top:bottom, left:right][region.inside]
        assert (drawn == region.label).any()


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), count=st.integers(3, 20))
def test_an_outline_keeps_at_most_the_corners_asked_for(seed: int, count: int) -> None:
    region = regions_of(blobs(seed))[0]
    outline = outline_of(region.inside)
    kept = simplified(outline, count)
    assert 3 <= len(kept) <= count
    assert {tuple(c) for c in kept.tolist()} <= {tuple(c) for c in outline.tolist()}
