"""Plain tensors out of `.pt` files, without torch and without unpickling anything.

A `.pt` file is a zip of one pickle (which tensor, of which shape) and raw numbers. The operations of the pickle are read as
data: they become tuples, texts and whole numbers, and those are compared with the one form that a plain tensor has. Nothing
is imported, called or changed by what a file says, and each number is taken by an index that numpy checks.
The room of the cube stays free of torch, and a worker that only reads is spared its seconds and memory.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cube.errors import SourceError

# A published cube is 4 KB; nothing near these sizes is one.
PICKLE_BYTES: Final = 1 << 16
STORAGE_BYTES: Final = 1 << 26
LINK_BYTES: Final = 1024  # longest text that may be the target of a symbolic link

STORAGES: Final = {
    "torch FloatStorage": "f4",
    "torch DoubleStorage": "f8",
    "torch HalfStorage": "f2",
    "torch LongStorage": "i8",
    "torch IntStorage": "i4",
    "torch ShortStorage": "i2",
    "torch CharStorage": "i1",
    "torch ByteStorage": "u1",
    "torch BoolStorage": "?",
}
REBUILD: Final = "torch._utils _rebuild_tensor_v2"
HOOKS: Final = "collections OrderedDict"  # the tensor's empty list of hooks
VALUES: Final = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"})
TUPLES: Final = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Global(NamedTuple):
    """A name that a pickle would import."""

    name: str  # module, blank, attribute


class _Call(NamedTuple):
    """What a pickle would call; never called."""

    function: Any
    arguments: Any


class _Persistent(NamedTuple):
    """A reference to numbers beside the pickle."""

    key: Any


class _RefusedError(Exception):
    """The pickle asks for something that a plain tensor does not need."""


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
        raise SourceError(f"{path}: there is no such file; unpack the archive of its predictors anew.") from None
    except _RefusedError as refusal:
        raise SourceError(
            f"{path}: is not a plain tensor (its pickle asks for {refusal}); it is refused, fetch the published file again."
        ) from None
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{path}: {_unreadable(path, error)}; fetch the file again.") from None
    # A damaged pickle may fail in any way that its bytes can spell.
    except Exception as error:
        raise SourceError(
            f"{path}: is not a tensor that torch saved ({type(error).__name__}: {error}); unpack it anew."
        ) from None


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
    match _parse(_entry(archive, pickles[0], PICKLE_BYTES)):
        case _Call(
            _Global(name="torch._utils _rebuild_tensor_v2"),
            (
                _Persistent(("storage", _Global(name=storage), str(key), str(), int())),
                int(offset),
                tuple(shape),
                tuple(strides),
                bool(),
                _Call(_Global(name="collections OrderedDict"), ()),
            ),
        ) if storage in STORAGES:
            dtype = np.dtype(STORAGES[storage])
        case _:
            raise _RefusedError("something else than one tensor")
    numbers = [offset, *shape, *strides]
    if len(shape) != len(strides) or not all(type(n) is int and 0 <= n <= STORAGE_BYTES for n in numbers):
        raise _RefusedError(f"the shape {shape} in steps of {strides} from {offset}")
    if math.prod(shape) * dtype.itemsize > STORAGE_BYTES:
        raise _RefusedError(f"the shape {shape}, more than {STORAGE_BYTES:,} bytes")
    big = f"{root}byteorder" in names and _entry(archive, f"{root}byteorder", 16).strip() == b"big"
    data = _entry(archive, f"{root}data/{key}", STORAGE_BYTES)
    values = np.frombuffer(data, dtype.newbyteorder(">" if big else "<"))
    index = np.asarray(offset, np.int64)
    for length, step in zip(shape, strides, strict=True):
        index = index[..., None] + np.arange(length, dtype=np.int64) * step
    try:
        return values[index].astype(dtype, order="C")
    except IndexError:
        raise zipfile.BadZipFile("fewer numbers than its shape needs") from None


def _parse(pickle: bytes) -> Any:
    """What a pickle describes, as tuples, texts and whole numbers; raises `_RefusedError` for any other operation."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    marks: list[int] = []
    for operation, argument, _ in pickletools.genops(pickle):
        match operation.name:
            case "PROTO" | "FRAME":
                pass
            case name if name in VALUES:
                stack.append(argument)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation.name == "NEWTRUE")
            case "BINPUT":
                memo[argument] = stack[-1]
            case "BINGET":
                stack.append(memo[argument])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                start = marks.pop()
                stack[start:] = [tuple(stack[start:])]
            case name if name in TUPLES:
                start = len(stack) - TUPLES[name]
                stack[start:] = [tuple(stack[start:])]
            case "GLOBAL" if argument in (REBUILD, HOOKS, *STORAGES):
                stack.append(_Global(argument))
            case "GLOBAL":
                raise _RefusedError(str(argument).replace(" ", "."))
            case "BINPERSID":
                stack.append(_Persistent(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_Call(stack.pop(), arguments))
            case "STOP":
                return stack.pop()
            case name:
                raise _RefusedError(f"the operation {name}")
    raise _RefusedError("no end")


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise zipfile.BadZipFile(f"no {name} inside") from None
    if info.file_size > limit:
        raise _RefusedError(f"{info.file_size:,} bytes in {name}")
    return archive.read(info)
