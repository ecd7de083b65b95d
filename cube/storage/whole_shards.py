"""Shards: their keys, whether a file is a whole one, and one request that reads or writes a shard.

Zarr asks for the index of a shard and for each of its chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, StorePath, WrapperStore

from cube.storage import backends
from cube.storage.local_files import temporary_folder

if TYPE_CHECKING:
    from zarr.core.buffer import BufferPrototype

    from cube.storage.store import CubeStore


ABSENT = 2**64 - 1  # offset and length of an inner chunk that holds only fill


def is_whole_shard(file: Path, chunks: int) -> bool:
    """Whether a file ends in the index of a shard of `chunks` inner chunks (with its CRC-32C) that points within the file.

    A file that was cut off ends anywhere else, and no four bytes there are by chance a checksum of what stands before them.
    """
    size, length = file.stat().st_size, 16 * chunks
    if size < length + 4:
        return False
    with file.open("rb") as stream:
        stream.seek(size - length - 4)
        index, checksum = stream.read(length), stream.read(4)
    if google_crc32c.value(index) != int.from_bytes(checksum, "little"):
        return False
    offset, count = np.frombuffer(index, "<u8").reshape(-1, 2).T
    has_chunk = offset != ABSENT
    return bool((offset[has_chunk] + count[has_chunk] <= size - length - 4).all())


def shard_keys(array: zarr.Array[Any], selection: tuple[Any, ...]) -> Iterator[str]:
    """Keys below an array of the shards that a selection of slices and `...` touches."""
    lead = array.ndim - (len(selection) - selection.count(...))
    full_selection = [part for item in selection for part in ([slice(None)] * lead if item is ... else [item])]
    reach = []
    for part, length, side in zip(full_selection, array.shape, array.shards or array.chunks, strict=True):
        start, stop, _ = part.indices(length)
        reach.append(range(start // side, -(-stop // side)))
    for index in product(*reach):
        yield array.metadata.encode_chunk_key(index)


class WholeObjects(WrapperStore[Store]):
    """A store that fetches every object whole, and once until `forget`."""

    def __init__(self, store: Store) -> None:
        """Over `store`, with nothing fetched."""
        super().__init__(store)
        self._futures: dict[str, asyncio.Future[Buffer | None]] = {}

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The object (or part of it) as a buffer; None where the store says that there is none."""
        if key not in self._futures:
            self._futures[key] = asyncio.ensure_future(self._store.get(key, prototype))
        try:
            content = await self._futures[key]
        except BaseException:
            self._futures.pop(key, None)  # the next one asks again
            raise
        if content is None or byte_range is None:
            return content
        if isinstance(byte_range, RangeByteRequest):
            return content[byte_range.start : byte_range.end]
        if isinstance(byte_range, OffsetByteRequest):
            return content[byte_range.offset :]
        assert isinstance(byte_range, SuffixByteRequest)
        return content[max(0, len(content) - byte_range.suffix) :]

    def forget(self) -> None:
        """Let go of what was fetched."""
        self._futures.clear()


class MetadataOnce(WholeObjects):
    """A store that is asked once for each metadata document, for each column of labels and for what is in a folder.

    For who looks at a cube as it is at one moment; everything else is read as often as it is asked for.
    """

    def __init__(self, store: Store, whole_below: str | None = None) -> None:
        """Over `store`, with nothing fetched; what lies below the path `whole_below` is fetched whole and once, too."""
        super().__init__(store)
        self.whole_below = whole_below
        self._folders: dict[str, list[str]] = {}

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """As the store, from memory where it is small and was asked for before."""
        is_whole = self.whole_below is not None and key.startswith(f"{self.whole_below}/")
        if is_whole or key.endswith(("zarr.json", "/c", "/c/0")):  # of arrays without an axis or with one
            return await super().get(key, prototype, byte_range)
        return await self._store.get(key, prototype, byte_range)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names directly below `prefix`."""
        if prefix not in self._folders:
            self._folders[prefix] = [name async for name in self._store.list_dir(prefix)]
        for name in self._folders[prefix]:
            yield name


def with_metadata_once(cube: CubeStore, whole_below: str | None = None) -> CubeStore:
    """The same cube for reading, see `MetadataOnce`; on a disk, where what is small costs no request, as it is."""
    if backends.local_path(cube.url) is not None or "zarrs" in backends.io_backend(cube.url):
        return cube
    root = zarr.AsyncGroup(cube.root.metadata, StorePath(MetadataOnce(cube.root.store, whole_below)))
    return replace(cube, open_group=zarr.Group(root))


class UnreadObjects(WrapperStore[Store]):
    """A store of which nothing is read: Zarr fetches a shard before it writes all of it anew.

    `sizes` are the bytes of each object that was written through it, by its key; 0 of one that was removed.
    """

    def __init__(self, store: Store) -> None:
        """Over `store`, with nothing written."""
        super().__init__(store)
        self.sizes: dict[str, int] = {}

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object whole."""
        await self._store.set(key, value)
        self.sizes[key] = len(value)

    async def delete(self, key: str) -> None:
        """Remove an object: a shard of nothing but fill is none."""
        await self._store.delete(key)
        self.sizes[key] = 0

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """None."""
        return None


