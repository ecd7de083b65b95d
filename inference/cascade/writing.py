"""Finished maps of a unit on their way into the cube, behind the computing: whole shards, each with its checksum."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from cube.grid import Unit
from cube.pyramids.facts import Facts, UnitFacts
from cube.storage import backends
from cube.storage.ledger import checksum
from cube.storage.store import CubeStore
from cube.storage.whole_shards import OpenArrays
from inference.cascade.clock import Clock

WAITING: Final = 2  # blocks of species that may wait to be written: more would only take memory
SMALL_WAITING: Final = 8  # maps of other products, in a bucket, where each waits for an answer


class Writer:
    """Writes the maps of one unit behind the computing, in a bucket several at once; the first error comes back at a later call.

    As a context manager it leaves when everything is written, the unit's facts last. `checksums` then holds a checksum by name,
    `sizes` the bytes of each shard by its key.
    """

    def __init__(self, cube: CubeStore, unit: Unit, clock: Clock, facts: Sequence[Facts] = ()) -> None:
        """Nothing waits yet; `facts` are those of the versions that are written."""
        self.cube, self.unit, self.clock = cube, unit, clock
        self.facts = UnitFacts(cube, facts, unit)
        self.checksums: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self._arrays, self._opening = OpenArrays(cube), Lock()
        self._is_local = backends.local_path(cube.url) is not None
        self._threads = ThreadPoolExecutor(1 if self._is_local else SMALL_WAITING, "write")
        self._waiting: list[tuple[str, Future[None]]] = []

    def put(
        self,
        name: str,
        path: str,
        values: NDArray[Any],
        lead: slice | None = None,
        free: Callable[[], None] | None = None,
        wait: Callable[[], None] | None = None,
    ) -> None:
        """Write `values` (..., U, U) at `path`, or a block `lead` of its first axis; waits while others wait.

        `free` is called once they are written: until then the values must not be changed. `wait` is called before they are
        read: a device may be copying them still.
        """
        # one map is written after the other where a unit whose memory was full begins anew
        most = WAITING if self._is_local or lead is not None else SMALL_WAITING
        while len(self._waiting) >= most or any(name == waiting_name for waiting_name, _ in self._waiting):
            self._waiting.pop(0)[1].result()
        self._waiting.append((name, self._threads.submit(self._write, name, path, values, lead, free, wait)))

    def _write(
        self,
        name: str,
        path: str,
        values: NDArray[Any],
        lead: slice | None,
        free: Callable[[], None] | None,
        wait: Callable[[], None] | None,
    ) -> None:
        start = time.perf_counter()
        try:
            if wait is not None:
                wait()
            rows, cols = self.cube.region.square(self.unit).slices
            selection = (..., rows, cols) if lead is None else (lead, ..., rows, cols)
            with self._opening:  # or each would read the metadata of one group
                array = self._arrays.array(path)
            self.sizes |= self.cube.write(path, selection, values, array)
            self.checksums[name] = checksum(values)
            self.facts.see(path, values, lead)
        finally:
            if free is not None:
                free()
        self.clock.add("write, behind the computing", time.perf_counter() - start)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                for _, future in self._waiting:
                    future.result()
                checksums, sizes = self.facts.write()
                self.checksums |= checksums
                self.sizes |= sizes
        finally:
            self._threads.shutdown(wait=True, cancel_futures=error is not None)


class Buffers:
    """A few arrays of one shape that are filled, written and filled again: what no cell covers keeps its fill."""

    def __init__(self, shape: tuple[int, ...], fill: int, count: int = WAITING + 1, pinned: bool = False) -> None:
        """`count` arrays (uint8) of `shape`, made when they are first asked for; `pinned`: for copies of a GPU."""
        import queue

        self._free: queue.SimpleQueue[NDArray[np.uint8] | None] = queue.SimpleQueue()
        self.shape, self.fill, self.pinned = shape, fill, pinned
        for _ in range(count):
            self._free.put(None)

    def take(self) -> NDArray[np.uint8]:
        """One that is free; waits for it."""
        buffer = self._free.get()
        if buffer is not None:
            return buffer
        return np.asarray(torch.empty(self.shape, dtype=torch.uint8, pin_memory=self.pinned).fill_(self.fill).numpy())

    def give_back(self, array: NDArray[np.uint8]) -> None:
        """It may be filled again."""
        self._free.put(array)
