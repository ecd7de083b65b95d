"""Inner chunks of a sharded array, read straight from the store: the index of a shard once, then ranges of bytes.

Zarr's own way asks for the index with every read and takes some milliseconds of Python around it; a tile has no more.
Only the layout that cubes are written in is known here (bytes, then zstd, index at the end); any other is read by Zarr.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import google_crc32c
import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest, SupportsGetSync
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata import ArrayV3Metadata
from zarr.core.sync import sync

from server.errors import StoreError
from server.operating import metrics

READ_SECONDS: Final = 15.0  # for the reads of one request together; a store that answers later counts as failing
_ABSENT: Final = 2**64 - 1  # offset and length of a chunk that holds only fill
_CHECKSUM_BYTES: Final = 4
Index = NDArray[np.uint64]


def fetch(store: Store, wanted: Sequence[tuple[str, ByteRequest]]) -> list[bytes | None]:
    """Ranges of objects, all asked for at once; None where the store says that there is no such object.

    Raises `StoreError` if the store fails or takes longer than `READ_SECONDS`.
    """
    if not wanted:
        return []
    prototype = default_buffer_prototype()
    started = time.perf_counter()
    try:
        if isinstance(store, SupportsGetSync):
            buffers = [store.get_sync(key, prototype=prototype, byte_range=part) for key, part in wanted]
        else:

            async def all_of_them() -> list[Any]:
                return await asyncio.gather(*(store.get(key, prototype, part) for key, part in wanted))

            buffers = sync(all_of_them(), timeout=READ_SECONDS)
    except Exception as error:  # each kind of store has errors of its own, and all of them mean the same to a reader
        metrics.STORE_ERRORS.inc()
        raise StoreError(f"{store}: {type(error).__name__}: {error}") from error
    found = [None if buffer is None else buffer.to_bytes() for buffer in buffers]
    metrics.READ_SECONDS.observe(time.perf_counter() - started)
    metrics.READS.inc(len(wanted))
    metrics.READ_BYTES.inc(sum(len(part) for part in found if part is not None))
    return found


@dataclass(frozen=True)
class Shards:
    """What must be known of an array to read its inner chunks."""

    store: Store
    prefix: str  # of the keys of its shards
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]  # cells of an inner chunk by axis
    chunks: tuple[int, ...]  # inner chunks of a shard by axis
    compressed: bool

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> Shards | None:
        """The array's layout, None where it is another than ours."""
        metadata = array.metadata
        if not isinstance(metadata, ArrayV3Metadata) or len(metadata.codecs) != 1:
            return None
        codec = metadata.codecs[0]
        if not isinstance(codec, ShardingCodec) or array.shards is None or str(codec.index_location.value) != "end":
            return None
        inner, index = list(codec.codecs), list(codec.index_codecs)
        if [type(c) for c in index] != [BytesCodec, Crc32cCodec] or [type(c) for c in inner[:1]] != [BytesCodec]:
            return None
        if [type(c) for c in inner[1:]] not in ([], [ZstdCodec]) or metadata.chunk_key_encoding.name != "default":
            return None
        if metadata.chunk_key_encoding.to_dict().get("configuration", {}).get("separator", "/") != "/":  # type: ignore[union-attr]
            return None
        big = any(getattr(c.endian, "value", "little") == "big" for c in (inner[0], index[0]) if isinstance(c, BytesCodec))
        dtype = np.dtype(array.dtype)
        if big or dtype.hasobject:
            return None
        counts = tuple(s // c for s, c in zip(array.shards, array.chunks, strict=True))
        prefix = f"{array.path}/c" if array.path else "c"
        return cls(array.store, prefix, dtype, tuple(array.chunks), counts, len(inner) > 1)

    def place(self, chunk: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """The shard of an inner chunk (both as numbers by axis), and the row of the chunk in its index."""
        shard = tuple(c // n for c, n in zip(chunk, self.chunks, strict=True))
        row = 0
        for number, count in zip(chunk, self.chunks, strict=True):
            row = row * count + number % count
        return shard, row

    def _key(self, shard: tuple[int, ...]) -> str:
        return "/".join((self.prefix, *map(str, shard)))

    def indices(self, shards: Sequence[tuple[int, ...]]) -> list[Index]:
        """(chunks, 2) offset and length of the inner chunks of each shard; all absent where there is no shard."""
        count = prod(self.chunks)
        size = count * 16 + _CHECKSUM_BYTES
        tails = fetch(self.store, [(self._key(shard), SuffixByteRequest(size)) for shard in shards])
        found = []
        for shard, tail in zip(shards, tails, strict=True):
            if tail is None:
                found.append(np.full((count, 2), _ABSENT, np.uint64))
                continue
            index, checksum = tail[:-_CHECKSUM_BYTES], tail[-_CHECKSUM_BYTES:]
            if len(tail) != size or google_crc32c.value(index) != int.from_bytes(checksum, "little"):
                raise StoreError(f"{self._key(shard)}: the index of this shard is damaged.")
            found.append(np.frombuffer(index, "<u8").reshape(count, 2))
        return found

    def read(self, places: Sequence[tuple[tuple[int, ...], Index, int]], part: Any = ...) -> list[NDArray[Any] | None]:
        """`part` of the decoded inner chunks at (shard, its index, row in it); None for those that hold only fill."""
        present = [i for i, (_, index, row) in enumerate(places) if int(index[row, 1]) != _ABSENT]
        wanted: list[tuple[str, ByteRequest]] = []
        for i in present:
            shard, index, row = places[i]
            offset, length = int(index[row, 0]), int(index[row, 1])
            wanted.append((self._key(shard), RangeByteRequest(offset, offset + length)))
        found: list[NDArray[Any] | None] = [None] * len(places)
        for i, data, (key, _) in zip(present, fetch(self.store, wanted), wanted, strict=True):
            chunk = self._decode(data, key)[part]
            # Of a long chunk only what is asked for is kept: a copy, or the rest would stay behind it.
            found[i] = chunk if chunk.size * 2 > prod(self.chunk) else chunk.copy()
        return found

    def _decode(self, data: bytes | None, key: str) -> NDArray[Any]:
        """A chunk of `self.chunk`; raises `StoreError` for bytes that are none."""
        try:
            plain: Any = Zstd().decode(data) if self.compressed else data
            return np.frombuffer(plain, self.dtype).reshape(self.chunk)
        except (ValueError, RuntimeError, TypeError) as error:
            raise StoreError(f"{key}: a chunk of this shard is damaged ({error}).") from error
