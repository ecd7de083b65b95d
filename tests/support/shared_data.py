"""Folders that are made once a run of pytest and read by all of its processes: landscapes, cubes, models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this run, filled by `make(folder)` in whichever process comes first; the others wait for it.

    Tests read it and leave it as it is; one that writes takes a copy. A `make` that fails leaves nothing behind, so that
    the next process tries again and shows the error, too.
    """
    base = factory.getbasetemp()
    if base.name.startswith("popen-"):  # a process of pytest-xdist: the parent is the folder of the run
        base = base.parent
    folder, finished = base / name, base / f"{name}.finished"
    with FileLock(base / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
