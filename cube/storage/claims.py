"""One process at a time writes a unit: a lock of the operating system, which dies with whoever holds it.

The lock of a whole stage (`cube.storage.lock`) keeps two coordinators apart. It cannot speak for the workers of a
coordinator or scheduler that was killed: they finish what they were doing, while the next run may have begun the same
unit elsewhere. On object stores that is harmless, since an object appears whole and both would put the same values; on a
disk the Rust codecs write in place, and a late writer would open a hole in what a reader already follows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cube.storage import backends
from cube.storage.documents import Documents

SUFFIX: Final = ".claim"
# A filesystem that keeps no locks (some network mounts): then the lock of the stage has to do.
_WITHOUT: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


@contextmanager
def claimed(cube: Documents, stage: str, unit: str) -> Iterator[None]:
    """Hold `unit` of `stage` of a local cube, waiting for whoever holds it now; elsewhere nothing needs to be held.

    What is found afterwards may be new: look for a valid receipt once more before any work.
    """
    folder = backends.local_path(cube.url)
    if folder is None:
        yield
        return
    path = folder / "ledger" / stage / f".{unit}{SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int:
    """An open descriptor of `path` that holds its lock, and under whose name no newer file lies."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held it before has removed the file: then this lock is one that nobody else will ask for.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in _WITHOUT:
                return descriptor
            os.close(descriptor)
            raise
        os.close(descriptor)


def sweep(cube: Documents, stage: str) -> int:
    """Remove the files that killed processes left of their claims; those that are held stay. How many were removed."""
    import fcntl

    folder = backends.local_path(cube.url)
    if folder is None:
        return 0
    removed = 0
    for path in (folder / "ledger" / stage).rglob(f".*{SUFFIX}"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    path.unlink()
                    removed += 1
            finally:
                os.close(descriptor)
    return removed
