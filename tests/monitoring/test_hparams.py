"""The HParams tab of a study, read back by TensorBoard itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hparams import tab_of

from semisup.monitoring.hparams import Session, event_files

SESSIONS = [
    Session("A-s0", "A", {"arm": "plain", "optim.lr": 0.1}, {"score/miou": 0.5}, 10),
    Session("A-s1", "A", {"arm": "plain", "optim.lr": 0.1}, {"score/miou": 0.7}, 10),
    Session("B-s0", "B", {"arm": "gan", "optim.lr": 0.2}, {"score/miou": 0.4, "seconds": 3}, 20),
]


def test_an_arm_is_a_row_with_the_means_of_its_seeds(tmp_path: Path) -> None:
    for name, content in event_files(SESSIONS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    values, rows = tab_of(tmp_path)
    assert values == {"arm": ["plain", "gan"], "optim.lr": [0.1, 0.2]}
    assert rows.keys() == {"A", "B"}
    assert rows["A"][0] == {"arm": "plain", "optim.lr": 0.1}
    assert rows["A"][1] == pytest.approx({"score/miou": 0.6})
    assert rows["A"][2] == ["A-s0", "A-s1"]
    assert rows["B"][1] == pytest.approx({"score/miou": 0.4, "seconds": 3})


def test_the_same_runs_give_the_same_bytes() -> None:
    assert list(event_files(SESSIONS)) == list(event_files(SESSIONS))
