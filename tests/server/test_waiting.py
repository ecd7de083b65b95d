"""A server that was started before there was a cube: what it answers, and that it serves the cube once it is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import server.waiting
from benchmarks.ports import free_port
from cube.storage.store import CubeStore
from server.main import create_app
from server.operating.settings import Settings
from server.waiting import WaitingServer
from tests.support.good_cube import copy_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.waiting, "LOOK_SECONDS", 0.01)


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def waiting(url: str | Path) -> TestClient:
    return TestClient(WaitingServer(partial(create_app, [str(url)], Settings())))


def test_without_a_cube_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    with waiting(tmp_path / "copy.zarr") as client:
        page = client.get("/")
        assert page.status_code == 503
        assert page.headers["content-type"].startswith("text/html")
        for command in ("floracube build", "floracube train", "floracube predict"):
            assert command in page.text
        assert str(tmp_path) not in page.text
        assert "script" not in page.text
        tile = client.get("/layers/indicators.richness/tiles/WebMercatorQuad/11/1119/702.png")
        assert (tile.status_code, tile.json()["error"]) == (503, "no_cube_yet")


def test_a_server_without_a_cube_is_alive_and_not_ready(tmp_path: Path) -> None:
    with waiting(tmp_path / "copy.zarr") as client:
        assert client.get("/healthz").json() == {"status": "ok", "cubes": 0, "release": None}
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "no cube yet" in answer.json()["detail"]


@pytest.mark.usefixtures("quick")
def test_the_cube_is_served_as_soon_as_it_is_there(good_cube: CubeStore, tmp_path: Path) -> None:
    with waiting(tmp_path / "copy.zarr") as client:
        assert client.get("/layers").status_code == 503
        copy_of(good_cube, tmp_path)
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/healthz").json()["release"] == "first"
        assert client.get("/layers").json()["layers"]


@pytest.mark.usefixtures("quick")
def test_the_reason_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    looks = []

    def make() -> None:
        looks.append(1)
        create_app([str(tmp_path / "copy.zarr")], Settings())

    with TestClient(WaitingServer(make)):  # type: ignore[arg-type]
        wait_until(lambda: len(looks) > 3)
    assert [record.getMessage().count("there is no cube here") for record in caplog.records] == [1]


@pytest.mark.usefixtures("quick")
def test_a_mistake_of_ours_is_logged_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> None:
        raise TypeError("a programming error")

    with TestClient(WaitingServer(make)) as client:  # type: ignore[arg-type]
        wait_until(lambda: bool(caplog.records))
        assert client.get("/readyz").status_code == 503
    assert caplog.records[0].exc_info is not None


def test_only_a_server_that_may_wait_starts_without_a_cube(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "floracube.py"), "serve", str(tmp_path / "absent.zarr"), "--port", str(free_port())]
    environment = {k: v for k, v in os.environ.items() if k != "FLORACUBE_WAIT"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "there is no cube here" in ended.stderr
