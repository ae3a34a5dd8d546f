"""A user's own folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.data.sets.folder import Folder
from semisup.errors import DataError


def test_reads_images_of_all_suffixes_in_the_order_of_the_list(folder_root: Path) -> None:
    data = Folder(folder_root)
    assert data.ids == ("two", "one")
    assert data.image_path(0).name == "two.jpeg"
    assert data.image(0).shape == (3, 6, 8)
    assert data.mask(0).unique().tolist() == [1]
    assert Folder(folder_root, "val").ids == ("three",)


def test_all_is_every_image_sorted(folder_root: Path) -> None:
    assert Folder(folder_root, "all").ids == ("one", "three", "two")
    (folder_root / "all.txt").write_text("three")
    assert Folder(folder_root, "all").ids == ("three",)


def test_a_folder_taken_as_a_whole_says_what_it_leaves_out(folder_root: Path) -> None:
    for name in ("x.gif", "y.heic", ".hidden.gif"):
        (folder_root / "images" / name).write_bytes(b"")
    assert Folder(folder_root).ids  # a list takes what it names
    with pytest.warns(UserWarning, match=r"2 files are of no format that is read: x\.gif, y\.heic"):
        Folder(folder_root, "all")


OVERLOOKED = pytest.mark.filterwarnings("ignore:.* unlabelled, though masks may hold")


@OVERLOOKED
@pytest.mark.parametrize("front", ["task-3-annotation-", "mask_", "gt."])
def test_a_mask_with_words_in_front_of_its_name_is_named(folder_root: Path, front: str) -> None:
    path = folder_root / "masks" / "one.png"
    path.rename(path.with_name(f"{front}one.png"))
    data = Folder(folder_root)
    with pytest.raises(DataError, match=f"but .*{re.escape(front)}one.png is there: rename it"):
        data.mask(data.ids.index("one"))


@pytest.mark.parametrize("name", ["Images", "IMAGES"])
def test_a_folder_in_other_letters_is_named(folder_root: Path, name: str) -> None:
    (folder_root / "images").rename(folder_root / "elsewhere")
    (folder_root / name).mkdir()
    with pytest.raises(DataError, match=rf"images is missing in .* \(but '{name}' is: rename it\)"):
        Folder(folder_root)


def test_folder_below_the_data_root(folder_root: Path) -> None:
    assert Folder(folder_root.parent, folder=folder_root.name).root == folder_root


def test_classes_have_colours_or_those_of_voc(folder_root: Path) -> None:
    data = Folder(folder_root)
    assert data.classes == ("background", "tall building")
    assert data.palette == ((0, 0, 0), (128, 0, 0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"classes\.txt names 0 classes"),
        ("a\na\n", "names the class 'a' twice"),
        ("road 1 2 300\n", "has the colour 1 2 300; a channel is 0..255"),
    ],
)
def test_bad_classes(folder_root: Path, text: str, reason: str) -> None:
    (folder_root / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=reason):
        Folder(folder_root)


@pytest.mark.parametrize("name", ["classes.txt", "images", "masks"])
def test_what_is_missing_is_said(folder_root: Path, name: str) -> None:
    (folder_root / name).rename(folder_root / "elsewhere")
    reason = rf"the data folder is not there: {re.escape(name)} is missing in"
    with pytest.raises(DataError, match=reason) as error:
        Folder(folder_root)
    assert str(folder_root) in str(error.value)


def test_unknown_subset(folder_root: Path) -> None:
    with pytest.raises(DataError, match=r"no subset 'vall' .*Did you mean 'val'\?"):
        Folder(folder_root, "vall")
    with pytest.raises(DataError, match="no subset 'classes'"):
        Folder(folder_root, "classes")


def test_an_id_without_image_is_named(folder_root: Path) -> None:
    (folder_root / "val.txt").write_text("three\nfour\n")
    with pytest.raises(DataError, match=r"val\.txt lists 'four', but there is no .*images/four"):
        Folder(folder_root, "val")


def test_an_image_without_mask_can_be_read_and_its_mask_is_missed(folder_root: Path) -> None:
    (folder_root / "masks" / "two.png").unlink()
    data = Folder(folder_root)
    assert data.image(0).shape == (3, 6, 8)
    with pytest.raises(DataError, match=r"masks/two\.png is missing"):
        data.mask(0)


def test_a_broken_link_is_named(folder_root: Path) -> None:
    (folder_root / "images" / "zero.png").symlink_to(folder_root / "gone.png")
    with pytest.raises(DataError, match=r"images/zero\.png is a broken link to .*gone\.png"):
        Folder(folder_root)


def test_two_images_with_one_id_are_named(folder_root: Path, picture: Callable[..., Path]) -> None:
    picture(folder_root / "images" / "one.png")
    with pytest.raises(DataError, match=r"one\.jpg and one\.png have the same id"):
        Folder(folder_root)


def test_a_label_without_name_is_refused(
    folder_root: Path, save_mask: Callable[[Path, object], Path]
) -> None:
    save_mask(folder_root / "masks" / "two.png", 2)
    with pytest.raises(DataError, match=r"two\.png holds label 2, but the classes are 0\.\.1"):
        Folder(folder_root).mask(0)


def test_a_colour_of_five_thousand_digits_is_refused(folder_root: Path) -> None:
    (folder_root / "classes.txt").write_text(f"background\nroad 1 2 {'9' * 5000}\n")
    with pytest.raises(DataError, match=r"classes\.txt has the colour .*a channel is 0\.\.255"):
        Folder(folder_root)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    (tmp_path / "classes.txt").write_text("background\nleaf\n")
    (tmp_path / "images" / os.fsdecode(b"\xff\xfe.png")).touch()
    with pytest.raises(DataError, match=r"udcfe\.png' in .* is not named in UTF-8"):
        Folder(tmp_path, "all")


# Masks


def labels(path: Path, values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)
    return path


def test_values_and_void_are_options(folder_root: Path) -> None:
    labels(folder_root / "masks" / "two.png", [[0, 255]])
    data = Folder(folder_root, values={"0": "background", "255": "tall building"})
    assert data.mask(0).tolist() == [[0, 1]]
    assert data.facts() == {"values": {"0": "background", "255": "tall building"}}
    (folder_root / "classes.txt").write_text("road\nsky\n")
    labels(folder_root / "masks" / "two.png", [[0, 1, 2]])
    data = Folder(folder_root, void=0)
    assert data.mask(0).tolist() == [[255, 0, 1]]
    assert data.facts() == {"void": 0}
    assert Folder(folder_root).facts() == {}


def test_colour_masks_are_read_by_the_colours_of_the_classes(folder_root: Path) -> None:
    (folder_root / "classes.txt").write_text("background 0 0 0\ntall building 128 0 0\n")
    colours = np.array([[[0, 0, 0], [128, 0, 0]]], np.uint8)
    Image.fromarray(colours).save(folder_root / "masks" / "two.png")
    assert Folder(folder_root).mask(0).tolist() == [[0, 1]]


@OVERLOOKED
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("two.PNG", {}),
        ("two.jpeg.png", {}),
        ("two.tif", {}),
        ("two.bmp", {}),
        ("two_mask.png", {"mask_suffix": "_mask"}),
        ("two_mask.PNG", {"mask_suffix": "_mask.png"}),
        ("two.jpeg_mask.png", {"mask_suffix": "_mask"}),
    ],
)
def test_masks_go_by_several_names(folder_root: Path, name: str, options: dict[str, str]) -> None:
    (folder_root / "masks" / "two.png").unlink()
    path = labels(folder_root / "masks" / name, [[0, 1]])
    data = Folder(folder_root, **options)
    assert data.has_mask(0)
    assert data.mask_path(0) == path
    assert data.mask(0).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("two_mask.png", 'set mask_suffix = "_mask"'),
        ("two-labels.tif", 'set mask_suffix = "-labels"'),
        ("Two.png", "rename it"),
        ("deep/two.png", "put it where the image is in its folder"),
        ("two.jpg", "save it as PNG, without loss"),
        ("two.npy", "save it as PNG, without loss"),
    ],
)
def test_a_near_mask_is_named_where_there_is_none(
    folder_root: Path, name: str, remedy: str
) -> None:
    mask = folder_root / "masks" / "two.png"
    (mask.parent / name).parent.mkdir(exist_ok=True)
    mask.rename(mask.parent / name)
    data = Folder(folder_root)
    expected = f"{mask} is missing, but {mask.parent / name} is there: {remedy}"
    said = f"1 image is unlabelled, though masks may hold what is meant for it: {expected}"
    with pytest.warns(UserWarning, match=f"^{re.escape(said)}$"):
        assert not data.has_mask(0)
    with pytest.raises(DataError) as caught:
        data.mask(0)
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["four.png", "twofold.png", "one_2.jpg", "readme.txt"])
def test_what_no_image_without_a_mask_is_near_to_is_no_mask_of_it(
    folder_root: Path, name: str
) -> None:
    mask = folder_root / "masks" / "two.png"
    mask.rename(mask.with_name(name))
    assert not Folder(folder_root).has_mask(0)  # warnings are errors here


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "sky:1,2,3::\nbackground:0,0,0::\n"),
        ("class_names.txt", "background\nsky\n"),
        ("labelmap.txt", "0 grass\n1 water\n"),
    ],
)
def test_two_lists_of_classes_that_differ_are_named(
    folder_root: Path, name: str, text: str
) -> None:
    (folder_root / name).write_text(text)
    with pytest.warns(UserWarning, match=rf"classes\.txt is read, and {name} beside it"):
        Folder(folder_root)


def test_two_lists_of_the_same_classes_are_no_doubt(folder_root: Path) -> None:
    names = Folder(folder_root).classes
    (folder_root / "labelmap.txt").write_text(
        "".join(f"{n}:{i},0,0::\n" for i, n in enumerate(names))
    )
    assert Folder(folder_root).classes == names
    (folder_root / "labelmap.txt").write_text("[none]\n")
    assert Folder(folder_root).classes == names


@pytest.mark.parametrize("ending", [".csv", ".lst", ""])
def test_a_list_with_another_ending_is_named(folder_root: Path, ending: str) -> None:
    (folder_root / "train.txt").rename(folder_root / f"train{ending}")
    with pytest.raises(
        DataError, match=rf"no train\.txt in .*, but train{ending} is there: name it"
    ):
        Folder(folder_root)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_mask_with_an_orientation_of_its_own_is_refused(
    folder_root: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder_root / "masks" / "two.png"
    with Image.open(path) as mask:
        mask.save(path, exif=exif)
    with pytest.raises(DataError, match=f"two.png has the EXIF orientation {orientation}"):
        Folder(folder_root).mask(0)


def test_two_masks_of_one_image_are_refused(folder_root: Path) -> None:
    labels(folder_root / "masks" / "two.jpeg.png", [[0, 1]])
    with pytest.raises(DataError, match=r"two\.jpeg\.png are both masks of image 'two'"):
        Folder(folder_root).has_mask(0)


# Images and ids


@pytest.mark.parametrize("ending", ["tif", "tiff", "bmp", "webp", "TIF", "jfif"])
def test_other_formats_of_pictures(folder_root: Path, ending: str) -> None:
    (folder_root / "images" / "two.jpeg").unlink()
    shades = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
    path = folder_root / "images" / f"two.{ending}"
    lossless = {"lossless": True} if ending == "webp" else {}
    kind = {"tif": "TIFF", "jfif": "JPEG"}.get(ending.lower())
    Image.fromarray(shades).save(path, format=kind, **lossless)
    image = Folder(folder_root).image(0).permute(1, 2, 0)
    assert np.abs(image.numpy().astype(int) - shades).max() <= (40 if ending == "jfif" else 0)


def test_folders_in_folders_are_a_part_of_the_id(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    for video in ("video0", "video1"):
        picture(tmp_path / "images" / video / "frame_0000.jpg")
    labels(tmp_path / "masks" / "video1" / "frame_0000.png", [[1]])
    (tmp_path / "classes.txt").write_text("ground\nsky\n")
    (tmp_path / "train.txt").write_text("video0/frame_0000\nimages/video1/frame_0000.jpg\n")
    data = Folder(tmp_path)
    assert data.ids == ("video0/frame_0000", "video1/frame_0000")
    assert Folder(tmp_path, "all").ids == data.ids
    assert data.masked_ids == ("video1/frame_0000",)
    assert data.mask(1).tolist() == [[1]]
    (tmp_path / "train.txt").write_text("video2/frame_0000\n")
    with pytest.raises(DataError, match="lists 'video2/frame_0000', but there is no"):
        Folder(tmp_path)


def test_a_path_into_another_folder_is_refused(folder_root: Path) -> None:
    (folder_root / "train.txt").write_text("/elsewhere/video7/one.bmp\n")
    with pytest.raises(DataError, match="which is in the folder 'video7', and image 'one' in"):
        Folder(folder_root)


def test_names_on_disk_may_be_of_another_unicode_form(
    folder_root: Path, picture: Callable[..., Path]
) -> None:
    picture(folder_root / "images" / "cafe\u0301.png")
    labels(folder_root / "masks" / "caf\u00e9.png", [[1]])
    (folder_root / "train.txt").write_text("caf\u00e9\n", encoding="utf-8")
    data = Folder(folder_root)
    assert data.ids == ("cafe\u0301",)
    assert data.mask(0).tolist() == [[1]]


def test_without_a_list_of_val_it_is_said_what_to_write(folder_root: Path) -> None:
    (folder_root / "val.txt").unlink()
    with pytest.raises(DataError, match=r"no subset 'val' in .*; write val\.txt"):
        Folder(folder_root, "val")


@pytest.mark.parametrize("name", ["labelmap.txt", "class_names.txt"])
def test_the_list_of_classes_may_have_the_name_of_a_tool(folder_root: Path, name: str) -> None:
    (folder_root / "classes.txt").unlink()
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nleaf:1,2,3::\n"
    (folder_root / name).write_text(text)
    data = Folder(folder_root)
    assert data.classes == ("background", "leaf")
    assert data.palette[1] == (1, 2, 3)
    with pytest.raises(DataError, match="no subset"):
        Folder(folder_root, Path(name).stem)
