"""A finished demo cube in the user's cache: downloaded as a zip archive, or made once; what `floracube try` serves."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import fsspec

from cube.errors import CubeError
from cube.storage.root import FORMAT
from cube.storage.store import open_cube
from demo import regions

SIZE_KM: Final = 10
CUBE: Final = "cube.zarr"
REGIONS: Final = regions.FILE
KEPT_FILES: Final = (CUBE, REGIONS)  # of what a demo writes; its sources and models are removed


def cache_folder(version: str) -> Path:
    """The folder of the finished demo of this version and cube format: below `XDG_CACHE_HOME`, by default `~/.cache`."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "floracube" / f"demo-{SIZE_KM}km-{version}-{FORMAT}"


def cached_demo(folder: Path, url: str | None, make: Callable[[Path], object], report: Callable[[str], None]) -> Path:
    """`folder` with `cube.zarr` and `regions.geojson`, downloaded from `url` or made by `make(folder beside it)`.

    The folder appears at once and complete: an interrupted download is repeated, an interrupted demo resumes. Raises
    `CubeError` where the archive cannot be read or holds no cube, or the cache cannot be written.
    """
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        if url:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            report(f"downloading {url}")
            _download(url, partial)
        else:
            partial.mkdir(parents=True, exist_ok=True)
            report(f"making the demo of {SIZE_KM} km in {partial}, once")
            make(partial)
        for path in partial.iterdir():
            if path.name not in KEPT_FILES:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        partial.rename(folder)
    except OSError as error:
        raise CubeError(
            f"{folder}: the demo cube cannot be written there ({error}); set XDG_CACHE_HOME to another folder."
        ) from None
    return folder


def _download(url: str, folder: Path) -> None:
    archive = folder / "archive.zip"
    try:
        with fsspec.open(url, "rb") as source, archive.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)  # checks the checksum of every member and keeps to the folder
        open_cube(str(folder / CUBE))
    except (OSError, zipfile.BadZipFile, ValueError, CubeError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise CubeError(
            f"{url}: no zip archive with {CUBE} can be read there ({error}); correct --url or leave it out."
        ) from None
