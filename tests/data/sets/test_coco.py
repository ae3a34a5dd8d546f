"""MS COCO: outlines, crowds, ids with gaps, and the order in which objects are drawn."""

from __future__ import annotations

import builtins
import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.coco import HEIGHT, WIDTH, annotation, annotations, change, make_coco, runs

from semisup.catalog import create_dataset
from semisup.data.base import SegmentationData
from semisup.data.labels.tags import read_tags
from semisup.data.sets.coco_annotations import drawing_order, filled, mask_tools
from semisup.data.sets.masks_in_folder import MasksInFolder, read_masks
from semisup.errors import DataError, RecipeError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_coco(tmp_path)


def with_objects(root: Path, *stated: dict[str, Any]) -> SegmentationData:
    """The training set with these objects, all of its first image."""
    number = json.loads(annotations(root).read_text())["images"][0]["id"]
    change(root, lambda c: c.update(annotations=[{**one, "image_id": number} for one in stated]))
    return create_dataset("coco", root)


def test_ids_and_classes_close_the_gaps_of_the_categories(root: Path) -> None:
    data = create_dataset("coco", root)
    assert data.classes == ("background", "car", "cat", "toothbrush")
    assert data.category_ids == (0, 3, 7, 90)
    assert data.ids[0] == "000000000107"
    assert data.image_number(0) == 107
    assert data.facts() == {
        "year": 2017,
        "masks": "objects by area, the smallest last; crowds void",
    }
    assert create_dataset("coco", root.parent / root.name, "val").ids == (
        "000000000135",
        "000000000142",
    )


def test_objects_are_those_of_the_file(root: Path) -> None:
    objects = create_dataset("coco", root).objects(0)
    assert objects.labels.tolist() == [1, 2, 3, 2]
    assert objects.crowd.tolist() == [False, False, False, True]
    assert objects.boxes[0].tolist() == [4, 8, 30, 20]
    assert objects.areas.tolist() == [600, 120, 60, 120]
    assert objects.masks.dtype == torch.uint8
    assert objects.masks.flatten(1).sum(1).tolist() == [600, 120, 60, 120]
    assert objects.masks[2, 30:40, 44:50].all()


def test_boxes_of_crowds_and_of_classes_left_out_are_void(root: Path) -> None:
    car, cat, brush, cats = (
        (1, 4, 8, 34, 28),
        (2, 12, 12, 24, 22),
        (3, 44, 30, 50, 40),
        (255, 40, 0, 60, 6),
    )
    data = create_dataset("coco", root)
    assert data.object_boxes(0) == [car, cat, brush, cats]
    void = (255, *cat[1:])
    kept = create_dataset("coco", root, classes=("background", "car", "toothbrush"))
    assert kept.object_boxes(0) == [car, void, (2, *brush[1:]), cats]
    assert create_dataset("coco", root, ignore_classes=["cat"]).object_boxes(0) == (
        kept.object_boxes(0)
    )


def test_the_numbers_of_objects_are_those_that_the_mask_shows(root: Path) -> None:
    data = create_dataset("coco", root)
    numbers, mask = data.object_numbers(0), data.mask(0)
    assert numbers is not None
    assert torch.equal(numbers > 0, (mask > 0) & (mask < 255))
    seen = {int(numbers[place]) for place in ((9, 5), (13, 13), (35, 45))}
    assert len(seen) == 3


def test_the_mask_shows_what_lies_in_front_and_leaves_crowds_out(root: Path) -> None:
    mask = create_dataset("coco", root).mask(0)
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask[9, 5] == 1
    assert mask[13, 13] == 2  # the cat is smaller than the car behind it
    assert mask[35, 45] == 3
    assert mask[2, 45] == 255
    assert mask[47, 0] == 0


def test_an_object_in_a_crowd_is_seen(root: Path) -> None:
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    data = with_objects(
        root,
        annotation(1, 0, 7, (0, 0, 4, 4)),
        annotation(2, 0, 7, (0, 0, WIDTH, HEIGHT), iscrowd=1, segmentation=runs(everywhere)),
    )
    mask = data.mask(0)
    assert set(mask[:4, :4].flatten().tolist()) == {2}
    assert set(mask[4:].flatten().tolist()) == {255}


@pytest.mark.parametrize(("areas", "order"), [([5, 9, 7], [1, 2, 0]), ([5, 5, 9], [2, 0, 1])])
def test_equal_objects_are_drawn_as_they_come(areas: list[int], order: list[int]) -> None:
    assert drawing_order([{"iscrowd": 0, "area": area} for area in areas]) == order


