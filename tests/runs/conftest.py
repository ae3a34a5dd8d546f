"""What whole runs of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.runs import draw_no_confusion


@pytest.fixture(autouse=True, scope="module")
def _no_confusion_is_drawn() -> Iterator[None]:
    """But in test_sheets.py, where one is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        draw_no_confusion(patch)
        yield
