"""Scores that take long are kept as files, so that what was stopped goes on where it was and more can be added."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def remembered(folder: Path | None, name: str, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """What `compute` gave before under `name`, or gives now; written whole or not at all. Without a folder nothing is kept."""
    if folder is None:
        return compute()
    path = folder / f"{name}.npy"
    if not path.is_file():
        values = compute()
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, values)
        partial.replace(path)
    return np.asarray(np.load(path, allow_pickle=False), np.float32)
