from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.oracles import Oracle


@pytest.fixture(scope="session")
def oracles(shared_oracles: Path) -> Mapping[str, Oracle]:
    """Name -> what the authors' code says; skips where the table is absent."""
    return {entry["name"]: Oracle(entry) for entry in json.loads(shared_oracles.read_text())}
