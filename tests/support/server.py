"""A web server on this machine, with the faults that servers have."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """What the server sends, and what it was asked for.

    Attributes:
        files: path -> content.
        fault: "" or one of: "short" (the answer is cut), "hang up" (no answer),
            "silent" (an answer that never comes), "no length",
            "no ranges", "other range".
        cut: bytes of an answer that is cut short.
        requests: (path, Range header or "") of each request.
        url: address of the root, without a slash at its end.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.fault = ""
        self.cut = 0
        self.requests: list[tuple[str, str]] = []
        self.url = ""
        self.enough = threading.Event()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            server.requests.append((self.path, asked))
            if server.fault == "hang up":
                return
            if server.fault == "silent":
                server.enough.wait(10)
                return
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").rstrip("-") or 0) if asked else 0
            if server.fault == "no ranges":
                start = 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                first = start + (server.fault == "other range")
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}"
                )
            if server.fault != "no length":
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = server.cut if server.fault == "short" else len(content)
            self.wfile.write(content[start:end])

    return Handler


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """A server for the length of a `with` block."""
    told = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(told)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield told
        finally:
            told.enough.set()
            server.shutdown()
            thread.join()
