"""From exports of labelling tools, made by datumaro itself, to a folder that can be trained on."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.own_data import photo

from semisup.data.formats.pictures import voc_palette
from semisup.data.sets.folder import Folder
from semisup.errors import DataError
from semisup.own_data.importing import import_export
from semisup.own_data.start import start

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # in pycocotools

SIZE = (40, 60)
CAT, DOG = 0, 1
POLYGONS: dict[str, list[tuple[int, list[float]]]] = {
    "one": [(CAT, [5, 5, 50, 5, 50, 35, 5, 35]), (DOG, [20.5, 10.2, 40, 12, 25.7, 30])],
    "two": [(DOG, [10.5, 3.2, 40, 9, 22, 35])],
    "sub/three": [(CAT, [1, 1, 12, 1, 12, 12, 1, 12]), (CAT, [30, 20, 58, 20, 58, 38, 30, 38])],
}
"""Of each image the class and the points; where two overlap the smaller is the later."""


@pytest.fixture(scope="module")
def datumaro() -> Any:
    return pytest.importorskip("datumaro", reason="needs datumaro: pip install 'semisup[import]'")


def truth() -> dict[str, np.ndarray]:
    """The masks of `POLYGONS`, rasterised as datumaro does, later ones on top: uint8 HW."""
    from datumaro.components.annotation import Polygon
    from datumaro.plugins.transforms import PolygonsToMasks

    masks = {}
    for name, drawn in POLYGONS.items():
        mask = np.zeros(SIZE, np.uint8)
        for label, points in drawn:
            one = PolygonsToMasks.convert_polygon(Polygon(points, label=label), *SIZE)
            mask[one.image.astype(bool)] = label + 1
        masks[name] = mask
    return masks


def exported(to: Path, format: str, *, as_masks: bool = False, subset: str = "train") -> Path:
    """What datumaro exports of `POLYGONS`, a picture with a box alone and an empty one."""
    from datumaro.components.annotation import Bbox, Polygon
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image as Picture

    def item(name: str, annotations: list[Any]) -> Any:
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        media = Picture.from_numpy(data=pixels)
        return DatasetItem(id=name, subset=subset, media=media, annotations=annotations)

    items = [
        item(
            name,
            [
                Polygon(points, label=label, id=at * 9 + n, group=at * 9 + n, z_order=n)
                for n, (label, points) in enumerate(drawn, 1)
            ],
        )
        for at, (name, drawn) in enumerate(POLYGONS.items())
    ]
    items += [item("box", [Bbox(3, 3, 10, 10, label=CAT, id=99, group=99)]), item("empty", [])]
    data = Dataset.from_iterable(items, categories=["cat", "dog"], media_type=Picture)
    if as_masks:
        data.transform("polygons_to_masks")
    data.export(str(to), format, save_media=True)
    return to


def masks_in(root: Path) -> dict[str, np.ndarray]:
    data = Folder(root, "all")
    assert data.classes == ("background", "cat", "dog")
    return {
        name: data.mask(index).numpy()
        for index, name in enumerate(data.ids)
        if data.has_mask(index)
    }


def assert_equal_to_the_pixel(root: Path) -> None:
    found, wanted = masks_in(root), truth()
    assert found.keys() == wanted.keys()
    for name, mask in wanted.items():
        assert (found[name] == mask).all(), name


@pytest.mark.parametrize("format", ["cvat", "coco_instances", "label_me", "datumaro"])
def test_polygons_are_equal_to_the_pixel(datumaro: Any, tmp_path: Path, format: str) -> None:
    report = import_export(exported(tmp_path / "export", format), tmp_path / "to")
    assert report.format == format
    assert (report.images, report.masks, report.overlaps) == (5, 3, 1)
    assert report.segments == {"cat": 3, "dog": 2}
    assert_equal_to_the_pixel(tmp_path / "to")
    said = "\n".join(report.notes)
    assert "left out: 1 box, which has no mask" in said
    assert "unlabelled: 2 images on which nothing with a mask was drawn, such as box" in said
    assert "objects overlap in 1 image: " in said


@pytest.mark.parametrize("format", ["voc_segmentation", "camvid"])
def test_masks_of_own_classes_are_equal_to_the_pixel(
    datumaro: Any, tmp_path: Path, format: str
) -> None:
    source = exported(tmp_path / "export", format, as_masks=True)
    report = import_export(source, tmp_path / "to")
    assert report.format == format
    assert_equal_to_the_pixel(tmp_path / "to")


def with_void(source: Path, mode: str) -> dict[str, np.ndarray]:
    """The masks of a VOC export, a third of each made void in its class mask alone: uint8 HW."""
    masks = truth()
    for name, mask in masks.items():
        mask[:, ::3] = 255
        path = source / "SegmentationClass" / f"{name}.png"
        picture = Image.fromarray(mask)  # of label ids, in grey
        if mode != "L":
            palette = [*voc_palette(3), *[(0, 0, 0)] * 252, (224, 224, 192)]
            picture.putpalette([value for colour in palette for value in colour])
            picture = picture.convert(mode)
        picture.save(path)
    return masks


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_what_is_void_in_class_masks_of_voc_stays_void_beside_objects(
    datumaro: Any, tmp_path: Path, mode: str
) -> None:
    source = exported(tmp_path / "export", "voc_segmentation", as_masks=True)
    wanted = with_void(source, mode)
    assert (source / "SegmentationObject" / "one.png").is_file()
    report = import_export(source, tmp_path / "to")
    found = masks_in(tmp_path / "to")
    assert found.keys() == wanted.keys()
    for name, mask in wanted.items():
        assert (found[name] == mask).all(), name
    objects = {name: report.segments[name] for name in ("cat", "dog")}
    assert objects == {"cat": 3, "dog": 2}
    assert report.segments["void"] > 0
    assert report.overlaps == 0


def test_classes_of_voc_count_where_they_are_no_object(datumaro: Any, tmp_path: Path) -> None:
    source = exported(tmp_path / "export", "voc_segmentation", as_masks=True)
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(source / "SegmentationObject" / "one.png")
    (source / "SegmentationObject" / "two.png").unlink()
    import_export(source, tmp_path / "to")
    assert_equal_to_the_pixel(tmp_path / "to")


def test_a_palette_that_ends_before_void_still_has_void(datumaro: Any, tmp_path: Path) -> None:
    source = exported(tmp_path / "export", "voc_segmentation", as_masks=True)
    picture = Image.fromarray(np.full(SIZE, 255, np.uint8))
    picture.putpalette([value for colour in voc_palette(33) for value in colour])
    picture.save(source / "SegmentationClass" / "two.png")
    import_export(source, tmp_path / "to")
    assert (masks_in(tmp_path / "to")["two"] == 255).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Image.new("RGB", SIZE[::-1], (1, 2, 3)), r"colour \(1, 2, 3\) is of no class"),
        (lambda: Image.new("L", SIZE[::-1], 9), "9 is no label id, the export names 3 classes"),
        (lambda: Image.new("L", (7, 8), 1), r"two\.png is 40x60, and .*two\.png 8x7; export both"),
        (None, "has no mask of classes beside it"),
        (b"no picture", r"two\.png cannot be read \(.*export it anew"),
    ],
)
def test_masks_of_voc_that_cannot_be_right_are_refused(
    datumaro: Any, tmp_path: Path, make: Any, said: str
) -> None:
    source = exported(tmp_path / "export", "voc_segmentation", as_masks=True)
    path = source / "SegmentationClass" / "two.png"
    if make is None:
        path.unlink()
    elif isinstance(make, bytes):
        path.write_bytes(make)
    else:
        make().save(path)
    with pytest.raises(DataError, match=said):
        import_export(source, tmp_path / "to")


def test_real_masks_of_voc_are_equal_to_the_pixel(
    datumaro: Any, shared_data: Path, tmp_path: Path
) -> None:
    real = shared_data / "voc2012" / "VOCdevkit" / "VOC2012"
    names = sorted(path.stem for path in (real / "SegmentationClass").glob("*.png"))[:2]
    for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (tmp_path / "export" / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(real / folder / f"{name}.{ending}", tmp_path / "export" / folder)
    objects = tmp_path / "export" / "SegmentationObject"
    objects.mkdir()
    lists = tmp_path / "export" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names))
    for name in names:  # the real set's object masks are void along the borders as well
        mask = np.array(Image.open(real / "SegmentationClass" / f"{name}.png"))
        Image.fromarray(np.where(mask == 255, 0, mask)).save(objects / f"{name}.png")
    report = import_export(tmp_path / "export", tmp_path / "to")
    assert report.segments["void"] == len(names)
    data = Folder(tmp_path / "to", "all")
    for index, name in enumerate(data.ids):
        wanted = np.array(Image.open(real / "SegmentationClass" / f"{name}.png"))
        assert (wanted == 255).any()
        assert (data.mask(index).numpy() == wanted).all(), name


def yolo(root: Path, subset: str = "train") -> Path:
    """As Ultralytics lays out a set with polygons, which datumaro does not write."""
    (root / "images" / subset).mkdir(parents=True)
    (root / "data.yaml").write_text("train: images/train\nnames: {0: cat, 1: dog}\n")
    for name, drawn in POLYGONS.items():
        photo(root / "images" / subset / f"{name}.jpg", len(name), SIZE)
        lines = [
            " ".join([str(label), *(repr(v / SIZE[1 - n % 2]) for n, v in enumerate(points))])
            for label, points in drawn
        ]
        path = root / "labels" / subset / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    return root


def test_polygons_of_yolo_are_equal_to_the_pixel(datumaro: Any, tmp_path: Path) -> None:
    source = yolo(tmp_path / "export")
    with (source / "labels" / "train" / "two.txt").open("a") as file:
        file.write("0 0.5 0.5 0.1 0.1\n")
    report = import_export(source, tmp_path / "to")
    assert "left out: 1 box, which has no mask" in report.notes
    found, wanted = masks_in(tmp_path / "to"), truth()
    assert found.keys() == {f"train/{name}" for name in wanted}
    for name, mask in wanted.items():
        assert (found[f"train/{name}"] == mask).all()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("7 0.1 0.1 0.2 0.2 0.1 0.2", "there is no class 7"),
        ("0 0.1 0.1 0.2 0.2 0.1 0.2 0.3", "7 numbers are no polygon"),
        ("0 0.1 0.1 20 0.2 0.1 0.2", "lies outside of the image"),
        ("cat 0.1", "is no label of YOLO"),
    ],
)
def test_a_line_that_is_no_label_of_yolo_is_refused(
    datumaro: Any, tmp_path: Path, line: str, said: str
) -> None:
    source = yolo(tmp_path / "export")
    (source / "labels" / "train" / "two.txt").write_text(line)
    with pytest.raises(DataError, match=rf"two\.txt, line 1: .*{said}"):
        import_export(source, tmp_path / "to")


def shape(label: str, points: list[list[float]], kind: str = "polygon", **more: Any) -> Any:
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, **more}


def labelme(root: Path, drawn: list[Any], name: str = "one", **more: Any) -> Path:
    photo(root / f"{name}.jpg", 1, SIZE)
    content = {"version": "5.4.1", "flags": {}, "shapes": drawn, "imagePath": f"{name}.jpg"}
    content |= {"imageHeight": SIZE[0], "imageWidth": SIZE[1], **more}
    (root / f"{name}.json").write_text(json.dumps(content))
    return root


def test_shapes_of_labelme_are_drawn_in_their_order(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.ones((3, 4), bool)).save(picture, format="PNG")
    stored = base64.b64encode(picture.getvalue()).decode()
    shapes = [
        shape("dog", [[50, 30], [30, 10]], "rectangle"),
        shape("cat", [[20, 5], [40, 5], [40, 20], [20, 20]]),
        shape("__ignore__", [[0, 0], [5, 0], [5, 5], [0, 5]]),
        shape("dog", [[10, 30], [14, 33]], "mask", mask=stored),
        shape("cat", [[1, 1]], "point"),
    ]
    report = import_export(labelme(tmp_path / "in", shapes), tmp_path / "to")
    mask = masks_in(tmp_path / "to")["one"]
    wanted = np.zeros(SIZE, np.uint8)
    wanted[10:31, 30:51] = 2
    wanted[5:21, 20:41] = 1
    wanted[0:6, 0:6] = 255
    wanted[30:33, 10:14] = 2
    assert (mask == wanted).all()
    assert "left out: 1 point, which has no mask" in report.notes
    assert "later shapes lie on earlier ones" in "\n".join(report.notes)


def test_real_files_of_labelme_are_as_its_own_export(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "labelme_voc" / "semantic_segmentation"
    import_export(source / "data_annotated", tmp_path / "to")
    data = Folder(tmp_path / "to", "all")
    names = (source / "data_dataset_voc" / "class_names.txt").read_text().splitlines()
    for index, name in enumerate(data.ids):
        theirs = np.array(
            Image.open(source / "data_dataset_voc" / "SegmentationClass" / f"{name}.png")
        )
        ours = data.mask(index).numpy()
        table = np.full(256, 255, np.uint8)
        for value, label in enumerate(names):
            if value in theirs and label.strip("_") != "ignore":
                table[value] = data.classes.index(label.strip("_"))
        # The Pillow of that export drew one pixel of one polygon otherwise.
        assert (ours != table[theirs]).sum() <= 1, name
    assert len(data.ids) == 3


def test_subsets_become_lists_and_an_image_without_a_mask_is_not_reported_on(
    datumaro: Any, tmp_path: Path
) -> None:
    source = yolo(yolo(tmp_path / "export"), "valid")
    photo(source / "images" / "valid" / "bare.jpg", 3, SIZE)
    report = import_export(source, tmp_path / "to")
    assert report.lists == {"train": 3, "val": 3}
    assert all(name.startswith("valid/") for name in Folder(tmp_path / "to", "val").ids)
    done = start(tmp_path / "to")
    assert {"classes.txt", "train.txt", "val.txt"} <= set(done.kept)
    assert done.found.native


def test_empty_images_are_background_where_that_is_said(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", [shape("cat", [[0, 0], [9, 0], [9, 9]])])
    labelme(source, [], "none")
    assert import_export(source, tmp_path / "to").masks == 1
    assert import_export(source, tmp_path / "other", empty=True).masks == 2
    assert (np.array(Image.open(tmp_path / "other" / "masks" / "none.png")) == 0).all()


def test_a_turned_photograph_has_the_mask_that_was_drawn_on_it(tmp_path: Path) -> None:
    source = labelme(
        tmp_path / "in",
        [shape("cat", [[0, 0], [9, 0], [9, 9], [0, 9]])],
        imageHeight=SIZE[1],
        imageWidth=SIZE[0],
    )
    photo(source / "one.jpg", 1, SIZE, orientation=6)
    import_export(source, tmp_path / "to")
    data = Folder(tmp_path / "to", "all")
    assert data.mask(0).shape == SIZE[::-1]
    assert data.image(0).shape == (3, *SIZE[::-1])


def test_classes_of_one_name_are_one_and_near_names_are_told(tmp_path: Path) -> None:
    names = ("cat", "cat ", "Cat", "a: b", "12")
    shapes = [shape(name, [[n, 0], [n + 9, 0], [n + 9, 9]]) for n, name in enumerate(names)]
    report = import_export(labelme(tmp_path / "in", shapes), tmp_path / "to")
    said = "\n".join(report.notes)
    assert "several classes are called 'cat'" in said
    assert "differ in capital letters alone" in said
    assert Folder(tmp_path / "to", "all").classes == ("background", "class_12", "Cat", "a b", "cat")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"imagePath": "gone.jpg"}, "the export has no picture for any of 1 image, such as 'one'"),
        ({"imageHeight": 7}, r"one\.jpg is 40x60, but was labelled as 7x60"),
        ({"shapes": [shape("cat", [[1, 2]])]}, "a polygon of 1 points"),
        ({"imageHeight": "tall"}, r"one\.json states no size of its image"),
        ({"shapes": [shape("cat", [[1, float("nan")], [3, 4], [5, 6]])]}, "a point is no number"),
        ({"shapes": [{"label": "cat"}]}, r"one\.json has shapes without label or points"),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    source = labelme(tmp_path / "in", [shape("cat", [[0, 0], [9, 0], [9, 9]])], **more)
    with pytest.raises(DataError, match=said):
        import_export(source, tmp_path / "to")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": [1, 1], "of": 1}, "two images have the id 1"),
        ({"images": [1, 2], "of": 9}, "1 annotation of no image, such as of 9"),
        ({"images": [1, 2], "of": 1, "category": 7}, r"cannot be read as coco_instances: .*7"),
    ],
)
def test_numbers_of_coco_that_contradict_each_other_are_refused(
    datumaro: Any, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    images = []
    for place, number in enumerate(change["images"]):
        photo(tmp_path / "images" / f"{place}.jpg", place, SIZE)
        images.append({"id": number, "file_name": f"{place}.jpg", "height": 40, "width": 60})
    drawn = {"id": 1, "image_id": change["of"], "category_id": change.get("category", 1)}
    drawn |= {"segmentation": [[1, 1, 9, 1, 9, 9]], "bbox": [1, 1, 8, 8], "area": 32, "iscrowd": 0}
    content = {"images": images, "annotations": [drawn], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_default.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        import_export(tmp_path, tmp_path.with_name("to"))


def test_what_is_no_export_and_where_it_cannot_be_written_is_refused(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", [shape("cat", [[0, 0], [9, 0], [9, 9]])])
    with pytest.raises(DataError, match="is no folder"):
        import_export(tmp_path / "none", tmp_path / "to")
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(DataError, match="is an archive; unpack it"):
        import_export(tmp_path / "x.zip", tmp_path / "to")
    with pytest.raises(DataError, match=re.escape(f"lies in {source}, which is read")):
        import_export(source, source / "to")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine.txt").write_text("")
    with pytest.raises(DataError, match="is not empty"):
        import_export(source, tmp_path / "to")


def test_formats_that_run_code_or_are_not_known_are_refused(datumaro: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="is no export that is known; name the folder"):
        import_export(tmp_path / "in", tmp_path / "to")
    with pytest.raises(DataError, match=r"--format cifar is none of labelme, yolo, camvid"):
        import_export(tmp_path / "in", tmp_path / "to", format="cifar")
    with pytest.raises(DataError, match=r"--format cvta .*Did you mean 'cvat'"):
        import_export(tmp_path / "in", tmp_path / "to", format="cvta")


def test_without_datumaro_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datumaro.components.environment", None)
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"pip install 'semisup\[import\]'"):
        import_export(tmp_path / "in", tmp_path / "to")
