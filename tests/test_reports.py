"""What `.ci/run` leaves out of its later steps: tests that passed in an earlier one, no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.reports import node_id, passed

TESTS = """
import pytest

@pytest.mark.parametrize("word", ["a b", "c::d/e.py[f]"])
def test_passes(word): pass

class TestGroup:
    def test_passes(self): pass

def test_fails(): assert False

def test_is_skipped(): pytest.skip("no reason")

@pytest.fixture
def broken(): assert False

def test_cannot_begin(broken): pass

@pytest.fixture
def breaks(): yield; assert False

def test_cannot_end(breaks): pass
"""


def test_what_passed_is_found_by_its_name_in_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "room"
    folder.mkdir(parents=True)
    (folder / "test_some.py").write_text(TESTS, encoding="utf-8")
    report = tmp_path / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), f"--junitxml={report}")
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, "some"],
        cwd=tmp_path, capture_output=True, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, check=False,
    )  # fmt: skip
    file = "some/room/test_some.py"
    assert passed(report) == {
        node_id(f"{file}::test_passes[a b]"),
        node_id(f"{file}::test_passes[c::d/e.py[f]]"),
        node_id(f"{file}::TestGroup::test_passes"),
    }
