"""ISBI 2012 as the challenge gives it, and what can be wrong with its two files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.isbi import SIZE, make_isbi, write_pages

from semisup.catalog import create_dataset
from semisup.data.base import SegmentationData
from semisup.data.labels.classes_in_masks import count_labels
from semisup.data.sets.isbi2012 import LABELS, VOLUME
from semisup.data.verify import verify
from semisup.errors import DataError
from semisup.ops.pixels import GREY


def isbi(root: Path, subset: str = "train", **options: int) -> SegmentationData:
    return create_dataset("isbi2012", root, subset, **options)


def test_the_pages_are_slices_in_their_order(isbi_root: Path) -> None:
    data, held_out = isbi(isbi_root, held_out=3), isbi(isbi_root, "val", held_out=3)
    assert data.ids == tuple("0123456")
    assert held_out.ids == tuple("789")
    assert (data.classes, data.image_kind) == (("membrane", "cell"), GREY)
    with (
        Image.open(isbi_root / "isbi2012" / VOLUME) as volume,
        Image.open(isbi_root / "isbi2012" / LABELS) as labels,
    ):
        for one in (data, held_out):
            for index, name in enumerate(one.ids):
                volume.seek(int(name))
                labels.seek(int(name))
                assert np.array_equal(one.image(index)[0].numpy(), np.asarray(volume))
                assert np.array_equal(one.mask(index).numpy(), np.asarray(labels) // 255)
    assert torch.equal(data.context(5, 9)[:, 2], held_out.image(0)), "beyond the subset"
    assert torch.equal(data.context(-1, 1)[:, 0], data.image(1)), "mirrored before the first"


def test_some_of_the_masks_may_be_used(isbi_root: Path) -> None:
    assert isbi(isbi_root, held_out=4, annotated=2).masked_ids == ("1", "4")


def test_masks_of_one_bit_are_read(tmp_path: Path) -> None:
    folder = make_isbi(tmp_path) / "isbi2012"
    before = [isbi(tmp_path, "all").mask(index) for index in range(10)]
    with Image.open(folder / LABELS) as file:
        pages = []
        for page in range(10):
            file.seek(page)
            pages.append(np.asarray(file) > 0)
    write_pages(folder / LABELS, pages)
    assert all(map(torch.equal, [isbi(tmp_path, "all").mask(i) for i in range(10)], before))


def test_the_real_slices_are_the_same_from_pages_as_from_pictures(
    shared_data: Path, tmp_path: Path
) -> None:
    pictures = shared_data / "isbi2012" / "train"
    for folder, name in (("image", VOLUME), ("label", LABELS)):
        pages = []
        for number in range(30):
            with Image.open(pictures / folder / f"{number}.png") as file:
                pages.append(np.asarray(file.convert("L")))
        write_pages(tmp_path / name, pages)
    layout = {
        "image_folder": "image",
        "mask_folder": "label",
        "classes": ["membrane", "cell"],
        "values": {"0": "membrane", "255": "cell"},
    }
    for subset, count in (("train", 24), ("val", 6)):
        pages_, slices = isbi(tmp_path, subset), create_dataset("stack", pictures, subset, **layout)
        assert len(pages_) == count
        assert pages_.ids == slices.ids
        for index in range(count):
            assert torch.equal(pages_.image(index), slices.image(index))
            assert torch.equal(pages_.mask(index), slices.mask(index))


def no_labels(folder: Path) -> None:
    (folder / LABELS).unlink()


def no_tiff(folder: Path) -> None:
    (folder / VOLUME).write_bytes(b"not a picture")


def of_another_number(folder: Path) -> None:
    write_pages(folder / LABELS, [np.zeros(SIZE, np.uint8)] * 9)


def cut_short(folder: Path) -> None:
    path = folder / VOLUME
    path.write_bytes(path.read_bytes()[:-1500])


def colours(folder: Path) -> None:
    write_pages(folder / VOLUME, [np.zeros((*SIZE, 3), np.uint8)] * 10)


def sixteen_bits(folder: Path) -> None:
    write_pages(folder / VOLUME, [np.zeros(SIZE, np.uint16)] * 10)


def other_values(folder: Path) -> None:
    write_pages(folder / LABELS, [np.full(SIZE, 1, np.uint8)] * 10)


def of_another_size(folder: Path) -> None:
    write_pages(folder / LABELS, [np.zeros((8, 9), np.uint8)] * 10)


def a_slice_of_another_size(folder: Path) -> None:
    pages = [np.zeros(SIZE, np.uint8) for _ in range(9)]
    write_pages(folder / VOLUME, [*pages, np.zeros((8, 9), np.uint8)])


def nothing_left(folder: Path) -> None:
    for name in (VOLUME, LABELS):
        write_pages(folder / name, [np.zeros(SIZE, np.uint8)] * 6)


def a_folder(folder: Path) -> None:
    (folder / VOLUME).unlink()
    (folder / VOLUME).mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_labels, r"ISBI 2012 is not there: train-labels\.tif is missing in .*isbi2012"),
        (no_tiff, r"train-volume\.tif is no TIFF .*; fetch or unpack it anew"),
        (of_another_number, r"train-labels\.tif has 9 pages, and train-volume\.tif 10: fetch"),
        (cut_short, r"train-volume\.tif .*(cut short|cannot be decoded|is no TIFF)"),
        (colours, r"page 0 of .*train-volume\.tif is RGB \(expected: 8-bit grey\)"),
        (sixteen_bits, r"train-volume\.tif has 16 bits a channel"),
        (
            other_values,
            r"page 0 of .*train-labels\.tif holds 1, but a membrane is 0 and a cell 255",
        ),
        (of_another_size, r"train-labels\.tif: the mask is 8x9 but image '0' is 24x30"),
        (a_slice_of_another_size, r"the mask is 24x30 but image '9' is 8x9"),
        (nothing_left, r"isbi2012: has 6 slices, and held_out = 6 leaves none"),
        (a_folder, r"train-volume\.tif is a folder"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_told_in_one_line(
    isbi_root: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(isbi_root / "isbi2012")
    with pytest.raises(DataError, match=message) as told:
        read_all(isbi_root, "train" if damage is nothing_left else "all")
    assert "\n" not in str(told.value)


def read_all(root: Path, subset: str) -> None:
    data = isbi(root, subset)
    for index in range(len(data)):
        data.pair(index)


def test_each_page_is_verified(isbi_root: Path) -> None:
    sets = [isbi(isbi_root, part, held_out=4) for part in ("train", "val")]
    report = verify(sets)
    assert report.ok
    for data, subset in zip(sets, report.subsets, strict=True):
        counts = sum(count_labels(data.mask(index)) for index in range(len(data)))
        assert isinstance(counts, torch.Tensor)
        assert subset.pixels == tuple(counts[:2].tolist())
    path = isbi_root / "isbi2012" / LABELS
    with Image.open(path) as file:
        pages = []
        for page in range(10):
            file.seek(page)
            pages.append(np.array(file))
    pages[3][0, 0] = 7
    write_pages(path, pages)
    reasons = [problem.reason for problem in verify(sets).problems]
    assert len(reasons) == 1
    assert "page 3 of" in reasons[0]
    assert "holds 7" in reasons[0]
