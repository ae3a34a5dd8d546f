"""Checkpoints: whole or not there; damage is found, whatever it hits."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from semisup.errors import CheckpointError
from semisup.training.checkpoint import Checkpoints, load_state, save_state
from semisup.training.resume import check_of_run

STATE: dict[str, Any] = {
    "tensor": torch.arange(40, dtype=torch.float32),
    "nested": {"counter": torch.tensor(3), "list": [1, 2.5, None, "text", True]},
}


def test_a_state_goes_round_with_types_and_bits(tmp_path: Path) -> None:
    save_state(tmp_path / "a.pt", STATE)
    found = load_state(tmp_path / "a.pt")
    assert torch.equal(found["tensor"], STATE["tensor"])
    assert found["tensor"].dtype is torch.float32
    assert found["nested"]["counter"].dtype is torch.int64
    assert found["nested"]["list"] == STATE["nested"]["list"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.pt: there is no such file"):
        load_state(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [{"weights": torch.zeros(2)}, torch.zeros(2), {"format": 99}])
def test_a_file_of_another_program_or_format(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="not written by this version"):
        load_state(tmp_path / "a.pt")


def test_a_file_that_is_cut_short_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_state(path, STATE)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"Delete it|not ours"):
            load_state(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_flipped_byte_is_found_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_state(path, STATE)
    whole = path.read_bytes()
    found = 0
    for position in range(0, len(whole), 5):
        broken = bytearray(whole)
        broken[position] ^= 0x41
        path.write_bytes(broken)
        try:
            state = load_state(path)
        except CheckpointError:
            found += 1
        else:
            assert torch.equal(state["tensor"], STATE["tensor"]), position
            assert state["nested"]["list"] == STATE["nested"]["list"], position
    assert found > 50


def test_a_flipped_bit_in_a_weight_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_state(path, {"weight": torch.full((3000,), 7.0)})
    broken = bytearray(path.read_bytes())
    position = broken.find(torch.full((8,), 7.0).numpy().tobytes())
    broken[position + 4000] ^= 1
    path.write_bytes(broken)
    with pytest.raises(CheckpointError, match=r"is damaged .*checksum"):
        load_state(path)


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (5, 10, 100, 99999999):
        path = checkpoints.save(step, {"value": step})
        assert path == checkpoints.paths()[-1]
    assert [p.name for p in checkpoints.paths()] == ["step-00000100.pt", "step-99999999.pt"]
    latest = checkpoints.latest()
    assert latest is not None
    assert (latest["step"], latest["value"]) == (99999999, 99999999)


def test_all_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=0)
    for step in (1, 2, 3):
        checkpoints.save(step, {})
    assert len(checkpoints.paths()) == 3


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    others = ["best.pt", "step-1.pt", ".step-00000001.pt.7.tmp", "step-00000001.pt.old"]
    for name in others:
        (tmp_path / name).write_text("other")
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert checkpoints.latest() is None
    checkpoints.save(1, {})
    checkpoints.save(2, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, "step-00000002.pt"])


def test_a_damaged_newest_one_falls_back_and_two_are_an_error(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    first, second = checkpoints.save(1, {}), checkpoints.save(2, {})
    second.write_bytes(b"")
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["step"] == 1
    first.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"step-00000002\.pt"):
        checkpoints.latest()


def test_the_older_one_goes_only_once_the_next_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, {})

    def fail(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(2, {})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001.pt"]


def test_steps_of_more_than_eight_digits_are_the_newest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (99_999_998, 99_999_999, 100_000_000):
        checkpoints.save(step, {})
    assert [p.name for p in checkpoints.paths()] == ["step-99999999.pt", "step-100000000.pt"]
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["step"] == 100_000_000


def test_a_record_marked_as_a_folder_is_found(tmp_path: Path) -> None:
    # One bit: torch would leave the record out, and the tensor is whatever the memory held.
    path = tmp_path / "a.pt"
    save_state(path, STATE)
    content = bytearray(path.read_bytes())
    record = content.rindex(b"PK\x01\x02", 0, content.rindex(b"/data/0"))
    content[record + 38] |= 0x10
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"data/0 is not stored as torch does"):
        load_state(path)


def test_a_packed_archive_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_state(path, STATE)
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    with pytest.raises(CheckpointError, match="is not stored as torch does"):
        load_state(path)


def test_torch_gives_no_warning_of_its_own(tmp_path: Path) -> None:
    torch.save({"format": 1}, tmp_path / "a.pt", pickle_protocol=3)
    assert load_state(tmp_path / "a.pt") == {"format": 1}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_call_that_takes_any_memory_is_not_made(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    content = {"format": 1, "a": bytearray(b"some")}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="holds more than tensors and plain values"):
        load_state(path)


@pytest.mark.parametrize(
    ("recipe", "run", "line"),
    [
        ("r1", "of seed 0", ""),
        ("r1", "", ""),
        ("r2", "of seed 0", "another recipe"),
        ("r1", "of seed 1", "another run of this recipe, by another seed or on other data"),
    ],
)
def test_a_checkpoint_says_which_run_it_is_of(
    recipe: str, run: str, line: str, tmp_path: Path
) -> None:
    state = {"recipe": "r1", "run": "of seed 0"}
    context = pytest.raises(CheckpointError, match=line) if line else contextlib.nullcontext()
    with context:
        check_of_run(tmp_path, state, recipe, run)
    check_of_run(tmp_path, {"recipe": "r1"}, "r1", run)  # one that does not state it
