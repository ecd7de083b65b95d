"""How named arrays are written: as safetensors that all may read whom the process's umask lets read its other files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


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
