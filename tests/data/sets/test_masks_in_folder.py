"""Masks from another folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.data.labels.splits import make_split
from semisup.data.loading.cache import CachedData
from semisup.data.sets.folder import Folder
from semisup.data.sets.masks_in_folder import MasksInFolder, read_masks
from semisup.errors import DataError, RecipeError

SaveMask = Callable[[Path, object], Path]


@pytest.fixture
def made(tmp_path: Path, save_mask: SaveMask) -> Path:
    """A mask of one of the two training images, and of an image of another subset."""
    folder = tmp_path / "made"
    save_mask(folder / "one.png", 0)
    save_mask(folder / "three.png", 0)
    return folder


def opened(root: Path, made: Path) -> MasksInFolder:
    return MasksInFolder(Folder(root), read_masks(f"folder:{made}"))


def test_masks_come_from_the_folder_and_images_from_the_data_set(
    folder_root: Path, made: Path
) -> None:
    data = opened(folder_root, made)
    assert data.ids == ("two", "one")
    assert data.masked_ids == ("one",)
    assert data.mask(1).unique().tolist() == [0]
    assert Folder(folder_root).mask(1).unique().tolist() == [1]
    assert data.image(1).equal(Folder(folder_root).image(1))
    assert CachedData(data, 1).masked_ids == ("one",)
    assert data.source.items() >= {"source": "folder:made", "files": 2}.items()


def test_a_true_mask_is_never_opened(folder_root: Path, made: Path) -> None:
    for path in (folder_root / "masks").iterdir():
        path.unlink()
    data = opened(folder_root, made)
    split = make_split(data, "all", 0)
    assert split.labelled == ("one",)
    assert split.unlabelled == ("two",)
    with pytest.raises(DataError, match=r"made/two\.png is missing"):
        data.mask(0)


@pytest.mark.parametrize("spec", ["1/2", "5/class", "all"])
def test_a_split_chooses_among_the_images_that_have_a_mask(
    folder_root: Path, made: Path, spec: str
) -> None:
    assert make_split(opened(folder_root, made), spec, 0).labelled == ("one",)


def test_a_list_that_labels_an_image_without_a_mask_is_refused(
    folder_root: Path, made: Path, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_text("one\ntwo\n")
    with pytest.raises(DataError, match=r"made/two\.png is missing, and .*list\.txt labels 'two'"):
        make_split(opened(folder_root, made), f"file:{path}", 0)
    path.write_text("one mask\ntwo none\n")
    assert make_split(opened(folder_root, made), f"file:{path}", 0).labelled == ("one",)


def test_a_label_that_is_no_class_is_refused(
    folder_root: Path, made: Path, save_mask: SaveMask
) -> None:
    save_mask(made / "one.png", 2)
    with pytest.raises(DataError, match=r"made/one\.png holds label 2, but the classes are 0\.\.1"):
        make_split(opened(folder_root, made), "all", 0)


def test_colour_pictures_and_pickles_are_no_masks(folder_root: Path, made: Path) -> None:
    (made / "two.npy").write_bytes(b"\x93NUMPY")
    assert opened(folder_root, made).masked_ids == ("one",)
    Image.new("RGB", (8, 6)).save(made / "one.png")
    with pytest.raises(DataError, match=r"made/one\.png is a colour picture"):
        opened(folder_root, made).mask(1)


def test_the_hash_is_of_the_contents(folder_root: Path, made: Path, save_mask: SaveMask) -> None:
    first = opened(folder_root, made).source["sha256"]
    values = np.zeros((6, 8), np.uint8)
    values[0, 0] = 1
    save_mask(made / "one.png", values)
    assert opened(folder_root, made).source["sha256"] != first


def test_masks_lie_in_folders_as_the_ids_do(
    folder_root: Path, made: Path, save_mask: SaveMask
) -> None:
    save_mask(made / "deep" / "two.png", 0)
    with pytest.warns(UserWarning, match=r"1 image is unlabelled, though .* is not two\.png"):
        assert opened(folder_root, made).masked_ids == ("one",)
    (made / "one.PNG").write_bytes((made / "one.png").read_bytes())
    with pytest.raises(DataError, match="are of the same image"):
        opened(folder_root, made)


def test_no_mask_of_the_data_set_is_refused(
    folder_root: Path, tmp_path: Path, save_mask: SaveMask
) -> None:
    save_mask(tmp_path / "other" / "somebody.png", 0)
    with pytest.raises(DataError, match=r"such as two\.png, but somebody\.png"):
        opened(folder_root, tmp_path / "other")
    with pytest.raises(DataError, match="none is not there"):
        opened(folder_root, tmp_path / "none")
    with pytest.raises(RecipeError, match=r"data\.masks = 'other' cannot be understood"):
        read_masks("other")
