"""A file has its name when it is whole and right, whatever the server does."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support.archives import CONTENT, archive_at, md5_of, sha256_of, tar_of
from support.server import Server

from semisup.data.fetching import download as module
from semisup.data.fetching.download import download
from semisup.data.fetching.sources import Archive
from semisup.errors import DataError, RunError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fails(archive: Archive, folder: Path, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        download(archive, folder, lambda line: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_fetched_once_and_its_sha256_is_written_beside(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    said: list[str] = []
    path = download(archive, tmp_path, said.append)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["a.tar", "a.tar.sha256"]
    check = ["sha256sum", "--check", "a.tar.sha256"]
    assert (
        subprocess.run(check, cwd=tmp_path, check=True, capture_output=True).stdout
        == b"a.tar: OK\n"
    )
    assert said == [f"A tree: fetching {server.url}/a.tar ({len(CONTENT) / 1e6:,.1f} MB)"]
    assert download(archive, tmp_path, said.append) == path
    assert server.requests == [("/a.tar", "")]
    assert said[1:] == [f"A tree: {path} is there; checking it"]


def test_a_file_that_was_cut_short_goes_on_where_it_ended(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    server.fault, server.cut = "short", 5500
    said = fails(archive, tmp_path)
    assert said == (
        f"{server.url}/a.tar: the server ended after 5,500 of {len(CONTENT):,} bytes; repeat the "
        "call, it goes on from there"
    )
    assert names(tmp_path) == ["a.tar.part"]
    server.fault = ""
    assert download(archive, tmp_path, lambda line: None).read_bytes() == CONTENT
    assert server.requests[1:] == [("/a.tar", "bytes=5500-")]
    assert names(tmp_path) == ["a.tar", "a.tar.sha256"]


def test_a_server_without_ranges_sends_all_of_it_again(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "a.tar.part").write_bytes(CONTENT[:700])
    server.fault = "no ranges"
    assert download(archive, tmp_path, lambda line: None).read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken(server: Server, archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "a.tar.part").write_bytes(CONTENT)  # the process ended before it was renamed
    assert download(archive, tmp_path, lambda line: None).read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "a.tar.part").write_bytes(b"another" * 100)
    said = fails(archive, tmp_path)
    assert f"but {md5_of(CONTENT)} was published; it was thrown away; repeat the call" in said
    assert names(tmp_path) == []
    assert download(archive, tmp_path, lambda line: None).read_bytes() == CONTENT


def test_another_part_than_was_asked_for_is_refused(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "a.tar.part").write_bytes(CONTENT[:700])
    server.fault = "other range"
    assert "the server sent another part than was asked for" in fails(archive, tmp_path)


def test_without_a_checksum_nothing_is_pieced_together(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    unknown = archive_at(archive.url)
    server.fault, server.cut = "short", 5500
    assert fails(unknown, tmp_path).endswith("repeat the call, it begins anew")
    server.fault = ""
    assert download(unknown, tmp_path, lambda line: None).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["", ""]


def test_a_wrong_checksum_leaves_nothing(server: Server, archive: Archive, tmp_path: Path) -> None:
    server.files["/a.tar"] = other = tar_of({"tree/data/one.txt": b"other"})
    said = fails(archive, tmp_path)
    assert said.startswith(f"{tmp_path}/a.tar.part: its MD5 is {md5_of(other)}, but")
    assert names(tmp_path) == []


def test_a_published_sha256_is_compared_too(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    wrong = archive_at(archive.url, CONTENT, sha256="0" * 64)
    assert f"its SHA-256 is {sha256_of(CONTENT)}, but {'0' * 64} was published" in fails(
        wrong, tmp_path
    )
    right = archive_at(archive.url, sha256=sha256_of(CONTENT))
    assert download(right, tmp_path, lambda line: None).read_bytes() == CONTENT


def test_without_a_published_checksum_later_files_are_compared_with_the_first(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    unknown = archive_at(archive.url)
    path = download(unknown, tmp_path, lambda line: None)
    assert (tmp_path / "a.tar.sha256").read_text() == f"{sha256_of(CONTENT)}  a.tar\n"
    path.unlink()
    server.files["/a.tar"] = tar_of({"tree/data/one.txt": b"other"})
    said = fails(unknown, tmp_path)
    assert f"but {sha256_of(CONTENT)} is in a.tar.sha256, of the first fetch;" in said
    assert names(tmp_path) == ["a.tar.sha256"]


def test_a_file_that_was_damaged_on_the_disk_is_named_and_kept(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(CONTENT[:-1])
    said = fails(archive, tmp_path)
    assert said.startswith(f"{path}: its MD5 is ")
    assert said.endswith("remove it, and repeat the call")
    assert path.read_bytes() == CONTENT[:-1]
    assert server.requests == []


@pytest.mark.parametrize("text", ["nonsense", f"{'0' * 64}  b.tar\n", "\xe4"])
def test_a_record_that_is_none_is_refused(archive: Archive, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.tar.sha256").write_text(text, encoding="utf-8")
    assert fails(archive, tmp_path).startswith(f"{tmp_path}/a.tar.sha256 ")


def test_a_file_of_another_size_than_published_is_not_fetched(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    other = archive_at(archive.url, CONTENT, size=7)
    assert f"the server has {len(CONTENT):,} bytes, but the published file has 7" in fails(
        other, tmp_path
    )
    assert names(tmp_path) == []


def test_a_file_of_unknown_length_needs_a_checksum(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    server.fault = "no length"
    said = fails(archive_at(archive.url), tmp_path)
    assert "nothing tells whether it is whole" in said
    assert names(tmp_path) == []
    assert download(archive, tmp_path, lambda line: None).read_bytes() == CONTENT


def test_a_page_in_place_of_an_archive_is_refused(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    server.files["/a.tar"] = b"<html>Please log in</html>" * 50
    said = fails(archive_at(archive.url), tmp_path)
    assert "what the server sent is no archive, but perhaps a page" in said
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("hang up", "closed connection"), ("silent", "timed out")],
)
def test_a_server_that_does_not_answer(
    server: Server, archive: Archive, tmp_path: Path, fault: str, reason: str
) -> None:
    server.fault = fault
    said = fails(archive, tmp_path)
    assert said.startswith(f"{server.url}/a.tar cannot be fetched (")
    assert reason in said
    assert said.endswith("fetch it by hand, as a.tar in the same folder")
    assert names(tmp_path) == []


def test_a_file_that_is_not_there(server: Server, archive: Archive, tmp_path: Path) -> None:
    server.files.clear()
    assert f"{server.url}/a.tar: the server answers 404 (Not Found);" in fails(archive, tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert "cannot be fetched (" in fails(archive_at("http://127.0.0.1:9/a.tar"), tmp_path)


def test_a_full_disk_is_said_and_what_is_there_is_used_later(
    server: Server, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_flush", full)
        said = fails(archive, tmp_path, RunError)
    assert said == (
        f"{tmp_path}/a.tar.part: cannot be written (No space left on device). Free some space or "
        "choose another folder."
    )
    assert names(tmp_path) == ["a.tar.part"]
    assert download(archive, tmp_path, lambda line: None).read_bytes() == CONTENT


def test_ctrl_c_leaves_a_part_that_the_next_call_goes_on_with(
    server: Server, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(chunks: Any, *_: Any) -> Any:
        yield next(chunks)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "track", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(archive, tmp_path, lambda line: None)
    assert (tmp_path / "a.tar.part").read_bytes() == CONTENT[:1000]
    assert names(tmp_path) == ["a.tar.part"]
    assert download(archive, tmp_path, lambda line: None).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a.tar", "bytes=1000-")
