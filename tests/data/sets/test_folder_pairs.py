"""A list of images and their masks in a user's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from semisup.data.sets.folder import Folder
from semisup.errors import DataError, RecipeError


@pytest.fixture
def listed(folder_root: Path) -> Path:
    """The user's folder with its files elsewhere: photos/<id> and drawn/<id>.png."""
    (folder_root / "images").rename(folder_root / "photos")
    (folder_root / "masks").rename(folder_root / "drawn")
    (folder_root / "train.txt").write_text("photos/two\nphotos/three\n")
    (folder_root / "pairs.csv").write_text(
        "image,mask\nphotos/one.jpg,drawn/one.png\nphotos/two.jpeg,drawn/two.png\nphotos/three.png,\n"
    )
    return folder_root


def test_images_and_masks_are_those_of_the_list(listed: Path) -> None:
    data = Folder(listed, pairs="pairs.csv")
    assert data.ids == ("photos/two", "photos/three")
    assert [data.has_mask(index) for index in range(2)] == [True, False]
    assert data.image(0).shape == (3, 6, 8)
    assert data.mask(0).unique().tolist() == [1]
    assert len(Folder(listed, "all", pairs="pairs.csv").ids) == 3
    with pytest.raises(DataError, match=r"pairs\.csv names no mask of 'photos/three'"):
        data.mask(1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("photos/none.jpg,", "line 5: photos/none.jpg is not there"),
        ("../x.jpg,", r"line 5: '\.\./x\.jpg' is no path below"),
        ("photos/three.jpg", "is not there"),
        ("photos/three.png,drawn/three.png", "has the id of"),
        ("drawn/three.png,drawn/one.png", "is the mask of 'drawn/three' and of another image"),
        ("drawn/three.png,photos/one.jpg", "photos/one.jpg does not end in .png"),
        ("a,b,c", "has 3 fields"),
    ],
)
def test_a_line_that_is_no_pair_is_refused(listed: Path, line: str, said: str) -> None:
    with (listed / "pairs.csv").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=said):
        Folder(listed, pairs="pairs.csv")


def test_a_list_that_is_not_there_and_one_that_is_elsewhere_are_refused(listed: Path) -> None:
    with pytest.raises(DataError, match=r"other\.csv is missing; 'semisup init"):
        Folder(listed, pairs="other.csv")
    with pytest.raises(RecipeError, match="no name of a file"):
        Folder(listed, pairs="../pairs.csv")
    with pytest.raises(RecipeError, match=r"leave data\.mask_suffix out"):
        Folder(listed, pairs="pairs.csv", mask_suffix="_mask")
    (listed / "train.txt").write_text("photos/four\n")
    with pytest.raises(DataError, match=r"lists 'photos/four', which data\.pairs names no image"):
        Folder(listed, pairs="pairs.csv")
