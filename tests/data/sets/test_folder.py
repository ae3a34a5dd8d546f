"""A user's own folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

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
