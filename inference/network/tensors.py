"""Named arrays of a model folder as safetensors: written so that all may read them whom the umask lets read other files.

Whatever a damaged file of the folder raises when it is read becomes one sentence here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cube.errors import ModelError


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Replace the file at `path` by named torch tensors on the CPU, or named numpy arrays; each contiguous.

    safetensors makes its files readable by their owner alone (mode 0600), whatever the umask; a model is read by workers
    and servers that may be other users. Raises: OSError.
    """
    import safetensors.numpy
    import safetensors.torch

    path.unlink(missing_ok=True)
    path.touch()  # tells what the umask allows, without setting it for all threads
    mode = path.stat().st_mode
    arrays = all(isinstance(values, np.ndarray) for values in tensors.values())
    write: Any = safetensors.numpy.save_file if arrays else safetensors.torch.save_file
    write(dict(tensors), path, metadata)
    path.chmod(mode & 0o7777)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The named numpy arrays of the file at `path`, all of 32-bit floats.

    Raises: what reading raises; ValueError for an array of another type, on which every unit would fail.
    """
    from safetensors.numpy import load_file

    tensors: dict[str, NDArray[Any]] = load_file(path)
    for name, values in tensors.items():
        if values.dtype != np.float32:
            raise ValueError(f"{name} of the type {values.dtype}, expected float32")
    return tensors


@contextmanager
def model_errors(path: Path) -> Iterator[None]:
    """While the file at `path` of a model folder is read. Raises: ModelError where it is absent, damaged or of another form."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: is damaged or missing ({error}); run `floracube train` again.") from error
