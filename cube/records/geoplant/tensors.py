"""Plain tensors out of `.pt` files by torch, which loads weights alone: a pickle that names anything else is refused, not run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cube.errors import SourceError

MOST_BYTES: Final = 1 << 26  # a published cube is 4 KB
LINK_BYTES: Final = 1024  # longest text that may be the target of a symbolic link


def read_tensor(path: str | Path) -> NDArray[Any]:
    """The one plain tensor of a `.pt` file as an array of its own dtype and shape, C-contiguous.

    Raises `SourceError` for a file that is truncated, a symbolic link that was unpacked as text, or holds anything
    but one tensor.
    """
    import torch  # imported here: whoever reads tables and rasters alone is spared its seconds and memory

    path = Path(path)
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file; unpack the archive of its predictors anew.")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST_BYTES:
            raise SourceError(f"{path}: is not a plain tensor ({size:,} bytes); it is refused, fetch the published file again.")
        tensor = torch.load(path, map_location="cpu", weights_only=True)
        if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided:
            raise SourceError(
                f"{path}: is not a plain tensor ({type(tensor).__name__}); it is refused, fetch the published file again."
            )
        return np.ascontiguousarray(tensor.detach().numpy())
    except zipfile.BadZipFile:
        raise SourceError(f"{path}: {_no_archive(path)}; fetch the file again.") from None
    except SourceError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way that its bytes can spell
        reason = " ".join(str(error).split())[:200]
        raise SourceError(f"{path}: is not a plain tensor ({reason}); it is refused, fetch the published file again.") from None


def _no_archive(path: Path) -> str:
    head = path.read_bytes()[: LINK_BYTES + 1]
    if len(head) <= LINK_BYTES and head.startswith(b"../") and head.isascii():
        return f"holds the text '{head.decode()}': a symbolic link that was unpacked as a file"
    return "is truncated or not a file that torch saved"
