"""Claims: never two processes at one cell, and none that a dead process holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semisup.errors import RunError
from semisup.studies.ablation import claims
from semisup.studies.ablation.claims import Claim, check_folder, take


def taken(folder: Path, key: str = "cell") -> Claim:
    claim = take(folder, key)
    assert isinstance(claim, Claim)
    return claim


def test_a_cell_is_claimed_once_until_it_is_given_back(tmp_path: Path) -> None:
    first = taken(tmp_path)
    assert take(tmp_path, "cell") == f"process {os.getpid()} of {claims.socket.gethostname()}"
    other = taken(tmp_path, "another")
    first.release()
    assert not first.path.exists()
    again = taken(tmp_path)
    assert again.taken_from == ""
    again.release()
    other.release()
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "cell.claim"
    host = claims.socket.gethostname()
    path.write_text(json.dumps({"pid": 1, "host": host}))  # of a process that lives, but holds none
    claim = taken(tmp_path)
    assert claim.taken_from == f"process 1 of {host}"
    assert json.loads(path.read_text())["pid"] == os.getpid()
    claim.release()


@pytest.mark.parametrize("content", ["", "[1]", "{", "\x00\xff"])
def test_a_torn_claim_is_taken_over(content: str, tmp_path: Path) -> None:
    (tmp_path / "cell.claim").write_text(content)
    taken(tmp_path).release()


def test_the_claim_of_another_machine_counts_while_it_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "cell.claim"
    path.write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
    assert take(tmp_path, "cell") == "process 7 of elsewhere"
    old = time.time() - claims.STALE - 5
    os.utime(path, (old, old))
    claim = taken(tmp_path)
    assert claim.taken_from == "process 7 of elsewhere"
    os.utime(path, (old, old))
    claim.beat()
    assert time.time() - path.stat().st_mtime < 60
    claim.release()


def test_a_process_that_inherits_a_claim_holds_it_on(tmp_path: Path) -> None:
    claim = taken(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(claim.descriptor,),
    )
    os.close(claim.descriptor)  # as when its owner is killed
    assert isinstance(take(tmp_path, "cell"), str)
    child.communicate()
    taken(tmp_path).release()


def test_a_claim_that_is_given_back_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = taken(tmp_path)
    real, calls = claims.fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        """The owner gives the file back between its opening and its locking by another."""
        if not calls:
            calls.append(1)
            first.release()
        real(descriptor, operation)

    monkeypatch.setattr(claims.fcntl, "flock", late)
    second = taken(tmp_path)
    assert second.path.exists()
    assert isinstance(take(tmp_path, "cell"), str)
    second.release()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        check_folder(tmp_path / "file" / "claims")
    check_folder(tmp_path / "claims")
    assert list((tmp_path / "claims").iterdir()) == []
