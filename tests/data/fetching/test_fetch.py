"""A data set is fetched once, whole or not at all."""

from __future__ import annotations

import fcntl
import tarfile
from pathlib import Path

import pytest
from support.archives import CONTENT, SOUND, archive_at, member, tar_of, zip_of
from support.server import Server

from semisup.data.fetching.fetch import ARCHIVES, fetch
from semisup.data.fetching.sources import Archive, Source
from semisup.errors import DataError, RunError


def tree(root: Path) -> list[str]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return sorted(path.relative_to(root).as_posix() for path in paths)


FETCHED = sorted([*SOUND, "archives/a.tar", "archives/a.tar.sha256"])


def silently(line: str) -> None:
    pass


def test_archives_are_fetched_and_unpacked_and_the_next_call_does_nothing(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    server.files["/b.zip"] = zip_of({"b/data": b"b"})
    second = archive_at(
        f"{server.url}/b.zip", server.files["/b.zip"], makes="b", places=("b/data",)
    )
    source, root = Source(archives=(archive, second)), tmp_path / "new" / "root"
    fetch(source, root, silently)
    assert tree(root) == sorted([*FETCHED, "b/data", "archives/b.zip", "archives/b.zip.sha256"])
    said: list[str] = []
    fetch(source, root, said.append)
    assert said == [
        f"A tree: {root}/tree/data is there; nothing is fetched",
        f"A tree: {root}/b/data is there; nothing is fetched",
    ]
    assert len(server.requests) == 2


def test_what_is_there_in_another_place_is_not_fetched(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    fetch(Source(archives=(archive,)), tmp_path, silently)
    assert server.requests == []


def test_an_archive_that_is_there_is_unpacked_without_the_server(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    (tmp_path / ARCHIVES).mkdir()
    (tmp_path / ARCHIVES / "a.tar").write_bytes(CONTENT)  # as by hand
    fetch(Source(archives=(archive,)), tmp_path, silently)
    assert server.requests == []
    assert tree(tmp_path) == FETCHED


def test_a_call_that_was_killed_while_it_unpacked_is_repeated(
    server: Server, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, folder: Path) -> None:
        (folder / "tree" / "data").mkdir(parents=True)
        (folder / "tree" / "data" / "torn.txt").write_text("half")
        raise KeyboardInterrupt

    source = Source(archives=(archive,))
    with monkeypatch.context() as patch:
        patch.setattr("semisup.data.fetching.fetch.unpack", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(source, tmp_path, silently)
    assert tree(tmp_path) == ["archives/a.tar", "archives/a.tar.sha256"]
    left = tmp_path / ".a.tar.unpacking" / "tree" / "data" / "left.txt"
    left.parent.mkdir(parents=True)
    left.write_text("of a process that had no time to clean up")
    fetch(source, tmp_path, silently)
    assert tree(tmp_path) == FETCHED
    assert len(server.requests) == 1


def test_a_bad_member_leaves_no_trace_but_the_archive(server: Server, tmp_path: Path) -> None:
    content = tar_of(SOUND, [member("tree/link", tarfile.SYMTYPE, "/etc")])
    server.files["/a.tar"] = content
    archive = archive_at(f"{server.url}/a.tar", content)
    with pytest.raises(DataError, match=r"archives/a\.tar: its member 'tree/link' is a link"):
        fetch(Source(archives=(archive,)), tmp_path, silently)
    assert tree(tmp_path) == ["archives/a.tar", "archives/a.tar.sha256"]


def test_an_archive_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar"] = content = tar_of({"tree/other": b""})
    archive = archive_at(f"{server.url}/a.tar", content)
    with pytest.raises(DataError, match=r"a\.tar does not hold tree/data; remove it"):
        fetch(Source(archives=(archive,)), tmp_path, silently)
    assert not (tmp_path / "tree").exists()


def test_a_folder_in_the_way_is_named_before_anything_is_fetched(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    own = tmp_path / "tree" / "own.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(DataError, match=r"tree is there, but .*tree/data is not; move it away"):
        fetch(Source(archives=(archive,)), tmp_path, silently)
    assert server.requests == []
    assert own.read_text() == "mine"
    own.unlink()
    fetch(Source(archives=(archive,)), tmp_path, silently)  # an empty folder is in nobody's way
    assert tree(tmp_path) == FETCHED


def test_two_calls_do_not_fetch_to_one_place(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / ARCHIVES).mkdir()
    with (tmp_path / ARCHIVES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match=r"archives: another process is fetching to it"):
            fetch(Source(archives=(archive,)), tmp_path, silently)


def test_a_place_that_cannot_be_written_to(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        fetch(Source(archives=(archive,)), tmp_path / "file", silently)
