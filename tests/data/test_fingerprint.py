"""What tells the files of a data set from others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from support.runs import make_set, mend

from semisup.data.fingerprint import LARGEST, changed_files, file_name, fingerprint
from semisup.data.formats.trees import digest_of
from semisup.data.sets.folder import Folder


def test_a_fingerprint_follows_the_files_and_not_their_place(tmp_path: Path) -> None:
    make_set(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (fingerprint(Folder(tmp_path / name, "train"), [0, 2]) for name in ("one", "two"))
    assert one == two
    assert sorted(one) == [*(f"images/t{n}.png" for n in range(6)), "masks/t0.png", "masks/t2.png"]
    mend(tmp_path / "two" / "masks" / "t2.png")
    mend(tmp_path / "two" / "masks" / "t3.png")  # is not labelled
    (tmp_path / "two" / "images" / "t4.png").write_bytes(b"1234")
    two = fingerprint(Folder(tmp_path / "two", "train"), [0, 2])
    assert changed_files(one, two) == ["images/t4.png", "masks/t2.png"]
    assert two["images/t4.png"] == "4 bytes"
    assert digest_of(one) != digest_of(two)


def test_files_that_are_missing_or_huge_have_a_fingerprint_too(tmp_path: Path) -> None:
    make_set(tmp_path)
    (tmp_path / "masks" / "t0.png").unlink()
    with (tmp_path / "masks" / "t1.png").open("wb") as file:
        file.truncate(LARGEST + 1)  # takes no room
    os.mkfifo(tmp_path / "masks" / "pipe")
    (tmp_path / "masks" / "t2.png").unlink()
    (tmp_path / "masks" / "t2.png").symlink_to("pipe")
    files = fingerprint(Folder(tmp_path, "train"), [0, 1, 2])
    assert files["masks/t0.png"] == "missing"
    assert files["masks/t1.png"] == f"{LARGEST + 1} bytes"
    assert files["masks/t2.png"] == "0 bytes"


def test_names_do_not_depend_on_the_root() -> None:
    assert file_name(Path("/a/set"), Path("/a/set/images/x/1.png")) == "images/x/1.png"
    assert file_name(Path(), Path("images/x/1.png")) == "images/x/1.png"
    assert file_name(Path("/a/VOC2012"), Path("/a/sbd/cls/1.mat")) == "cls/1.mat"
    assert file_name(Path("/a/set"), Path("/a/settled/cls/1.mat")) == "cls/1.mat"
