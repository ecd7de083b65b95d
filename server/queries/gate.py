"""Queries that cost seconds and tens of megabytes have threads of their own: they neither fill memory nor delay tiles."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from server.dependencies import json_answer, unchanged, validators
from server.errors import BusyError
from server.reading.snapshot import Snapshot

RUNNING: Final = 2
WAITING: Final = 16
T = TypeVar("T")


class Gate:
    """At most `running` calls at once, at most `waiting` behind them; further ones are told so."""

    def __init__(self, running: int = RUNNING, waiting: int = WAITING) -> None:
        """Open; threads begin with the first call."""
        self._pool = ThreadPoolExecutor(running, thread_name_prefix="floracube-query")
        self._capacity, self._inside, self._lock = running + waiting, 0, threading.Lock()

    async def run(self, call: Callable[[], T]) -> T:
        """The result of `call`; raises `BusyError` where too many wait already. A client that leaves gives up its place."""
        with self._lock:
            if self._inside >= self._capacity:
                raise BusyError("The server is busy with other requests of this kind; try again in a few seconds.")
            self._inside += 1
        future = self._pool.submit(call)
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def _leave(self, future: Future[T]) -> None:
        with self._lock:
            self._inside -= 1


HEAVY: Final = Gate()


async def queried(snapshot: Snapshot, request: Request, describe: Callable[[], BaseModel]) -> Response:
    """The document that `describe` makes behind the gate, or 304 where the client holds it; raises `BusyError`."""
    if (not_modified := unchanged(request, validators(snapshot, request))) is not None:
        return not_modified
    return json_answer(snapshot, request, (await HEAVY.run(describe)).model_dump())
