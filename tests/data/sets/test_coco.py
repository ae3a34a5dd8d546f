"""MS COCO: outlines, crowds, ids with gaps, and the order in which objects are drawn."""

from __future__ import annotations

import builtins
import json
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.coco import HEIGHT, WIDTH, annotation, make_coco, runs

from semisup.catalog import create_dataset
from semisup.data.base import SegmentationData
from semisup.data.sets.coco_annotations import _filled, drawing_order, mask_tools
from semisup.data.sets.masks_in_folder import MasksInFolder, read_masks
from semisup.errors import DataError, RecipeError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_coco(tmp_path)


def annotations(root: Path, subset: str = "train") -> Path:
    return root / "annotations" / f"instances_{subset}2017.json"


def change(root: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = annotations(root)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


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
    assert np.array_equal(_filled([1, 2, 3], (2, 3)), mask)


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


def outline(value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["annotations"][0].update(segmentation=value)


RUNS = runs(np.eye(HEIGHT, WIDTH) > 0)


@pytest.mark.parametrize(
    "value",
    [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, "x"]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [[0, 0, -1e300, 0, 1e300, 1e300]],
        [3],
        "polygon",
        None,
        {"size": [HEIGHT, WIDTH]},
        {**RUNS, "size": [WIDTH, HEIGHT]},
        {**RUNS, "counts": RUNS["counts"][:-1]},
        {**RUNS, "counts": [-5, *RUNS["counts"]]},
        {**RUNS, "counts": "nonsense~~~"},
        {**RUNS, "counts": "00"},
        {**RUNS, "counts": "o" * 30},
        {**RUNS, "counts": ""},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_outline_is_named_by_file_and_image(root: Path, value: Any) -> None:
    change(root, outline(value))
    data = create_dataset("coco", root)
    with pytest.raises(DataError) as caught:
        data.mask(0)
    line = str(caught.value)
    assert line.startswith(f"{annotations(root)}: an object of image 107 (000000000107.jpg)")
    assert line.count("\n") == 0
    data.mask(1)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda c: c.pop("images"), "'images'"),
        (lambda c: c.pop("annotations"), "'annotations'"),
        (lambda c: c["images"][0].pop("height"), "'height'"),
        (lambda c: c["images"][0].update(width=0), "48x0"),
        (lambda c: c["images"][0].update(file_name="../secret.jpg"), "secret"),
        (lambda c: c["images"].clear() or c["annotations"].clear(), "lists no image"),
        (lambda c: c["categories"].clear() or c["annotations"].clear(), "lists no category"),
        (lambda c: c["annotations"][0].update(category_id=4), "category_id 4"),
        (lambda c: c["annotations"][0].update(image_id=4), "4"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "bbox"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, float("inf")]), "bbox"),
        (lambda c: c["annotations"].append(5), "TypeError"),
        (lambda c: c["categories"].append({"id": 5, "name": "cat"}), "'cat' is the name of two"),
        (lambda c: c["categories"].append({"id": 5, "name": "background"}), "'background'"),
        (
            lambda c: c["categories"].extend({"id": n, "name": str(n)} for n in range(100, 400)),
            "303 are more",
        ),
        (lambda c: c["images"].append(c["images"][0]), "two images have the id 107"),
        (
            lambda c: c["images"].append({**c["images"][0], "file_name": "other.jpg"}),
            "two images have the id 107",
        ),
        (lambda c: c["images"].append({**c["images"][0], "id": 7}), "2 times"),
        (
            lambda c: c["categories"].append({"id": 7, "name": "dog"}),
            "two categories have the id 7",
        ),
        (lambda c: c["categories"][0].update(name=None), "None is no name"),
        (lambda c: c["categories"][0].update(name=" "), "' ' is no name"),
        (lambda c: c["categories"][0].update(name="a\nb"), "is no name of a category"),
        (lambda c: c["categories"][0].update(name="\ud800"), "UnicodeEncodeError"),
        (lambda c: c["images"][0].update(id=107.5), "107.5 is no whole number"),
        (lambda c: c["images"][0].update(id=True), "True is no whole number"),
        (lambda c: c["images"][0].update(id=10**30), "is no whole number"),
        (lambda c: c["images"][0].update(height=48.5), "48.5 is no whole number"),
        (lambda c: c["images"][0].update(height=10**9, width=10**9), "1000000000x1000000000"),
        (lambda c: c["images"][0].update(file_name="a\0.jpg"), "image 'a"),
        (lambda c: c["images"][0].update(file_name="\ud800.jpg"), "UnicodeEncodeError"),
        (lambda c: c["images"][0].update(file_name=".."), "image '..'"),
        (lambda c: c["annotations"][0].update(area=float("nan")), "area nan"),
        (lambda c: c["annotations"][0].update(area=-4), "area -4"),
        (lambda c: c["annotations"][0].update(area=1e400), "area inf"),
        (lambda c: c["annotations"][0].update(bbox=[4, 8, -30, 20]), "bbox [4, 8, -30, 20]"),
        (lambda c: c["annotations"][0].update(bbox="1234"), "bbox '1234'"),
        (lambda c: c["annotations"][0].update(iscrowd="0"), "iscrowd '0'"),
        (lambda c: c["annotations"][0].update(iscrowd=7), "iscrowd 7"),
        (lambda c: c["annotations"][0].update(iscrowd=None), "iscrowd None"),
    ],
)
def test_a_file_that_lacks_something_is_refused_in_one_line(
    root: Path, edit: Callable[[dict[str, Any]], object], says: str
) -> None:
    change(root, edit)
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        create_dataset("coco", root)
    assert str(annotations(root)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b'"text"', b"{}"])
def test_what_is_no_annotation_file_is_refused(root: Path, content: bytes) -> None:
    annotations(root).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(annotations(root)))):
        create_dataset("coco", root)


def test_kept_classes_must_be_two_of_the_file(root: Path) -> None:
    with pytest.raises(RecipeError, match="'kat' in classes is no class here"):
        create_dataset("coco", root, classes=("background", "kat"))
    with pytest.raises(RecipeError, match="two or more"):
        create_dataset("coco", root, classes=("cat",))


def test_the_real_subset(shared_data: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    data = create_dataset("coco", shared_data, "val")
    assert (len(data), data.num_classes) == (45, 81)
    assert data.classes[:3] + data.classes[-1:] == ("background", "person", "bicycle", "toothbrush")
    assert sorted(set(range(1, 91)) - set(data.category_ids)) == [
        *(12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
    ]
    own = pycocotools.COCO(str(data.mask_path(0)))
    assert len(own.anns) == 368
    for index in range(0, len(data), 6):
        objects = data.objects(index)
        stated = own.loadAnns(own.getAnnIds([data.image_number(index)]))
        for mask, one in zip(objects.masks, stated, strict=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy's about pycocotools
                assert np.array_equal(mask.numpy(), own.annToMask(one))
        assert objects.crowd.tolist() == [one["iscrowd"] == 1 for one in stated]
    image, mask = data.pair(0)
    assert image.shape[1:] == mask.shape
