"""Pascal VOC: lists, sources of masks, kept classes, instances, boxes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semisup.data.formats.voc_annotations import Box
from semisup.data.sets.voc import CLASSES, Voc
from semisup.errors import DataError, RecipeError

AUG = np.full((6, 8), 7, np.uint8)


def voc(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


def lists(root: Path) -> Path:
    return voc(root) / "ImageSets" / "Segmentation"


def test_reads_the_official_layout(voc_root: Path) -> None:
    data = Voc(voc_root)
    assert data.ids == ("2007_000001", "2007_000002")
    assert len(data) == 2
    assert data.num_classes == 21
    assert data.classes[15] == "person"
    assert data.palette[15] == (192, 128, 128)
    assert data.image(0).shape == (3, 6, 8)
    assert data.mask(0)[2].tolist() == [12, 12, 12, 12, 255, 15, 15, 15]
    assert Voc(voc_root, "val").ids == ("2007_000003",)


@pytest.mark.parametrize("place", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_root_may_be_the_data_root_or_the_folder_itself(voc_root: Path, place: str) -> None:
    assert Voc(str(voc_root / place)).root == voc(voc_root)


def test_missing_data_set_is_one_line_with_places_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Voc(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "Pascal VOC 2012 is not there",
        str(tmp_path / "VOCdevkit/VOC2012"),
        "--data-root or SEMISUP_DATA",
        "VOCtrainval_11-May-2012.tar",
    ):
        assert part in message


def test_unknown_subset_suggests_the_near_one(voc_root: Path) -> None:
    with pytest.raises(DataError, match=r"no subset 'trian' in .*Did you mean 'train'\?"):
        Voc(voc_root, "trian")
    with pytest.raises(DataError, match=r"no subset '\.\./Segmentation/train'"):
        Voc(voc_root, "../Segmentation/train")


def test_a_list_may_have_bom_crlf_blank_lines_and_no_last_newline(voc_root: Path) -> None:
    text = "\ufeff2007_000002\r\n\r\n  2007_000001 "
    (lists(voc_root) / "train.txt").write_bytes(text.encode())
    assert Voc(voc_root).ids == ("2007_000002", "2007_000001")


def test_a_line_of_paths_is_reduced_to_the_id(voc_root: Path) -> None:
    line = "/JPEGImages/2007_000002.jpg /SegmentationClassAug/2007_000002.png\n"
    (lists(voc_root) / "train.txt").write_text(line)
    assert Voc(voc_root).ids == ("2007_000002",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\nb\na\n", r"train\.txt lists 'a' 2 times"),
        ("a 1\n", r"train\.txt has the line 'a 1'; a line is one image id"),
        ("x/a.jpg y/b.png\n", "a line is one image id"),
        ("\n", r"train\.txt lists no image"),
        (b"\xff\xfe\xff", r"train\.txt is no UTF-8 text"),
    ],
)
def test_bad_lists_are_refused(voc_root: Path, text: str | bytes, reason: str) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (lists(voc_root) / "train.txt").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        Voc(voc_root)


def test_a_label_that_is_no_class_is_named(
    voc_root: Path, save_mask: Callable[[Path, object], Path]
) -> None:
    save_mask(voc(voc_root) / "SegmentationClass" / "2007_000002.png", 21)
    with pytest.raises(DataError, match=r"2007_000002\.png holds label 21, but .* 0\.\.20"):
        Voc(voc_root).mask(1)


def test_a_colour_mask_is_explained(voc_root: Path) -> None:
    path = voc(voc_root) / "SegmentationClass" / "2007_000002.png"
    Image.new("RGB", (8, 6)).save(path)
    with pytest.raises(DataError, match=r"2007_000002\.png is a colour picture"):
        Voc(voc_root).mask(1)


@pytest.mark.parametrize("name", ["train_aug", "trainaug"])
@pytest.mark.parametrize("asked", ["train_aug", "trainaug"])
def test_the_augmented_list_goes_by_two_names(
    voc_root: Path, save_list: Callable[[Path, list[str]], Path], name: str, asked: str
) -> None:
    save_list(lists(voc_root) / f"{name}.txt", ["2007_000001", "2007_000004"])
    data = Voc(voc_root, asked)
    assert data.ids == ("2007_000001", "2007_000004")
    assert data.subset == asked


def test_the_augmented_list_is_made_from_sbd(
    voc_root: Path,
    save_list: Callable[[Path, list[str]], Path],
    save_sbd: Callable[[Path, np.ndarray], Path],
) -> None:
    sbd = voc_root / "benchmark_RELEASE" / "dataset"
    save_sbd(sbd / "cls" / "2007_000004.mat", AUG)
    save_list(sbd / "train.txt", ["2007_000004", "2007_000003"])
    save_list(sbd / "val.txt", ["2007_000002", "2008_000009"])
    data = Voc(voc_root, "train_aug")
    # VOC train (1, 2) and SBD (2, 3, 4, 9) without VOC val (3)
    assert data.ids == ("2007_000001", "2007_000002", "2007_000004", "2008_000009")
    assert data.facts() == {
        "masks": {"SegmentationClass": 2, "SBD cls": 1},
        "list": "made from VOC's and SBD's lists",
    }


def test_without_list_and_sbd_the_augmented_set_is_unknown(voc_root: Path) -> None:
    with pytest.raises(DataError, match=r"no subset 'train_aug' in"):
        Voc(voc_root, "train_aug")


def test_official_masks_win_over_aug_and_aug_over_sbd(
    voc_root: Path,
    save_list: Callable[[Path, list[str]], Path],
    save_mask: Callable[[Path, object], Path],
    save_sbd: Callable[[Path, np.ndarray], Path],
) -> None:
    save_list(lists(voc_root) / "train_aug.txt", ["2007_000001", "2007_000003", "2007_000004"])
    aug = voc(voc_root) / "SegmentationClassAug"
    save_mask(aug / "2007_000001.png", 8)
    save_mask(aug / "2007_000003.png", 8)
    (voc(voc_root) / "SegmentationClass" / "2007_000003.png").unlink()
    for number in (1, 3, 4):
        save_sbd(voc(voc_root) / "cls" / f"2007_00000{number}.mat", AUG)
    data = Voc(voc_root, "train_aug")
    assert data.mask(0).unique().tolist() == [0, 12, 15, 255]
    assert data.mask(1).unique().tolist() == [8]
    assert data.mask(2).unique().tolist() == [7]
    assert data.mask_path(2) == voc(voc_root) / "cls" / "2007_000004.mat"
    assert data.facts() == {
        "masks": {"SegmentationClass": 1, "SegmentationClassAug": 1, "SBD cls": 1}
    }


def test_sbd_mask_is_row_major_and_uint8(
    voc_root: Path,
    save_list: Callable[[Path, list[str]], Path],
    save_sbd: Callable[[Path, np.ndarray], Path],
) -> None:
    save_list(lists(voc_root) / "train_aug.txt", ["2007_000004"])
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8) % 21
    save_sbd(voc_root / "sbd" / "cls" / "2007_000004.mat", labels)
    mask = Voc(voc_root, "train_aug").mask(0)
    assert mask.dtype == torch.uint8
    assert mask.is_contiguous()
    assert np.array_equal(mask.numpy(), labels)


def test_damaged_sbd_files_are_named(
    voc_root: Path, save_list: Callable[[Path, list[str]], Path]
) -> None:
    from scipy.io import savemat

    save_list(lists(voc_root) / "train_aug.txt", ["2007_000004"])
    path = voc(voc_root) / "cls" / "2007_000004.mat"
    path.parent.mkdir()
    data = Voc(voc_root, "train_aug")
    path.write_bytes(b"MATLAB 5.0 MAT-file" + b"\0" * 300)
    with pytest.raises(DataError, match=r"2007_000004\.mat "):
        data.mask(0)
    savemat(path, {"GTinst": AUG})
    with pytest.raises(DataError, match=r"2007_000004\.mat holds no GTcls\.Segmentation"):
        data.mask(0)
    savemat(path, {"GTcls": {"Segmentation": AUG.astype(float)}})
    with pytest.raises(DataError, match="no uint8 map"):
        data.mask(0)


def test_a_mask_that_is_nowhere_is_named_at_its_official_place(voc_root: Path) -> None:
    (voc(voc_root) / "SegmentationClass" / "2007_000002.png").unlink()
    with pytest.raises(DataError, match=r"SegmentationClass/2007_000002\.png is missing"):
        Voc(voc_root).mask(1)


def test_kept_classes_are_renumbered_in_voc_order_and_others_void(voc_root: Path) -> None:
    data = Voc(voc_root, classes=("person", "background"))
    assert data.classes == ("background", "person")
    assert data.palette == ((0, 0, 0), (192, 128, 128))
    assert data.mask(0)[2].tolist() == [255, 255, 255, 255, 255, 1, 1, 1]
    assert data.mask(0)[5].tolist() == [0] * 8
    assert data.mask(0).dtype == torch.uint8
    left_out = [name for name in CLASSES if name not in ("background", "person")]
    assert data.facts()["classes_made_void"] == left_out
    assert [box.name for box in data.boxes(0)] == ["person"]


def test_keeping_a_class_does_not_keep_the_background(voc_root: Path) -> None:
    assert Voc(voc_root, classes=("dog",)).mask(0).unique().tolist() == [0, 255]


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        (("persn",), r"'persn' in classes is no class here. Did you mean 'person'\?"),
        (("dog", "dog"), "'dog' stands twice"),
        ((), "classes is empty"),
    ],
)
def test_bad_classes_are_refused(voc_root: Path, classes: tuple[str, ...], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        Voc(voc_root, classes=classes)


def test_a_label_beyond_the_classes_is_refused_even_with_kept_classes(
    voc_root: Path, save_mask: Callable[[Path, object], Path]
) -> None:
    save_mask(voc(voc_root) / "SegmentationClass" / "2007_000002.png", 40)
    with pytest.raises(DataError, match="label 40"):
        Voc(voc_root, classes=("dog",)).mask(1)


def test_instances(voc_root: Path) -> None:
    instances = Voc(voc_root).instances(0)
    assert instances[2].tolist() == [1, 1, 1, 1, 255, 2, 2, 2]
    assert instances.dtype == torch.uint8


def test_boxes_are_one_based_inclusive_without_parts(voc_root: Path) -> None:
    data = Voc(voc_root)
    dog, person = data.boxes(0)
    assert dog == Box("dog", xmin=1, ymin=2, xmax=8, ymax=5, truncated=True)
    assert person == Box("person", xmin=3, ymin=1, xmax=5, ymax=6, difficult=True)
    crop = data.mask(0)[person.ymin - 1 : person.ymax, person.xmin - 1 : person.xmax]
    assert crop.shape == (6, 3)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("</annotation>", "", "no element found"),
        ("<xmax>8</xmax>", "", "'dog' has no whole bndbox"),
        ("<xmax>8</xmax>", "<xmax>eight</xmax>", "could not convert"),
        ("<xmax>8</xmax>", "<xmax>0</xmax>", "'dog' has a box of no size"),
        ("<name>dog</name>", "", "an object without a name"),
        ("<xmax>8</xmax>", "<xmax>1e999</xmax>", "cannot convert float infinity"),
        ("<name>dog</name><pose>", "<name>d\ng</name><pose/><z>", "mismatched tag"),
    ],
)
def test_damaged_xml_is_named(voc_root: Path, old: str, new: str, reason: str) -> None:
    path = voc(voc_root) / "Annotations" / "2007_000001.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=rf"2007_000001\.xml is no VOC annotation \({reason}"):
        Voc(voc_root).boxes(0)


def test_an_encoding_that_is_none_and_a_name_of_two_lines(voc_root: Path) -> None:
    path = voc(voc_root) / "Annotations" / "2007_000001.xml"
    whole = path.read_text()
    path.write_text(f'<?xml version="1.0" encoding="utf-9"?>{whole}')
    with pytest.raises(DataError, match="is no VOC annotation"):
        Voc(voc_root).boxes(0)
    path.write_text(whole.replace("dog", "do\ng").replace("<xmax>8</xmax>", ""))
    with pytest.raises(DataError) as caught:
        Voc(voc_root).boxes(0)
    assert "\n" not in str(caught.value)


def test_missing_xml_is_named(voc_root: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the boxes .*2007_000002\.xml"):
        Voc(voc_root).boxes(1)


def test_reading_images_needs_no_masks(voc_root: Path) -> None:
    shutil.rmtree(voc(voc_root) / "SegmentationClass")
    assert Voc(voc_root).image(1).dtype == torch.uint8


def test_real_small_set(shared_data: Path) -> None:
    root = shared_data / "voc2012_small"
    counts = {name: len(Voc(root, name)) for name in ("train", "train_aug", "val")}
    assert counts == {"train": 440, "train_aug": 3151, "val": 248}
    data = Voc(root, "train_aug")
    assert data.facts() == {"masks": {"SegmentationClass": 440, "SegmentationClassAug": 2711}}
    fine = set(Voc(root, "train").ids)
    official = next(i for i, name in enumerate(data.ids) if name in fine)
    augmented = next(i for i, name in enumerate(data.ids) if name not in fine)
    assert (data.mask(official) == 255).any()
    assert not (data.mask(augmented) == 255).any()


def test_real_images_and_masks_have_the_same_size(shared_data: Path) -> None:
    data = Voc(shared_data / "voc2012", "val")
    assert len(data) == 100
    assert data.image(0).shape[1:] == data.mask(0).shape
    instances = Voc(shared_data / "voc2012", "val", classes=("background", "dog"))
    assert set(instances.mask(0).unique().tolist()) <= {0, 1, 255}


LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\ndog:9,9,9::\n"


def own_tree(root: Path, name: str, text: str) -> Path:
    """A tree as CVAT, datumaro and labelme write it, with its own list of classes."""
    (voc(root) / name).write_text(text)
    return voc(root)


def test_a_tree_with_its_own_classes_has_those(voc_root: Path) -> None:
    tree = own_tree(voc_root, "labelmap.txt", LABELMAP)
    mask = np.array([[[0, 0, 0], [9, 9, 9], [224, 224, 192]]], np.uint8)
    Image.fromarray(mask).save(tree / "SegmentationClass" / "2007_000001.png")
    Image.fromarray(np.array([[0, 2, 255]], np.uint8)).save(
        tree / "SegmentationClass" / "2007_000002.png"
    )
    data = Voc(voc_root)
    assert data.classes == ("background", "cat", "dog")
    assert data.palette == ((0, 0, 0), (48, 112, 32), (9, 9, 9))
    assert data.mask(0).tolist() == [[0, 2, 255]]
    assert data.mask(1).tolist() == [[0, 2, 255]]
    assert data.facts()["classes_from"] == "labelmap.txt"
    few = Voc(voc_root, classes=("background", "dog"))
    assert few.mask(0).tolist() == [[0, 1, 255]]


def test_a_tree_of_labelme_has_its_masks_in_a_folder_of_another_name(voc_root: Path) -> None:
    tree = own_tree(voc_root, "class_names.txt", "_background_\ncat\n")
    (tree / "SegmentationClass").rename(tree / "SegmentationClassPNG")
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(
        tree / "SegmentationClassPNG" / "2007_000001.png"
    )
    data = Voc(voc_root)
    assert data.classes == ("_background_", "cat")
    assert data.mask(0).tolist() == [[0, 1]]
    with pytest.raises(DataError, match=r"holds label 15, but the classes are 0\.\.1"):
        data.mask(1)


def test_images_of_a_tool_have_any_ending(voc_root: Path) -> None:
    tree = own_tree(voc_root, "labelmap.txt", LABELMAP)
    (tree / "JPEGImages" / "2007_000001.jpg").rename(tree / "JPEGImages" / "2007_000001.png")
    assert Voc(voc_root).image(0).shape == (3, 6, 8)


def test_a_list_knows_ids_with_spaces_comments_and_endings(
    voc_root: Path, picture: Callable[..., Path]
) -> None:
    picture(voc(voc_root) / "JPEGImages" / "IMG 1.jpg")
    text = "# two\nIMG 1\nJPEGImages/2007_000001.jpg\n2007_000002.jpg\n"
    (lists(voc_root) / "train.txt").write_text(text)
    assert Voc(voc_root).ids == ("IMG 1", "2007_000001", "2007_000002")


def test_names_of_objects_need_no_boxes(voc_root: Path) -> None:
    path = voc(voc_root) / "Annotations" / "2007_000001.xml"
    path.write_text("<annotation><object><name>dog</name><polygon/></object></annotation>")
    assert Voc(voc_root).object_names(0) == ["dog"]
