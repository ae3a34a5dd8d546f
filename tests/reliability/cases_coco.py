"""Annotations in COCO's form, as tools export them, people join them and disks leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cases import read, refused
from click.testing import Result
from places import Call, Place, cut
from support.coco import HEIGHT, WIDTH, make_coco

from semisup.system.memory import forget_peak, peak_mebibytes

Edit = Callable[[dict[str, Any]], object]

FILE = "instances_train2017.json"
NETWORK = (
    "data.name=coco",
    "data.split=all",
    'data.crop="whole"',
    "data.labelled_batch=1",
    "method.name=mask_rcnn",
    "model.name=mask_rcnn",
    "model.backbone=mobilenet_v2",
    "model.frozen_norms=false",
    "model.min_size=48",
    "model.max_size=64",
    "model.box_width=8",
    "model.sampled_boxes=8",
)


def changed(path: Path, edit: Edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def annotations(place: Place, subset: str = "train") -> Path:
    """The annotation file of a set that is made in the place's data."""
    if not (place.data / "annotations").exists():
        make_coco(place.data)
    return place.data / "annotations" / f"instances_{subset}2017.json"


def verify(place: Place, edit: Edit) -> list[object]:
    changed(annotations(place), edit)
    return place.verify("coco")


def first(key: str, **values: Any) -> Edit:
    """The first image, category or annotation with other values."""
    return lambda content: content[key][0].update(values)


@refused("COCO's annotations that are not there", "no subset 'train'", "Known: val")
def no_file_of_annotations(place: Place) -> list[object]:
    annotations(place).unlink()
    return place.verify("coco")


@refused("COCO's annotations that end in the middle", FILE, "is no JSON", "get it again")
def cut_annotations(place: Place) -> list[object]:
    cut(annotations(place))
    return place.verify("coco")


@refused("COCO's captions in place of its instances", FILE, "KeyError", "it needs images")
def captions(place: Place) -> list[object]:
    return verify(place, lambda content: content.pop("categories"))


@refused("COCO's results in place of its instances", FILE, "'[' begins at byte 0", "not an object")
def results(place: Place) -> list[object]:
    annotations(place).write_text('[{"image_id": 107, "category_id": 3, "score": 0.5}]')
    return place.verify("coco")


@refused("two images of one id in COCO's annotations", FILE, "two images have the id 107")
def two_images_of_one_id(place: Place) -> list[object]:
    return verify(place, lambda c: c["images"].append({**c["images"][0], "file_name": "a.jpg"}))


@refused("two categories of one id in COCO's annotations", FILE, "two categories have the id 7")
def two_categories_of_one_id(place: Place) -> list[object]:
    return verify(place, lambda c: c["categories"].append({"id": 7, "name": "dog"}))


@refused("a category of COCO without a name", FILE, "None is no name of a category")
def no_name_of_a_category(place: Place) -> list[object]:
    return verify(place, first("categories", name=None))


@refused("an object of a category that COCO's file does not list", FILE, "category_id 4 is none")
def unknown_category(place: Place) -> list[object]:
    return verify(place, first("annotations", category_id=4))


@refused("an object of an image that COCO's file does not list", FILE, "image_id 4 is none")
def unknown_image(place: Place) -> list[object]:
    return verify(place, first("annotations", image_id=4))


@refused("an area of COCO that is no number", FILE, "area nan")
def area_of_no_number(place: Place) -> list[object]:
    return verify(place, first("annotations", area=float("nan")))


@refused("a box of COCO of negative width", FILE, "bbox [4, 8, -30, 20]")
def negative_box(place: Place) -> list[object]:
    return verify(place, first("annotations", bbox=[4, 8, -30, 20]))


@refused("iscrowd of COCO as text", FILE, "iscrowd '0' is neither 0 nor 1")
def crowd_as_text(place: Place) -> list[object]:
    return verify(place, first("annotations", iscrowd="0"))


@refused("an image of COCO of a size that no memory holds", FILE, "1000000000x1000000000")
def endless_image(place: Place) -> list[object]:
    return verify(place, first("images", height=10**9, width=10**9))


@refused("an image of COCO in a folder elsewhere", FILE, "image '../../secret.jpg'")
def image_elsewhere(place: Place) -> list[object]:
    return verify(place, first("images", file_name="../../secret.jpg"))


@refused("an image of COCO without a file", "none.jpg is missing", "put it there")
def image_without_file(place: Place) -> list[object]:
    return verify(place, first("images", file_name="none.jpg"))


