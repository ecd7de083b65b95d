"""The typed reader: open arrays, a bounded cache of decoded chunks, and windows put together from them.

It takes chunks instead of slices because a tile's neighbours need the same ones: after the first they cost no reading.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

import numpy as np
import zarr
from cachetools import LRUCache
from numpy.typing import NDArray

from cube.storage import backends
from cube.storage.store import CubeStore
from server.errors import StoreError, TooLargeError
from server.reading.cache import ByteCache
from server.reading.chunk_batches import indices, read_together
from server.reading.shard_receipts import WrittenShards
from server.reading.shards import Shards

CACHE_BYTES: Final = 256 * 2**20
TILES_SHARE: Final = 16  # of it for images of tiles: 16 MiB are the five hundred that visitors begin with
# Chunks that one tile may take from a layer without a pyramid (about half a second of reading when cold).
MAX_CHUNKS: Final = 400
_CHUNKS_A_ROUND: Final = 36  # chunks read in one round: bounds what one request holds beside the cache
_READERS: Final = 16  # rounds at once; with the store down, the other threads still answer from the cache
_QUEUE_SECONDS: Final = 2.0
INPUT_SECONDS: Final = 60.0


def input_period() -> int:
    """A number that is another one every `INPUT_SECONDS`."""
    return int(time.time() // INPUT_SECONDS)


class NotCachedError(Exception):
    """What is asked for is not in memory, and nothing was to be read."""


class ChunkCache(ByteCache[NDArray[Any]]):
    """Decoded chunks, shared by all layers, releases and cubes of this process."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        """Keep at most `limit` bytes, and a share of it beside for images of tiles."""
        super().__init__(limit, with_metrics=True)
        self.tiles: LRUCache[str, bytes] = LRUCache(limit // TILES_SHARE, getsizeof=len)  # by ETag; the event loop's alone


@dataclass(frozen=True, slots=True)
class Source:
    """An open array with what every tile asks of it, which Zarr would work out anew each time."""

    array: zarr.Array[Any]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    fill: Any
    shards: Shards

    def within(self, lead: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """For a map of the array: numbers of the chunks that hold it along the leading axes, and its place in them."""
        sizes = self.chunk[: len(lead)]
        pairs = list(zip(lead, sizes, strict=True))
        return tuple(i // n for i, n in pairs), tuple(i % n for i, n in pairs)


@dataclass
class Reader:
    """Arrays of one cube at one release; `cube` and `token` keep its chunks apart from others in the same cache."""

    cube: CubeStore
    token: str
    cache: ChunkCache
    _sources: dict[str, Source] = field(default_factory=dict)
    _groups: dict[str, zarr.Group] = field(default_factory=dict)
    _written_shards: WrittenShards = field(init=False)
    _gate: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_READERS))

    def __post_init__(self) -> None:
        """Ask the cube's own receipts of what its store does not find."""
        self._written_shards = WrittenShards(self.cube)

    def token_of(self, path: str) -> str:
        """What chunks of `path` are remembered under: inputs belong to no release and are read anew every minute."""
        return f"{self.token} {input_period()}" if path.startswith("inputs/") else self.token

    def whole_key(self, path: str, chunk: tuple[int, ...]) -> tuple[object, ...]:
        """What a whole chunk is remembered under."""
        return (self.cube.url, self.token_of(path), path, "whole", *chunk)

    def map_key(self, path: str, lead: tuple[int, ...], step: int, place: tuple[int, int]) -> tuple[object, ...]:
        """What a chunk of one map, thinned to every `step`-th cell, is remembered under."""
        return (self.cube.url, self.token_of(path), path, lead, step, *place)

    def require_empty(self, path: str, shards: Sequence[tuple[int, ...]]) -> None:
        """Raise `StoreError` if one of `shards`, which the store does not find, should be there."""
        self._written_shards.require_empty(path, shards)

    def has(self, path: str) -> bool:
        """Whether there is an array at `path`."""
        return self._member(path) is not None or self.cube.has(path)

    def _member(self, path: str) -> zarr.Group | zarr.Array[Any] | None:
        """The array at `path` by the consolidated metadata of its group: one request for all of the group's arrays."""
        group, _, name = path.rpartition("/")
        if (members := self._groups.get(group)) is None:
            members = self._groups[group] = self.cube.group(group)
        return members.get(name) if members.metadata.consolidated_metadata else None

    def source(self, path: str) -> Source:
        """The open array at `path` and its layout; raises `CubeError` if there is none."""
        source = self._sources.get(path)
        if source is None:
            node = self._member(path)
            array = backends.with_rust_codecs(node, self.cube.url) if isinstance(node, zarr.Array) else self.cube.array(path)
            source = Source(array, tuple(array.shape), tuple(array.chunks), array.fill_value, Shards.from_array(array))
            self._sources[path] = source
        return source

    def shape(self, path: str, cached_only: bool = False) -> tuple[int, int]:
        """(rows, columns) of the array at `path`; with `cached_only` raises `NotCachedError` if it is not open yet."""
        if cached_only and path not in self._sources:
            raise NotCachedError(path)
        height, width = self.source(path).shape[-2:]
        return height, width

    def array(self, path: str) -> zarr.Array[Any]:
        """The open array at `path`; raises `CubeError` if there is none."""
        return self.source(path).array

    def cell(self, path: str, row: int, col: int) -> NDArray[Any]:
        """Stored values (leading axes) of one cell."""
        source = self.source(path)
        height, width = source.chunk[-2:]
        sizes = list(zip(source.shape[:-2], source.chunk[:-2], strict=True))
        leads = list(product(*(range(-(-n // size)) for n, size in sizes)))
        place = row // height, col // width
        keys = [self.whole_key(path, (*lead, *place)) for lead in leads]
        chunks = self.cache.gather(keys, lambda missing: self._read(source, path, [(*leads[i], *place) for i in missing], ...))
        out = np.full(source.shape[:-2], source.fill, source.array.dtype)
        for lead, chunk in zip(leads, chunks, strict=True):
            if chunk.size:
                block = tuple(slice(i * size, min((i + 1) * size, n)) for i, (n, size) in zip(lead, sizes, strict=True))
                inside = tuple(slice(0, part.stop - part.start) for part in block)
                out[block] = chunk[..., row % height, col % width][inside]
        return out

    def maps(self, path: str, lead: tuple[int, ...], places: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
        """Whole chunks of the map `lead` at `places` (number by row, by column), read at once; empty ones hold only fill.

        Beyond the edge of the array a chunk holds fill.
        """
        source = self.source(path)
        parts = [tuple(_chunk_part(n, *axis) for n, axis in zip(place, _axes(source), strict=True)) for place in places]
        return self._maps(source, path, lead, 1, [(y, x) for y, x in parts])

    def window(
        self, path: str, lead: tuple[int, ...], step: int, rows: tuple[int, int], cols: tuple[int, int], cached_only: bool = False
    ) -> NDArray[Any]:
        """Stored values of a window of the map `lead` of an array, thinned to every `step`-th cell.

        `rows` and `cols` are (first, end) in thinned pixels; what lies outside the array is fill.
        Raises `TooLargeError` where more than `MAX_CHUNKS` chunks would have to be read, `StoreError` if reading fails,
        and with `cached_only` `NotCachedError` instead of reading anything.
        """
        source = self.source(path)
        sizes = [-(-n // step) for n in source.shape[-2:]]
        out = np.full((rows[1] - rows[0], cols[1] - cols[0]), source.fill, source.array.dtype)
        parts = [
            _parts(max(first, 0), min(end, size), step, chunk, length)
            for (first, end), size, chunk, length in zip((rows, cols), sizes, source.chunk[-2:], source.shape[-2:], strict=True)
        ]
        if len(parts[0]) * len(parts[1]) > MAX_CHUNKS:
            raise TooLargeError("This layer has no overviews and the tile spans too much of it; zoom in.")
        pairs = [(y, x) for y in parts[0] for x in parts[1]]
        for start in range(0, len(pairs), _CHUNKS_A_ROUND):
            batch = pairs[start : start + _CHUNKS_A_ROUND]
            for (y, x), chunk in zip(batch, self._maps(source, path, lead, step, batch, cached_only), strict=True):
                if chunk.size:
                    out[y.first - rows[0] : y.end - rows[0], x.first - cols[0] : x.end - cols[0]] = chunk[
                        y.first - y.origin : y.end - y.origin, x.first - x.origin : x.end - x.origin
                    ]
        return out

    def _maps(
        self,
        source: Source,
        path: str,
        lead: tuple[int, ...],
        step: int,
        pairs: Sequence[tuple[_Part, _Part]],
        cached_only: bool = False,
    ) -> list[NDArray[Any]]:
        """Thinned chunks (h, w) of one map."""
        keys = [self.map_key(path, lead, step, (y.number, x.number)) for y, x in pairs]
        cached_chunks = self.cache.get_all(keys)
        if cached_chunks is not None:
            return cached_chunks
        if cached_only:
            raise NotCachedError(path)
        numbers, place = source.within(lead)

        def read(missing: list[int]) -> list[NDArray[Any]]:
            chunks = self._read(source, path, [(*numbers, pairs[i][0].number, pairs[i][1].number) for i in missing], place)
            step_slices = []
            for i, chunk in zip(missing, chunks, strict=True):
                thin = chunk
                if chunk.size and step > 1:
                    thin = chunk[tuple(slice(p.origin * step + step // 2 - p.start, p.stop - p.start, step) for p in pairs[i])]
                # A view would keep the whole chunk in memory behind the cache's back.
                step_slices.append(thin if thin is chunk else np.ascontiguousarray(thin))
            return step_slices

        return self.cache.gather(keys, read)

    def _read(
        self, source: Source, path: str, chunks: Sequence[tuple[int, ...]], place: tuple[int, ...] | Any
    ) -> list[NDArray[Any]]:
        """The part `place` (of the leading axes; all of it for `...`) of whole chunks, given by their numbers."""
        arrays = []
        for chunk in read_together(self, [(path, number) for number in chunks]):
            part = chunk[place] if chunk.size else chunk
            # Of a long chunk only what is asked for is kept: a copy, or the rest would stay behind it.
            arrays.append(part if part.size * 2 > chunk.size else part.copy())
        return arrays

    @contextmanager
    def turn(self, path: str) -> Iterator[None]:
        """A place among those that read; raises `StoreError` where none becomes free."""
        if not self._gate.acquire(timeout=_QUEUE_SECONDS):
            raise StoreError(f"{path}: too many reads are waiting for the store; try again.")
        try:
            yield
        finally:
            self._gate.release()

    def require_written(self, path: str, lead: tuple[int, ...], rows: slice, cols: slice) -> None:
        """Raise `StoreError` if a shard of a window of the map `lead` is not there though its receipt counts it.

        Reads indices of shards alone, for those who read the window by Zarr, which takes what is not there for no data.
        """
        source = self.source(path)
        numbers, _ = source.within(lead)
        spans = [range(part.start // n, -(-part.stop // n)) for part, n in zip((rows, cols), source.chunk[-2:], strict=True)]
        indices(self, [(path, (*numbers, *place)) for place in product(*spans)])

    def index_key(self, path: str, shard: tuple[int, ...]) -> tuple[object, ...]:
        """What the index of a shard is remembered under."""
        return (self.cube.url, self.token_of(path), path, "index", *shard)


@dataclass(frozen=True, slots=True)
class _Part:
    """One chunk along one axis: number, cells [start, stop), first thinned pixel, wanted pixels [first, end)."""

    number: int
    start: int
    stop: int
    origin: int
    first: int
    end: int


def _axes(source: Source) -> list[tuple[int, int]]:
    """(cells of a chunk, cells of the array) along rows and columns."""
    return list(zip(source.chunk[-2:], source.shape[-2:], strict=True))


def _chunk_part(number: int, chunk: int, length: int) -> _Part:
    start = number * chunk
    return _Part(number, start, min(start + chunk, length), start, start, min(start + chunk, length))


def _parts(first: int, end: int, step: int, chunk: int, length: int) -> list[_Part]:
    """Chunks that hold the thinned pixels [first, end) of an axis; thinned pixel p is cell `p * step + step // 2`."""
    half = step // 2
    # The last thinned pixel may have its middle beyond the array; it is then no pixel at all.
    end = min(end, -(-(length - half) // step))
    parts = []
    pixel = first
    while pixel < end:
        number = (pixel * step + half) // chunk
        start, stop = number * chunk, min((number + 1) * chunk, length)
        origin = max(0, -(-(start - half) // step))
        last = min(end, -(-(stop - half) // step))
        parts.append(_Part(number, start, stop, origin, pixel, last))
        pixel = last
    return parts
