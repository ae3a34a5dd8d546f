"""Damage to NYU Depth v2 and SUN RGB-D: one clear line that names the file, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from support.indoor import (
    REMOTE,
    SEQUENCES,
    SIZE,
    SPLIT,
    labels_of,
    make_nyu_archive,
    make_nyu_folders,
    make_sun_exported,
    make_sun_toolbox,
    save,
    write_v73,
)

from semisup.data.sets.indoor.nyudv2 import Nyudv2
from semisup.data.sets.indoor.sunrgbd import SunRgbd
from semisup.errors import DataError

pytest.importorskip("h5py")

ARCHIVE = "nyu_depth_v2_labeled.mat"
SEGMENTS, META, LISTS = "SUNRGBD2Dseg.mat", "SUNRGBDMeta.mat", "allsplit.mat"
PATHS = [f"{REMOTE}/{name}/image/{n}.jpg" for n, name in enumerate(SEQUENCES)]
FOLDERS = [f"{REMOTE}/{name}" for name in SEQUENCES]


@dataclass(frozen=True)
class Damage:
    """A set that is spoiled.

    Attributes:
        of: the data set.
        spoil: makes it in a folder.
        file: that the line must name.
        says: what else stands in it.
        options: of the data set.
    """

    of: type[Nyudv2] | type[SunRgbd]
    spoil: Callable[[Path], object]
    file: str
    says: str
    options: dict[str, Any] = field(default_factory=dict)


def archive(**changes: Any) -> Callable[[Path], object]:
    return lambda root: make_nyu_archive(root, **changes)


def toolbox(**changes: Any) -> Callable[[Path], object]:
    return lambda root: make_sun_toolbox(root, **changes)


def split(**changes: object) -> Callable[[Path], object]:
    return archive(split={**SPLIT, **changes})


def lists(train: list[str], test: list[str]) -> Callable[[Path], object]:
    return toolbox(split={"alltrain": train, "alltest": test})


def then(make: Callable[[Path], object], name: str, spoil: Callable[[Path], object]) -> Any:
    """Make a set, and spoil its file of this name."""

    def both(root: Path) -> None:
        make(root)
        spoil(next(root.rglob(name)))

    return both


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def as_text(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>\n" * 30)


def as_version_5(path: Path) -> None:
    savemat(path, {"images": np.zeros((2, 2)), "labels": np.zeros((2, 2))})


def as_version_73(path: Path) -> None:
    path.unlink()
    write_v73(path, lambda file: file.create_dataset("trainNdxs", data=np.ones((1, 2))))


def overwrite(path: Path) -> None:
    """The second half of a file with other bytes, as a disk leaves it."""
    half = path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:half] + b"\xa5" * half)


def without(name: str) -> Callable[[Any], object]:
    return lambda file: file.pop(name)


def other(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], object]:
    """A variable of the archive that was changed as a whole."""

    def edit(file: Any) -> None:
        values = change(file[name][()])
        del file[name]
        file[name] = values

    return edit


def empty_cell(file: Any) -> None:
    """As MATLAB writes []: the sizes 0 and 0, and an attribute that says so."""
    file["#refs#/1"].attrs["MATLAB_empty"] = np.uint8(1)


def no_reference(file: Any) -> None:
    cells = file["SUNRGBD2Dseg/seglabel"]
    cells[1, 0] = type(cells[1, 0])()


def texts_in_cells(file: Any) -> None:
    file["#refs#"].pop("1")
    text = file.create_dataset("#refs#/text", data=np.array([b"wall"]))
    file["SUNRGBD2Dseg/seglabel"][1, 0] = text.ref


def cells(change: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    return [change(labels_of(1, 37)) for _ in SEQUENCES]


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(labels: np.ndarray) -> np.ndarray:
        labels = labels.astype(np.float64)
        labels[..., -1, -1] = value
        return labels

    return change


def add_line(path: Path) -> None:
    path.write_text(path.read_text() + "000003\n")


DAMAGES = {
    "archive that is not there": Damage(
        Nyudv2, lambda root: (root / "nyudv2").mkdir(), ARCHIVE, "NYU Depth v2 is not there"
    ),
    "folders without their lists": Damage(
        Nyudv2,
        then(make_nyu_folders, "test.txt", Path.unlink),
        "test.txt",
        "test.txt is missing in",
    ),
    "archive without its lists": Damage(
        Nyudv2, then(archive(), "splits.mat", Path.unlink), "splits.mat", "is missing in"
    ),
    "archive cut short": Damage(Nyudv2, then(archive(), ARCHIVE, cut), ARCHIVE, "truncated file"),
    "archive of zero bytes": Damage(
        Nyudv2, then(archive(), ARCHIVE, lambda p: p.write_bytes(b"")), ARCHIVE, "not the format of"
    ),
    "archive that is no HDF5": Damage(
        Nyudv2, then(archive(), ARCHIVE, as_text), ARCHIVE, "not the format of HDF5"
    ),
    "archive of MATLAB 5": Damage(
        Nyudv2,
        then(archive(), ARCHIVE, as_version_5),
        ARCHIVE,
        "is a file of MATLAB 5, where MATLAB 7.3 is expected",
    ),
    "archive without images": Damage(
        Nyudv2, archive(edit=without("images")), ARCHIVE, "does not hold 'images'"
    ),
    "archive without labels": Damage(
        Nyudv2, archive(edit=without("labels")), ARCHIVE, "does not hold 'labels'"
    ),
    "archive with a folder of images": Damage(
        Nyudv2,
        archive(edit=lambda file: (file.pop("images"), file.create_group("images"))),
        ARCHIVE,
        "'images' is no array",
    ),
    "archive with fewer labels than images": Damage(
        Nyudv2, archive(edit=other("labels", lambda a: a[:3])), ARCHIVE, "labels of 480 x 640 x 3,"
    ),
    "archive with images that were turned": Damage(
        Nyudv2,
        archive(edit=other("images", lambda a: a.transpose(0, 1, 3, 2))),
        ARCHIVE,
        "has images of 640 x 480 x 3 x 4 and labels of 480 x 640 x 4",
    ),
    "archive with images as Python orders them": Damage(
        Nyudv2,
        archive(edit=other("images", lambda a: a.transpose(0, 3, 2, 1))),
        ARCHIVE,
        "has images of 3 x 640 x 480 x 4",
    ),
    "archive with images of floats": Damage(
        Nyudv2,
        archive(edit=other("images", lambda a: a / np.float32(255))),
        ARCHIVE,
        "has images of float32, not of uint8",
    ),
    "archive with other categories": Damage(
        Nyudv2,
        archive(edit=other("names", lambda a: np.zeros((1, 895)))),
        ARCHIVE,
        "names 895 categories, and the classes are made of 894",
    ),
    "archive with a category above 894": Damage(
        Nyudv2,
        archive(edit=other("labels", with_value(895))),
        ARCHIVE,
        "holds label 895 in the mask of '000003', and labels are 0, which is void, to 894",
    ),
    "archive with labels of fractions": Damage(
        Nyudv2,
        archive(edit=other("labels", with_value(20.5))),
        ARCHIVE,
        "holds labels of the mask of '000003' that are no whole numbers",
    ),
    "archive with labels that are not numbers": Damage(
        Nyudv2, archive(edit=other("labels", with_value(np.nan))), ARCHIVE, "no whole numbers"
    ),
    "archive with a negative label": Damage(
        Nyudv2, archive(edit=other("labels", with_value(-1))), ARCHIVE, "holds label -1 in"
    ),
    "archive with labels of text": Damage(
        Nyudv2,
        archive(edit=other("labels", lambda a: np.full(a.shape, b"a"))),
        ARCHIVE,
        "'labels' holds no numbers",
    ),
    "lists of NYU cut short": Damage(
        Nyudv2, then(archive(), "splits.mat", cut), "splits.mat", "no readable MATLAB 5 file (cut"
    ),
    "lists of NYU of MATLAB 7.3": Damage(
        Nyudv2,
        then(archive(), "splits.mat", as_version_73),
        "splits.mat",
        "is a file of MATLAB 7.3, where MATLAB 5 is expected",
    ),
    "lists of NYU without test": Damage(
        Nyudv2, archive(split={"trainNdxs": (1,)}), "splits.mat", "does not hold testNdxs"
    ),
    "frame 0 in a list": Damage(
        Nyudv2, split(trainNdxs=(0, 1)), "splits.mat", "has 0 in trainNdxs, and the frames of"
    ),
    "frame beyond the last in a list": Damage(
        Nyudv2, split(testNdxs=(2, 5)), "splits.mat", "has 5 in testNdxs"
    ),
    "frame of a fraction in a list": Damage(
        Nyudv2, split(testNdxs=(1.5,)), "splits.mat", "has 1.5 in testNdxs"
    ),
    "frame that is not a number in a list": Damage(
        Nyudv2, split(testNdxs=(np.nan,)), "splits.mat", "has nan in testNdxs"
    ),
    "frame in train and test": Damage(
        Nyudv2,
        split(testNdxs=(2, 3)),
        "splits.mat",
        "has frame 3 twice, in trainNdxs and in testNdxs",
    ),
    "frame twice in a list": Damage(
        Nyudv2, split(trainNdxs=(1, 1)), "splits.mat", "has frame 1 twice, in trainNdxs and in trai"
    ),
    "no frame in a list": Damage(
        Nyudv2, split(testNdxs=()), "splits.mat", "has no frame in testNdxs"
    ),
    "id in both lists of a folder": Damage(
        Nyudv2,
        then(make_nyu_folders, "test.txt", add_line),
        "test.txt",
        "lists '000003', as train.txt does",
    ),
    "folder without an image": Damage(
        Nyudv2, then(make_nyu_folders, "000003.jpg", Path.unlink), "000003.jpg", "is missing"
    ),
    "folder without a mask": Damage(
        Nyudv2, then(make_nyu_folders, "000003.png", Path.unlink), "000003.png", "is missing"
    ),
    "folder with label 41": Damage(
        Nyudv2,
        then(make_nyu_folders, "000003.png", lambda path: save(path, labels_of(41, 1))),
        "000003.png",
        "holds label 41 in the mask of '000003', and labels are 0, which is void, to 40",
    ),
    "folder with the frame cut off already": Damage(
        Nyudv2,
        make_nyu_folders,
        "000003.jpg",
        f"is {SIZE[0]}x{SIZE[1]}, and within the white frame",
        {"cut_frame": True},
    ),
    "toolbox that is not there": Damage(
        SunRgbd, lambda root: (root / "sunrgbd").mkdir(), "sunrgbd", "SUN RGB-D is not there"
    ),
    "label maps that are not there": Damage(
        SunRgbd, then(toolbox(), SEGMENTS, Path.unlink), SEGMENTS, "is missing; unpack SUNRGBD.zip"
    ),
    "label maps cut short": Damage(
        SunRgbd, then(toolbox(), SEGMENTS, cut), SEGMENTS, "truncated file"
    ),
    "label maps overwritten from the middle": Damage(
        SunRgbd, then(toolbox(), SEGMENTS, overwrite), SEGMENTS, "is no readable MATLAB 7.3 file"
    ),
    "label maps of MATLAB 5": Damage(
        SunRgbd, then(toolbox(), SEGMENTS, as_version_5), SEGMENTS, "is a file of MATLAB 5, where"
    ),
    "label maps without their cells": Damage(
        SunRgbd,
        toolbox(edit=without("SUNRGBD2Dseg/seglabel")),
        SEGMENTS,
        "does not hold 'SUNRGBD2Dseg/seglabel'",
    ),
    "fewer label maps than images": Damage(
        SunRgbd,
        toolbox(cells=[labels_of(1, 1)] * 3),
        SEGMENTS,
        "has 3 label maps, and SUNRGBDMeta.mat 4 images",
    ),
    "empty cell": Damage(
        SunRgbd, toolbox(edit=empty_cell), SEGMENTS, "cell 2 of 'SUNRGBD2Dseg/seg"
    ),
    "cell that refers to nothing": Damage(
        SunRgbd, toolbox(edit=no_reference), SEGMENTS, "cell 2 of 'SUNRGBD2Dseg/seglabel' is empty"
    ),
    "cell of text": Damage(SunRgbd, toolbox(edit=texts_in_cells), SEGMENTS, "holds no numbers"),
    "cell of three axes": Damage(
        SunRgbd,
        toolbox(cells=cells(lambda one: np.stack([one] * 3, axis=-1))),
        SEGMENTS,
        "has 3 axes in the mask of 'kv2/a/000002'",
    ),
    "label map that is turned": Damage(
        SunRgbd,
        toolbox(cells=cells(lambda one: one.T)),
        SEGMENTS,
        "the mask is 8x6 but image 'kv2/a/000002' is 6x8 (height x width)",
    ),
    "label map with a label above 37": Damage(
        SunRgbd,
        toolbox(cells=cells(with_value(38))),
        SEGMENTS,
        "holds label 38 in the mask of 'kv2/a/000002', and labels are 0, which is void, to 37",
    ),
    "label map of fractions": Damage(
        SunRgbd, toolbox(cells=cells(with_value(0.5))), SEGMENTS, "are no whole numbers"
    ),
    "list of images cut short": Damage(
        SunRgbd, then(toolbox(), META, cut), META, "is no readable MATLAB 5 file (cut short"
    ),
    "list of images that is another file": Damage(
        SunRgbd, then(toolbox(), META, as_text), META, "not the format of MATLAB 5"
    ),
    "path of an image that leads elsewhere": Damage(
        SunRgbd,
        toolbox(meta=[*PATHS[:3], "/n/SUNRGBD/../../etc/image/a.jpg"]),
        META,
        "which is not below SUNRGBD",
    ),
    "image of another machine": Damage(
        SunRgbd, toolbox(meta=[*PATHS[:3], "/home/a/image/a.jpg"]), META, "not below SUNRGBD"
    ),
    "image twice in the list of images": Damage(
        SunRgbd, toolbox(meta=[*PATHS[:3], PATHS[0]]), META, f"lists '{SEQUENCES[0]}' 2 times"
    ),
    "split cut short": Damage(SunRgbd, then(toolbox(), LISTS, cut), LISTS, "(cut short"),
    "split that is not there": Damage(
        SunRgbd, then(toolbox(), LISTS, Path.unlink), LISTS, "is missing; unpack SUNRGBD.zip"
    ),
    "split with numbers in place of paths": Damage(
        SunRgbd,
        then(toolbox(), LISTS, lambda path: savemat(path, {"alltrain": np.ones(3)})),
        LISTS,
        "'alltrain' is no cell",
    ),
    "split with a folder that no image has": Damage(
        SunRgbd,
        lists([f"{REMOTE}/kv1/none"], FOLDERS[1:]),
        LISTS,
        "has 'kv1/none' in alltrain, and SUNRGBDMeta.mat does not",
    ),
    "folder in train and test": Damage(
        SunRgbd,
        lists(FOLDERS[:2], FOLDERS[1:]),
        LISTS,
        f"has '{SEQUENCES[1]}' in alltrain and in alltest",
    ),
    "folder twice in a split": Damage(
        SunRgbd, lists([FOLDERS[0]] * 2, FOLDERS[1:]), LISTS, f"lists '{SEQUENCES[0]}' 2 times"
    ),
    "image of SUN that is missing": Damage(
        SunRgbd, then(toolbox(), "1.jpg", Path.unlink), "1.jpg", "is missing"
    ),
    "exported label that is missing": Damage(
        SunRgbd,
        then(make_sun_exported, "img-005051.png", Path.unlink),
        "img-005051.png",
        "is missing",
    ),
    "exported label with 0 and 255": Damage(
        SunRgbd,
        then(make_sun_exported, "img-005051.png", lambda path: save(path, labels_of(1, 255))),
        "img-005051.png",
        "holds 0 and 255",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_in_one_line_that_names_the_file(name: str, tmp_path: Path) -> None:
    damage = DAMAGES[name]
    damage.spoil(tmp_path)
    with pytest.raises(DataError) as caught:
        damage.of(tmp_path, **damage.options).pair(0)
    line = str(caught.value)
    assert "\n" not in line
    assert damage.file in line
    assert damage.says in line
    assert line.count(damage.file) < 4
    # What is wrong comes before what to do.
    assert "; " in line


@pytest.mark.parametrize("make", [make_nyu_archive, make_sun_toolbox, make_nyu_folders])
def test_what_is_not_damaged_is_read(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path)
    of = SunRgbd if make is make_sun_toolbox else Nyudv2
    for subset in ("train", "test"):
        data = of(tmp_path, subset)
        assert all(data.pair(index)[1].shape for index in range(len(data)))
