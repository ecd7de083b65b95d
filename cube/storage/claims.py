"""One process at a time writes a unit: a lock of the operating system, which dies with whoever holds it.

The lock of a whole stage (`cube.storage.lock`) keeps two coordinators apart. It cannot speak for the workers of a
coordinator or scheduler that was killed: they finish what they were doing, while the next run may have begun the same
unit elsewhere. On object stores that is harmless, since an object appears whole and both would put the same values; on a
disk the Rust codecs write in place, and a late writer would open a hole in what a reader already follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cube.storage import backends
from cube.storage.documents import Documents
from cube.storage.local_files import file_lock, remove_free_lock

SUFFIX: Final = ".claim"


@contextmanager
def claimed(cube: Documents, stage: str, unit: str) -> Iterator[None]:
    """Hold `unit` of `stage` of a local cube, waiting for whoever holds it now; elsewhere nothing needs to be held.

    What is found afterwards may be new: look for a valid receipt once more before any work.
    """
    folder = backends.local_path(cube.url)
    if folder is None:
        yield
        return
    with file_lock(folder / "ledger" / stage / f".{unit}{SUFFIX}"):
        yield


def sweep(cube: Documents, stage: str) -> int:
    """Remove the files that killed processes left of their claims; those that are held stay. How many were removed."""
    folder = backends.local_path(cube.url)
    return sum(map(remove_free_lock, (folder / "ledger" / stage).rglob(f".*{SUFFIX}"))) if folder is not None else 0
