"""The client of the tile benchmarks: cancelled, it is silent, so that no answer of a stopped server is judged."""

import asyncio

import pytest

from benchmarks import tile_load


def test_a_load_that_is_cancelled_ends_with_the_last_of_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = [0], []

    async def get(connection: tile_load.Connection, path: str) -> tile_load.Answer:
        number = begun[0]
        begun[0] += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05 * number)
            ended.append(number)
        raise AssertionError

    monkeypatch.setattr(tile_load.Connection, "get", get)

    async def cancelled() -> None:
        loading = asyncio.create_task(tile_load.load(1, ["/"], 3, float("inf"), lambda answer: None))
        while begun[0] < 3:
            await asyncio.sleep(0)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert ended == [0, 1, 2]

    asyncio.run(cancelled())
