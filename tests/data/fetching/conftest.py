"""A server of archives on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.archives import CONTENT, archive_at
from support.server import Server, serve

from semisup.data.fetching.sources import Archive


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Asked without a proxy, in small pieces, and given up after half a second."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("semisup.data.fetching.download.TIMEOUT", 0.5)
    monkeypatch.setattr("semisup.data.fetching.download.CHUNK", 1000)
    with serve() as told:
        yield told


@pytest.fixture
def archive(server: Server) -> Archive:
    """A sound one on the server."""
    server.files["/a.tar"] = CONTENT
    return archive_at(f"{server.url}/a.tar", CONTENT)
