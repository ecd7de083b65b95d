"""What values depend on, written as plain JSON, and its hash: the same on every machine and for every version of a library.

Of a file counts what is in it and not where it lies: a folder may move.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

MAX_HASHED_BYTES: Final = 2**20  # bytes; a larger file is known by its size, its time and its ends: a thousand tiles take seconds
END: Final = 2**16  # bytes at either end of a larger file
# What gives a raster its place, or a shapefile its meaning, beside the file itself.
SIDECARS: Final = (".tfw", ".wld", ".prj", ".shx", ".dbf", ".cpg")


def plain(value: Any) -> Any:
    """`value` as JSON takes it: numpy's scalars unwrapped, bytes by their SHA-256, days in ISO 8601, keys as text.

    Raises `TypeError` for anything whose text might change while its meaning does not, such as an object.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) + 0.0  # -0.0 is 0.0
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else json.dumps(plain(key)): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    raise TypeError(f"{type(value).__name__} has no canonical form; give its fields as plain values")


def canonical(document: Any) -> str:
    """The one text of a document of plain values: sorted keys, no blanks, floats by `repr(float())`."""
    return json.dumps(plain(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(document: Any) -> str:
    """Short hash of a document of plain values."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()[:16]


def file_identity(path: str) -> Any:
    """What is known of the content of `path`: of a local file and its sidecars, of the files of a folder; else the path.

    A file of up to a megabyte is read; of a larger one its size, its time and its ends count, so one that was moved or
    copied with its time is the same. None where there is nothing.
    """
    if "://" in path or path.startswith("/vsi"):
        return path
    local = Path(path)
    if local.is_dir():
        return {file.name: _content(file) for file in sorted(local.iterdir()) if file.is_file()}
    if not local.is_file():
        return None
    sidecars = {s: _content(file) for s in SIDECARS if (file := local.with_suffix(s)) != local and file.is_file()}
    return {"content": _content(local), "beside": sidecars} if sidecars else _content(local)


def _content(path: Path) -> list[Any]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size <= MAX_HASHED_BYTES:
            return [status.st_size, plain(file.read())]
        head = file.read(END)
        file.seek(-END, os.SEEK_END)
        return [status.st_size, status.st_mtime_ns, plain(head + file.read())]


def file_identities(paths: Iterable[str]) -> dict[str, Any]:
    """The identity of each of `paths` by its path, asked once."""
    return {path: file_identity(path) for path in dict.fromkeys(paths)}
