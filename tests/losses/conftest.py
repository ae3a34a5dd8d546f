from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.oracles import Oracle

TABLE = Path(__file__).resolve().parents[3] / "shared" / "oracles.json"


@pytest.fixture(scope="session")
def oracles() -> Mapping[str, Oracle]:
    """Name -> what the authors' code says; skips where the table is absent."""
    if not TABLE.is_file():
        pytest.skip("needs ../shared/oracles.json, which is not here")
    return {entry["name"]: Oracle(entry) for entry in json.loads(TABLE.read_text())}
