"""Every bad file is found, once, with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from semisup.data.sets.camvid import CamVid
from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import Voc
from semisup.data.verify import Verification, check_apart, verify
from semisup.errors import DataError

Picture = Callable[..., Path]


def reasons(found: Verification) -> str:
    return "\n".join(reason for _, reason in found.problems)


def test_a_sound_set_has_no_problem_and_right_numbers(voc_root: Path) -> None:
    found = verify([Voc(voc_root), Voc(voc_root, "val")])
    assert found.ok
    train, val = found.subsets
    assert (train.subset, train.images, train.smallest, train.largest) == (
        "train",
        2,
        (6, 8),
        (6, 8),
    )
    assert dict(zip(train.classes, train.pixels, strict=True))["person"] == 48 + 9
    assert train.pixels[12] == 12
    assert train.void == 3
    assert train.void_share == pytest.approx(3 / 96)
    assert dict(train.class_shares())["dog"] == pytest.approx(12 / 93)
    assert sum(val.pixels) == val.pixels[3] == 48
    assert found.rows() == [
        ("train", "2", "6x8", "6x8", "3.1%", "0"),
        ("val", "1", "6x8", "6x8", "0.0%", "0"),
    ]
    assert len(found.columns()) == 6


def test_sizes_are_the_extremes_of_each_side(
    folder_root: Path, picture: Picture, save_mask: Callable[[Path, object], Path]
) -> None:
    import numpy as np

    picture(folder_root / "images" / "two.jpeg", (3, 20))
    save_mask(folder_root / "masks" / "two.png", np.zeros((3, 20)))
    (report,) = verify([Folder(folder_root)]).subsets
    assert report.smallest == (3, 8)
    assert report.largest == (6, 20)


def test_all_bad_files_are_collected(
    folder_root: Path, picture: Picture, save_mask: Callable[[Path, object], Path]
) -> None:
    picture(folder_root / "images" / "one.jpg", (5, 8))  # its mask is 6x8
    (folder_root / "masks" / "two.png").write_bytes(b"no picture either")
    (folder_root / "images" / "two.jpeg").write_bytes(b"no picture")
    save_mask(folder_root / "masks" / "three.png", 9)
    found = verify([Folder(folder_root, "train"), Folder(folder_root, "val")])
    assert [file.name for file, _ in found.problems] == [
        "two.jpeg",
        "two.png",
        "one.png",
        "three.png",
    ]
    text = reasons(found)
    assert "two.jpeg is no JPEG, PNG, TIFF, BMP or WebP file" in text
    assert "two.png is no PNG, TIFF or BMP file" in text
    assert "one.png: the mask is 6x8 but image 'one' is" in text
    assert "three.png holds label 9" in text
    assert not found.ok
    assert [report.problems for report in found.subsets] == [3, 1]
    assert found.subsets[0].smallest is None
    assert found.rows()[0] == ("train", "2", "-", "-", "0.0%", "3")


def test_a_file_in_two_subsets_is_checked_and_reported_once(
    folder_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder_root / "masks" / "one.png").write_bytes(b"no picture")
    read: list[str] = []
    image = Folder.image

    def counted(self: Folder, index: int) -> object:
        read.append(self.ids[index])
        return image(self, index)

    monkeypatch.setattr(Folder, "image", counted)
    found = verify([Folder(folder_root, "train"), Folder(folder_root, "all")])
    assert sorted(read) == ["one", "one", "three", "two"]  # again, to name the file of the two
    assert [file.name for file, _ in found.problems] == ["one.png"]
    assert [report.problems for report in found.subsets] == [1, 1]


def test_an_image_in_train_and_val_is_a_problem(folder_root: Path) -> None:
    (folder_root / "val.txt").write_text("three\ntwo\n")
    found = verify([Folder(folder_root, "train"), Folder(folder_root, "val")])
    assert reasons(found) == "'two' is in both train and val; drop it from one"
    assert verify([Folder(folder_root, "all"), Folder(folder_root, "val")]).ok


def test_trainval_may_share_images_with_val(segnet_root: Path) -> None:
    subsets = [CamVid(segnet_root, name) for name in ("train", "val", "test", "trainval")]
    assert verify(subsets).ok


def test_real_voc_passes(shared_data: Path) -> None:
    root = shared_data / "voc2012"
    found = verify([Voc(root), Voc(root, "val")])
    assert found.ok
    assert [report.images for report in found.subsets] == [100, 100]
    assert all(max(report.largest or ()) == 500 for report in found.subsets)
    assert 0.01 < found.subsets[0].void_share < 0.1


def test_training_on_what_is_reported_is_refused(folder_root: Path) -> None:
    train = Folder(folder_root, "train")
    check_apart(train, Folder(folder_root, "val"))
    check_apart(train, train)
    check_apart(Folder(folder_root, "all"), Folder(folder_root, "val"))
    (folder_root / "val.txt").write_text("three\ntwo\n")
    with pytest.raises(DataError, match=r"folder: 'two' is in both train and val.*eval\.subset"):
        check_apart(train, Folder(folder_root, "val"))