@refused("a polygon of COCO of two corners", FILE, "image 107", "three corners or more", "correct")
def two_corners(place: Place) -> list[object]:
    return verify(place, first("annotations", segmentation=[[1, 2, 3, 4]]))


@refused("a polygon of COCO far away", FILE, "image 107", "further than 100,000 pixels", "correct")
def far_polygon(place: Place) -> list[object]:
    return verify(place, first("annotations", segmentation=[[0, 0, 1e9, 0, 1e9, 1e9]]))


@refused(
    "runs of COCO of another size than the image", FILE, "size [9, 9] is not that of the image"
)
def runs_of_another_size(place: Place) -> list[object]:
    return verify(place, first("annotations", segmentation={"size": [9, 9], "counts": [81]}))


@refused("an image of COCO of another size than stated", FILE, "size [48, 64]", "correct it")
def another_size(place: Place) -> list[object]:
    return verify(place, first("images", height=HEIGHT + 2))


@refused("subsets of COCO with other categories", "the same list of classes", "and val has")
def other_categories(place: Place) -> list[object]:
    def one_more(content: dict[str, Any]) -> None:
        content["categories"].append({"id": 5, "name": "dog"})

    changed(annotations(place), one_more)
    return place.train(*NETWORK)


@refused("method mask_rcnn on masks of classes", "learns from objects", "such as coco")
def objects_of_a_folder(place: Place) -> list[object]:
    return place.train(*NETWORK, "data.name=folder")


@refused("method mask_rcnn with another network", "trains model.name = 'mask_rcnn', not a UNet")
def objects_by_unet(place: Place) -> list[object]:
    annotations(place)
    plain = [change for change in NETWORK if not change.startswith("model.")]
    return place.train(*plain)


@refused("an image of COCO of a size that is not its own, and fills a memory", FILE, "30000x30000")
def a_large_size(place: Place) -> Call:
    def enlarge(content: dict[str, Any]) -> None:
        content["images"][0].update(height=30_000, width=30_000)
        number = content["images"][0]["id"]
        corners = [0, 0, 30_000, 0, 30_000, 30_000]
        for one in content["annotations"]:
            if one["image_id"] == number:
                one.update(iscrowd=0, segmentation=[corners])

    words = verify(place, enlarge)
    forget_peak()
    before = peak_mebibytes()

    def then(_: Result) -> None:
        assert peak_mebibytes() - before < 200

    return Call(words, then)


@refused("crowds of COCO alone", "are crowds or of classes that are left out", "of their own")
def crowds_alone(place: Place) -> list[object]:
    return verify(place, lambda c: [one.update(iscrowd=1) for one in c["annotations"]])


@refused("a polygon of COCO outside of its image", FILE, "image 107", "outside of the image")
def outside_of_the_image(place: Place) -> list[object]:
    corners = [WIDTH + 9, 9, WIDTH + 20, 9, WIDTH + 20, 20]
    return verify(place, first("annotations", segmentation=[corners], bbox=[WIDTH + 9, 9, 11, 11]))


@refused("a box of COCO elsewhere than its polygon", FILE, "image 107", "elsewhere than its bbox")
def box_elsewhere(place: Place) -> list[object]:
    return verify(place, first("annotations", bbox=[0, 0, 0, 0]))


@refused("COCO's annotations of another year", FILE, "release of 2014", "set year = 2014")
def another_year(place: Place) -> list[object]:
    name = "COCO_train2014_000000000107.jpg"
    return verify(place, first("images", file_name=name))


@read("objects of COCO partly outside of their image, or of one pixel", "trained on what is left")
def partly_outside_of_the_image(place: Place) -> Call:
    corners = [WIDTH - 2, 9, WIDTH + 20, 9, WIDTH + 20, 20]

    def then(result: Result) -> None:
        (folder,) = (place.runs / "tiny").iterdir()
        assert json.loads((folder / "result.json").read_text())

    def odd(content: dict[str, Any]) -> None:
        for number, one in enumerate(content["annotations"]):
            small = [3, 3, 4, 3, 4, 4, 3, 4]
            inside, box = (small, [3, 3, 1, 1]) if number % 4 else (corners, [WIDTH - 2, 9, 22, 11])
            one.update(iscrowd=0, segmentation=[inside], bbox=box, area=box[2] * box[3])

    changed(annotations(place), odd)
    place.recipe.write_text(place.recipe.read_text().replace("width = 2", "width = 8"))
    return Call(place.train(*NETWORK), then)
