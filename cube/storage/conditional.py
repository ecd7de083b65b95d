"""Conditional writes: an object is replaced only if it is still what was read, on every store that a cube can lie on.

S3, Google and Azure decide that themselves (`If-Match`, generations, `If-None-Match`); fsspec has no such writes for the last
two, so there obstore puts. On a disk a lock of the operating system stands around compare and replace, in memory one of the
process. All else of a document is read and written in `cube.storage.documents`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from cube.errors import CubeError
from cube.storage import backends
from cube.storage.local_files import create_file, file_lock, write_file

_MEMORY: Final = threading.Lock()


@dataclass(frozen=True)
class Content:
    """What an object held when it was read, None where it was not there, and the names of this state at its store."""

    data: bytes | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


ABSENT: Final = Content()


def read(url: str, name: str) -> Content:
    """The object `name` below `url`. A store that fails is an `OSError` that names the object."""
    try:
        if backends.scheme(url) in backends.PUT_BY_OBSTORE:
            return _read_by_obstore(url, name)
        filesystem, base = backends.filesystem(url)
        tags = {}
        if backends.scheme(url) == "s3":
            # Asked before the data are read: a change in between fails the condition.
            tags["IfMatch"] = str(filesystem.info(f"{base}/{name}", refresh=True)["ETag"])
        return Content(bytes(filesystem.cat_file(f"{base}/{name}")), tags)
    except CubeError:
        raise
    except Exception as error:
        if backends.is_absent(error):
            return ABSENT
        raise backends.with_name(error, f"{url}/{name}") from error


def replace(url: str, name: str, expected: Content, data: bytes, remove: bool = False) -> bool:
    """Write `data` if the object is still as it was read `expected`; False, and nothing written, if another writer was first.

    What was `ABSENT` is written only where there is no object yet. With `remove` the object is removed instead, where the
    store does that under a condition; the clouds get `data`. A store that fails is an `OSError` that names the object.
    """
    try:
        if backends.scheme(url) in backends.PUT_BY_OBSTORE:
            return _put_by_obstore(url, name, expected, data)
        if backends.scheme(url) == "s3":
            filesystem, base = backends.filesystem(url)
            conditions = {"mode": "create"} if expected.data is None else dict(expected.tags)
            filesystem.pipe_file(f"{base}/{name}", data, CacheControl=backends.NO_STORE, **conditions)
            return True
        with _alone(url, name):
            return _compare_and_write(url, name, expected, None if remove else data)
    except CubeError:
        raise
    except Exception as error:
        if _beaten(error):
            return False
        raise backends.with_name(error, f"{url}/{name}") from error


def _compare_and_write(url: str, name: str, expected: Content, data: bytes | None) -> bool:
    """To be called while nobody else does the same to this object; without `data` it is removed."""
    folder = backends.local_path(url)
    if folder is not None and expected.data is None and data is not None:
        return create_file(folder / name, data)
    if read(url, name).data != expected.data:
        return False
    filesystem, base = backends.filesystem(url)
    if data is None:
        filesystem.rm_file(f"{base}/{name}")
    elif folder is not None:
        write_file(folder / name, data)
    else:
        filesystem.pipe_file(f"{base}/{name}", data)
    return True


@contextmanager
def _alone(url: str, name: str) -> Iterator[None]:
    folder = backends.local_path(url)
    if folder is None:
        with _MEMORY:
            yield
        return
    target = folder / name
    with file_lock(target.with_name(f".{target.name}.claim")):
        yield


def _read_by_obstore(url: str, name: str) -> Content:
    answer = backends.object_store(url).get(name)
    tags = {key: str(answer.meta[key]) for key in ("e_tag", "version") if answer.meta.get(key) is not None}
    return Content(bytes(answer.bytes()), tags)


def _put_by_obstore(url: str, name: str, expected: Content, data: bytes) -> bool:
    mode: Any = "create" if expected.data is None else dict(expected.tags)
    backends.object_store(url).put(name, data, mode=mode, attributes={"Cache-Control": backends.NO_STORE})
    return True


def _beaten(error: BaseException | None) -> bool:
    """Whether a put failed since its condition did: another writer was first."""
    while error is not None:
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if isinstance(error, FileExistsError) or code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
            return True
        if type(error).__name__ in ("AlreadyExistsError", "PreconditionError"):  # of obstore, which may not be installed
            return True
        error = error.__cause__
    return False
