"""MS COCO's annotations as tools export them and disks leave them: what is refused, what is legal.

What is legal stands in the official files: two boxes without height, images without an object, an
image with a crowd alone, polygons on the border.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.coco import HEIGHT, WIDTH, annotation, annotations, change, make_coco, runs

from semisup.catalog import create_dataset
from semisup.errors import DataError

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_coco(tmp_path)


def outline(value: Any, **more: Any) -> Edit:
    """The first object of image 107 with another outline."""
    return lambda content: content["annotations"][0].update(segmentation=value, **more)


def first(key: str, **values: Any) -> Edit:
    return lambda content: content[key][0].update(values)


def without(key: str, name: str) -> Edit:
    return lambda content: content[key][0].pop(name)


def with_category(**values: Any) -> Edit:
    return lambda content: content["categories"].append(values)


RUNS = runs(np.eye(HEIGHT, WIDTH) > 0)
PACKED = "size [48, 64]"

OPENED: dict[str, tuple[Edit, str]] = {
    "no images": (lambda c: c.pop("images"), "'images'"),
    "no annotations": (lambda c: c.pop("annotations"), "'annotations'"),
    "no categories": (lambda c: c.pop("categories"), "'categories'"),
    "images of another kind": (lambda c: c.update(images={}), "'images' is no list"),
    "annotations of another kind": (lambda c: c.update(annotations=5), "'annotations' is no list"),
    "an empty list of images": (
        lambda c: c["images"].clear() or c["annotations"].clear(),
        "lists no image",
    ),
    "an empty list of categories": (
        lambda c: c["categories"].clear() or c["annotations"].clear(),
        "lists no category",
    ),
    "an image without height": (without("images", "height"), "image 107: KeyError: 'height'"),
    "an image without a name": (without("images", "file_name"), "image 107: KeyError: 'file_name'"),
    "an image without an id": (without("images", "id"), "image 1 of the list: KeyError: 'id'"),
    "an image of no width": (first("images", width=0), "48x0"),
    "an image elsewhere": (first("images", file_name="../secret.jpg"), "secret"),
    "an image elsewhere, on Windows": (first("images", file_name="..\\secret.jpg"), "secret"),
    "an image of half a pixel": (first("images", height=48.5), "48.5 is no whole number"),
    "an endless image": (first("images", height=10**9, width=10**9), "1000000000x1000000000"),
    "a name with a zero byte": (first("images", file_name="a\0.jpg"), "image 'a"),
    "a name with half a letter": (first("images", file_name="\ud800.jpg"), "UnicodeEncodeError"),
    "a name that is a folder": (first("images", file_name=".."), "image '..'"),
    "an id of half": (first("images", id=107.5), "107.5 is no whole number"),
    "an id that is true": (first("images", id=True), "True is no whole number"),
    "an id beyond all": (first("images", id=10**30), "is no whole number"),
    "the same image twice": (
        lambda c: c["images"].append(c["images"][0]),
        "two images have the id 107",
    ),
    "two images of one id": (
        lambda c: c["images"].append({**c["images"][0], "file_name": "other.jpg"}),
        "two images have the id 107",
    ),
    "two images of one name": (
        lambda c: c["images"].append({**c["images"][0], "id": 7}),
        "2 times",
    ),
    "images of 2014": (
        first("images", file_name="COCO_train2014_000000000107.jpg"),
        "is of COCO's release of 2014",
    ),
    "annotations of 2014": (
        lambda c: c.update(info={"description": "COCO 2014 Dataset", "year": 2014}),
        "is of COCO's release of 2014",
    ),
    "two categories of one id": (with_category(id=7, name="dog"), "two categories have the id 7"),
    "two categories of one name": (with_category(id=5, name="cat"), "'cat' is the name of two"),
    "a category background": (with_category(id=5, name="background"), "'background'"),
    "too many categories": (
        lambda c: c["categories"].extend({"id": n, "name": str(n)} for n in range(100, 400)),
        "303 are more",
    ),
    "a category of no name": (first("categories", name=None), "None is no name"),
    "a category of a blank name": (first("categories", name=" "), "' ' is no name"),
    "a category of two lines": (first("categories", name="a\nb"), "is no name of a category"),
    "a category of half a letter": (first("categories", name="\ud800"), "UnicodeEncodeError"),
    "a dangling image": (
        first("annotations", image_id=4),
        "1070: image_id 4 is none of the images",
    ),
    "a dangling category": (first("annotations", category_id=4), "annotation 1070: "),
    "an annotation of no image": (without("annotations", "image_id"), "1070: KeyError: 'image_id'"),
    "an annotation of no category": (without("annotations", "category_id"), "'category_id'"),
    "an annotation without a box": (without("annotations", "bbox"), "1070: KeyError: 'bbox'"),
    "an annotation without an outline": (without("annotations", "segmentation"), "'segmentation'"),
    "an annotation that is a number": (lambda c: c["annotations"].append(5), "TypeError"),
    "two annotations of one id": (
        lambda c: c["annotations"][1].update(id=c["annotations"][0]["id"]),
        "two annotations have the id 1070",
    ),
    "an annotation of a negative id": (first("annotations", id=-1), "id -1"),
    "an annotation whose id is text": (first("annotations", id="a"), "1 of the list: ValueError"),
    "an image_id that is text": (first("annotations", image_id="x"), "1070: ValueError"),
    "an image_id of half": (first("annotations", image_id=107.5), "107.5 is no whole number"),
    "a box of three sides": (first("annotations", bbox=[1, 2, 3]), "bbox [1, 2, 3]"),
    "a box without end": (first("annotations", bbox=[1, 2, 3, float("inf")]), "bbox"),
    "a box of NaN": (first("annotations", bbox=[float("nan"), 2, 3, 4]), "bbox [nan"),
    "a box of negative width": (first("annotations", bbox=[4, 8, -30, 20]), "bbox [4, 8, -30, 20]"),
    "a box that is text": (first("annotations", bbox="1234"), "bbox '1234'"),
    "an area of NaN": (first("annotations", area=float("nan")), "area nan"),
    "a negative area": (first("annotations", area=-4), "area -4"),
    "an area without end": (first("annotations", area=1e400), "area inf"),
    "iscrowd as text": (first("annotations", iscrowd="0"), "iscrowd '0'"),
    "iscrowd of 7": (first("annotations", iscrowd=7), "iscrowd 7"),
    "iscrowd of null": (first("annotations", iscrowd=None), "iscrowd None"),
}
"""Told when the data set is opened: what -> how the file is spoilt, and what is said."""

DRAWN: dict[str, tuple[Edit, str]] = {
    "no polygon": (outline([]), "it has no polygon"),
    "two corners": (outline([[1, 2, 3, 4]]), "three corners or more"),
    "an odd number of coordinates": (outline([[1, 2, 3, 4, 5, 6, 7]]), "three corners or more"),
    "a coordinate that is text": (outline([[1, 2, 3, 4, 5, "x"]]), "'x'"),
    "a polygon that is text": (outline(["123456"]), "list of numbers"),
    "a polygon that is a number": (outline([3]), "TypeError"),
    "an outline that is text": (outline("polygon"), "TypeError"),
    "an outline that is null": (outline(None), "TypeError"),
    "a coordinate of NaN": (outline([[1, 2, 3, 4, 5, float("nan")]]), "further than"),
    "a coordinate without end": (outline([[1, 2, 3, 4, 5, float("inf")]]), "further than"),
    "a corner far away": (outline([[0, 0, 1e9, 0, 1e9, 1e9]]), "further than 100,000 pixels"),
    "corners beyond all": (outline([[0, 0, -1e300, 0, 1e300, 1e300]]), "further than"),
    "a polygon outside of the image": (
        outline([[70, 8, 90, 8, 90, 20]], bbox=[70, 8, 20, 12]),
        "outside of the image",
    ),
    "a polygon above the image": (
        outline([[4, -30, 20, -30, 20, -2]], bbox=[4, -30, 16, 28]),
        "outside of the image",
    ),
    "a box elsewhere": (first("annotations", bbox=[44, 30, 10, 10]), "elsewhere than its bbox"),
    "a box of nothing": (first("annotations", bbox=[0, 0, 0, 0]), "elsewhere than its bbox"),
    "a box in parts of the image": (
        first("annotations", bbox=[0.06, 0.16, 0.47, 0.42]),
        "elsewhere than its bbox",
    ),
    "a polygon without area that states one": (
        outline([[4, 8, 34, 8, 34, 8, 4, 8]], bbox=[4, 8, 30, 0], area=600),
        "covers no pixel, and its area is said to be 600",
    ),
    "runs without counts": (outline({"size": [HEIGHT, WIDTH]}), "KeyError: 'counts'"),
    "runs of another size": (outline({**RUNS, "size": [WIDTH, HEIGHT]}), "size [64, 48]"),
    "runs that end too soon": (outline({**RUNS, "counts": RUNS["counts"][:-1]}), "add up"),
    "a run of negative length": (outline({**RUNS, "counts": [-5, *RUNS["counts"]]}), "add up"),
    "runs of halves": (
        outline({**RUNS, "counts": [1.5, HEIGHT * WIDTH - 1.5]}),
        "1.5 is no whole number",
    ),
    "packed runs of nonsense": (outline({**RUNS, "counts": "nonsense~~~"}), "damaged"),
    "packed runs that end too soon": (outline({**RUNS, "counts": "00"}), "add up"),
    "packed runs without end": (outline({**RUNS, "counts": "o" * 30}), "damaged"),
    "packed runs of nothing": (outline({**RUNS, "counts": ""}), "add up"),
}
"""Told when the mask is drawn, so that all other images stay of use."""

LEGAL: dict[str, Edit] = {
    "an image without an object": lambda c: c["annotations"].clear(),
    "an image with a crowd alone": lambda c: c.update(
        annotations=[c["annotations"][3] | {"image_id": 107}]
    ),
    "a box without height": outline([[4, 8, 34, 8, 34, 8, 4, 8]], bbox=[4, 8, 30, 0], area=0),
    "a polygon on the border": outline([[4, 8, 64, 8, 64, 48, 4, 48]], bbox=[4, 8, 60, 40]),
    "a polygon that sticks out": outline([[-3, 8, 34, 8, 34, 28]], bbox=[0, 8, 34, 20]),
    "a box rounded to whole pixels": first("annotations", bbox=[3, 7, 32, 22]),
    "a box from corner to corner": first("annotations", bbox=[4, 8, 34, 28]),
    "whole numbers as decimals": first("annotations", image_id=107.0, category_id=3.0),
    "no area, no id and no iscrowd": lambda c: [
        one.pop(key) for one in c["annotations"][:2] for key in ("area", "id", "iscrowd")
    ],
    "more keys": first("annotations", attributes={"note": 'a "segmentation": [[é]]'}),
}


@pytest.mark.parametrize(("edit", "says"), OPENED.values(), ids=OPENED)
def test_a_file_that_contradicts_itself_is_refused_in_one_line(
    root: Path, edit: Edit, says: str
) -> None:
    change(root, edit)
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        create_dataset("coco", root)
    assert str(annotations(root)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("edit", "says"), DRAWN.values(), ids=DRAWN)
def test_an_outline_that_cannot_be_used_is_named_by_file_and_image(
    root: Path, edit: Edit, says: str
) -> None:
    change(root, edit)
    data = create_dataset("coco", root)
    for read in (data.mask, data.objects, data.object_numbers):
        with pytest.raises(DataError, match=re.escape(says)) as caught:
            read(0)
        line = str(caught.value)
        assert line.startswith(f"{annotations(root)}: an object of image 107 (000000000107.jpg)")
        assert "\n" not in line
    data.mask(1)


@pytest.mark.parametrize("edit", LEGAL.values(), ids=LEGAL)
def test_what_official_files_and_tools_have_is_read(root: Path, edit: Edit) -> None:
    change(root, edit)
    data = create_dataset("coco", root)
    for index in range(len(data)):
        count = len(data.objects(index).labels)
        assert count == len(data.object_names(index))
        data.mask(index)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b" ", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b'"text"', b"{}", b"{} {}", b"[1]"),
        *(b'{"images": []', b'{"images": [],}', b'{"a": ' + b"[" * 100_000, b'{"images": [{}'),
        *(b'{"a": 1, "a": 2}', b'{"a": "\xff"}', b"{1: 2}", b'{"images": [{"id": 1} {"id": 2}]}'),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_annotation_file_is_refused(root: Path, content: bytes) -> None:
    annotations(root).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(annotations(root)))) as caught:
        create_dataset("coco", root)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_anywhere_is_refused(root: Path) -> None:
    whole = annotations(root).read_bytes()
    for end in range(0, len(whole) - 1, 97):
        annotations(root).write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"is no JSON|lists no|is no file of COCO's"):
            create_dataset("coco", root)


def test_an_object_that_covers_nothing_is_an_object_without_pixels(root: Path) -> None:
    """As two of the 860,001 official ones."""
    degenerate = annotation(1, 107, 3, (4, 8, 30, 0))
    change(root, lambda content: content.update(annotations=[degenerate]))
    data = create_dataset("coco", root)
    assert not data.mask(0).any()
    assert data.objects(0).labels.tolist() == [1]
    assert not data.objects(0).masks.any()


def test_a_malformed_number_in_an_outline_is_told_when_it_is_drawn(root: Path) -> None:
    """Annotations of the official form are found by a pattern, which does not look at numbers."""
    official = (
        '{"segmentation": [[4, 8, 1.2.3, 8, 34, 28]], "area": 600, "iscrowd": 0, "image_id": 107, '
        '"bbox": [4, 8, 30, 20], "category_id": 3, "id": 1}'
    )
    change(root, lambda content: content.update(annotations=["HERE"]))
    text = annotations(root).read_text().replace('"HERE"', official)
    annotations(root).write_text(text)
    with pytest.raises(ValueError, match="delimiter"):
        json.loads(text)
    data = create_dataset("coco", root)
    with pytest.raises(DataError, match=re.escape(str(annotations(root)))) as caught:
        data.mask(0)
    assert "\n" not in str(caught.value)
    data.mask(1)
