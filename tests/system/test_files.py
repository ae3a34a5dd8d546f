"""Files that are whole or not there, folders that cannot be written to, and the lock."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from semisup.errors import RunError
from semisup.runs.folder import RunFolder
from semisup.runs.record import read_facts
from semisup.runs.result import Seconds, read_result, write_result
from semisup.system.files import exists, is_file, write_atomically, write_text
from semisup.training.checkpoint import save_state


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the system's own error, from the system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_threads_that_write_one_file_leave_a_whole_one(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", [str(n) * 100_000 for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: write_text(path, content), contents * 5))
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "one")
    write_text(path, "zwei \u00e4")
    assert path.read_text(encoding="utf-8") == "zwei \u00e4"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    seen = []

    def write(file: BinaryIO) -> None:
        file.write(b"new")
        file.flush()
        seen.append(path.read_text())

    write_atomically(path, write)
    with path.open() as reader:
        write_text(path, "newer")
        assert reader.read() == "new"  # whoever has opened the file keeps the whole old one
    assert (seen, path.read_text()) == (["old"], "newer")


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("no"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    error: BaseException, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):  # an error of ours stays what it is
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with small_disk(100), pytest.raises(RunError, match=rf"{path}: cannot be written.*Free some"):
        write_text(path, "x" * 1000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_only_when_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_under_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_state(path, {"weight": torch.zeros(10)})
    whole = path.read_bytes()
    # torch.save covers the system's error with one of its own about the archive.
    with small_disk(4000), pytest.raises(RunError, match=r"a\.pt: cannot be written"):
        save_state(path, {"weight": torch.zeros(100_000)})
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be written \(No such file or directory\)"):
        write_text(tmp_path / "none" / "file", "text")


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_a_run_where_none_can_be(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match=r"run: cannot be made \(.+\)\. Choose another --out\."),
        RunFolder(tmp_path / place),
    ):
        pass


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with (
        pytest.raises(RunError, match=r"cannot be written to \(Is a directory\)"),
        RunFolder(tmp_path),
    ):
        pass


def test_the_lock_is_held_inside_and_given_back_even_after_an_error(tmp_path: Path) -> None:
    def hold() -> None:
        with RunFolder(tmp_path):
            with (
                pytest.raises(RunError, match=rf"process {os.getpid()} is working on this run"),
                RunFolder(tmp_path),
            ):
                pass
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            hold()
    assert (tmp_path / "checkpoints").is_dir()
    assert (tmp_path / "pictures").is_dir()


SCORES = {
    "miou": 0.5,
    "pixel_accuracy": 0.75,
    "mean_class_accuracy": None,
    "frequency_weighted_iou": 0.5,
    "miou_interval_95": [0.4, 0.6],
}
RESULT: dict[str, Any] = {
    "recipe": "quickstart",
    "scores": {"selected": SCORES},
    "per_class": {"ground": {"iou": None}},
    "confusion": [[5]],
    "protocol": {"data": "scenes", "classes": ["ground"], "pretraining": "none"},
    "split": {
        "name": "all",
        "sha256": "00",
        "labelled": 1,
        "unlabelled": 0,
        "held_out": 0,
        "class_counts": {"ground": 1},
    },
    "palette": [[0, 0, 0]],
    "seed": 0,
    "checkpoint": {"rule": "last checkpoint", "step": 2, "steps": 2},
    "recipe_hash": "0123456789",
    "git": None,
    "versions": {"torch": "2"},
    "device": "cpu",
    "processes": [1],
    "precision": "float32",
    "time": {"train_seconds": 1.5, "score_seconds": 0.5},
}


def test_a_result_goes_round_and_is_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert read_result(path) is None
    path.write_text(json.dumps(RESULT))
    result = read_result(path)
    assert result is not None
    assert (result.classes, result.pretraining, result.iou()) == (
        ("ground",),
        "none",
        {"ground": None},
    )
    assert result.content() == RESULT
    path.unlink()
    write_result(path, result)
    assert read_result(path) == result
    assert list(json.loads(path.read_text())) == list(RESULT)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(path, replace(result, time=Seconds(float("nan"), 0.5)))
    assert read_result(path) == result


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"scores": 1}', "\x00\xff"])
def test_a_damaged_result_is_an_error_with_a_remedy(text: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"result\.json: .*Delete it and run again"):
        read_result(path)


@pytest.mark.parametrize("part", [name for name in RESULT if name != "git"])
def test_a_result_without_one_of_its_parts_is_damaged(part: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for spoiled in ({k: v for k, v in RESULT.items() if k != part}, RESULT | {part: None}):
        path.write_text(json.dumps(spoiled))
        with pytest.raises(RunError, match=r"result\.json: is no result file"):
            read_result(path)


def test_a_result_that_is_a_folder_or_below_a_file_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert read_result(tmp_path / "file" / "result.json") is None
    with pytest.raises(RunError, match=r"cannot be read \(Is a directory\)\. Check --out"):
        read_result(tmp_path)


def test_a_path_that_no_system_has_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    assert is_file(tmp_path / "a")
    assert exists(tmp_path)
    assert not is_file(tmp_path)
    for name in ("b", "c" * 300, "a/b"):
        assert not is_file(tmp_path / name)
        assert not exists(tmp_path / name)


def test_how_a_run_was_begun_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert read_facts(path) is None
    path.write_text('{"started": "now"}')
    assert read_facts(path) == {"started": "now"}
    for text in ("", "{", "[]", '{"resumed": 1}', "[" * 100_000, "\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(RunError, match=r"run\.json: cannot be read\. Delete it"):
            read_facts(path)


def test_a_result_that_is_nested_without_end_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match=r"result\.json: cannot be read"):
        read_result(tmp_path / "result.json")
