"""The typed reader: open array handles, a bounded cache of decoded chunks, and windows put together from them.

It takes chunks instead of slices because a tile's neighbours need the same ones: after the first they cost no reading.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from cube.store import CubeStore
from server.errors import TooLargeError

CACHE_BYTES: Final = 256 * 2**20
# Chunks that one tile may take from a layer without a pyramid (about half a second of reading when cold).
MAX_CHUNKS: Final = 400
Key = tuple[object, ...]


def selection(lead: tuple[int, ...], rows: slice, cols: slice) -> tuple[int | slice, ...]:
    """What indexes one window of one map of an array."""
    return (*lead, rows, cols)


class ChunkCache:
    """Least recently used decoded chunks, bounded in bytes; safe to share between threads."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        """Keep at most `limit` bytes."""
        self.limit, self.held = limit, 0
        self._chunks: OrderedDict[Key, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> NDArray[Any] | None:
        """The chunk, or None; it becomes the most recently used."""
        with self._lock:
            chunk = self._chunks.get(key)
            if chunk is not None:
                self._chunks.move_to_end(key)
            return chunk

    def put(self, key: Key, chunk: NDArray[Any]) -> None:
        """Keep the chunk and let the oldest go until the bytes fit."""
        with self._lock:
            old = self._chunks.pop(key, None)
            self.held += chunk.nbytes - (0 if old is None else old.nbytes)
            self._chunks[key] = chunk
            while self.held > self.limit and self._chunks:
                _, gone = self._chunks.popitem(last=False)
                self.held -= gone.nbytes


@dataclass
class Reader:
    """Arrays of one cube at one release; `token` keeps its chunks apart from those of other releases."""

    cube: CubeStore
    token: str
    cache: ChunkCache
    _arrays: dict[str, zarr.Array[Any]] = field(default_factory=dict)

    def array(self, path: str) -> zarr.Array[Any]:
        """The open array at `path`; raises `CubeError` if there is none."""
        array = self._arrays.get(path)
        if array is None:
            array = self._arrays[path] = self.cube.array(path)
        return array

    def cell(self, path: str, row: int, col: int) -> NDArray[Any]:
        """Stored values (leading axes) of one cell."""
        array = self.array(path)
        height, width = array.chunks[-2:]
        key = (self.token, path, "whole", row // height, col // width)
        chunk = self.cache.get(key)
        if chunk is None:
            top, left = row // height * height, col // width * width
            chunk = np.asarray(array[..., top : top + height, left : left + width])
            self.cache.put(key, chunk)
        return chunk[..., row % height, col % width]

    def window(self, path: str, lead: tuple[int, ...], step: int, rows: tuple[int, int], cols: tuple[int, int]) -> NDArray[Any]:
        """Stored values of a window of the map `lead` of an array, thinned to every `step`-th cell.

        `rows` and `cols` are (first, end) in thinned pixels; what lies outside the array is fill.
        Raises `TooLargeError` where more than `MAX_CHUNKS` chunks would have to be read.
        """
        array = self.array(path)
        sizes = [-(-n // step) for n in array.shape[-2:]]
        out = np.full((rows[1] - rows[0], cols[1] - cols[0]), array.fill_value, array.dtype)
        parts = [
            _parts(max(first, 0), min(end, size), step, chunk, length)
            for (first, end), size, chunk, length in zip((rows, cols), sizes, array.chunks[-2:], array.shape[-2:], strict=True)
        ]
        if len(parts[0]) * len(parts[1]) > MAX_CHUNKS:
            raise TooLargeError("This layer has no overviews and the tile spans too much of it; zoom in.")
        for y in parts[0]:
            for x, chunk in zip(parts[1], self._strip(array, path, lead, step, y, parts[1]), strict=True):
                out[y.first - rows[0] : y.end - rows[0], x.first - cols[0] : x.end - cols[0]] = chunk[
                    y.first - y.origin : y.end - y.origin, x.first - x.origin : x.end - x.origin
                ]
        return out

    def _strip(
        self, array: zarr.Array[Any], path: str, lead: tuple[int, ...], step: int, y: _Part, xs: list[_Part]
    ) -> list[NDArray[Any]]:
        """Thinned chunks of one row of chunks; the missing ones are read in one request to the store."""
        keys = [(self.token, path, lead, step, y.number, x.number) for x in xs]
        found = {i: chunk for i, key in enumerate(keys) if (chunk := self.cache.get(key)) is not None}
        missing = [i for i in range(len(xs)) if i not in found]
        if missing:
            start, end = xs[missing[0]], xs[missing[-1]]
            whole: NDArray[Any] = np.asarray(array[selection(lead, slice(y.start, y.stop), slice(start.start, end.stop))])
            for i in missing:
                x = xs[i]
                chunk = whole[
                    y.origin * step + step // 2 - y.start :: step,
                    x.origin * step + step // 2 - start.start : x.stop - start.start : step,
                ]
                found[i] = np.ascontiguousarray(chunk)
                self.cache.put(keys[i], found[i])
        return [found[i] for i in range(len(xs))]


@dataclass(frozen=True, slots=True)
class _Part:
    """One chunk along one axis: number, cells [start, stop), first thinned pixel, wanted pixels [first, end)."""

    number: int
    start: int
    stop: int
    origin: int
    first: int
    end: int


def _parts(first: int, end: int, step: int, chunk: int, length: int) -> list[_Part]:
    """Chunks that hold the thinned pixels [first, end) of an axis; thinned pixel p is cell `p * step + step // 2`."""
    half = step // 2
    # The last thinned pixel may have its middle beyond the array; it is then no pixel at all.
    end = min(end, -(-(length - half) // step))
    found = []
    pixel = first
    while pixel < end:
        number = (pixel * step + half) // chunk
        start, stop = number * chunk, min((number + 1) * chunk, length)
        origin = max(0, -(-(start - half) // step))
        last = min(end, -(-(stop - half) // step))
        found.append(_Part(number, start, stop, origin, pixel, last))
        pixel = last
    return found
