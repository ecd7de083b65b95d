"""One thread makes what many ask for, its failure is theirs as well, and the bytes stay within their bound."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.reading.cache import ByteCache

Array = NDArray[np.uint8]


def test_what_many_ask_for_at_once_is_made_once() -> None:
    cache = ByteCache[Array](10_000)
    made: list[int] = []
    begin = threading.Barrier(16)

    def ask(_: int) -> int:
        begin.wait()

        def make(missing: list[int]) -> list[Array]:
            made.extend(missing)
            time.sleep(0.05)
            return [np.full(10, i, np.uint8) for i in missing]

        return sum(int(part[0]) for part in cache.gather([("a",), ("b",), ("c",)], make))

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(16))) == {3}
    assert sorted(made) == [0, 1, 2]


def test_a_failure_reaches_all_who_wait_and_is_not_remembered() -> None:
    cache = ByteCache[Array](10_000)
    begin = threading.Barrier(8)

    def ask(_: int) -> str:
        begin.wait()

        def fail(missing: list[int]) -> list[Array]:
            time.sleep(0.05)
            raise OSError("the store is down")

        try:
            cache.gather([("a",)], fail)
        except OSError as error:
            return str(error)
        return "no error"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"the store is down"}
    assert cache.gather([("a",)], lambda missing: [np.ones(1, np.uint8)])[0][0] == 1


def test_two_who_wait_for_each_other_both_end() -> None:
    cache = ByteCache[Array](10_000)
    begin = threading.Barrier(2)

    def ask(keys: list[str]) -> list[int]:
        begin.wait()

        def make(missing: list[int]) -> list[Array]:
            time.sleep(0.02)
            return [np.full(1, ord(keys[i]), np.uint8) for i in missing]

        return [int(part[0]) for part in cache.gather([(key,) for key in keys], make)]

    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            cache.clear()
            found = list(pool.map(ask, (["x", "y"], ["y", "x"])))
            assert found == [[120, 121], [121, 120]]


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000)), max_size=60), st.integers(0, 8000))
def test_bytes_stay_within_their_bound(puts: list[tuple[int, int]], limit: int) -> None:
    cache = ByteCache[Array](limit)
    for key, size in puts:
        cache.put((key,), np.zeros(size, np.uint8))
        assert 0 <= cache.used_bytes <= limit


def test_who_waits_for_what_never_comes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.reading.cache._WAIT_SECONDS", 0.05)
    cache = ByteCache[Array](1000)
    stop = threading.Event()

    def make(missing: list[int]) -> list[Array]:
        stop.wait(5)
        return [np.zeros(1, np.uint8)]

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(cache.gather, [("a",)], make)
        time.sleep(0.02)
        with pytest.raises(TimeoutError):
            pool.submit(cache.gather, [("a",)], make).result()
        stop.set()
        slow.result()
