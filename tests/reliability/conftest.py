"""Bad input: where each case works, and the page that says what they said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from semisup.runs import run

HERE = Path(__file__).resolve().parent
# The cases are plain modules beside the test; pytest's importlib mode puts no folder on the path.
sys.path.insert(0, str(HERE))

from places import Finished, Place, make_finished  # noqa: E402
from table import Table  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_drawn_along_the_way(no_confusion_is_drawn: None) -> Iterator[None]:
    """What is to be seen for TensorBoard says nothing about bad input: noise, a few kB of it."""
    noise = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "draw_panel", lambda *parts: noise)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A data set, a recipe and a finished run of it: copied by each case, changed by none."""
    return make_finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def place(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy of the data set and the recipe for one case to spoil."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("SEMISUP_DATA", raising=False)
    return Place(tmp_path, finished, monkeypatch)


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> Table:
    """What the cases said, and the page where it stands."""
    page = HERE.parents[1] / "docs" / "reliability.md"
    return Table(page, rewrite=pytestconfig.getoption("--write-table"))
