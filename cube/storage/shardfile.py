"""One shard as a file: whether it is whole, told by its index alone (Zarr v3 `sharding_indexed`, index at the end)."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np

ABSENT = 2**64 - 1  # offset and length of an inner chunk that holds only fill


def is_whole_shard(file: Path, chunks: int) -> bool:
    """Whether a file ends in the index of a shard of `chunks` inner chunks (with its CRC-32C) that points within the file.

    A file that was cut off ends anywhere else, and no four bytes there are by chance a checksum of what stands before them.
    """
    size, length = file.stat().st_size, 16 * chunks
    if size < length + 4:
        return False
    with file.open("rb") as opened:
        opened.seek(size - length - 4)
        index, checksum = opened.read(length), opened.read(4)
    if google_crc32c.value(index) != int.from_bytes(checksum, "little"):
        return False
    offset, count = np.frombuffer(index, "<u8").reshape(-1, 2).T
    held = offset != ABSENT
    return bool((offset[held] + count[held] <= size - length - 4).all())
