"""How the allocator of the C library keeps memory that was given back to it."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

# Of images and windows: what is smaller, such as the arrays of a map tile, is quicker to have again than to ask the system for.
MMAP_BYTES: Final = 2**20  # bytes
_MMAP_THRESHOLD: Final = -3  # of glibc's malloc.h


def give_back_large_arrays() -> None:
    """Have arrays of `MMAP_BYTES` bytes and more return to the system when they are freed.

    glibc does so until one of them is freed, then takes its size for the new threshold (up to 32 MiB): large arrays come to lie
    between small ones, and their place stays with the process. Other C libraries have no such call.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, MMAP_BYTES)
