"""Inner chunks of a sharded array, read straight from the store: the index of a shard once, then ranges of bytes.

Zarr's own way asks for the index with every read and takes some milliseconds of Python around it; a tile has no more.
Only the layout that cubes are written in is read here (bytes, then zstd and, since checksums came, its CRC-32C; index at the
end); any other is refused.
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
from zarr.abc.metadata import Metadata
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest, SupportsGetSync
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.metadata import ArrayV3Metadata
from zarr.core.sync import sync

from cube.errors import CubeError
from server import metrics
from server.errors import DamagedError, StoreError

READ_SECONDS: Final = 15.0  # for the reads of one request together; a store that answers later counts as failing
EMPTY_CHUNK: Final[NDArray[Any]] = np.empty((0, 0), np.uint8)  # a chunk that holds only fill
_ABSENT: Final = 2**64 - 1  # offset and length of a chunk that holds only fill
_CHECKSUM_BYTES: Final = 4
Index = NDArray[np.uint64]


def fetch(store: Store, requests: Sequence[tuple[str, ByteRequest]]) -> list[memoryview | None]:
    """Ranges of objects, all asked for at once, as the store gave them, not copied; None where it says that there is no object.

    Raises `StoreError` if the store fails or takes longer than `READ_SECONDS`.
    """
    if not requests:
        return []
    prototype = default_buffer_prototype()
    start = time.perf_counter()
    try:
        if isinstance(store, SupportsGetSync):
            buffers = [store.get_sync(key, prototype=prototype, byte_range=part) for key, part in requests]
        else:

            async def all_of_them() -> list[Any]:
                return await asyncio.gather(*(store.get(key, prototype, part) for key, part in requests))

            buffers = sync(all_of_them(), timeout=READ_SECONDS)
    except Exception as error:  # each kind of store has errors of its own, and all of them mean the same to a reader
        metrics.STORE_ERRORS.inc()
        raise StoreError(f"{store}: {type(error).__name__}: {error}") from error
    bodies = [None if buffer is None else buffer.as_numpy_array().data for buffer in buffers]
    metrics.READ_SECONDS.observe(time.perf_counter() - start)
    metrics.READS.inc(len(requests))
    metrics.READ_BYTES.inc(sum(len(part) for part in bodies if part is not None))
    return bodies


def _option(part: Metadata, name: str, default: str) -> Any:
    """An option of a codec or key encoding as zarr.json spells it; the attribute is an enumeration before Zarr 3.4."""
    configuration: Any = part.to_dict().get("configuration", {})
    return configuration.get(name, default)


@dataclass(frozen=True)
class Shards:
    """What must be known of an array to read its inner chunks."""

    store: Store
    prefix: str  # of the keys of its shards
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]  # cells of an inner chunk by axis
    chunks: tuple[int, ...]  # inner chunks of a shard by axis
    compressed: bool
    has_crc: bool  # a CRC-32C follows each chunk; cubes of earlier versions have none

    @classmethod
    def from_array(cls, array: zarr.Array[Any]) -> Shards:
        """The array's layout; raises `CubeError` where it is another than ours."""
        metadata, dtype = array.metadata, np.dtype(array.dtype)
        codec = metadata.codecs[0] if isinstance(metadata, ArrayV3Metadata) and len(metadata.codecs) == 1 else None
        if not isinstance(codec, ShardingCodec) or not isinstance(metadata, ArrayV3Metadata) or array.shards is None:
            raise CubeError(f"{array.store_path}: the array is not sharded as floracube writes it; write it by floracube.")
        (first, *packing), (index, *checksum) = list(codec.codecs), list(codec.index_codecs)
        keys, kinds = metadata.chunk_key_encoding, [type(c) for c in packing]
        is_written_by_floracube = (
            [type(first), type(index)] == [BytesCodec, BytesCodec]
            and [type(c) for c in checksum] == [Crc32cCodec]
            and kinds in ([], [ZstdCodec], [Crc32cCodec], [ZstdCodec, Crc32cCodec])
            and (keys.name, _option(keys, "separator", "/"), _option(codec, "index_location", "end")) == ("default", "/", "end")
            and not any(_option(c, "endian", "little") == "big" for c in (first, index))
            and not dtype.hasobject
        )
        if not is_written_by_floracube:
            raise CubeError(f"{array.store_path}: the shards are not those that floracube writes; write the array by floracube.")
        counts = tuple(s // c for s, c in zip(array.shards, array.chunks, strict=True))
        prefix = f"{array.path}/c" if array.path else "c"
        return cls(array.store, prefix, dtype, tuple(array.chunks), counts, ZstdCodec in kinds, Crc32cCodec in kinds)

    def place(self, chunk: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """The shard of an inner chunk (both as numbers by axis), and the row of the chunk in its index."""
        shard = tuple(c // n for c, n in zip(chunk, self.chunks, strict=True))
        row = 0
        for number, count in zip(chunk, self.chunks, strict=True):
            row = row * count + number % count
        return shard, row

    def _key(self, shard: tuple[int, ...]) -> str:
        return "/".join((self.prefix, *map(str, shard)))

    def index_request(self, shard: tuple[int, ...]) -> tuple[str, ByteRequest]:
        """What to ask the store for the index of a shard."""
        return self._key(shard), SuffixByteRequest(prod(self.chunks) * 16 + _CHECKSUM_BYTES)

    def index_of(self, shard: tuple[int, ...], tail: memoryview | None) -> Index:
        """(chunks, 2) of the answer to `index_request`; of a shard that is not there all chunks are absent."""
        count = prod(self.chunks)
        if tail is None:
            return np.full((count, 2), _ABSENT, np.uint64)
        index, checksum = bytes(tail[:-_CHECKSUM_BYTES]), tail[-_CHECKSUM_BYTES:]
        if len(index) != count * 16 or google_crc32c.value(index) != int.from_bytes(checksum, "little"):
            raise DamagedError(
                f"{self._key(shard)}: the index of this shard is damaged; `floracube check` tells how to write it again."
            )
        return np.frombuffer(index, "<u8").reshape(count, 2)

    def chunk_request(self, shard: tuple[int, ...], index: Index, row: int) -> tuple[str, RangeByteRequest] | None:
        """What to ask the store for the inner chunk in a row of the index; None for one that holds only fill."""
        offset, length = int(index[row, 0]), int(index[row, 1])
        return None if length == _ABSENT else (self._key(shard), RangeByteRequest(offset, offset + length))

    def decode(self, data: memoryview | bytes | None, key: str) -> NDArray[Any]:
        """A chunk of `self.chunk`; raises `DamagedError` for bytes that are none."""
        if data is None:
            raise DamagedError(f"{key}: this shard is gone; see `floracube check`.")
        if self.has_crc:
            data, checksum = bytes(data[:-_CHECKSUM_BYTES]), data[-_CHECKSUM_BYTES:]
            if google_crc32c.value(data) != int.from_bytes(checksum, "little"):
                raise DamagedError(
                    f"{key}: a chunk of this shard is damaged (its checksum is another); see `floracube check --values`."
                )
        try:
            plain: Any = Zstd().decode(data) if self.compressed else data
            return np.frombuffer(plain, self.dtype).reshape(self.chunk)
        except (ValueError, RuntimeError) as error:
            raise DamagedError(f"{key}: a chunk of this shard is damaged ({error}); see `floracube check --values`.") from error
