"""Any folder of photographs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from semisup.data.loading.cache import CachedData
from semisup.data.sets.folder import Folder
from semisup.data.sets.photographs import Photographs, describe_photographs, read_photographs
from semisup.errors import DataError, RecipeError

Picture = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path, picture: Picture) -> Path:
    """Three photographs of different sizes, in two folders."""
    folder = tmp_path / "photos"
    picture(folder / "b.jpg", (9, 7))
    picture(folder / "a" / "deep" / "c.JPEG", (5, 30))
    picture(folder / "a.png", (12, 4))
    (folder / "notes.txt").write_text("no picture")
    picture(folder / ".hidden" / "d.png")
    picture(folder / "._e.jpg")
    return folder


@pytest.fixture
def data(photos: Path, folder_root: Path) -> Photographs:
    return Photographs(read_photographs(f"folder:{photos}"), Folder(folder_root))


def test_ids_are_sorted_relative_paths_and_sizes_differ(data: Photographs) -> None:
    assert data.ids == ("a.png", "a/deep/c.JPEG", "b.jpg")
    assert [tuple(data.image(i).shape) for i in range(3)] == [(3, 12, 4), (3, 5, 30), (3, 9, 7)]
    assert data.subset == "folder:photos"
    assert data.classes == ("background", "tall building")


def test_no_mask_is_ever_opened(data: Photographs, photos: Path) -> None:
    Image.fromarray(np.zeros((12, 4), np.uint8)).save(photos / "a.mask.png")
    assert data.masked_ids == ()
    assert not data.has_mask(0)
    for source in (data, CachedData(data, 1)):
        with pytest.raises(DataError, match=r"a\.png is an unlabelled photograph"):
            source.mask(0)
        with pytest.raises(DataError, match="there is no mask"):
            source.mask_path(0)


def test_workers_get_an_equal_copy(data: Photographs) -> None:
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.image(1), data.image(1))
    assert torch.equal(CachedData(data, 1).image(1), data.image(1))


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1"])
def test_other_colours_are_read_as_the_folder_data_set_does(
    photos: Path, folder_root: Path, mode: str
) -> None:
    path = photos / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new(mode, (6, 4), 1).save(path)
    data = Photographs(read_photographs(f"folder:{photos}"), Folder(folder_root))
    assert data.image(data.index(path.name)).shape == (3, 4, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_read_as_a_viewer_shows_it(
    orientation: int, photos: Path, folder_root: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photos / "turned.png", exif=exif)
    data = Photographs(read_photographs(f"folder:{photos}"), Folder(folder_root))
    with Image.open(photos / "turned.png") as stored:
        viewed = np.array(ImageOps.exif_transpose(stored))
    shown = data.image(data.index("turned.png")).permute(1, 2, 0)
    assert np.array_equal(shown.numpy(), viewed)


def test_damaged_deep_and_transparent_pictures_are_named(data: Photographs) -> None:
    data.image_path(2).write_bytes(data.image_path(2).read_bytes()[:200])
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(data.image_path(0))
    Image.new("RGBA", (6, 4)).save(data.image_path(1), format="PNG")
    for index, reason in enumerate(["16 bits", "transparent", "cannot be decoded"]):
        with pytest.raises(DataError, match=rf"{data.ids[index]}.*{reason}"):
            data.image(index)


@pytest.mark.parametrize("spec", ["photos", "folder:", "file:photos", ""])
def test_another_form_is_refused(spec: str) -> None:
    with pytest.raises(RecipeError, match=r'data\.unlabelled = .* write "rest", "all" or "folder:'):
        read_photographs(spec)


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, reason in (("none", "is not there"), ("empty", "holds no"), ("file", "no folder")):
        with pytest.raises(DataError, match=rf"{name} .*{reason}.*folder:PATH"):
            read_photographs(f"folder:{tmp_path / name}")


def test_links_are_followed_once_and_broken_ones_refused(photos: Path) -> None:
    (photos / "a" / "round").symlink_to(photos)
    assert len(read_photographs(f"folder:{photos}").files) == 3
    (photos / "gone.jpg").symlink_to(photos / "nothing")
    with pytest.raises(DataError, match=r"gone\.jpg is a broken link"):
        read_photographs(f"folder:{photos}")


def test_a_name_that_is_no_text_is_refused(photos: Path) -> None:
    Path(os.fsdecode(os.fsencode(photos) + b"/\xff.jpg")).touch()
    with pytest.raises(DataError, match="not named in UTF-8"):
        read_photographs(f"folder:{photos}")


def test_the_hash_knows_names_and_sizes_but_not_the_place(photos: Path, picture: Picture) -> None:
    spec = f"folder:{photos}"
    first = describe_photographs(read_photographs(spec))
    assert first["source"] == "folder:photos"
    assert first["files"] == 3
    moved = photos.parent / "elsewhere" / "photos"
    moved.parent.mkdir()
    photos.rename(moved)
    assert describe_photographs(read_photographs(f"folder:{moved}")) == first
    picture(moved / "new.png")
    assert describe_photographs(read_photographs(f"folder:{moved}"))["sha256"] != first["sha256"]
    (moved / "new.png").unlink()
    with (moved / "b.jpg").open("ab") as file:
        file.write(b"x")
    assert describe_photographs(read_photographs(f"folder:{moved}"))["sha256"] != first["sha256"]
