"""NYU Depth v2, from the published archive and from folders."""

from __future__ import annotations

import builtins
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.indoor import FRAME, frame, labels_of, make_nyu_archive, make_nyu_folders, save

from semisup.data.labels.classes_in_masks import count_labels
from semisup.data.sets.indoor.classes import (
    CATEGORIES,
    NYU_13,
    NYU_40,
    SUN_37,
    table_of_categories,
    table_of_classes,
    to_13,
)
from semisup.data.sets.indoor.nyudv2 import Nyudv2
from semisup.data.verify import verify
from semisup.errors import DataError


def test_the_archive_has_the_frames_of_the_lists(nyu_archive_root: Path) -> None:
    pytest.importorskip("h5py")
    data = Nyudv2(nyu_archive_root)
    assert data.ids == ("000003", "000001")
    assert Nyudv2(nyu_archive_root, "test").ids == ("000002", "000004")
    assert data.image_path(0) == data.mask_path(1) == data.root / "nyu_depth_v2_labeled.mat"
    assert data.facts() == {"layout": "archive", "white_frame": "kept"}
    for index, number in enumerate((3, 1)):
        image, labels = frame(number)
        assert np.array_equal(data.image(index).permute(1, 2, 0).numpy(), image)
        mask = data.mask(index).numpy()
        assert mask.shape == FRAME
        assert np.array_equal(mask == 255, labels == 0)
        for category, name in ((21, "wall"), (11, "floor"), (894 - number, "otherprop")):
            assert set(mask[labels == category].tolist()) == {NYU_40.index(name)}


def test_the_40_classes_are_made_of_894_categories() -> None:
    table = table_of_categories()
    assert len(table) == CATEGORIES + 1 == 895
    assert table[0] == 255
    counts = np.bincount(table[1:], minlength=40)
    assert counts.tolist() == [1] * 37 + [68, 82, 707]
    known = {21: "wall", 157: "bed", 331: "person", 55: "bag", 8: "otherstructure"}
    known |= {12: "otherfurniture", 1: "otherprop", 894: "otherprop", 143: "floor mat"}
    assert {category: NYU_40[table[category]] for category in known} == known


def test_the_13_classes_are_groups_of_the_40() -> None:
    table = to_13(table_of_classes(40))
    named = {name: NYU_13[table[1 + label]] for label, name in enumerate(NYU_40)}
    assert table[0] == 255
    assert set(named.values()) == set(NYU_13)
    known = {"wall": "wall", "television": "tv", "blinds": "window", "bag": "objects"}
    known |= {"bookshelf": "furniture", "door": "wall", "floor mat": "floor", "desk": "table"}
    assert {name: named[name] for name in known} == known
    assert to_13(table_of_categories()).tolist() == [table[0]] + [
        int(table[1 + label]) for label in table_of_categories()[1:]
    ]


def test_classes_are_in_the_order_of_the_benchmark() -> None:
    assert (len(NYU_40), len(NYU_13), len(SUN_37)) == (40, 13, 37)
    known = {0: "wall", 4: "chair", 19: "floor mat", 23: "refridgerator", 39: "otherprop"}
    assert {place: NYU_40[place] for place in known} == known
    differ = [place for place in range(37) if SUN_37[place] != NYU_40[place]]
    assert [SUN_37[place] for place in differ] == [
        *("floor_mat", "fridge", "tv", "shower_curtain", "night_stand")
    ]


def test_13_classes_are_read_from_the_same_files(nyu_folders_root: Path) -> None:
    fine, coarse = (Nyudv2(nyu_folders_root, label_set=n) for n in (40, 13))  # type: ignore[arg-type]
    assert coarse.classes == NYU_13
    assert len(coarse.palette) == 13
    expected = {255: 255, 0: NYU_13.index("wall"), 39: NYU_13.index("objects")}
    assert [expected[label] for label in fine.mask(0).flatten().tolist()] == (
        coarse.mask(0).flatten().tolist()
    )


def test_the_white_frame_is_cut_off_as_by_gupta(nyu_archive_root: Path) -> None:
    pytest.importorskip("h5py")
    whole, cut = (Nyudv2(nyu_archive_root, cut_frame=cut) for cut in (False, True))
    assert cut.image(0).shape == (3, 425, 560)
    assert cut.mask(0).shape == (425, 560)
    # MATLAB's rows 46:470 and columns 41:600.
    assert torch.equal(cut.image(0), whole.image(0)[:, 45:470, 40:600])
    assert torch.equal(cut.mask(0), whole.mask(0)[45:470, 40:600])
    assert cut.facts()["white_frame"] == "cut off"


