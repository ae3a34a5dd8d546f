"""What holds of weak labels whatever the mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from support.weak_labels import ALL, EXACT, VOID, blobs, clicks, made

from semisup.data.weak_labels.coarse import outline_of, simplified
from semisup.data.weak_labels.points import Points
from semisup.data.weak_labels.regions import regions_of
from semisup.data.weak_labels.scribbles import Scribbles

hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis, of the extra dev")
given, settings, st = hypothesis.given, hypothesis.settings, hypothesis.strategies

masks = st.builds(
    blobs, st.integers(0, 10**6), st.integers(5, 40), st.integers(5, 60), st.integers(1, 6)
)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(mask=masks, seed=st.integers(0, 9))
def test_a_weak_label_never_names_an_absent_class(
    name: str, mask: npt.NDArray[np.uint8], seed: int
) -> None:
    label = made(ALL[name], mask, seed)
    assert label.shape == mask.shape
    ground = {0} if name in ("boxes", "boxes off") else set()
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
