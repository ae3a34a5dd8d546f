"""Damage to Cityscapes' polygons and instance ids: one clear line that names the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cityscapes import (
    HEIGHT,
    INSTANCE_IDS,
    LABEL_IDS,
    POLYGONS,
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

from semisup.data.sets.cityscapes import Cityscapes
from semisup.data.sets.cityscapes_polygons import FURTHEST
from semisup.data.verify import verify
from semisup.errors import DataError

Edit = Callable[[dict[str, Any]], object]
Spoil = Callable[[Path], object]


def first(**values: Any) -> Edit:
    """The first object with other values."""
    return lambda content: content["objects"][0].update(values)


def corner(value: Any) -> Edit:
    """The first object with another first corner."""
    return lambda content: content["objects"][0]["polygon"].__setitem__(0, value)


def more(*objects: Any) -> Edit:
    return lambda content: content["objects"].extend(objects)


WRONG_POLYGONS: dict[str, tuple[Edit, str]] = {
    "no height": (lambda c: c.pop("imgHeight"), "imgHeight is None, not a number of pixels"),
    "a height of zero": (lambda c: c.update(imgHeight=0), "imgHeight is 0, not a number"),
    "a width of text": (lambda c: c.update(imgWidth="32"), "imgWidth is '32', not a number"),
    "a width that is true": (lambda c: c.update(imgWidth=True), "imgWidth is True, not a"),
    "a width of half a pixel": (lambda c: c.update(imgWidth=31.5), "imgWidth is 31.5, not a"),
    "an endless image": (
        lambda c: c.update(imgHeight=10**9, imgWidth=10**9),
        "states an image of 1000000000x1000000000 pixels (height x width)",
    ),
    "no objects": (lambda c: c.pop("objects"), "has no list of objects"),
    "objects of another kind": (lambda c: c.update(objects={}), "has no list of objects"),
    "an object that is a number": (more(5), "object 9 is no object of label and polygon"),
    "an unknown label": (first(label="lorry"), "object 1 has the label 'lorry', which Cityscapes"),
    "an unknown group": (first(label="lorrygroup"), "object 1 has the label 'lorrygroup', which"),
    "a label in capitals": (first(label="Sky"), "object 1 has the label 'Sky', which Cityscapes"),
    "a label that is a number": (first(label=23), "object 1 has 23 for a label, which is a name"),
    "no label": (lambda c: c["objects"][2].pop("label"), "object 3 has None for a label"),
    "no polygon": (lambda c: c["objects"][2].pop("polygon"), "object 3 has no polygon of three"),
    "two corners": (first(polygon=[[1, 2], [3, 4]]), "object 1 has no polygon of three corners"),
    "two corners of a licence plate": (
        more({"label": "license plate", "polygon": []}),
        "object 9 has no polygon of three corners",
    ),
    "a polygon of text": (first(polygon="1,2 3,4 5,6"), "object 1 has no polygon of three"),
    "a polygon of bare numbers": (first(polygon=[1, 2, 3, 4, 5, 6]), "a corner 1, which is no x"),
    "a corner of one number": (corner([1]), "object 1 has a corner [1], which is no x, y"),
    "a corner of three numbers": (corner([1, 2, 3]), "a corner [1, 2, 3], which is no x, y"),
    "a corner of text": (corner(["1", "2"]), "a corner ['1', '2'], which is no x, y"),
    "a corner of null": (corner([None, 2]), "a corner [None, 2], which is no x, y"),
    "a corner that is true": (corner([True, 2]), "a corner [True, 2], which is no x, y"),
    "a corner of NaN": (corner([float("nan"), 2]), f"[nan, 2], further than {FURTHEST:,} pixels"),
    "a corner without end": (corner([1, float("inf")]), "[1, inf], further than 100,000 pixels"),
    "a corner beyond all": (corner([10**30, 1]), "further than 100,000 pixels"),
    "deleted as text": (first(deleted="no"), "object 1 has 'no' for deleted, which is 0 or 1"),
    "more cars than ids tell apart": (
        more(*[rectangle("car", 0, 0, 2, 2)] * 999),
        "object 1007 is one more than the 1000 of 'car' that ids tell apart",
    ),
    "an image of another size": (
        lambda c: c.update(imgWidth=WIDTH - 2),
        f"the mask is {HEIGHT}x{WIDTH - 2} but image 'aachen_000000_000019' is {HEIGHT}x{WIDTH}",
    ),
    "an image that lies on its side": (
        lambda c: c.update(imgWidth=HEIGHT, imgHeight=WIDTH),
        f"the mask is {WIDTH}x{HEIGHT} but image 'aachen_000000_000019' is {HEIGHT}x{WIDTH}",
    ),
}
"""Of an image that has polygons alone: what -> how the file is spoilt, and what is said."""

NO_POLYGONS = {
    "cut in the middle": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "of zeros": lambda content: bytes(len(content)),
    "no text": lambda content: b"\xff\xfe\x00\xd8" + content,
    "a picture": lambda content: b"\x89PNG\r\n\x1a\n" + content,
    "two files in one": lambda content: content + content,
    "nested without end": lambda content: b"[" * 100_000,
}


def with_pixel(value: int) -> Spoil:
    """The instance ids with another one in row 20, column 1, where there is road."""

    def spoil(root: Path) -> object:
        values = ids()
        values[20, 1] = value
        return save_ids(beside(root, INSTANCE_IDS), values)

    return spoil


def resized(ending: str) -> Spoil:
    """A file of ids of half the height, as a tool for small images leaves it."""
    save = save_ids if ending == INSTANCE_IDS else save_labels

    def spoil(root: Path) -> object:
        values = ids() if ending == INSTANCE_IDS else labels(ids())
        return save(beside(root, ending), values[::2])

    return spoil


def cut(root: Path) -> object:
    path = beside(root, INSTANCE_IDS)
    return path.write_bytes(path.read_bytes()[:-60])


def as_pipe(root: Path) -> None:
    beside(root, INSTANCE_IDS).unlink()
    os.mkfifo(beside(root, INSTANCE_IDS))


def as_colours(root: Path) -> None:
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(beside(root, INSTANCE_IDS))


WRONG_IDS: dict[str, tuple[Spoil, str]] = {
    "cut": (cut, "or damaged (image file is truncated); mend or remove it"),
    "a pipe": (as_pipe, "is a pipe"),
    "no picture": (lambda root: beside(root, INSTANCE_IDS).write_bytes(b"{}"), "is no PNG file"),
    "of 8 bits": (
        lambda root: save_labels(beside(root, INSTANCE_IDS), labels(ids())),
        "is 8-bit grey, and instance ids are grey with 16 bits; take the file of",
    ),
    "a colour picture": (as_colours, "is 8-bit RGB, and instance ids are grey with 16 bits"),
    "of another size": (
        resized(INSTANCE_IDS),
        f"is {HEIGHT // 2}x{WIDTH}, but the mask aachen_000000_000019_gtFine_labelIds.png is "
        f"{HEIGHT}x{WIDTH} (height x width); take both files from one source",
    ),
    "an object of a class without objects": (
        with_pixel(7003),
        "holds instance id 7003, but label 7, 'road', has no objects: those of 24 to 33 have",
    ),
    "an id between labels and objects": (with_pixel(255), "holds instance id 255, which is of no"),
    "an id of a label that there is not": (with_pixel(34000), "holds instance id 34000, which is"),
    "the largest id": (with_pixel(65535), "holds instance id 65535, which is of no label"),
    "an object where the mask has another class": (
        with_pixel(26003),
        "has 'car' in row 20, column 1, where the mask aachen_000000_000019_gtFine_labelIds.png "
        "has 'road' (1 such pixel); take both files from gtFine_trainvaltest.zip",
    ),
    "void where the mask has a class": (with_pixel(29000), "has void in row 20, column 1, where"),
    "ids of another image": (
        lambda root: save_ids(beside(root, INSTANCE_IDS), ids()[:, ::-1]),
        "take both files from gtFine_trainvaltest.zip",
    ),
}
"""Told of the objects of an image, whose mask stays of use: what -> how, and what is said."""


def only_line(error: pytest.ExceptionInfo[DataError], path: Path) -> str:
    line = str(error.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert "; " in line  # what is wrong comes before what to do
    return line


@pytest.mark.parametrize(("edit", "says"), WRONG_POLYGONS.values(), ids=WRONG_POLYGONS)
def test_polygons_that_contradict_themselves_are_refused_in_one_line(
    polygons_root: Path, edit: Edit, says: str
) -> None:
    path = change(polygons_root, edit)
    data = Cityscapes(polygons_root)
    with pytest.raises(DataError) as caught:
        data.pair(0)
    assert says in only_line(caught, path)
    (problem,) = verify([data]).problems
    assert problem == (path, str(caught.value))
    data.pair(1)


@pytest.mark.parametrize("spoil", NO_POLYGONS.values(), ids=NO_POLYGONS)
def test_what_is_no_file_of_polygons_is_refused(
    polygons_root: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = beside(polygons_root, POLYGONS)
    path.write_bytes(spoil(path.read_bytes()))
    data = Cityscapes(polygons_root)
    for read in (data.mask, data.objects, data.object_numbers):
        with pytest.raises(DataError, match="is no JSON") as caught:
            read(0)
        only_line(caught, path)


def test_polygons_that_are_cut_anywhere_are_refused(polygons_root: Path) -> None:
    path = beside(polygons_root, POLYGONS)
    whole = path.read_bytes()
    data = Cityscapes(polygons_root)
    for end in range(0, len(whole), 41):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match="is no JSON"):
            data.mask(0)


@pytest.mark.parametrize("content", ["[]", "5", '"text"', "null"])
def test_json_of_another_form_is_refused(polygons_root: Path, content: str) -> None:
    path = beside(polygons_root, POLYGONS)
    path.write_text(content)
    with pytest.raises(DataError, match="is no object of imgHeight, imgWidth and obj") as caught:
        Cityscapes(polygons_root).mask(0)
    only_line(caught, path)


@pytest.mark.parametrize(
    "edit",
    [
        first(deleted=0, verified=1, user="a", date="1.1.2015"),
        more({"label": "lorry", "polygon": None, "deleted": 1}),
        corner([-40, -40]),
        corner([0.5, 1.5]),
        lambda content: content["objects"].clear(),
    ],
    ids=["more keys", "deleted and unknown", "sticks out", "no whole numbers", "no object"],
)
def test_what_the_annotators_tool_writes_is_read(polygons_root: Path, edit: Edit) -> None:
    change(polygons_root, edit)
    data = Cityscapes(polygons_root)
    assert data.pair(0)[1].shape == (HEIGHT, WIDTH)
    data.objects(0)


@pytest.mark.parametrize(("spoil", "says"), WRONG_IDS.values(), ids=WRONG_IDS)
def test_instance_ids_that_cannot_be_used_are_told_and_the_mask_is_read(
    streets_root: Path, spoil: Spoil, says: str
) -> None:
    spoil(streets_root)
    data, path = Cityscapes(streets_root), beside(streets_root, INSTANCE_IDS)
    for read in (data.objects, data.object_numbers):
        with pytest.raises(DataError) as caught:
            read(0)
        assert says in only_line(caught, path)
    data.pair(0)
    data.objects(1)
    (problem,) = verify([data]).problems
    assert problem == (path, str(caught.value))


def test_a_mask_that_is_no_longer_of_its_instance_ids_is_told(streets_root: Path) -> None:
    resized(LABEL_IDS)(streets_root)
    data = Cityscapes(streets_root)
    with pytest.raises(DataError, match=r"labelIds.png is 12x32 \(height x width\); take both"):
        data.objects(0)
    with pytest.raises(DataError, match=r"labelIds.png: the mask is 12x32 but image"):
        data.pair(0)


def test_instance_ids_that_are_not_there_are_named_where_others_are(streets_root: Path) -> None:
    keep_polygons(streets_root)
    path = beside(streets_root, POLYGONS)
    path.unlink()
    data = Cityscapes(streets_root)
    assert data.has_objects
    with pytest.raises(DataError, match=r"instanceIds\.png is missing"):
        data.objects(0)
    with pytest.raises(DataError, match=r"labelIds\.png is missing"):
        data.mask(0)
    assert data.object_numbers(0) is None


def test_a_city_without_masks_is_told_for_each_of_its_images(streets_root: Path) -> None:
    folder = beside(streets_root, LABEL_IDS).parent
    folder.rename(folder.with_name("elsewhere"))
    found = verify([Cityscapes(streets_root)])
    lines = [problem.reason for problem in found.problems]
    assert len(lines) == 2
    assert all("_gtFine_labelIds.png is missing; put it there" in line for line in lines)
    assert found.notes == (
        "2 masks have no image: aachen_000000_000019_gtFine_instanceIds.png, "
        "aachen_000001_000019_gtFine_instanceIds.png",
    )


def test_polygons_without_an_image_are_named(polygons_root: Path) -> None:
    image(polygons_root).unlink()
    path = beside(polygons_root, POLYGONS)
    path.write_text(json.dumps({}))
    found = verify([Cityscapes(polygons_root)])
    assert found.ok
    assert found.notes == (f"1 mask has no image: {path.name}",)
