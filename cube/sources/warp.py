"""Plain rasters of any CRS onto the grid: exact averaging downwards, bilinear upwards, majority for classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rasterio
import rasterio.errors
import rasterio.warp
import rasterio.windows
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.warp import reproject, transform_bounds

from cube import grid
from cube.errors import SourceError

BANDS_AT_ONCE = 21  # bounds the memory of a warp of 84 or 228 bands


@contextmanager
def open_raster(path: str, where: str) -> Iterator[DatasetReader]:
    """Open a raster for reading; `where` names the configuration key in the sentence of a `SourceError`."""
    try:
        dataset = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        text = str(error)
        missing = "No such file" in text or "does not exist" in text
        reason = "there is no such file" if missing else f"cannot be read as a raster ({text})"
        raise SourceError(f"{path}: {reason}; check {where}.") from None
    try:
        if dataset.crs is None:
            raise SourceError(
                f"{path}: the raster has no CRS; write it into the file, for example with"
                f" `gdal_edit.py -a_srs EPSG:4326 {path}` ({where})."
            )
        yield dataset
    finally:
        dataset.close()


def check_raster(path: str, where: str, bands: int, bounds: tuple[int, int, int, int]) -> None:
    """Refuse, before any work, a raster with fewer than `bands` bands or that lies outside `bounds` (EPSG:3035, m)."""
    with open_raster(path, where) as dataset:
        if dataset.count < bands:
            raise SourceError(f"{path}: has {dataset.count} bands, {where} needs {bands}.")
        left, bottom, right, top = transform_bounds(grid.EPSG, dataset.crs, *bounds)
        b = dataset.bounds
        if left > b.right or right < b.left or bottom > max(b.top, b.bottom) or top < min(b.top, b.bottom):
            raise SourceError(f"{path}: does not touch the region; check {where} and the region's kilometres.")


def _pixel_in_metres(dataset: DatasetReader, centre: tuple[float, float]) -> float:
    """Size of a source pixel near `centre` (EPSG:3035), in metres of the grid."""
    x, y = rasterio.warp.transform(grid.EPSG, dataset.crs, [centre[0]], [centre[1]])
    dx, dy = abs(dataset.transform.a), abs(dataset.transform.e)
    px, py = rasterio.warp.transform(dataset.crs, grid.EPSG, [x[0], x[0] + dx, x[0]], [y[0], y[0], y[0] + dy])
    return float(min(np.hypot(px[1] - px[0], py[1] - py[0]), np.hypot(px[2] - px[0], py[2] - py[0])))


def _resampling(name: str, dataset: DatasetReader, transform: Affine, centre: tuple[float, float],
                classes: bool) -> Resampling:  # fmt: skip
    if name != "auto":
        return Resampling[name]
    finer = _pixel_in_metres(dataset, centre) < abs(transform.a) * 0.999
    if classes:
        return Resampling.mode if finer else Resampling.nearest
    return Resampling.average if finer else Resampling.bilinear


def _with_absent(
    dataset: DatasetReader, bands: Sequence[int], absent: float, transform: Affine, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """The source's pixels around the target with `absent` filled in, and what `reproject` must know of them."""
    west, north = transform.c, transform.f
    east, south = west + transform.a * shape[1], north + transform.e * shape[0]
    bounds = transform_bounds(grid.EPSG, dataset.crs, west, south, east, north)
    window = rasterio.windows.from_bounds(*bounds, transform=dataset.transform)
    window = rasterio.windows.Window(
        np.floor(window.col_off) - 2,
        np.floor(window.row_off) - 2,
        np.ceil(window.width) + 5,
        np.ceil(window.height) + 5,
    )
    values = dataset.read(list(bands), window=window, boundless=True, masked=True).astype(np.float32).filled(np.nan)
    known = np.isfinite(values).any(axis=0)
    values = np.where(np.isnan(values) & known, np.float32(absent), values)
    about = {"src_transform": dataset.window_transform(window), "src_crs": dataset.crs, "src_nodata": np.nan}
    return values, about


def read_raster(
    path: str,
    where: str,
    transform: Affine,
    shape: tuple[int, int],
    bands: Sequence[int],
    classes: bool = False,
    resampling: str = "auto",
    absent: float | None = None,
) -> NDArray[np.float32]:
    """Bands of a raster on the grid given by `transform` (EPSG:3035) and `shape`.

    Returns (bands, rows, columns) float32 in the raster's own values times its band scale, NaN where it has none.
    A continuous source finer than the target is averaged over all its valid pixels, a coarser one is
    interpolated bilinearly; classes are taken by majority or nearest. `absent` stands for a band without data
    where another of the bands has some (a land cover class that does not occur), before anything is resampled.
    """
    out = np.full((len(bands), *shape), np.nan, np.float32)
    centre = (transform.c + transform.a * shape[1] / 2, transform.f + transform.e * shape[0] / 2)
    with open_raster(path, where) as dataset:
        if max(bands) > dataset.count:
            raise SourceError(f"{path}: has {dataset.count} bands, {where} asks for band {max(bands)}.")
        method = _resampling(resampling, dataset, transform, centre, classes)
        given: dict[str, Any] = {}
        if absent is not None:
            filled, given = _with_absent(dataset, bands, absent, transform, shape)
        for start in range(0, len(bands), BANDS_AT_ONCE):
            some = list(bands[start : start + BANDS_AT_ONCE])
            try:
                reproject(
                    rasterio.band(dataset, some) if absent is None else filled[start : start + len(some)],
                    out[start : start + len(some)],
                    **given,
                    dst_transform=transform,
                    dst_crs=f"EPSG:{grid.EPSG}",
                    dst_nodata=np.nan,
                    resampling=method,
                    # An approximated warp may shift a pixel by an eighth; cells are worth the exact one.
                    tolerance=0.01,
                )
            except rasterio.errors.RasterioError as error:
                raise SourceError(f"{path}: cannot be read ({error}); the file may be damaged ({where}).") from None
        scales = [dataset.scales[b - 1] for b in bands]
        offsets = [dataset.offsets[b - 1] for b in bands]
    if any(s != 1.0 for s in scales) or any(o != 0.0 for o in offsets):
        out *= np.asarray(scales, np.float32)[:, None, None]
        out += np.asarray(offsets, np.float32)[:, None, None]
    return out
