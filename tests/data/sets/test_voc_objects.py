"""VOC's maps of objects and boxes are checked against the image and its mask."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.catalog import create_dataset
from semisup.data.formats.pictures import read_labels
from semisup.data.sets.masks_in_folder import MasksInFolder, read_masks
from semisup.data.sets.voc import Voc
from semisup.data.verify import Verification, verify
from semisup.data.without_classes import WithoutClasses

SaveMask = Callable[[Path, object], Path]


def reasons(found: Verification) -> list[str]:
    return [reason for _, reason in found.problems]


@pytest.fixture
def voc(voc_root: Path) -> Path:
    return voc_root / "VOCdevkit" / "VOC2012"


@pytest.fixture
def map_path(voc: Path) -> Path:
    """Objects 1 (dog) and 2 (person) of image 2007_000001, with void between them."""
    return voc / "SegmentationObject" / "2007_000001.png"


@pytest.fixture
def xml(voc: Path) -> Path:
    return voc / "Annotations" / "2007_000001.xml"


def test_files_that_agree_are_no_problem_and_neither_are_those_that_are_not_there(
    voc_root: Path, voc: Path
) -> None:
    assert verify([Voc(voc_root)]).ok
    shutil.rmtree(voc / "SegmentationObject")
    shutil.rmtree(voc / "Annotations")
    assert verify([Voc(voc_root)]).ok


def test_a_damaged_map_is_a_problem_and_its_mask_counts_all_the_same(
    voc_root: Path, map_path: Path
) -> None:
    map_path.write_bytes(map_path.read_bytes()[:60])
    found = verify([Voc(voc_root)])
    assert [file for file, _ in found.problems] == [map_path]
    assert "cannot be decoded" in reasons(found)[0]
    assert found.subsets[0].problems == 1
    assert found.subsets[0].pixels[12] == 12


def test_a_map_of_another_size_is_a_problem(
    voc_root: Path, map_path: Path, save_mask: SaveMask
) -> None:
    save_mask(map_path, np.zeros((8, 6)))
    (reason,) = reasons(verify([Voc(voc_root)]))
    assert reason == (
        f"{map_path}: the map of objects is 8x6 but its image is 6x8 (height x width); make them "
        "the same size"
    )


def test_an_object_of_two_classes_is_a_problem(
    voc_root: Path, map_path: Path, save_mask: SaveMask
) -> None:
    objects = read_labels(map_path).numpy()
    objects[objects == 2] = 1
    save_mask(map_path, objects)
    (reason,) = reasons(verify([Voc(voc_root)]))
    assert reason == (
        f"{map_path}: object 1 has 12 pixels of 'dog' and 9 of 'person' in "
        "SegmentationClass/2007_000001.png, but it has one class; take both files from one "
        "source, or remove this one"
    )


def test_objects_on_background_are_a_problem_and_the_rest_is_counted(
    voc_root: Path, map_path: Path, save_mask: SaveMask
) -> None:
    objects = read_labels(map_path).numpy()
    objects[5], objects[0, :3] = 3, 1
    save_mask(map_path, objects)
    (reason,) = reasons(verify([Voc(voc_root)]))
    assert "object 1 has 12 pixels of 'dog' and 3 of 'background'" in reason
    assert "but an object is no background, and 1 more object like it;" in reason


@pytest.mark.parametrize("before", [1, 2])
def test_an_object_may_be_void_in_one_of_the_two(
    voc_root: Path, map_path: Path, save_mask: SaveMask, before: int
) -> None:
    objects = read_labels(map_path).numpy()
    objects[objects == before] = 255
    objects[1:4, 4] = 3  # void in the mask
    save_mask(map_path, objects)
    assert verify([Voc(voc_root)]).ok


def test_a_class_that_is_not_kept_is_no_contradiction_and_no_background(
    voc_root: Path, map_path: Path, save_mask: SaveMask
) -> None:
    kept = Voc(voc_root, classes=("dog", "person"))
    assert verify([kept]).ok
    save_mask(map_path, np.where(read_labels(map_path) == 2, 1, read_labels(map_path)))
    assert "9 of 'person'" in reasons(verify([kept]))[0]
    assert verify([Voc(voc_root, classes=("background", "dog"))]).ok  # person is void


def test_ignored_classes_do_not_change_what_the_files_say(
    voc_root: Path, map_path: Path, save_mask: SaveMask
) -> None:
    ignoring = WithoutClasses(Voc(voc_root), ["background"])
    assert verify([ignoring]).ok
    save_mask(map_path, 1)
    assert "object 1 has 24 pixels of 'background'" in reasons(verify([ignoring]))[0]


def test_masks_of_another_folder_are_not_compared_with_the_objects(
    voc_root: Path, voc: Path, tmp_path: Path, map_path: Path, xml: Path, save_mask: SaveMask
) -> None:
    other = tmp_path / "other"
    save_mask(other / "2007_000001.png", 3)
    masks = MasksInFolder(Voc(voc_root), read_masks(f"folder:{other}"))
    assert reasons(verify([masks])) == []
    save_mask(map_path, np.zeros((2, 2)))
    assert "the map of objects is 2x2" in reasons(verify([masks]))[0]


def test_masks_of_sbd_are_not_compared_with_the_objects_of_voc(
    voc_root: Path, voc: Path, map_path: Path, save_mask: SaveMask, save_sbd: Callable[..., Path]
) -> None:
    (voc / "SegmentationClass" / "2007_000001.png").unlink()
    save_sbd(voc / "cls" / "2007_000001.mat", np.full((6, 8), 12))
    assert verify([Voc(voc_root)]).ok
    save_mask(map_path, np.zeros((2, 2)))
    assert "the map of objects is 2x2" in reasons(verify([Voc(voc_root)]))[0]


def test_a_map_in_colours_is_read_by_its_colours(voc_root: Path, map_path: Path) -> None:
    with Image.open(map_path) as picture:
        colours = np.array(picture.convert("RGB"))
    Image.fromarray(colours).save(map_path)
    assert verify([Voc(voc_root)]).ok
    colours[0] = colours[1, 0]  # of the dog
    Image.fromarray(colours).save(map_path)
    (reason,) = reasons(verify([Voc(voc_root)]))
    assert "12 pixels of 'dog' and 8 of 'background'" in reason


def test_a_few_stray_pixels_are_no_contradiction(
    voc_root: Path, voc: Path, picture: Callable[..., Path], save_mask: SaveMask
) -> None:
    labels = np.full((20, 30), 12)
    labels[0, :6] = 0  # 1 % of them
    picture(voc / "JPEGImages" / "2007_000002.jpg", (20, 30))
    save_mask(voc / "SegmentationClass" / "2007_000002.png", labels)
    save_mask(voc / "SegmentationObject" / "2007_000002.png", np.ones((20, 30)))
    assert verify([Voc(voc_root)]).ok
    labels[0, 6] = 0
    save_mask(voc / "SegmentationClass" / "2007_000002.png", labels)
    assert "7 of 'background'" in reasons(verify([Voc(voc_root)]))[0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("</annotation>", "", "is no VOC annotation (no element found"),
        (
            "<xmax>8</xmax>",
            "<xmax>9</xmax>",
            ": the box of 'dog' has columns 1 to 9 and rows 2 to 5, but the image has 8 and 6;",
        ),
        ("<ymax>6</ymax>", "<ymax>7</ymax>", ": the box of 'person' has columns 3 to 5 and rows"),
        ("<xmin>1</xmin>", "<xmin>-1</xmin>", ": the box of 'dog' has columns -1 to 8"),
        (
            "<name>dog</name>",
            "<name>dgo</name>",
            ": names the class 'dgo', which there is not. Did you mean 'dog'?",
        ),
    ],
)
def test_a_wrong_annotation_is_a_problem(
    voc_root: Path, xml: Path, old: str, new: str, reason: str
) -> None:
    xml.write_text(xml.read_text().replace(old, new))
    found = verify([Voc(voc_root)])
    assert [file for file, _ in found.problems] == [xml]
    assert reasons(found)[0].removeprefix(str(xml)).strip().startswith(reason)


def test_boxes_that_are_wrong_alike_are_one_problem(voc_root: Path, xml: Path) -> None:
    text = xml.read_text().replace("<xmax>8<", "<xmax>80<").replace("<ymax>6<", "<ymax>60<")
    xml.write_text(text)
    (reason,) = reasons(verify([Voc(voc_root)]))
    assert reason.endswith("(2 such boxes)")


def test_a_box_of_a_tool_that_counts_from_0_is_taken(voc_root: Path, xml: Path) -> None:
    xml.write_text(xml.read_text().replace("<xmin>1<", "<xmin>0<"))
    assert verify([Voc(voc_root)]).ok


def test_scenes_have_objects_and_boxes_that_agree_with_their_masks(tmp_path: Path) -> None:
    scenes = create_dataset("scenes", tmp_path, "train", train=4, val=1, test=1, size=(64, 64))
    assert verify([scenes]).problems == []
    number = next(i for i, name in enumerate(scenes.ids) if scenes.object_names(i))
    assert scenes.problems_beside(number, scenes.image(number)[:, :9, :9], scenes.mask(number))


def test_real_maps_of_objects_pass(shared_data: Path, tmp_path: Path) -> None:
    part = "labelme_voc/instance_segmentation/data_dataset_voc"
    source = shared_data / part
    names = [path.stem for path in sorted((source / "JPEGImages").iterdir())]
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        shutil.copytree(source / folder, tmp_path / "VOC2012" / folder)
    shutil.copy(source / "class_names.txt", tmp_path / "VOC2012")
    lists = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{name}\n" for name in names))
    data = Voc(tmp_path)
    assert verify([data]).problems == []
    maps = [tmp_path / "VOC2012" / "SegmentationObject" / f"{name}.png" for name in names]
    shutil.copy(maps[1], maps[2])  # of one size
    assert "but an object is no background" in reasons(verify([data]))[0]
