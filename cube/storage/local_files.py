"""Files on this disk: written whole or not at all, created by one writer only, temporary; and locks of the operating system."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

# A filesystem without locks (some network mounts): there whoever asks for one gets it.
_WITHOUT: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})

TEMPORARY: Final = "floracube-"  # names of temporary folders and of their locks begin with it


def write_file(target: Path, data: bytes) -> None:
    """Write `target` whole or not at all, whatever was there; a kill leaves at most a `.partial` file beside it."""
    _write_temporary(target, data).replace(target)
    _sync_folder(target.parent)


def create_file(target: Path, data: bytes) -> bool:
    """Write `target` whole, unless it is there already; whether it was written."""
    partial = _write_temporary(target, data)
    try:
        os.link(partial, target)  # fails where `target` exists, as a rename would not
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    _sync_folder(target.parent)
    return True


def _write_temporary(target: Path, data: bytes) -> Path:
    """A temporary file beside `target` that is safely on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return partial


def _sync_folder(folder: Path) -> None:
    """Make a rename or a new name survive a power cut; where a system cannot open folders, there is nothing to do."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def file_lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of the file `path`, waiting for whoever has it; the file is made for this and removed afterwards.

    It keeps processes and threads apart, also those on several hosts where the filesystem has locks among them, and ends
    with the process that holds it. Raises `BlockingIOError` without `wait` while another has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path, wait)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path, wait: bool) -> int:
    """An open descriptor of `path` that has its lock, and under whose name no newer file lies."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it before has removed the file: then this lock is one that nobody else will ask for.
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


def remove_free_lock(path: Path) -> bool:
    """Remove the file of a lock that a killed process left; False where somebody holds it or it is gone."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino != path.stat().st_ino:
            return False
        path.unlink()
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder in the system's folder of temporary files, removed afterwards.

    A killed process leaves its own, which the next process on this machine removes. Raises `OSError` where none can be made.
    """
    parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    folder = parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    with file_lock(folder.with_suffix(".lock")):
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@cache  # once a process
def _remove_abandoned(parent: Path) -> None:
    """Remove temporary folders whose process is gone: nobody has their lock."""
    for path in parent.glob(f"{TEMPORARY}*.lock"):
        if remove_free_lock(path):
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