def overwrite(array: zarr.Array[Any], url: str, selection: tuple[Any, ...], values: NDArray[Any]) -> Mapping[str, int]:
    """Write whole shards of an array of the cube at `url`, whatever is in them.

    Returns the bytes of each object by its key; nothing where a disk tells them.
    """
    if backends.local_path(url) is not None or "zarrs" in backends.io_backend(url):
        array[selection] = values
        return {}
    store = UnreadObjects(array.store)
    if not (backends.encodes_in_folder() and _put_from_folder(store, array, selection, values)):
        _in_store(array, store)[selection] = values
    return store.sizes


def _put_from_folder(store: Store, array: zarr.Array[Any], selection: tuple[Any, ...], values: NDArray[Any]) -> bool:
    """Encode shards in a temporary folder and put them; False, with nothing put, where the folder is read-only or full."""
    with ExitStack() as stack:
        try:
            folder = str(stack.enter_context(temporary_folder()))
            _encode(array, folder, selection, values)
        except (OSError, RuntimeError):  # that of the Rust codecs; a fault of another kind comes again without the folder
            return False
        files = {key: Path(folder, key) for key in (f"{array.path}/{key}" for key in shard_keys(array, selection))}
        # Here and not at each put: a file that is missing later must not pass for a shard of fill.
        sync(_put(store, {key: file if file.is_file() else None for key, file in files.items()}))
    return True


def _encode(array: zarr.Array[Any], folder: str, selection: tuple[Any, ...], values: NDArray[Any]) -> None:
    """Write the shards of a selection below `folder`, by the Rust codecs."""
    backends.with_rust_codecs(_in_store(array, LocalStore(folder)), folder)[selection] = values


def _in_store(array: zarr.Array[Any], store: Store) -> zarr.Array[Any]:
    """The same array in another store."""
    return zarr.Array(zarr.AsyncArray(array.metadata, StorePath(store, array.path)))


async def _put(store: Store, files: Mapping[str, Path | None]) -> None:
    """Put files by their keys, and remove the objects of keys without one; when this leaves, no request is under way."""
    at_once = asyncio.Semaphore(zarr.config.get("async.concurrency"))

    async def put(key: str, file: Path | None) -> None:
        async with at_once:
            if file is None:  # of nothing but fill
                await store.delete(key)
            else:
                await store.set(key, default_buffer_prototype().buffer.from_bytes(file.read_bytes()))

    tasks = [asyncio.ensure_future(put(*each)) for each in files.items()]
    try:
        await asyncio.gather(*tasks)
    finally:  # the first failure leaves the others running
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class OpenArrays:
    """Arrays of a cube, whose metadata are read once for each of their groups; in a bucket, shards are read whole.

    For those who read all of a shard. On a disk a part of a file costs no request.
    """

    def __init__(self, cube: CubeStore) -> None:
        """Of `cube`, with nothing opened."""
        self.cube = cube
        self._groups: dict[str, dict[str, zarr.Array[Any]]] = {}
        self._objects = WholeObjects(cube.root.store) if backends.local_path(cube.url) is None else None

    def array(self, path: str) -> zarr.Array[Any]:
        """The array at `path`, as its group's metadata say; raises `CubeError` if there is none."""
        group, _, name = path.rpartition("/")
        if group not in self._groups:
            self._groups[group] = dict(self.cube.group(group).arrays())
        array = self._groups[group].get(name)
        return self.cube.array(path) if array is None else backends.with_rust_codecs(array, self.cube.url)

    def for_reading(self, path: str) -> zarr.Array[Any]:
        """The same, to read whole shards from."""
        array = self.array(path)
        if self._objects is None:
            return array
        return _in_store(array, self._objects)

    def forget(self) -> None:
        """Let go of the shards that were read."""
        if self._objects is not None:
            self._objects.forget()
