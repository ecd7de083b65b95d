"""Rasters opened for reading, here or far away: what is absent, what cannot be read, and what has no place on Earth."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import rasterio
import rasterio.errors
from rasterio.io import DatasetReader

from cube.errors import SourceError
from cube.sources import georeference
from cube.sources.raster_grid import RasterGrid

HTTP: Final[Mapping[str, Any]] = {
    # A server that is busy answers a moment later; what lasts longer is tried again with the whole unit.
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    # GDAL's own list leaves out 500, which object stores give for an overloaded part of theirs.
    "GDAL_HTTP_RETRY_CODES": "408,429,500,502,503,504",
    # A connection that died silently must not hold its worker for ever: 10 s to be there, then 1 kB a second over 30 s.
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
}
# A folder of a thousand months would be listed for each of them; sidecar files are still looked for by name.
GDAL: Final[Mapping[str, Any]] = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", **HTTP}
REMOTE: Final = "/vsicurl/:/vsicurl?:/vsis3/:/vsigs/:/vsiaz/"
MAX_NAMES: Final = 12  # variables that a sentence lists


def is_remote(path: str) -> bool:
    """Whether a path is an address."""
    return "://" in path or path.startswith("/vsi")


def _open_once(path: str) -> DatasetReader:
    try:
        with rasterio.Env(**GDAL), warnings.catch_warnings():
            # What has no georeferencing is refused by a sentence of ours.
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            return rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        if not is_remote(path) or is_absent(str(error)):
            raise
        # GDAL remembers that a file was not to be had, even for a passing 500: whoever tries again must ask anew.
        with rasterio.Env(**GDAL, CPL_VSIL_CURL_NON_CACHED=REMOTE):
            return rasterio.open(path)


@contextmanager
def open_raster(path: str, where: str, region: RasterGrid | None = None) -> Iterator[DatasetReader]:
    """Open a raster for reading; `where` names the configuration key in the sentence of a `SourceError`.

    `region` helps to say which CRS a raster without one may have.
    """
    try:
        dataset = _open_once(path)
    except rasterio.errors.RasterioIOError as error:
        text = str(error)
        reason = "there is no such file" if is_absent(text) else f"cannot be read as a raster ({text})"
        raise SourceError(f"{path}: {reason}; check {where}.") from None
    try:
        if dataset.subdatasets and not dataset.count:
            names = [name.rsplit(":", 1)[-1].lstrip("/") for name in dataset.subdatasets]
            names_text = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
            raise SourceError(
                f"{path}: holds several variables ({names_text}); write the one that is wanted into a file, for example with"
                f" `gdal_translate {shlex.quote(dataset.subdatasets[0])} {names[0]}.tif` ({where})."
            )
        crs = georeference.crs_of(dataset)
        if crs is None and not dataset.transform.is_identity:
            raise SourceError(f"{path}: the raster has no CRS; {georeference.advice(dataset, region)} ({where}).")
        if dataset.transform.determinant == 0 or dataset.transform.is_identity:
            raise SourceError(
                f"{path}: the raster has no georeferencing (gcps or rpcs alone are not read); warp it to a grid first,"
                f" for example with `gdalwarp {shlex.quote(path)} warped.tif` ({where})."
            )
        if not (crs.is_geographic or crs.is_projected):
            raise SourceError(
                f"{path}: its CRS says neither degrees nor a projection of the Earth; write the one that its documentation"
                f" names with {georeference.edit_command(dataset, '-a_srs EPSG:<code>')} ({where})."
            )
        yield dataset
    finally:
        dataset.close()


def unreadable(dataset: DatasetReader, where: str, error: Exception) -> SourceError:
    """The sentence for pixels that cannot be read: GDAL's reason, which of a VRT names the file behind it."""
    reason = str(error.__cause__ or error).splitlines()[0]
    return SourceError(f"{dataset.name}: cannot be read ({reason}); the file may be damaged ({where}).")


def files_behind(paths: Sequence[str], where: str) -> list[str]:
    """The paths and, of virtual rasters among them, the files that hold their pixels."""
    out, ahead = dict.fromkeys(paths), list(paths)
    while ahead:
        path = ahead.pop()
        if path.lower().endswith(".vrt"):
            with open_raster(path, where) as dataset:
                new = [file for file in dataset.files if file not in out]
            out |= dict.fromkeys(new)
            ahead += new
    return list(out)


def is_absent(text: str) -> bool:
    """Whether GDAL's words say that a file is not there, which is not the same as that it cannot be reached now."""
    return any(words in text for words in ("No such file", "does not exist", "HTTP response code: 404", "NoSuchKey"))


def raster_exists(path: str, where: str) -> bool:
    """Whether a tile exists; raises `SourceError` where that cannot be found out, so that trouble is never a hole."""
    if not is_remote(path):
        return os.path.exists(path)
    try:
        _open_once(path).close()
    except rasterio.errors.RasterioIOError as error:
        if is_absent(str(error)):
            return False
        raise SourceError(f"{path}: cannot be read as a raster ({error}); check {where}.") from None
    return True
