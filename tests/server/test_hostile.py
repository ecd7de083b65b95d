"""A few hundred of the hostile requests of `benchmarks/hostile.py`, which sends ten thousand."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import hostile, hostile_clients, hostile_watch
from cube.storage.store import CubeStore


@pytest.mark.slow
def test_hostile_requests_get_no_server_error_touch_nothing_else_and_leave_no_memory(
    large_cube: CubeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile, "GROWTH_MB", 200)  # few requests: what is loaded late counts
    rows, failures = hostile.run(large_cube.url, 200)
    assert failures == []
    assert sum(row.get("requests", 0) for row in rows) > 200
    assert all(
        row["2xx"] and row["4xx"] for row in rows if row["kind"] in ("listed", "schemathesis")
    )  # some are answered, some refused


def test_the_watch_sees_what_lies_elsewhere(tmp_path: Path) -> None:
    """The check above can fail: an open file and a connection beyond the cube are written down, those in it are not."""
    out = tmp_path / "seen.txt"
    watch = hostile_watch.Watch((str(tmp_path / "cube"),), out)
    watch("open", ("/etc/passwd", "r", 0))
    assert out.read_text() == ""  # not told to look yet
    watch._look()
    for event, arguments in (
        ("open", ("/etc/passwd", "r", 0)),
        ("open", (str(tmp_path / "cube" / "zarr.json"), "r", 0)),
        ("open", (str(tmp_path / "cube" / ".." / "secret"), "r", 0)),
        ("socket.connect", (None, ("127.0.0.1", 9))),
        ("compile", ("x", "y")),
    ):
        watch(event, arguments)
    seen = out.read_text().splitlines()
    assert len(seen) == 3
    assert "passwd" in seen[0]
    assert "secret" in seen[1]
    assert "127.0.0.1" in seen[2]


def test_unkind_clients_stop_half_way_and_the_innocent_one_is_watched() -> None:
    """Each kind arrives as it is said to, and an innocent client that gets an error is a failure."""
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.TimeoutError, OSError):
            received.append(await asyncio.wait_for(reader.read(500), 3))
            if hostile_clients.TILE.encode() in received[-1]:
                writer.write(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
                writer.close()

    async def attack() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with hostile_clients.unkind_clients(port, 2) as innocent:
            while len(received) < 7 or not innocent.statuses:
                await asyncio.sleep(0.05)
        assert innocent.failures()
        for request in filter(None, hostile_clients.KINDS.values()):
            assert request.encode() in received
        server.close()

    asyncio.run(asyncio.wait_for(attack(), 60))


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_is_a_failure(status: int) -> None:
    tally = hostile.Tally()
    tally.add("GET /x", "GET /x?y", status, 0.1)
    tally.add("GET /x", "GET /x", 404, 0.1)
    assert tally.lines() == [f"1 times GET /x: status {status}, such as GET /x?y"]
