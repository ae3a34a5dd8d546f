"""docs/comparing.md: its commands do what it says, on the results that are kept with it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from semisup.cli.main import cli

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "comparing.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^semisup (compare docs/.*)$", PAGE, flags=re.MULTILINE)


def test_the_page_has_commands_on_kept_results() -> None:
    assert len(COMMANDS) == 4


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_the_page(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").symlink_to(DOCS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(cli, shlex.split(words), prog_name="semisup")
    assert done.exit_code == 0, done.output
    files = re.findall(r"--to (\S+)", words)
    assert all((tmp_path / file).stat().st_size > 500 for file in files)
    if not files:
        assert done.output in PAGE  # what the page shows is what is printed
        assert max(map(len, done.output.splitlines())) <= 80
