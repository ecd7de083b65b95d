"""A bounded memory of what is costly to make: least recently used, counted in bytes, each thing made by one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from cachetools import LRUCache

from server import metrics

_OVERHEAD: Final = 200  # bytes of an entry beside its values
_WAIT_SECONDS: Final = 30.0  # for what another thread makes
Key = tuple[object, ...]


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=_Sized)


class ByteCache(Generic[T]):
    """Least recently used values, bounded in bytes; threads share it, and what is missing is made once."""

    def __init__(self, limit: int, with_metrics: bool = False) -> None:
        """Keep at most `limit` bytes; `with_metrics`: this is the cache that the metrics of chunks speak of."""
        self._with_metrics = with_metrics
        self._values: LRUCache[Key, T] = LRUCache(limit, getsizeof=lambda value: value.nbytes + _OVERHEAD)
        self._coming: dict[Key, Future[T]] = {}
        self._lock = threading.Lock()

    @property
    def used_bytes(self) -> float:
        """Bytes of all values, with what an entry takes beside them."""
        return self._values.currsize

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()

    def drop(self, keys: Sequence[Key]) -> None:
        """Forget some."""
        with self._lock:
            for key in keys:
                self._values.pop(key, None)

    def get(self, key: Key) -> T | None:
        """The value, or None; it becomes the most recently used."""
        with self._lock:
            return self._values.get(key)

    def get_all(self, keys: Sequence[Key]) -> list[T] | None:
        """The values of all `keys`, or None if one of them is not here."""
        with self._lock:
            if any(key not in self._values for key in keys):
                return None
            values = [self._values[key] for key in keys]
        if self._with_metrics:
            metrics.CACHE_HITS.inc(len(values))
        return values

    def put(self, key: Key, value: T) -> None:
        """Keep the value and let the oldest go until the bytes fit."""
        with self._lock:
            self._put(key, value)

    def _put(self, key: Key, value: T) -> None:
        self._values.pop(key, None)
        with suppress(ValueError):  # larger than all of the cache
            self._values[key] = value

    def gather(self, keys: Sequence[Key], make: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """The values of all `keys`; `make` gives those at the positions that are neither here nor being made already.

        Raises what `make` raises, in every thread that waits for it.
        """
        values: dict[int, T] = {}
        waiting: dict[int, Future[T]] = {}
        own_futures: dict[int, Future[T]] = {}
        with self._lock:
            for i, key in enumerate(keys):
                if (value := self._values.get(key)) is not None:
                    values[i] = value
                elif (coming := self._coming.get(key)) is not None:
                    waiting[i] = coming
                else:
                    own_futures[i] = self._coming[key] = Future()
        if self._with_metrics:
            metrics.CACHE_HITS.inc(len(values))
            metrics.CACHE_MISSES.inc(len(waiting) + len(own_futures))
        # What is ours comes first: two threads that wait for each other's would wait forever.
        if own_futures:
            values.update(self._make(keys, own_futures, make))
        for i, future in waiting.items():
            values[i] = future.result(timeout=_WAIT_SECONDS)
        return [values[i] for i in range(len(keys))]

    def _make(self, keys: Sequence[Key], futures: dict[int, Future[T]], make: Callable[[list[int]], Sequence[T]]) -> dict[int, T]:
        try:
            values = dict(zip(futures, make(list(futures)), strict=True))
        except BaseException as error:
            with self._lock:
                for i in futures:
                    del self._coming[keys[i]]
            for future in futures.values():
                future.set_exception(error)
            raise
        with self._lock:
            for i, value in values.items():
                self._put(keys[i], value)
                del self._coming[keys[i]]
        if self._with_metrics:
            metrics.CACHE_BYTES.set(self.used_bytes)
        for i, future in futures.items():
            future.set_result(values[i])
        return values
