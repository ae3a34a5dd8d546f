"""A server of archives on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.server import Server, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Asked without a proxy, in small pieces, and given up after half a second."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("semisup.data.fetching.download.TIMEOUT", 0.5)
    monkeypatch.setattr("semisup.data.fetching.download.CHUNK", 1000)
    with serve() as told:
        yield told
