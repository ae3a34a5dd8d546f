"""The script that disturbs studies sees what it looks for; its short form, among the slow tests."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("disturbed_studies", FOLDER / "studies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their annotations
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_a_result_that_is_written_again_or_gone_is_seen(script: ModuleType, tmp_path: Path) -> None:
    trial = script.Trial(tmp_path, tmp_path / "data", 1)
    folders = [trial.out / "tiny" / f"{number}-s0" for number in range(3)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
    assert trial.look() == []
    (folders[0] / "again").write_text("{}")
    (folders[0] / "again").rename(folders[0] / "result.json")
    (folders[1] / "result.json").unlink()
    assert trial.look() == [folders[0].name, str(folders[1] / "result.json")]


def test_a_fault_is_planted_in_the_cell_that_is_named_alone() -> None:
    code = "import sys; sys.exit(sys.meta_path[0].__class__.__name__ == '_Planter')"
    for words, planted in (("strong 1", 1), ("strong 0", 0)):
        path = {"PYTHONPATH": str(FOLDER / "planted"), "PLANTED": "raises strong 1"}
        line = [sys.executable, "-c", code, *words.split()]
        assert subprocess.run(line, env={**os.environ, **path}).returncode == planted


@pytest.mark.slow
def test_studies_that_are_killed_come_to_the_same_bits() -> None:
    line = [sys.executable, str(FOLDER / "studies.py"), "--short", "--seeds", "1"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
