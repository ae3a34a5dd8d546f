"""The script that kills runs knows every method."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from semisup.catalog import METHODS


def test_every_method_is_killed_or_says_why_not() -> None:
    """A new method belongs into `METHODS` of the script, or into `NOT_TRIED` with a reason."""
    path = Path(__file__).with_name("kills.py")
    spec = importlib.util.spec_from_file_location("kills", path)
    assert spec is not None
    assert spec.loader is not None
    kills = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = kills  # where its dataclasses look for their annotations
    spec.loader.exec_module(kills)
    killed = {tried.method or name for name, tried in kills.METHODS.items()}
    assert killed | set(kills.NOT_TRIED) == set(METHODS)
    assert not killed & set(kills.NOT_TRIED)
