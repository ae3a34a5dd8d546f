"""One grammar for all lists of ids."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest

from semisup.data.formats.id_lists import KnownIds, line_of, read_id_list, read_ids
from semisup.errors import DataError

IDS = (
    "t0",
    "t1",
    "IMG 001 (1)",
    "IMG",
    "#5",
    "video0/frame_0000",
    "video1/frame_0000",
    "a.b",
    "-x",
)


def known(*ids: str, ending: str = ".jpg") -> KnownIds:
    return KnownIds(ids, lambda name: Path("/data/set/images") / f"{name}{ending}")


def read(tmp_path: Path, content: str, *ids: str) -> list[tuple[str | None, str | None]]:
    path = tmp_path / "list.txt"
    path.write_text(content, encoding="utf-8")
    return [(line.id, line.kind) for line in read_id_list(path, known(*(ids or IDS)))]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("t0", "t0"),
        ("  t0  ", "t0"),
        ("t0.jpg", "t0"),
        ("t0.JPG", "t0"),
        ("t0.jpg.png", "t0"),
        ("'t0'", "t0"),
        ('"t0.png"', "t0"),
        ("images/t0.jpg", "t0"),
        ("./t0.jpg", "t0"),
        ("images\\t0.jpg", "t0"),
        ("C:\\my data\\images\\t0.jpg", "t0"),
        ("/elsewhere/set/images/t0.jpg", "t0"),
        ("JPEGImages/t0.jpg SegmentationClass/t0.png", "t0"),
        ("/JPEGImages/t0.jpg\t/SegmentationClassAug/t0.png", "t0"),
        ("images/t0.jpg,masks/t0.png", "t0"),
        ("images/t0.jpg; masks/t0_mask.png", "t0"),
        ("t0.jpg t0.png", "t0"),
        ("t0 masks/t0.png", "t0"),
        ("IMG 001 (1)", "IMG 001 (1)"),
        ("IMG 001 (1).jpg", "IMG 001 (1)"),
        ("images/IMG 001 (1).jpg", "IMG 001 (1)"),
        ("images/IMG 001 (1).jpg masks/IMG 001 (1).png", "IMG 001 (1)"),
        ("#5", "#5"),
        ("#5.jpg", "#5"),
        ("images/#5.jpg", "#5"),
        ("video1/frame_0000", "video1/frame_0000"),
        ("images/video1/frame_0000.jpg", "video1/frame_0000"),
        ("images/video1/frame_0000.jpg masks/video1/frame_0000.png", "video1/frame_0000"),
        ("a.b", "a.b"),
        ("a.b.png", "a.b"),
        ("-x", "-x"),
    ],
)
def test_a_line_names_an_id(tmp_path: Path, line: str, name: str) -> None:
    assert read(tmp_path, f"{line}\n") == [(name, None)]
    assert read(tmp_path, f"\ufeff\r\n{line}\r\n") == [(name, None)]
    assert read(tmp_path, f"{line} tags") == [(name, "tags")]


@pytest.mark.parametrize("line", ["# t0", "#t0", "# images/t0.jpg", "#t0 mask", "# 3 of 5 images"])
def test_a_line_that_was_taken_out_is_a_comment(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"{line}\nt1\n") == [("t1", None)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("/elsewhere/video7/t0.bmp", "is in the folder 'video7', and image 't0' in 'images'"),
        ("video7/t0", "is in the folder 'video7'"),
        ("images/t0.jpg masks/t1.png", "names two images, 't0' and 't1'"),
        ("t0,other/t1.png", "names two images"),
        ("a/images/t0 b/images/t1", "names two images"),
        ("frame_0000", ""),
        ("video2/frame_0000", ""),
        ("t0 t1", ""),
        ("t0.gif", ""),
        ("t0 1", ""),
        ("T0", ""),
    ],
)
def test_a_line_of_another_image_is_none(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(line)
    (found,) = read_id_list(path, known(*IDS))
    assert found.id is None
    assert found.why.startswith(why)
    assert bool(found.why) == bool(why)


def test_unicode_forms_are_one_where_the_exact_one_is_not_there(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café 01") for form in ("NFC", "NFD"))
    assert read(tmp_path, composed, apart) == [(apart, None)]
    assert read(tmp_path, f"images/{apart}.jpg", composed) == [(composed, None)]
    assert read(tmp_path, f"{apart}\n{composed}\n", composed, apart) == [
        (apart, None),
        (composed, None),
    ]


def random_ids(seed: int) -> set[str]:
    """Names that a file system takes, made of what lists and paths make special."""
    chance = random.Random(seed)
    pieces = ["a", "b", " ", "  ", "#", "# ", "mask", " mask", " none", "tags", ".jpg", ".png", "/"]
    pieces += ['"', "'", "\\", "\n", "\r", "\t", ",", ";", "\u2028", "\x85", "\x0b", "é", "e\u0301"]
    pieces += ["# name: ", "# sha256: ", "# tags: ", "images/", "\ufeff", "=", "-", "[", "0", "日"]
    ids = set()
    for _ in range(60):
        name = "".join(chance.choices(pieces, k=chance.randint(1, 5)))
        name = "/".join(part for part in name.split("/") if part and part not in (".", ".."))
        if name:
            ids.add(name)
    return ids


@pytest.mark.parametrize("seed", range(40))
def test_every_written_line_reads_back(tmp_path: Path, seed: int) -> None:
    ids = random_ids(seed)
    chance = random.Random(seed)
    kinds = {name: chance.choice(["mask", "tags", "none"]) for name in sorted(ids)}
    head = "# name: 1/2-s0\n# sha256: " + "0" * 64 + "\n"
    if chance.random() < 0.5:
        head += "# tags: xml, sha256 " + "0" * 64 + "\n"
    text = head + "".join(line_of(name, kind) for name, kind in kinds.items())
    assert dict(read(tmp_path, text, *ids)) == kinds


def test_ids_without_a_set_are_words_or_paths(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("images/x.jpg masks/x.png\ny\n")
    assert read_ids(path) == ("x", "y")
    path.write_text("a 1\n")
    with pytest.raises(DataError, match="a line is one image id"):
        read_ids(path)


def test_the_ids_of_a_set_are_asked_for_only_if_a_line_is_no_plain_word(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("2007_000032\n2007_000033\n")

    def never() -> KnownIds:
        raise AssertionError

    assert read_ids(path, never) == ("2007_000032", "2007_000033")
    path.write_text("# two\nIMG 001 (1)\nt9\n")
    assert read_ids(path, lambda: known(*IDS)) == ("IMG 001 (1)", "t9")


def files(names: dict[str, str]) -> KnownIds:
    return KnownIds(names, lambda name: Path("/data/set") / names[name])


CITIES = {
    "bonn_0_1": "images/train/bonn/bonn_0_1_left.png",
    "ulm_0_1": "images/train/ulm/ulm_0_1_left.png",
}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bonn_0_1", "bonn_0_1"),
        ("bonn_0_1_left.png", "bonn_0_1"),
        ("images/train/bonn/bonn_0_1_left.png", "bonn_0_1"),
        ("images/train/bonn/bonn_0_1_left.png gt/train/bonn/bonn_0_1_gt_ids.png", "bonn_0_1"),
        ("/images/train/bonn_0_1.png\t/segmentation/train/bonn_0_1_gt.png", "bonn_0_1"),
        ("images/train/ulm/bonn_0_1_left.png", None),
        ("images/val/bonn_0_1_left.png", None),
        ("images/train/bonn/bonn_0_1_left.png gt/train/ulm/ulm_0_1_gt_ids.png", None),
    ],
)
def test_files_whose_names_are_longer_than_the_ids(
    tmp_path: Path, line: str, expected: str | None
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{line}\n")
    (entry,) = read_id_list(path, files(CITIES))
    assert entry.id == (None if entry.why else expected)
    assert bool(entry.why) == (expected is None)


def test_a_file_that_several_images_have_by_name_is_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("1_img.png\nx/y.png\n")
    known = files({"a/1": "a/1_img.png", "b/1": "b/1_img.png", "z": "x/z.png"})
    assert [entry.id for entry in read_id_list(path, known)] == [None, None]
    known = files({"slice 1": "v0.tif", "slice 2": "v0.tif"})
    path.write_text("v0.tif\n")
    assert [entry.id for entry in read_id_list(path, known)] == [None]
