"""`semisup data fetch`: what a user sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.archives import archive_at, md5_of, tar_of
from support.server import Server, serve

from semisup.cli.main import cli
from semisup.data.fetching import sources
from semisup.data.fetching.sources import SOURCES, Source

BY_HAND = [name for name, source in SOURCES.items() if source.steps]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serve() as told:
        yield told


def fetch(name: str, root: Path) -> Result:
    return CliRunner().invoke(cli, ["data", "fetch", name, "--data-root", str(root)])


def test_archives_are_fetched_and_the_next_step_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tar_of({"tree/data/a": b"a"})
    server.files["/a.tar"] = content
    source = Source("Terms.", archives=(archive_at(f"{server.url}/a.tar", content),))
    monkeypatch.setattr(sources, "SOURCES", {**SOURCES, "voc": source})
    done = fetch("voc", tmp_path)
    assert done.exit_code == 0, done.output
    check = f"'semisup data verify voc --data-root {tmp_path}'"
    assert done.stdout == f"voc: in {tmp_path}; {check} checks every file\n"
    assert done.stderr.splitlines()[0] == "terms: Terms."
    assert (tmp_path / "tree" / "data" / "a").read_bytes() == b"a"


def test_a_wrong_file_is_one_line_and_status_1(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a.tar"] = tar_of({"tree/data/a": b"b"})
    published = archive_at(f"{server.url}/a.tar", tar_of({"tree/data/a": b"a"}))
    monkeypatch.setattr(sources, "SOURCES", {"voc": Source("Terms.", archives=(published,))})
    done = fetch("voc", tmp_path)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(
        f"semisup: {tmp_path}/archives/a.tar.part: its MD5"
    )
    assert md5_of(server.files["/a.tar"]) in done.stderr
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("name", BY_HAND)
def test_where_a_person_is_needed_the_steps_are_printed_and_the_status_is_1(
    name: str, tmp_path: Path
) -> None:
    done = fetch(name, tmp_path)
    assert done.exit_code == 1
    first, *steps = done.stdout.splitlines()
    assert first == f"{name} has to be fetched by hand. {SOURCES[name].terms}"
    assert [step.partition(". ")[0] for step in steps] == [
        str(number + 1) for number in range(len(SOURCES[name].steps))
    ]
    assert f"{tmp_path}/" in done.stdout
    assert "{" not in done.stdout
    check = f"'semisup data verify {name} --data-root {tmp_path}'"
    assert done.stderr == (
        f"semisup: {name}: not in {tmp_path} yet; take the steps above, then {check}\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "folder"), [("cityscapes", "cityscapes"), ("ade20k", "ADEChallengeData2016")]
)
def test_a_set_that_was_put_where_the_steps_say_is_found(
    name: str, folder: str, shared_data: Path, tmp_path: Path
) -> None:
    if name == "cityscapes":
        image = tmp_path / folder / "leftImg8bit" / "val" / "x" / "x_000000_000000_leftImg8bit.png"
        (tmp_path / folder / "gtFine" / "val").mkdir(parents=True)
        image.parent.mkdir(parents=True)
        image.write_bytes(b"")
    else:
        (tmp_path / folder).symlink_to(shared_data / name)
    done = fetch(name, tmp_path)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{name}: in {tmp_path}; 'semisup data verify {name}")


def test_what_is_made_or_your_own_is_not_fetched(tmp_path: Path) -> None:
    for name in ("scenes", "folder", "stack"):
        done = fetch(name, tmp_path)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"semisup: {name} ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