def test_folders_may_have_the_usual_names(nyu_folders_root: Path) -> None:
    data = Nyudv2(nyu_folders_root)
    assert data.ids == ("000003", "000001")
    assert data.facts()["layout"] == "folders"
    assert data.mask(0)[:, 0].tolist() == [255, 0, 0, 0, 0, 39]
    expected = [data.pair(index) for index in range(2)]
    (data.root / "image").rename(data.root / "images")
    (data.root / "label40").rename(data.root / "masks")
    again = Nyudv2(data.root)
    assert again.image_path(0) == data.root / "images" / "000003.jpg"
    assert all(all(map(torch.equal, again.pair(i), expected[i])) for i in range(2))


def test_void_is_0_or_255_but_not_both(nyu_folders_root: Path) -> None:
    data = Nyudv2(nyu_folders_root)
    shifted = labels_of(1, 39)
    shifted[0] = 255
    save(data.mask_path(0), shifted)
    assert data.mask(0)[:, 0].tolist() == [255, 0, 0, 0, 0, 38]
    shifted[1] = 0
    save(data.mask_path(0), shifted)
    with pytest.raises(DataError, match="holds 0 and 255 in the mask of '000003', two labels for"):
        data.mask(0)


def _sum_of(data: Nyudv2) -> int:
    return int(data.image(1).sum()) + int(data.mask(1).sum())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_worker_processes_open_the_archive_themselves(nyu_archive_root: Path, method: str) -> None:
    pytest.importorskip("h5py")
    data = Nyudv2(nyu_archive_root)
    expected = _sum_of(data)
    assert len(pickle.dumps(data)) < 10_000
    loader = torch.utils.data.DataLoader(
        _Pairs(data), batch_size=None, num_workers=1, multiprocessing_context=method
    )
    assert [int(image.sum()) + int(mask.sum()) for image, mask in loader][1] == expected
    assert not multiprocessing.active_children()


class _Pairs(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The pairs of a data set, for a loader."""

    def __init__(self, data: Nyudv2) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.data.pair(index)


def test_one_frame_is_read_and_not_the_archive(
    nyu_archive_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5py = pytest.importorskip("h5py")
    data, shapes = Nyudv2(nyu_archive_root), []
    read = h5py.Dataset.__getitem__

    def noting(self: object, key: object, *rest: object) -> object:
        values = read(self, key, *rest)
        shapes.append(values.shape)
        return values

    monkeypatch.setattr(h5py.Dataset, "__getitem__", noting)
    data.pair(0)
    assert shapes == [(3, 640, 480), (640, 480)]


def test_without_h5py_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_nyu_archive(tmp_path)
    found = builtins.__import__

    def without(name: str, *args: object, **options: object) -> object:
        if name == "h5py":
            raise ImportError(name)
        return found(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    line = r"h5py, which is not installed: pip install 'semisup\[hdf5\]'"
    with pytest.raises(DataError, match=line):
        Nyudv2(tmp_path)
    (tmp_path / "nyudv2" / "nyu_depth_v2_labeled.mat").unlink()
    make_nyu_folders(tmp_path)
    assert len(Nyudv2(tmp_path)) == 2


def test_an_archive_is_verified_without_hashing_it_for_twins(
    nyu_archive_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("h5py")
    monkeypatch.setattr("semisup.data.leftovers._hash", lambda path: pytest.fail(str(path)))
    report = verify([Nyudv2(nyu_archive_root, part) for part in ("train", "test")])
    assert report.ok
    assert [subset.images for subset in report.subsets] == [2, 2]
    for part, subset in zip(("train", "test"), report.subsets, strict=True):
        data = Nyudv2(nyu_archive_root, part)
        counts = sum(count_labels(data.mask(index)) for index in range(len(data)))
        assert isinstance(counts, torch.Tensor)
        assert subset.pixels == tuple(counts[:40].tolist()), "each frame is opened"


@pytest.mark.parametrize(("subset", "count"), [("train", 199), ("test", 164)])
def test_counts_of_real_labels_are_those_of_the_files(
    shared_data: Path, subset: str, count: int
) -> None:
    """Class by class, against PIL and numpy alone."""
    folder = shared_data / "nyudv2_small"
    data = Nyudv2(folder, subset)
    names = (folder / f"{subset}.txt").read_text().split()
    assert list(data.ids) == names
    assert len(data) == count
    ours, theirs = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for index, name in enumerate(names):
        ours += np.bincount(data.mask(index).flatten().numpy(), minlength=256)
        stored = np.array(Image.open(folder / "label40" / f"{name}.png"))
        theirs += np.bincount(stored.flatten(), minlength=256)
    assert ours[:40].tolist() == theirs[1:41].tolist()
    assert ours[255] == theirs[0] + theirs[255]
    assert ours.sum() == count * 480 * 640
    # The masks of train that are here have merged class 40 with void.
    present = 39 if subset == "train" else 40
    assert np.flatnonzero(ours[:255]).tolist() == list(range(present))
    known = {"train": (13_621_973, 13_850_624), "test": (10_449_090, 8_825_964)}
    assert (ours[0], ours[255]) == known[subset]
    image, mask = data.pair(count - 1)
    assert image.shape == (3, *mask.shape) == (3, 480, 640)
