"""Pictures that lie twice, and files that nothing uses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semisup.data.base import WrappedData
from semisup.data.formats.trees import read_tree
from semisup.data.leftovers import leftovers, named, twins
from semisup.data.sets.folder import Folder
from semisup.data.sets.photographs import Photographs
from semisup.data.verify import verify


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four training and two validation images, all different, of equal size in bytes."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for name in ("t0", "t1", "t2", "t3", "v0", "v1"):
        picture = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "images" / f"{name}.png", compress_level=0)
        labels = np.array([[0, 1]] * 4, np.uint8).repeat(4, 1).repeat(2, 0)
        Image.fromarray(labels).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "classes.txt").write_text("ground\nsky\n")
    (tmp_path / "train.txt").write_text("t0\nt1\nt2\nt3\n")
    (tmp_path / "val.txt").write_text("v0\nv1\n")
    return tmp_path


def both(root: Path) -> list[Folder]:
    return [Folder(root), Folder(root, "val")]


def notes(root: Path) -> tuple[str, ...]:
    found = verify(both(root))
    assert found.ok
    return found.notes


def test_a_sound_folder_has_nothing_left_over(root: Path) -> None:
    assert twins(*both(root)) == []
    assert notes(root) == ()


def test_pictures_of_equal_bytes_are_found_under_two_names(root: Path) -> None:
    images = root / "images"
    for one, other in (("t1", "v0"), ("t3", "v1")):
        shutil.copy(images / f"{one}.png", images / f"{other}.png")
    found = twins(*both(root))
    assert [(a.name, b.name) for a, b in found] == [("t1.png", "v0.png"), ("t3.png", "v1.png")]
    (problem,) = verify(both(root)).problems
    assert problem.file == images / "v0.png"
    assert problem.reason == (
        "2 pictures are in both train and val, under two names: t1.png = v0.png, t3.png = v1.png; "
        "drop them from one"
    )


def test_only_files_of_equal_size_are_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from semisup.data import leftovers as module

    opened: list[str] = []
    wanted = module._hash
    monkeypatch.setattr(module, "_hash", lambda path: opened.append(path.name) or wanted(path))
    for path in (root / "images").glob("t*.png"):
        path.write_bytes(path.read_bytes() + b"\0" * int(path.stem[1:]))  # t0 is as large as v0, v1
    twins(*both(root))
    assert sorted(opened) == ["t0.png", "v0.png", "v1.png"]


def test_two_in_one_subset_or_in_a_union_are_nobodys_fault(root: Path) -> None:
    images = root / "images"
    shutil.copy(images / "t0.png", images / "t1.png")
    assert verify(both(root)).ok
    shutil.copy(images / "t0.png", images / "v0.png")
    assert verify([Folder(root, "all"), Folder(root, "val")]).ok


def test_a_photograph_that_is_a_copy_of_a_reported_picture_is_found(root: Path) -> None:
    pool = root.parent / f"{root.name}-pool"
    pool.mkdir()
    shutil.copy(root / "images" / "v1.png", pool / "holiday.png")
    data = Folder(root, "val")
    photographs = Photographs(read_tree(pool, (".png",), ""), beside=data)
    (problem,) = verify([data, photographs]).problems
    assert "v1.png = holiday.png" in problem.reason


@pytest.mark.parametrize("name", ["gone.png", "video/gone.png", "t9_mask.png"])
def test_a_mask_without_an_image_is_named(root: Path, name: str) -> None:
    path = root / "masks" / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(root / "masks" / "t0.png", path)
    assert notes(root) == (f"1 mask has no image: {path.name}",)


@pytest.mark.parametrize("name", [".t9.png", "t0_mask.png", "t0.jpg.png"])
def test_a_mask_that_may_be_of_an_image_is_not(root: Path, name: str) -> None:
    shutil.copy(root / "masks" / "t0.png", root / "masks" / name)
    assert notes(root) == ()


def test_images_in_no_list_are_counted_and_three_are_named(root: Path) -> None:
    (root / "train.txt").write_text("t0\n")
    for number in (4, 5):
        shutil.copy(root / "images" / "t0.png", root / "images" / f"t{number}.png")
    assert notes(root) == ("5 images are in no list: t1.png, t2.png, t3.png, ...",)
    (root / "test.txt").write_text("t1\nt2.png\nimages/t3.png masks/t3.png\n# t4\nt5\n")
    # Lists that are not verified count as well, comments do not.
    assert notes(root) == ("1 image is in no list: t4.png",)


def test_the_name_of_an_image_in_another_folder_does_not_list_it(root: Path) -> None:
    (root / "images/night").mkdir()
    shutil.copy(root / "images/t0.png", root / "images/night/v0.png")
    shutil.copy(root / "images/t1.png", root / "images/two words.png")
    assert "2 images are in no list: v0.png, two words.png" in notes(root)
    (root / "test.txt").write_text("night/v0\ntwo words\n")
    assert not any("in no list" in note for note in notes(root))


@pytest.mark.parametrize(
    "names",
    [
        ["x.gif"],
        ["a.heic", "notes.md"],
        ["b.npz", "c.dcm", "d.pdf"],
        ["t0.json", "t0.txt", "t0.xml"],
    ],
)
def test_files_that_are_no_pictures_are_counted_and_named(root: Path, names: list[str]) -> None:
    for name in names:
        (root / "images" / name).write_bytes(b"")
    what = "file in images is" if len(names) == 1 else "files in images are"
    text = f"{len(names)} {what} of no format that is read: {', '.join(names)}"
    assert notes(root) == (text,)


def test_without_any_list_no_image_is_missed(root: Path) -> None:
    for name in ("train.txt", "val.txt"):
        (root / name).unlink()
    assert leftovers([Folder(root, "all")]) == []


class Bare(WrappedData):
    """A set whose images have no masks but the first."""

    def has_mask(self, index: int) -> bool:
        return index == 0


def test_images_without_a_mask_are_counted_and_named(root: Path) -> None:
    assert leftovers([Bare(Folder(root))]) == [
        "3 of 4 images of train have no mask, so they are unlabelled: t1, t2, t3"
    ]
    assert verify([Bare(Folder(root))]).ok


def test_three_are_named() -> None:
    assert named(["a"]) == "a"
    assert named(["a", "b", "c"]) == "a, b, c"
    assert named(["a", "b", "c", "d"]) == "a, b, c, ..."
