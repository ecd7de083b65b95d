"""One shard as a file: its key, and whether it is whole, told by its index (Zarr v3 `sharding_indexed`, index at the end)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr

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
