"""Chunks of many arrays in two rounds of requests, all indices of shards and then all chunks, however many the arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, Store

from server.errors import DamagedError
from server.reading.cache import Key
from server.reading.shards import EMPTY_CHUNK, Index, fetch

if TYPE_CHECKING:
    from server.reading.io import Reader

GAP: Final = 32 * 1024  # bytes between two ranges that are read rather than asked for apart
SPAN: Final = 4 * 2**20  # bytes of one request at most
Chunk = tuple[str, tuple[int, ...]]  # path of an array, number of the chunk by axis
StoredChunk = tuple[str, memoryview | None]  # key of a shard, a chunk of it; None of a shard that is gone
Cell = tuple[str, tuple[int, ...] | None, int, int]  # path, index of the leading axes (None: all of them), row, column


def read_together(reader: Reader, chunks: Sequence[Chunk]) -> Iterator[NDArray[Any]]:
    """Whole decoded chunks, not remembered; one that holds only fill is `EMPTY_CHUNK`. Raises `StoreError` if reading fails.

    All are read at once and decoded one after the other: whoever lets each go before the next has one in memory.
    """
    for (path, number), stored_chunk in zip(chunks, _read(reader, chunks), strict=True):
        try:
            yield _decoded(reader, path, stored_chunk)
        except DamagedError:  # a shard that was written anew has other offsets: its index is read once more
            reader.cache.drop([reader.index_key(path, reader.source(path).shards.place(number)[0])])
            yield _decoded(reader, path, _read(reader, [(path, number)])[0])


def remember_cells(reader: Reader, cells: Sequence[Cell]) -> None:
    """Read what `Reader.cell` and `Reader.window` will ask for of some cells."""
    by_key: dict[tuple[object, ...], tuple[Chunk, Any]] = {}
    for path, lead, row, col in cells:
        source = reader.source(path)
        place = row // source.chunk[-2], col // source.chunk[-1]
        if lead is None:
            counts = (range(-(-n // size)) for n, size in zip(source.shape[:-2], source.chunk[:-2], strict=True))
            by_key |= {reader.whole_key(path, (*number, *place)): ((path, (*number, *place)), ...) for number in product(*counts)}
        else:
            numbers, part = source.within(lead)
            by_key[reader.map_key(path, lead, 1, place)] = (path, (*numbers, *place)), part
    missing = {key: chunk for key, chunk in by_key.items() if reader.cache.get(key) is None}
    chunks = read_together(reader, [chunk for chunk, _ in missing.values()])
    for (key, (_, part)), chunk in zip(missing.items(), chunks, strict=True):
        reader.cache.put(key, chunk[part].copy() if chunk.size else chunk)


def indices(reader: Reader, chunks: Sequence[Chunk]) -> dict[Key, Index]:
    """(chunks of a shard, 2) offset and length, of each shard that holds some of `chunks`, by `Reader.index_key`.

    Raises `StoreError` for a shard that is not there though a receipt counts it.
    """
    places = {}
    for path, number in chunks:
        shards = reader.source(path).shards
        shard, _ = shards.place(number)
        places[reader.index_key(path, shard)] = path, shards, shard
    requests = list(places.values())

    def read(missing: list[int]) -> list[Index]:
        tails = fetch(requests[0][1].store, [requests[i][1].index_request(requests[i][2]) for i in missing])
        for i, tail in zip(missing, tails, strict=True):
            if tail is None:
                reader.require_empty(requests[i][0], [requests[i][2]])
        return [requests[i][1].index_of(requests[i][2], tail) for i, tail in zip(missing, tails, strict=True)]

    return dict(zip(places, reader.cache.gather(list(places), read), strict=True))


def _decoded(reader: Reader, path: str, stored_chunk: StoredChunk | None) -> NDArray[Any]:
    return EMPTY_CHUNK if stored_chunk is None else reader.source(path).shards.decode(stored_chunk[1], stored_chunk[0])


def _read(reader: Reader, chunks: Sequence[Chunk]) -> list[StoredChunk | None]:
    """Some chunks as they are stored; None for those that hold only fill."""
    if not chunks:
        return []
    with reader.turn(chunks[0][0]):
        indices_by_path = indices(reader, chunks)
        requests = []
        for path, number in chunks:
            shards = reader.source(path).shards
            shard, row = shards.place(number)
            requests.append(shards.chunk_request(shard, indices_by_path[reader.index_key(path, shard)], row))
        store = reader.source(chunks[0][0]).shards.store
        bodies = _near_ranges_at_once(store, [request for request in requests if request is not None])
        return [None if request is None else (request[0], next(bodies)) for request in requests]


def _near_ranges_at_once(store: Store, requests: Sequence[tuple[str, RangeByteRequest]]) -> Iterator[memoryview | None]:
    """The bytes of ranges of objects, those that lie near each other asked for as one; None of an object that is not there."""
    spans: list[tuple[str, int, int]] = []
    place: dict[int, int] = {}
    for i in sorted(range(len(requests)), key=lambda i: (requests[i][0], requests[i][1].start)):
        key, part = requests[i]
        if spans and spans[-1][0] == key and part.start - spans[-1][2] <= GAP and part.end - spans[-1][1] <= SPAN:
            spans[-1] = key, spans[-1][1], max(spans[-1][2], part.end)
        else:
            spans.append((key, part.start, part.end))
        place[i] = len(spans) - 1
    pieces = fetch(store, [(key, RangeByteRequest(start, end)) for key, start, end in spans])
    for i, (_, part) in enumerate(requests):
        data, start = pieces[place[i]], spans[place[i]][1]
        yield None if data is None else data[part.start - start : part.end - start]
