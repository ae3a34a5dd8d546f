"""What whole runs of tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_confusion_is_drawn(no_confusion_is_drawn: None) -> None:
    """But in test_sheets.py, where one is looked at."""
