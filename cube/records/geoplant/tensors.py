"""Plain tensors out of `.pt` files, without torch and without running anything that a pickle may ask for.

A `.pt` file is a zip of one pickle (which tensor, of which shape) and raw numbers. The pickle is read by an unpickler
that knows seven harmless names and refuses every other; torch's own `weights_only=True` allows more than this.
The room of the cube stays free of torch, and a worker that only reads is spared its seconds and memory.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import SourceError

# A published cube is 4 KB; nothing near these sizes is one.
PICKLE_BYTES: Final = 1 << 16
STORAGE_BYTES: Final = 1 << 26
LINK_BYTES: Final = 1024  # longest text that may be the target of a symbolic link

STORAGES: Final = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4",
    "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


@dataclass(frozen=True)
class _Storage:
    """Numbers of one type in the file's entry `data/<key>`."""

    dtype: str
    key: str


@dataclass(frozen=True)
class _View:
    """A tensor: strides over a storage, counted in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RefusedError(Exception):
    """The pickle asks for something that a plain tensor does not need."""


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _View:
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise _RefusedError("a tensor without a storage")
    return _View(storage, offset, tuple(shape), tuple(strides))


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("collections", "OrderedDict"):  # the tensor's empty list of hooks
            return dict
        raise _RefusedError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", str(dtype), str(key), str(), int()) if dtype in STORAGES.values():
                return _Storage(dtype, key)
        raise _RefusedError("an unknown kind of storage")


def read_tensor(path: str | Path) -> NDArray[Any]:
    """The one plain tensor of a `.pt` file as an array of its own dtype and shape, C-contiguous.

    Raises `SourceError` for a file that is truncated, a symbolic link that was unpacked as text, or holds anything
    but one tensor; nothing that a pickle names is ever imported or called.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _tensor_of(archive)
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file.") from None
    except _RefusedError as refused:
        raise SourceError(
            f"{path}: is not a plain tensor (its pickle asks for {refused}); it is refused, because reading it could run code."
        ) from None
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{path}: {_unreadable(path, error)}; fetch the file again.") from None
    # A damaged pickle may fail in any way that its bytes can spell.
    except Exception as error:
        raise SourceError(f"{path}: is not a tensor that torch saved ({type(error).__name__}: {error}).") from None


def _unreadable(path: Path, error: Exception) -> str:
    head = path.read_bytes()[: LINK_BYTES + 1] if path.is_file() else b""
    if len(head) <= LINK_BYTES and head.startswith(b"../") and head.isascii():
        return f"holds the text '{head.decode()}': a symbolic link that was unpacked as a file"
    return f"is truncated or not a file that torch saved ({error})"


def _tensor_of(archive: zipfile.ZipFile) -> NDArray[Any]:
    names = archive.namelist()
    pickles = [n for n in names if n.endswith("/data.pkl") or n == "data.pkl"]
    if len(pickles) != 1:
        raise zipfile.BadZipFile("no data.pkl inside")
    root = pickles[0].removesuffix("data.pkl")
    view = _PlainUnpickler(io.BytesIO(_entry(archive, pickles[0], PICKLE_BYTES))).load()
    if not isinstance(view, _View):
        raise _RefusedError(f"a {type(view).__name__} instead of a tensor")
    big = f"{root}byteorder" in names and _entry(archive, f"{root}byteorder", 16).strip() == b"big"
    data = _entry(archive, f"{root}data/{view.storage.key}", STORAGE_BYTES)
    dtype = np.dtype(view.storage.dtype)
    numbers = np.frombuffer(data, dtype.newbyteorder(">" if big else "<"))
    last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
    if 0 in view.shape:
        return np.zeros(view.shape, dtype)
    if last >= numbers.size:
        raise zipfile.BadZipFile("fewer numbers than its shape needs")
    if np.prod(view.shape, dtype=np.float64) * dtype.itemsize > STORAGE_BYTES:
        raise _RefusedError("more numbers than it holds")
    step = dtype.itemsize
    strided = np.lib.stride_tricks.as_strided(
        numbers[view.offset :], view.shape, [s * step for s in view.strides], writeable=False
    )
    return np.array(strided, dtype, order="C")


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise zipfile.BadZipFile(f"no {name} inside") from None
    if info.file_size > limit:
        raise _RefusedError(f"{info.file_size:,} bytes in {name}")
    return archive.read(info)
