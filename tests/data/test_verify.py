"""Every bad file is found, once, with its reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from semisup.data.sets.camvid import CamVid
from semisup.data.sets.folder import Folder
from semisup.data.sets.voc import Voc
from semisup.data.verify import Verification, check_apart, check_same_classes, verify
from semisup.errors import DataError

Picture = Callable[..., Path]
Save = Callable[[Path, object], Path]


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
    assert "in both" not in reasons(verify(subsets))


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


def test_subsets_of_other_classes_are_refused(folder_root: Path) -> None:
    train, val = Folder(folder_root), Folder(folder_root, "val")
    check_same_classes(train, val)
    for classes in (val.classes[:-1], val.classes[::-1], (*val.classes, "more")):
        val.classes = classes
        with pytest.raises(DataError, match="the same list of classes") as caught:
            check_same_classes(train, val)
        assert str(folder_root) in str(caught.value)
        with pytest.raises(DataError, match="the same list of classes"):
            verify([train, val])


def test_what_all_masks_say_is_a_problem_of_its_subset(folder_root: Path, save_mask: Save) -> None:
    import numpy as np

    for name in ("one", "two"):
        save_mask(folder_root / "masks" / f"{name}.png", np.array([[0, 255]] * 6))
    for name, suffix in (("one", "jpg"), ("two", "jpeg")):
        image = folder_root / "images" / f"{name}.{suffix}"
        Image.open(image).resize((2, 6)).save(image, comment=name.encode())
    found = verify([Folder(folder_root), Folder(folder_root, "val")])
    (problem,) = found.problems
    assert problem.file == folder_root
    assert problem.reason.startswith("the 2 masks of train hold only 0 and 255: 255 is void")
    assert [report.problems for report in found.subsets] == [1, 0]
    assert [report.void_share for report in found.subsets] == [0.5, 0.0]
    assert found.warnings == ("'background' has no labelled pixel in the mask of val. " + FROM_1,)


FROM_1 = (
    "None holds label 0, 'background': labels start at 0 here. If theirs start at 1, subtract 1; "
    "if 0 is no class, take it out of the list of classes"
)


def test_labels_that_reach_one_too_far_say_what_it_may_be(
    folder_root: Path, save_mask: Save
) -> None:
    import numpy as np

    save_mask(folder_root / "masks" / "three.png", np.where(np.eye(6, 8), 2, 1))
    (problem,) = verify([Folder(folder_root, "val")]).problems
    assert problem.reason.endswith("(do the labels of the masks start at 1?)")
    save_mask(folder_root / "masks" / "three.png", np.where(np.eye(6, 8), 2, 0))
    (problem,) = verify([Folder(folder_root, "val")]).problems
    assert problem.reason.endswith("or is 0 void in the masks?)")
    save_mask(folder_root / "masks" / "three.png", np.where(np.eye(6, 8), 3, 0))
    (problem,) = verify([Folder(folder_root, "val")]).problems
    assert 'map them, such as values = {0 = "background", 3 = "tall building"}' in problem.reason
    assert "start at 1" not in problem.reason


def test_masks_that_cannot_be_read_make_no_class_absent(folder_root: Path) -> None:
    (folder_root / "masks" / "two.png").write_bytes(b"no picture")
    (folder_root / "images" / "three.png").rename(folder_root / "images" / "four.png")
    (folder_root / "val.txt").write_text("four\n")
    (folder_root / "masks" / "three.png").rename(folder_root / "masks" / "four.png")
    found = verify([Folder(folder_root)])
    assert len(found.problems) == 1
    assert found.warnings == ()


def test_palettes_count_as_problems_of_the_subset_that_has_the_file(
    folder_root: Path, save_mask: Save
) -> None:
    (folder_root / "classes.txt").write_text("background\ntall building\n")  # without colours
    other = save_mask(folder_root / "masks" / "three.png", 1)
    image = Image.open(other)
    image.putpalette([0, 0, 0, 9, 200, 9])
    image.save(other)
    found = verify([Folder(folder_root), Folder(folder_root, "val")])
    (problem,) = found.problems
    assert "one.png" in problem.reason or "two.png" in problem.reason
    assert f"{other} give label 1 two colours, 128 0 0 (masks: 2) and 9 200 9" in problem.reason
    assert [report.problems for report in found.subsets] == [0, 1]


def test_masks_of_void_among_others_are_a_note(folder_root: Path, save_mask: Save) -> None:
    save_mask(folder_root / "masks" / "one.png", 255)
    found = verify([Folder(folder_root), Folder(folder_root, "val")])
    assert found.ok
    assert found.notes == ("1 mask of train void throughout: one",)
