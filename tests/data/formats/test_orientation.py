"""EXIF orientations: read without decoding, applied to the pixel, proven by the size of masks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from semisup.data.formats.mask_keys import LabelKey
from semisup.data.formats.orientation import stored_orientation, swaps_sides, upright
from semisup.data.formats.pictures import read_labels, read_rgb
from semisup.data.sets.folder import Folder
from semisup.errors import DataError

ALL = range(1, 9)
TURNED = range(2, 9)


def note(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0132] = "maker", orientation, "2026:01:01 00:00:00"
    return exif


def save(path: Path, size: tuple[int, int] = (6, 9), orientation: int = 6, **options: Any) -> Path:
    """Noise of a height and width, with an orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=note(orientation), **options)
    return path


def as_viewed(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("orientation", ALL)
def test_all_orientations_are_those_of_a_viewer(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    path = save(tmp_path / f"a{suffix}", orientation=orientation)
    assert stored_orientation(path) == orientation
    with Image.open(path) as picture:
        stored = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    shown = upright(stored, orientation)
    assert np.array_equal(shown.permute(1, 2, 0).numpy(), as_viewed(path))
    assert (shown.shape[-2:] == (9, 6)) == swaps_sides(orientation)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "letter"), [(1, "B3x"), (3, "H2x"), (4, "I")])
