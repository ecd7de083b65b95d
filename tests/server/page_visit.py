"""What tests of the map page share: a live server, a visit to its page in a browser, and what they need to run at all."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from benchmarks.ports import free_port
from cube.storage.store import CubeStore
from server.main import create_app

PAGE = Path(__file__).parents[2] / "server" / "page"
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NEEDED = [
    pytest.mark.skipif(find_spec("playwright") is None, reason="the page is tested with Playwright"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (set CHROMIUM to one)"),
    pytest.mark.skipif(not (PAGE / "node_modules/maplibre-gl").is_dir(), reason="run `npm ci` in server/page first"),
]
WAIT_MS = 120_000  # a first page waits for imports and kernels, longer where other tests run beside it


@contextmanager
def live(cube: CubeStore) -> Iterator[str]:
    """The address of a live server of a cube, on a free port of the loopback."""
    port = free_port()
    config = uvicorn.Config(create_app([cube.url]), host="127.0.0.1", port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.started
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)


class Visit:
    """A page with what it asked for and what it complained about."""

    def __init__(self, browser: Any, address: str, width: int = 1000, height: int = 640) -> None:
        self.address = address
        self.page = browser.new_page()
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.set_default_timeout(WAIT_MS)
        self.requested: list[str] = []
        self.answered: list[tuple[str, int]] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("response", lambda answer: self.answered.append((answer.url, answer.status)))
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location}")

    def open(self, hash_: str = "") -> Any:
        """Load the page at a hash and wait until its map stands still."""
        self.page.goto(self.address + hash_)
        self.page.wait_for_selector("html[data-ready]")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait for the tiles and for the address to follow the map."""
        self.page.wait_for_selector("#stage[data-tiles=loaded]")
        self.page.wait_for_timeout(250)
        self.page.wait_for_selector("#stage[data-tiles=loaded]")

    def tiles(self, layer: str) -> list[int]:
        """Statuses of the tile requests of a layer so far."""
        return [status for url, status in self.answered if f"/layers/{layer}/tiles/" in url]

    def strangers(self) -> set[str]:
        """Hosts asked for that are not this machine."""
        parts = [urlsplit(url) for url in self.requested]
        return {p.netloc for p in parts if p.scheme in ("http", "https") and p.hostname != "127.0.0.1"}


def values(page: Any, selector: str) -> list[float]:
    """The numbers of the <data> elements that a selector finds, in the page's order."""
    return [float(v) for v in page.eval_on_selector_all(selector, "all => all.map(e => e.value)")]
