"""A live server for tests that look at its pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from benchmarks.ports import free_port
from server.main import create_app


@contextmanager
def live(urls: list[str]) -> Iterator[str]:
    """`http://127.0.0.1:port/` of a server of these cubes in a thread of its own."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(urls), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.started
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)