def test_orders_of_bytes_and_types_of_numbers(
    order: str, kind: int, letter: str, tmp_path: Path
) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHI{letter}", 0x0112, kind, 1, 8)
    exif = mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)
    Image.new("RGB", (4, 2)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
    assert stored_orientation(tmp_path / "a.jpg") == 8


def test_a_note_behind_the_pixels_is_found(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", content, start)
    chunk = content[start : start + length + 12]
    end = content.index(b"IEND") - 4
    moved = content[:start] + content[start + len(chunk) : end] + chunk + content[end:]
    (tmp_path / "b.png").write_bytes(moved)
    assert stored_orientation(tmp_path / "b.png") == 6
    assert as_viewed(tmp_path / "b.png").shape == (9, 6, 3)


def test_no_damage_is_more_than_no_orientation(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".webp"):
        content = save(tmp_path / f"a{suffix}").read_bytes()
        path = tmp_path / "damaged"
        for length in range(0, 200, 3):
            path.write_bytes(content[:length])
            assert stored_orientation(path) in (1, 6)
        for place in range(150):
            path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
            assert stored_orientation(path) in ALL
    assert stored_orientation(tmp_path / "none.jpg") == 1
    assert stored_orientation(tmp_path) == 1
    assert stored_orientation(save(tmp_path / "b.png", orientation=9)) == 1


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A folder of photographs: name -> size as stored, orientation, size of the mask or None."""

    def build(**photographs: tuple[tuple[int, int], int, tuple[int, int] | None]) -> Path:
        (tmp_path / "classes.txt").write_text("ground\nsky\n")
        (tmp_path / "masks").mkdir()
        for name, (size, orientation, mask) in photographs.items():
            save(tmp_path / "images" / f"{name}.png", size, orientation)
            if mask is not None:
                labels = np.random.default_rng(1).integers(0, 2, mask, dtype=np.uint8)
                Image.fromarray(labels).save(tmp_path / "masks" / f"{name}.png")
        return tmp_path

    return build


def shown(data: Folder, name: str) -> np.ndarray:
    return data.image(data.index(name)).permute(1, 2, 0).numpy()


def viewed(root: Path, name: str) -> np.ndarray:
    return as_viewed(root / "images" / f"{name}.png")


def stored(root: Path, name: str) -> np.ndarray:
    return read_rgb(root / "images" / f"{name}.png").permute(1, 2, 0).numpy()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_proves_on_which_picture_it_was_drawn(orientation: int, make: Make) -> None:
    root = make(a=((6, 9), orientation, (9, 6)), b=((6, 9), orientation, (6, 9)))
    data = Folder(root, "all")
    assert np.array_equal(shown(data, "a"), viewed(root, "a"))
    assert np.array_equal(shown(data, "b"), stored(root, "b"))
    for index in range(2):
        image, mask = data.pair(index)
        assert image.shape[-2:] == mask.shape
        assert torch.equal(mask, read_labels(data.mask_path(index)))


@pytest.mark.parametrize(
    ("size", "orientation"),
    [((6, 6), 6), ((6, 6), 5), ((6, 9), 3), ((6, 9), 2), ((6, 9), 4), ((6, 6), 8)],
)
def test_where_sizes_cannot_tell_a_choice_is_asked_for(
    size: tuple[int, int], orientation: int, make: Make
) -> None:
    root = make(a=(size, orientation, size), proof=((6, 9), 6, (9, 6)))
    with pytest.raises(DataError, match=rf"a\.png has the EXIF orientation {orientation}.*data\.e"):
        Folder(root, "all").pair(0)
    applied, ignored = Folder(root, "all", exif="apply"), Folder(root, "all", exif="ignore")
    assert np.array_equal(shown(applied, "a"), viewed(root, "a"))
    assert np.array_equal(shown(ignored, "a"), stored(root, "a"))
    assert not np.array_equal(viewed(root, "a"), stored(root, "a"))


@pytest.mark.parametrize(("mask", "look"), [((9, 6), viewed), ((6, 9), stored)])
def test_an_image_without_mask_follows_the_proofs(
    mask: tuple[int, int], look: Callable[[Path, str], np.ndarray], make: Make
) -> None:
    root = make(proof=((6, 9), 6, mask), other=((7, 5), 8, None), square=((4, 4), 3, None))
    data = Folder(root, "all")
    for name in ("other", "square"):
        assert np.array_equal(shown(data, name), look(root, name))


def test_where_nothing_proves_it_an_image_without_mask_is_turned_and_that_is_said(
    make: Make,
) -> None:
    root = make(a=((6, 9), 6, None), b=((6, 9), 1, (6, 9)), c=((6, 9), 8, (5, 5)))
    data = Folder(root, "all")
    with pytest.warns(UserWarning, match=r"no mask proves .* data\.exif") as caught:
        assert np.array_equal(shown(data, "a"), viewed(root, "a"))
    assert len(caught) == 1
    assert np.array_equal(shown(data, "a"), viewed(root, "a"))  # said once


def test_proofs_that_contradict_each_other_are_said(make: Make) -> None:
    root = make(a=((6, 9), 6, (9, 6)), b=((6, 9), 6, (6, 9)), c=((6, 9), 6, None))
    with pytest.warns(UserWarning, match="the masks do not agree"):
        assert np.array_equal(shown(Folder(root, "all"), "c"), viewed(root, "c"))


def test_a_choice_against_the_size_of_a_mask_is_an_error_that_names_exif(make: Make) -> None:
    root = make(a=((6, 9), 6, (6, 9)))
    with pytest.raises(DataError, match=r"is 6x9 but image 'a' is 9x6 .*EXIF orientation 6"):
        Folder(root, "all", exif="apply").pair(0)


def test_a_mask_is_decoded_once_and_not_at_all_for_the_image(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make(a=((6, 9), 6, (9, 6)))
    read: list[Path] = []
    key = LabelKey.read
    monkeypatch.setattr(LabelKey, "read", lambda k, p: (read.append(p), key(k, p))[1])
    data = Folder(root, "all")
    decoded: list[str] = []
    whole = Image.Image.load
    monkeypatch.setattr(
        Image.Image, "load", lambda self: (decoded.append(self.mode), whole(self))[1]
    )
    data.image(0)
    assert read == []
    assert "L" not in decoded
    data.pair(0)
    assert len(read) == 1


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", ALL)
def test_a_tiff_is_read_as_it_is_stored_and_states_its_orientation(
    orientation: int, compression: str | None, mode: str, tmp_path: Path
) -> None:
    with Image.open(save(tmp_path / "plain.png", orientation=1)) as picture:
        plain = picture.convert(mode)
    path = tmp_path / "a.tif"
    plain.save(path, exif=note(orientation), compression=compression)
    assert stored_orientation(path) == orientation
    stored = read_rgb(path)
    assert stored.permute(1, 2, 0).numpy().tolist() == np.array(plain.convert("RGB")).tolist()
    with path.open("rb") as file:  # opened by its path, Pillow turns bare pixels wrongly
        expected = np.array(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
    assert upright(stored, orientation).permute(1, 2, 0).numpy().tolist() == expected.tolist()


@pytest.mark.parametrize("choice", ["apply", "ignore"])
def test_a_square_tiff_is_turned_where_that_is_asked_for(choice: Any, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.tif", (6, 6), 6)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    stored = read_rgb(tmp_path / "images" / "a.tif")
    found = Folder(tmp_path, "all", exif=choice).image(0)
    assert torch.equal(found, upright(stored, 6) if choice == "apply" else stored)
    with pytest.raises(DataError, match="cannot tell whether it was drawn"):
        Folder(tmp_path, "all").image(0)


@pytest.mark.parametrize("turned", [False, True])
def test_a_mask_as_tiff_proves_by_its_stored_size(turned: bool, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", (6, 9), 6)
    (tmp_path / "masks").mkdir()
    size = (9, 6) if turned else (6, 9)
    mask = Image.fromarray(np.zeros(size, np.uint8))
    mask.save(tmp_path / "masks" / "a.tif", exif=note(1 if turned else 6))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    image, labels = Folder(tmp_path, "all").pair(0)
    assert image.shape[1:] == labels.shape == size
