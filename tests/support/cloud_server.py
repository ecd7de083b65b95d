"""The conditional writes of Google's and Azure's object stores on loopback: what goes over the wire is what they document.

Google (XML API): `x-goog-if-generation-match: <generation>`, 0 for an object that must not be there yet, 412 where it does not
match; `x-goog-generation` and `ETag` in answers. Azure: `If-Match: <etag>`, `If-None-Match: *`; 412, and 409 where a blob exists.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, int]] = {}  # content and generation by path
        self.generations = itertools.count(1000)
        self.lock = threading.Lock()
        self.conditions: list[tuple[str, str]] = []  # of the puts: header and value


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def do_GET(self) -> None:
        with self.server.lock:
            content = self.server.objects.get(self._path())
        if content is None:
            return self._answer(404, 0, b"<Error><Code>NoSuchKey</Code></Error>")
        return self._answer(200, content[1], content[0])

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            _, generation = self.server.objects.get(self._path(), (b"", 0))
            status = self._refusal(generation)
            if status == 201:
                generation = next(self.server.generations)
                self.server.objects[self._path()] = (data, generation)
        self._answer(status, generation, b"")

    def _refusal(self, generation: int) -> int:
        """201 where every condition of the request holds for the object's generation, 0 if there is none."""
        checks = {
            "x-goog-if-generation-match": (lambda value: int(value) == generation, 412),
            "If-Match": (lambda value: value == f'"{generation}"', 412),
            "If-None-Match": (lambda value: generation == 0, 409),
        }
        for header, (holds, status) in checks.items():
            value = self.headers.get(header)
            if value is not None:
                self.server.conditions.append((header, value))
                if not holds(value):
                    return status
        return 201

    def _answer(self, status: int, generation: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", "Mon, 06 Jan 2025 00:00:00 GMT")
        if generation:
            self.send_header("ETag", f'"{generation}"')
            self.send_header("x-goog-generation", str(generation))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def served() -> Iterator[_Server]:
    """A server with no objects; `server.conditions` tells what the puts asked for."""
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