def test_runs_go_down_the_columns(root: Path) -> None:
    """The example of COCO's documentation: sizes 2 x 3, runs 1, 2, 3."""
    mask = np.array([[0, 1, 0], [1, 0, 0]])
    assert runs(mask) == {"size": [2, 3], "counts": [1, 2, 3]}
    assert np.array_equal(filled([1, 2, 3], (2, 3)), mask)


def test_packed_and_plain_runs_and_several_polygons_are_one_object(root: Path) -> None:
    tools = mask_tools()
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[3:20, 10:14] = wanted[30:33, 40:60] = True
    wanted[7, 5] = True
    plain = runs(wanted)
    packed = tools.frPyObjects(plain, HEIGHT, WIDTH)
    text = {"size": packed["size"], "counts": packed["counts"].decode()}
    two = [[10, 3, 14, 3, 14, 20, 10, 20], [40, 30, 60, 30, 60, 33, 40, 33]]
    boxes = (5, 3, 55, 30)
    data = with_objects(
        root,
        *(annotation(n, 0, 3, boxes, segmentation=s) for n, s in enumerate((plain, text, two))),
    )
    masks = data.objects(0).masks.bool().numpy()
    assert np.array_equal(masks[0], wanted)
    assert np.array_equal(masks[1], wanted)
    wanted[7, 5] = False
    assert np.array_equal(masks[2], wanted)


def test_classes_that_are_not_kept_are_void_and_no_objects(root: Path) -> None:
    data = create_dataset("coco", root, classes=("toothbrush", "background"))
    assert data.classes == ("background", "toothbrush")
    assert data.category_ids == (0, 90)
    assert data.objects(0).labels.tolist() == [1]
    mask = data.mask(0)
    assert [mask[9, 5], mask[13, 13], mask[35, 45], mask[47, 0]] == [255, 255, 1, 0]
    assert data.facts()["classes_made_void"] == ["car", "cat"]


def test_ignored_classes_are_void_and_no_objects(root: Path) -> None:
    data = create_dataset("coco", root, ignore_classes=("cat",))
    assert data.classes == ("background", "car", "toothbrush")
    assert data.category_ids == (0, 3, 90)
    objects = data.objects(0)
    assert objects.labels.tolist() == [1, 2]
    assert len(objects.masks) == len(objects.boxes) == len(objects.areas) == 2
    assert data.mask(0)[13, 13] == 255


def test_an_image_without_objects_is_background(root: Path) -> None:
    data = with_objects(root)
    objects = data.objects(0)
    assert objects.masks.shape == (0, HEIGHT, WIDTH)
    assert objects.boxes.shape == (0, 4)
    assert not data.mask(0).any()


def test_masks_of_a_folder_tell_no_objects_apart(root: Path, save_mask: Any) -> None:
    data = create_dataset("coco", root)
    save_mask(root / "masks" / f"{data.ids[0]}.png", 1)
    masked = MasksInFolder(data, read_masks(f"folder:{root / 'masks'}"))
    assert data.has_objects
    assert not masked.has_objects


def test_a_copy_for_a_worker_has_the_same_objects(root: Path) -> None:
    data = create_dataset("coco", root)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.objects(1).masks, data.objects(1).masks)


def test_other_releases_by_year(tmp_path: Path) -> None:
    make_coco(tmp_path / "coco", 2014)
    data = create_dataset("coco", tmp_path, year=2014)
    assert data.image_path(0).parent.name == "train2014"
    with pytest.raises(DataError, match="no subset 'train'"):
        create_dataset("coco", tmp_path)


def test_without_pycocotools_one_line_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=re.escape("pip install 'semisup[coco]'")) as caught:
        create_dataset("coco", root)
    assert "\n" not in str(caught.value)


def test_kept_classes_must_be_two_of_the_file(root: Path) -> None:
    with pytest.raises(RecipeError, match="'kat' in classes is no class here"):
        create_dataset("coco", root, classes=("background", "kat"))
    with pytest.raises(RecipeError, match="two or more"):
        create_dataset("coco", root, classes=("cat",))


