"""Cityscapes' objects, from instance ids and from polygons, and masks that are drawn from these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.cityscapes import (
    FIRST,
    HEIGHT,
    INSTANCE_IDS,
    LABEL_IDS,
    POLYGONS,
    TRAIN_IDS,
    WIDTH,
    beside,
    change,
    ids,
    image,
    keep_polygons,
    labels,
    rectangle,
    save_ids,
    save_labels,
)

from semisup.catalog import create_dataset
from semisup.data.base import Objects
from semisup.data.sets.cityscapes import Cityscapes
from semisup.data.sets.cityscapes_polygons import draw_ids, labels_of
from semisup.data.verify import verify
from semisup.data.weak_labels.base import Truth, background_of, weaken
from semisup.data.weak_labels.boxes import Boxes
from semisup.errors import DataError


def same(one: Objects, other: Objects) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("labels", "masks", "boxes", "areas", "crowd")
    )


def test_objects_are_those_of_the_instance_ids_and_a_group_is_a_crowd(streets_root: Path) -> None:
    data = Cityscapes(streets_root)
    assert data.has_objects
    objects = data.objects(0)
    assert [data.classes[label] for label in objects.labels] == ["bicycle", "person", "car", "car"]
    assert objects.crowd.tolist() == [True, False, False, False]
    assert objects.boxes.tolist() == [
        [24, 10, 6, 10],
        [4, 8, 4, 10],
        [2, 6, 10, 10],
        [12, 6, 10, 10],
    ]
    # The person hides 8 x 4 pixels of the first car.
    assert objects.areas.tolist() == [60, 40, 68, 100]
    assert objects.masks.shape == (4, HEIGHT, WIDTH)
    for mask, value in zip(objects.masks, (33, 24000, 26000, 26001), strict=True):
        assert np.array_equal(mask.numpy(), ids() == value)


def test_the_classes_of_objects_have_a_background(streets_root: Path) -> None:
    data = create_dataset("cityscapes", streets_root, classes="objects")
    assert data.classes[:2] == ("background", "person")
    assert (data.classes[3], data.classes[8], data.num_classes) == ("car", "bicycle", 9)
    assert data.category_ids == (0, 24, 25, 26, 27, 28, 31, 32, 33)
    assert data.palette[3] == (0, 0, 142)
    assert data.facts() == {"other_classes": "background"}
    assert data.objects(0).labels.tolist() == [8, 1, 3, 3]
    mask = data.mask(0)
    # Out of roi stays void; sky and road are background; a group is of its class.
    assert mask[:, 0].tolist() == [255] * 2 + [0] * 22
    assert mask[10].tolist() == [0] * 2 + [3] * 2 + [1] * 4 + [3] * 14 + [0] * 2 + [8] * 6 + [0] * 2
    full = Cityscapes(streets_root)
    assert full.category_ids[:2] == (7, 8)
    assert full.facts() == {}


def test_an_image_without_objects_is_named_before_they_are_learnt_from(streets_root: Path) -> None:
    ids_of_one, drawn = beside(streets_root, INSTANCE_IDS), beside(streets_root, POLYGONS)
    ids_of_one.unlink()
    drawn.unlink()
    data = Cityscapes(streets_root, classes="objects")
    with pytest.raises(DataError, match=r"_gtFine_instanceIds\.png is missing, and other images"):
        _ = data.has_objects
    assert Cityscapes(streets_root).has_objects, "masks of classes need none"
    found = data.problems_beside(0, data.image(0), data.mask(0))
    assert [problem.file for problem in found] == [ids_of_one]
    assert found[0].reason.startswith(f"{ids_of_one} is missing; take the file of gtFine")


def test_train_ids_are_read_under_the_classes_of_objects(streets_root: Path) -> None:
    data = Cityscapes(streets_root, classes="objects")
    expected, path = data.mask(0), beside(streets_root, LABEL_IDS)
    save_labels(beside(streets_root, TRAIN_IDS), Cityscapes(streets_root).mask(0).numpy())
    path.unlink()
    assert data.mask_path(0) == beside(streets_root, TRAIN_IDS)
    assert torch.equal(data.mask(0), expected)
    assert data.objects(0).labels.tolist() == [8, 1, 3, 3]


def test_masks_and_objects_are_drawn_from_polygons_where_these_are_alone(
    streets_root: Path,
) -> None:
    data = Cityscapes(streets_root)
    mask, objects, numbers = data.mask(0), data.objects(0), data.object_numbers(0)
    keep_polygons(streets_root)
    data = Cityscapes(streets_root)
    assert data.mask_path(0) == beside(streets_root, POLYGONS)
    assert torch.equal(data.mask(0), mask)
    assert same(data.objects(0), objects)
    assert torch.equal(data.object_numbers(0), numbers)  # type: ignore[arg-type]
    assert data.facts() == {"masks_drawn_from_polygons": 3}


def test_files_of_ids_go_before_polygons_and_label_ids_before_train_ids(streets_root: Path) -> None:
    data = Cityscapes(streets_root)
    change(streets_root, lambda content: content["objects"].clear())
    save_labels(beside(streets_root, TRAIN_IDS), np.zeros((HEIGHT, WIDTH)))
    assert data.mask_path(0) == beside(streets_root, LABEL_IDS)
    assert len(data.objects(0).labels) == 4
    beside(streets_root, LABEL_IDS).unlink()
    assert data.mask_path(0) == beside(streets_root, TRAIN_IDS)


def test_objects_of_polygons_are_compared_with_the_mask_beside_them(streets_root: Path) -> None:
    data = Cityscapes(streets_root)
    expected = data.objects(0)
    beside(streets_root, INSTANCE_IDS).unlink()
    assert same(data.objects(0), expected)
    assert verify([data]).ok
    change(streets_root, lambda content: content["objects"].pop(3))
    (problem,) = verify([data]).problems
    assert problem.file == beside(streets_root, POLYGONS)
    assert "has 'sky' in row 6, column 12, where the mask" in problem.reason
    assert "has 'car' (100 such pixels)" in problem.reason


def test_caravans_and_trailers_have_instance_ids_and_are_no_objects_here(
    streets_root: Path,
) -> None:
    values = ids()
    values[20:, 0:4], values[20:, 4:8] = 29000, 30001
    save_ids(beside(streets_root, INSTANCE_IDS), values)
    save_labels(beside(streets_root, LABEL_IDS), labels(values))
    data = Cityscapes(streets_root)
    assert len(data.objects(0).labels) == 4
    assert data.mask(0)[23, :9].tolist() == [255] * 8 + [0]
    numbers = data.object_numbers(0)
    assert numbers is not None
    assert not numbers[20:].any()


def test_objects_have_numbers_of_their_own_and_groups_have_none(streets_root: Path) -> None:
    numbers = Cityscapes(streets_root).object_numbers(0)
    assert numbers is not None
    assert numbers.dtype == torch.uint8
    assert numbers[10].tolist() == [0] * 2 + [2] * 2 + [1] * 4 + [2] * 4 + [3] * 10 + [0] * 10


def test_the_255th_object_has_the_number_of_the_first(streets_root: Path) -> None:
    values = (26000 + np.arange(HEIGHT * WIDTH).clip(max=299)).reshape(HEIGHT, WIDTH)
    save_ids(beside(streets_root, INSTANCE_IDS), values)
    save_labels(beside(streets_root, LABEL_IDS), labels(values))
    data = Cityscapes(streets_root)
    numbers = data.object_numbers(0)
    assert numbers is not None
    assert numbers.flatten()[[0, 253, 254, 299]].tolist() == [1, 254, 1, 46]
    assert len(data.objects(0).labels) == 300


def test_an_image_without_an_object_has_none(streets_root: Path) -> None:
    save_ids(beside(streets_root, INSTANCE_IDS), np.full((HEIGHT, WIDTH), 7))
    save_labels(beside(streets_root, LABEL_IDS), np.full((HEIGHT, WIDTH), 7))
    objects = Cityscapes(streets_root).objects(0)
    assert objects.masks.shape == (0, HEIGHT, WIDTH)
    assert objects.boxes.shape == (0, 4)
    assert objects.areas.dtype == objects.boxes.dtype == torch.float64


def test_where_no_objects_are_told_apart_there_are_none(cityscapes_root: Path) -> None:
    data = Cityscapes(cityscapes_root)
    assert not data.has_objects
    assert data.object_numbers(0) is None
    assert data.problems_beside(0, data.image(0), data.mask(0)) == []


def test_two_cars_that_touch_get_two_boxes(streets_root: Path) -> None:
    data = Cityscapes(streets_root, classes="objects")
    numbers = data.object_numbers(0)
    assert numbers is not None
    truth = Truth(data.mask(0).numpy(), numbers.numpy(), background_of(data))
    cars = [region.box for region in truth.regions if region.label == 3]
    assert cars == [(12, 6, 22, 16), (2, 6, 12, 16)]
    alone = Truth(data.mask(0).numpy(), None, background_of(data))
    assert sum(region.label == 3 for region in alone.regions) == 1
    assert set(np.unique(weaken(Boxes(), truth, FIRST, 0))) == {0, 1, 3, 8, 255}


def drawn(tmp_path: Path, *objects: dict[str, Any], size: tuple[int, int] = (8, 10)) -> np.ndarray:
    path = tmp_path / "a_gtFine_polygons.json"
    content = {"imgHeight": size[0], "imgWidth": size[1], "objects": list(objects)}
    path.write_text(json.dumps(content))
    return draw_ids(path)


def test_later_polygons_hide_earlier_ones_and_what_none_covers_is_unlabelled(
    tmp_path: Path,
) -> None:
    found = drawn(
        tmp_path,
        rectangle("road", 1, 1, 8, 7),
        rectangle("polegroup", 2, 2, 3, 4),
        rectangle("car", 3, 3, 5, 5),
        rectangle("cargroup", 5, 3, 6, 5),
        rectangle("person", 1, 6, 2, 7) | {"deleted": 1},
        rectangle("car", 8, 3, 8, 5) | {"deleted": False},
        rectangle("license plate", 1, 1, 8, 7),
    )
    assert found.tolist() == [
        [0] * 10,
        [0, 7, 7, 7, 7, 7, 7, 7, 7, 0],
        [0, 7, 18, 18, 7, 7, 7, 7, 7, 0],
        [0, 7, 18, 26000, 26000, 26, 26, 7, 26001, 0],
        [0, 7, 7, 26000, 26000, 26, 26, 7, 26001, 0],
        [0, 7, 7, 7, 7, 7, 7, 7, 7, 0],
        [0, 7, 7, 7, 7, 7, 7, 7, 7, 0],
        [0] * 10,
    ]
    assert set(np.unique(labels_of(found))) == {0, 7, 18, 26}
    assert labels_of(found).dtype == np.uint8


def by_definition(corners: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    """The rule pixel by pixel, in double precision."""
    covered = np.zeros(size, bool)
    whole = [(int(x), int(y)) for x, y in corners]
    for row in range(size[0]):
        places = sorted(
            x + (row + 0.5 - y) * (to_x - x) / (to_y - y)
            for (x, y), (to_x, to_y) in zip(whole, whole[1:] + whole[:1], strict=True)
            if min(y, to_y) < row + 0.5 < max(y, to_y)
        )
        for enters, leaves in zip(places[::2], places[1::2], strict=True):
            for column in range(size[1]):
                covered[row, column] |= enters - 0.5 <= column <= leaves + 0.5
    return covered


def test_polygons_of_every_shape_cover_what_the_rule_says(tmp_path: Path) -> None:
    """Corners beyond the image, edges that cross and lie on one another, no whole numbers."""
    generator, size = np.random.default_rng(1), (23, 31)
    for count in (3, 3, 4, 5, 7, 12, 40):
        corners = generator.uniform(-12, 45, (count, 2)).tolist()
        found = drawn(tmp_path, {"label": "road", "polygon": corners}, size=size)
        assert np.array_equal(found == 7, by_definition(corners, size))
    flat = [[2, 5], [20, 5], [9, 5]]
    assert not drawn(tmp_path, {"label": "road", "polygon": flat}, size=size).any()
    above = [[2, -9], [20, -9], [9, -2]]
    assert not drawn(tmp_path, {"label": "road", "polygon": above}, size=size).any()
    left = [[-9, 2], [-3, 9], [-9, 20]]
    assert not drawn(tmp_path, {"label": "road", "polygon": left}, size=size).any()


def test_many_corners_are_drawn_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corners = np.random.default_rng(2).integers(0, 30, (50, 2)).tolist()
    one = {"label": "road", "polygon": corners}
    expected = drawn(tmp_path, one, size=(30, 30))
    monkeypatch.setattr("semisup.data.sets.cityscapes_polygons._MOST_CROSSINGS", 120)
    assert np.array_equal(drawn(tmp_path, one, size=(30, 30)), expected)


def test_published_ids_come_out_of_their_polygons_to_the_pixel(shared_data: Path) -> None:
    found = sorted((shared_data / "cityscapes").rglob("*_polygons.json"))
    assert len(found) == 4
    for path in found:
        drawn_ids = draw_ids(path)
        for ending, values in ((INSTANCE_IDS, drawn_ids), (LABEL_IDS, labels_of(drawn_ids))):
            published = np.array(Image.open(path.with_name(path.name.replace(POLYGONS, ending))))
            assert np.array_equal(values, published), path.name


def test_published_objects_agree_with_their_masks(shared_data: Path) -> None:
    data = Cityscapes(shared_data, classes="objects")
    assert data.has_objects
    for index in (1, 2):
        mask, objects = data.mask(index), data.objects(index)
        assert data.problems_beside(index, torch.empty(3, *mask.shape), mask) == []
        assert objects.masks.sum(0, dtype=torch.uint8).max() == 1
        colours = objects.masks * objects.labels.to(torch.uint8)[:, None, None]
        assert torch.equal(colours.sum(0, dtype=torch.uint8), torch.where(mask == 255, 0, mask))


@pytest.mark.parametrize("ending", [LABEL_IDS, POLYGONS, INSTANCE_IDS])
def test_masks_whose_image_is_not_there_are_named(streets_root: Path, ending: str) -> None:
    data = [Cityscapes(streets_root, part) for part in ("train", "val")]
    assert verify(data).notes == ()
    # Another city's folder is another place.
    other = beside(streets_root, ending, FIRST.replace("aachen", "ulm"))
    other.parent.mkdir()
    other.write_bytes(beside(streets_root, ending).read_bytes())
    (note,) = verify(data).notes
    assert note == f"1 mask has no image: {other.name}"
    image(streets_root, "bochum_000000_000313").unlink()
    (note,) = verify([Cityscapes(streets_root)]).notes
    bochum = beside(streets_root, INSTANCE_IDS, "bochum_000000_000313")
    assert note == f"2 masks have no image: {bochum.name}, {other.name}"
    union = [Cityscapes(streets_root, part) for part in ("train", "trainval")]
    assert verify(union).notes == (note,)
