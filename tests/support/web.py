"""A folder served on loopback the way a plain web server does: with range requests, or like the simplest ones without."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@contextmanager
def served(folder: Path, ranges: bool = True, log: list[str] | None = None) -> Iterator[str]:
    """The URL of `folder` while it is served: GET and HEAD of files, 404 for everything else (folders are not listed).

    `log` takes a line a request, such as `404 /cube.zarr/.zgroup`.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

        def do_GET(self) -> None:
            path = folder / unquote(urlsplit(self.path).path).lstrip("/")
            data = path.read_bytes() if path.is_file() else b""
            status, extra = (200, {}) if path.is_file() else (404, {})
            range_match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")) if ranges and status == 200 else None
            if range_match:
                size = len(data)
                start = int(range_match[1]) if range_match[1] else max(0, size - int(range_match[2]))
                end = min(int(range_match[2]), size - 1) if range_match[1] and range_match[2] else size - 1
                status, data = (206, data[start : end + 1]) if start < size else (416, b"")
                extra = {"Content-Range": f"bytes {start}-{end}/{size}"}
            if log is not None:
                log.append(f"{status} {urlsplit(self.path).path}")
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **extra}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815  the name that http.server calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