def test_the_real_subset(shared_data: Path) -> None:
    data = create_dataset("coco", shared_data, "val")
    assert (len(data), data.num_classes) == (45, 81)
    assert data.classes[:3] + data.classes[-1:] == ("background", "person", "bicycle", "toothbrush")
    assert sorted(set(range(1, 91)) - set(data.category_ids)) == [
        *(12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
    ]
    image, mask = data.pair(0)
    assert image.shape[1:] == mask.shape
    assert "person" in data.object_names(0)


@pytest.mark.parametrize(("subset", "count"), [("train", 426), ("val", 368)])
def test_masks_of_real_objects_are_those_of_pycocotools(
    shared_data: Path, subset: str, count: int
) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    data = create_dataset("coco", shared_data, subset)
    own = pycocotools.COCO(str(data.mask_path(0)))
    compared = 0
    for index in range(len(data)):
        objects = data.objects(index)
        stated = own.loadAnns(own.getAnnIds([data.image_number(index)]))
        for mask, one in zip(objects.masks, stated, strict=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy's about pycocotools
                assert np.array_equal(mask.numpy(), own.annToMask(one))
            compared += 1
        assert objects.crowd.tolist() == [one["iscrowd"] == 1 for one in stated]
        names = [own.cats[one["category_id"]]["name"] for one in stated]
        assert data.object_names(index) == names
        found = data.object_boxes(index)
        assert [[b.left, b.top] for b in found] == [one["bbox"][:2] for one in stated]
        assert [b.label == 255 for b in found] == objects.crowd.tolist()
    assert compared == count


VOC_ORDER = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


def test_the_classes_of_voc_are_those_of_real_objects(shared_data: Path) -> None:
    voc = create_dataset("coco", shared_data, "val", classes="voc")
    all_of_it = create_dataset("coco", shared_data, "val")
    assert voc.classes == VOC_ORDER
    assert voc.category_ids == (
        *(0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72),
    )
    assert voc.facts()["other_classes"] == "background"
    seen = 0
    for index in range(len(voc)):
        mask, full = voc.mask(index), all_of_it.mask(index)
        for label, number in enumerate(voc.category_ids[1:], start=1):
            own = full == all_of_it.category_ids.index(number)
            assert torch.equal(mask == label, own)
            seen += bool(own.any())
        assert not (mask[(full > 0) & (full < 255)] == 255).any()
    assert seen > 50


@pytest.fixture
def voc_root(root: Path) -> Path:
    """The made set with VOC's classes under COCO's names; its cats are zebras, which VOC lacks."""
    names = {3: "airplane", 7: "zebra", 90: "tv"}
    others = sorted(set(VOC_ORDER) - {"background", "aeroplane", "tvmonitor"})
    in_coco = {
        "diningtable": "dining table",
        "motorbike": "motorcycle",
        "pottedplant": "potted plant",
        "sofa": "couch",
    }

    def rename(content: dict[str, Any]) -> None:
        content["categories"] = [{"id": n, "name": name} for n, name in names.items()] + [
            {"id": 200 + n, "name": in_coco.get(name, name)} for n, name in enumerate(others)
        ]

    change(root, rename)
    return root


def test_what_voc_does_not_have_is_background_and_hides_what_is_behind(voc_root: Path) -> None:
    data = create_dataset("coco", voc_root, classes="voc")
    mask = data.mask(0)
    assert (mask[9, 5], mask[35, 45]) == (1, 20)
    assert mask[13, 13] == 0  # a zebra before an aeroplane
    assert mask[2, 45] == 0  # a herd of zebras
    assert data.objects(0).labels.tolist() == [1, 20]
    assert [box.label for box in data.object_boxes(0)] == [1, 20]
    assert data.object_names(0) == ["aeroplane", "tvmonitor"]
    assert create_dataset("coco", voc_root).object_names(0) == ["airplane", "zebra", "tv", "zebra"]


def test_the_classes_of_voc_must_be_in_the_file(root: Path) -> None:
    with pytest.raises(RecipeError, match=r"'voc' needs .* has no 'airplane'"):
        create_dataset("coco", root, classes="voc")


def test_tags_are_read_without_a_mask(root: Path) -> None:
    data = create_dataset("coco", root)
    annotations(root).unlink()
    tags = read_tags(data, "xml")
    assert tags.of[data.ids[0]] == {1, 2, 3}


def test_the_release_of_2014_has_names_of_its_own(tmp_path: Path) -> None:
    make_coco(tmp_path, 2014)
    path = annotations(tmp_path, year=2014)
    named = re.sub(r'"(\d{12}\.jpg)"', r'"COCO_train2014_\1"', path.read_text())
    path.write_text(named)
    for image in (tmp_path / "train2014").iterdir():
        image.rename(image.with_name(f"COCO_train2014_{image.name}"))
    data = create_dataset("coco", tmp_path, year=2014)
    assert data.ids[0] == "COCO_train2014_000000000107"
    assert data.image_number(0) == 107
    image, mask = data.pair(0)
    assert image.shape[1:] == mask.shape
