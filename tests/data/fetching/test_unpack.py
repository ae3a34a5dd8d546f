"""Archives are unpacked as they are, or refused with the name of the member."""

from __future__ import annotations

import errno
import stat
import tarfile
from pathlib import Path

import pytest
from support.archives import SOUND, member, tar_of, zip_of

from semisup.data.fetching.unpack import unpack
from semisup.errors import DataError, RunError


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fails(content: bytes, tmp_path: Path) -> str:
    path = tmp_path / "bad.archive"
    path.write_bytes(content)
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "in")
    assert {entry.name for entry in tmp_path.iterdir()} == {"bad.archive", "in"}
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    "content",
    [tar_of(SOUND), tar_of(SOUND, packing="gz"), tar_of(SOUND, packing="xz"), zip_of(SOUND)],
    ids=["tar", "tgz", "txz", "zip"],
)
def test_sound_archives_are_unpacked(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    unpack(tmp_path / "a", tmp_path / "in")
    assert files_in(tmp_path / "in") == SOUND
    mode = (tmp_path / "in" / "tree" / "data" / "one.txt").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_IXUSR)


NAMES = [
    ("../out.txt", "would be written outside of its folder"),
    ("tree/../../out.txt", "would be written outside of its folder"),
    ("tree\\..\\..\\out.txt", "would be written outside of its folder"),
    ("/srv/out.txt", "has an absolute path"),
    ("C:\\out.txt", "has an absolute path"),
    ("\\\\host\\share\\out.txt", "has an absolute path"),
]


@pytest.mark.parametrize(("name", "reason"), NAMES)
def test_a_member_outside_of_the_folder_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "tar").mkdir()
    (tmp_path / "zip").mkdir()
    for part, content in (("tar", tar_of({name: b"x"})), ("zip", zip_of({name: b"x"}))):
        assert fails(content, tmp_path / part).startswith(f": its member {name!r} {reason}")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is a device or a pipe"),
        (tarfile.BLKTYPE, "is a device or a pipe"),
        (tarfile.FIFOTYPE, "is a device or a pipe"),
    ],
)
def test_links_and_devices_of_a_tar_are_refused(kind: bytes, reason: str, tmp_path: Path) -> None:
    content = tar_of({}, [member("tree/bad", kind, "one.txt")])
    assert fails(content, tmp_path) == (
        f": its member 'tree/bad' {reason}, and nothing is taken from the archive; if you trust "
        "it, unpack it by hand"
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is a device or a pipe")],
)
def test_links_and_devices_of_a_zip_are_refused(kind: int, reason: str, tmp_path: Path) -> None:
    content = zip_of({"tree/bad": b"../../out"}, {"tree/bad": kind | 0o777})
    assert f"its member 'tree/bad' {reason}" in fails(content, tmp_path)


def test_a_link_cannot_lead_a_later_member_astray(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(
        tar_of({}, [member("tree/way", tarfile.SYMTYPE, "../.."), tarfile.TarInfo("tree/way/out")])
    )
    with pytest.raises(DataError, match="'tree/way' is a link"):
        unpack(tmp_path / "bad", tmp_path / "in")
    assert not list(tmp_path.rglob("out"))


def test_a_name_of_two_lines_is_told_in_one(tmp_path: Path) -> None:
    assert r"its member '../a\nb'" in fails(tar_of({"../a\nb": b""}), tmp_path)


@pytest.mark.parametrize("packing", ["", "gz", "xz"])
@pytest.mark.parametrize("left", [600, 512 * 3, 512 * 5])
def test_a_tar_that_was_cut_short_is_refused(left: int, packing: str, tmp_path: Path) -> None:
    """After the header of a file, in a header, and between two members."""
    whole = tar_of({"tree/a": b"a" * 512, "tree/b": b"b" * 512})
    assert whole[512 * 5 :].strip(b"\0") == b""
    content = whole[:left]
    if packing:
        import gzip
        import lzma

        content = {"gz": gzip.compress, "xz": lzma.compress}[packing](content)
    assert " is no whole archive (" in fails(content, tmp_path)


@pytest.mark.parametrize("packing", ["gz", "xz"])
def test_a_packed_tar_that_was_cut_short_is_refused(packing: str, tmp_path: Path) -> None:
    content = tar_of(SOUND, packing=packing)
    assert " is no whole archive (" in fails(content[:-20], tmp_path)


def test_the_checksum_of_a_packed_tar_is_read_to_its_end(tmp_path: Path) -> None:
    content = bytearray(tar_of(SOUND, packing="gz"))
    content[-8] ^= 1  # the first byte of the CRC
    assert "CRC check failed" in fails(bytes(content), tmp_path)


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = bytearray(tar_of({"tree/a": b"a" * 512, "tree/b": b"b" * 512}))
    assert content[512 * 3 :].startswith(b"tree/b")
    content[512 * 3] ^= 1
    assert " is no whole archive (" in fails(bytes(content), tmp_path)


def test_a_zip_with_a_wrong_byte_or_without_its_end_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_of({"tree/a": bytes(range(256)) * 40}))
    for part in ("byte", "end"):
        (tmp_path / part).mkdir()
    assert " is no whole archive (" in fails(bytes(content[:-30]), tmp_path / "end")
    content[60] ^= 255
    assert " is no whole archive (" in fails(bytes(content), tmp_path / "byte")


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    assert " is no whole archive (" in fails(content, tmp_path)


@pytest.mark.parametrize("content", [tar_of(SOUND), zip_of(SOUND)], ids=["tar", "zip"])
def test_a_full_disk_is_said(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(content)

    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, chunk: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", **to: Full() if mode == "wb" else opened(path, mode, **to),
    )
    with pytest.raises(RunError, match=r"one\.txt: cannot be written \(No space left on device\)"):
        unpack(tmp_path / "a", tmp_path / "in")
