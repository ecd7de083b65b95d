"""Rasters of any CRS onto the grid: their no-data rules first, then exact averaging downwards, bilinear upwards, majority."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.errors
import rasterio.warp
import rasterio.windows
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.warp import transform_bounds

from cube import grid
from cube.errors import SourceError
from cube.sources import resample
from cube.sources.resample import Piece, Positions

BANDS_AT_ONCE: Final = 21  # bounds the memory of 84 or 228 bands
BLOCK_KM: Final = 20  # and this that of a unit of 80 km out of 10 m pixels
FINER: Final = 1.001  # pixels a cell: an equal grid is interpolated, which leaves it as it is
GDAL: Final[Mapping[str, Any]] = {
    # A folder of a thousand months would be listed for each of them; sidecar files are still looked for by name.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # A server that is busy answers a moment later; what lasts longer is tried again with the whole unit.
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_HTTP_RETRY_CODES": "408,429,500,502,503,504",  # GDAL's own list leaves out 500
    "GDAL_HTTP_CONNECTTIMEOUT": 10,  # a connection that died silently must not hold its worker for ever
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
}
REMOTE: Final = "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/"
MARGIN: Final = 2  # pixels around a window, for the neighbours of bilinear

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PixelRules:
    """What a pixel's number means before anything is resampled.

    `nodata` are numbers that mean no data besides the file's own, `valid` the range outside of which there is none
    either, `recode` turns some numbers into others, `known` keeps those numbers alone; `raw` leaves the file's own
    scale and offset unused.
    """

    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None
    recode: Mapping[int, int] = field(default_factory=dict)
    known: frozenset[int] = frozenset()
    raw: bool = False

    def apply(self, values: Floats) -> Floats:
        """Raw numbers (NaN: the file's own no data) to numbers that mean something, NaN where there is no data."""
        for number in self.nodata:
            values = np.where(values == np.float32(number), np.float32(np.nan), values)
        if self.valid is not None:
            with np.errstate(invalid="ignore"):
                values = np.where((values < self.valid[0]) | (values > self.valid[1]), np.float32(np.nan), values)
        if self.recode:
            before = values
            values = values.copy()
            for number, meaning in self.recode.items():
                values[before == number] = meaning
        if self.known:
            values = np.where(np.isin(values, list(self.known)), values, np.float32(np.nan))
        return values


AS_FILED: Final = PixelRules()


def is_remote(path: str) -> bool:
    """Whether a path is an address."""
    return "://" in path or path.startswith("/vsi")


def _opened(path: str) -> DatasetReader:
    try:
        with rasterio.Env(**GDAL):
            return rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        if not is_remote(path) or is_absent(str(error)):
            raise
        # GDAL remembers that a file was not to be had, even for a passing 500: whoever tries again must ask anew.
        with rasterio.Env(**GDAL, CPL_VSIL_CURL_NON_CACHED=REMOTE):
            return rasterio.open(path)


@contextmanager
def open_raster(path: str, where: str) -> Iterator[DatasetReader]:
    """Open a raster for reading; `where` names the configuration key in the sentence of a `SourceError`."""
    try:
        dataset = _opened(path)
    except rasterio.errors.RasterioIOError as error:
        text = str(error)
        reason = "there is no such file" if is_absent(text) else f"cannot be read as a raster ({text})"
        raise SourceError(f"{path}: {reason}; check {where}.") from None
    try:
        if dataset.crs is None:
            raise SourceError(
                f"{path}: the raster has no CRS; write it into the file, for example with"
                f" `gdal_edit.py -a_srs EPSG:4326 {path}` ({where})."
            )
        if dataset.transform.determinant == 0 or dataset.transform.is_identity:
            raise SourceError(
                f"{path}: the raster has no georeferencing (gcps or rpcs alone are not read); warp it to a grid first,"
                f" for example with `gdalwarp {path} warped.tif` ({where})."
            )
        yield dataset
    finally:
        dataset.close()


def is_absent(text: str) -> bool:
    """Whether GDAL's words say that a file is not there, which is not the same as that it cannot be reached now."""
    return any(words in text for words in ("No such file", "does not exist", "HTTP response code: 404", "NoSuchKey"))


def is_there(path: str, where: str) -> bool:
    """Whether a tile exists; raises `SourceError` where that cannot be found out, so that trouble is never a hole."""
    if not is_remote(path):
        return os.path.exists(path)
    try:
        _opened(path).close()
    except rasterio.errors.RasterioIOError as error:
        if is_absent(str(error)):
            return False
        raise SourceError(f"{path}: cannot be read as a raster ({error}); check {where}.") from None
    return True


def check_raster(path: str, where: str, bands: int, bounds: tuple[int, int, int, int] | None) -> None:
    """Refuse, before any work, a raster with fewer than `bands` bands or that lies outside `bounds` (EPSG:3035, m)."""
    with open_raster(path, where) as dataset:
        if dataset.count < bands:
            raise SourceError(f"{path}: has {dataset.count} bands, {where} needs {bands}.")
        if bounds is None:
            return
        left, bottom, right, top = transform_bounds(grid.EPSG, dataset.crs, *bounds)
        corners = [moved(dataset.transform, row, col) for row in (0, dataset.height) for col in (0, dataset.width)]
        x, y = [corner.c for corner in corners], [corner.f for corner in corners]
        if left > max(x) or right < min(x) or bottom > max(y) or top < min(y):
            raise SourceError(f"{path}: does not touch the region; check {where} and the region's kilometres.")


def moved(transform: Affine, row: float, col: float) -> Affine:
    """The transform of the window that begins at pixel (row, col)."""
    t = transform
    return Affine(t.a, t.b, t.c + t.a * col + t.b * row, t.d, t.e, t.f + t.d * col + t.e * row)


def _method(name: str, finer: bool, classes: bool) -> str:
    if name != "auto":
        return name
    if classes:
        return "mode" if finer else "nearest"
    return "average" if finer else "bilinear"


def read_raster(
    path: str | Sequence[str],
    where: str,
    transform: Affine,
    shape: tuple[int, int],
    bands: Sequence[int],
    classes: bool = False,
    resampling: str = "auto",
    absent: float | None = None,
    rules: PixelRules = AS_FILED,
    shares: Sequence[int] | None = None,
) -> Floats:
    """Bands of a raster, or of the tiles of one, on the grid given by `transform` (EPSG:3035) and `shape`.

    Returns (bands, rows, columns) float32 in the raster's own numbers times its band scale (unless `rules.raw`), NaN
    where it has none. A continuous source finer than the target is averaged over the area of its valid pixels, a
    coarser one is interpolated bilinearly; classes are taken by majority or nearest. `absent` stands for a band
    without data where another of the bands has some (a land cover class that does not occur). With `shares` the one
    band's classes become (classes, rows, columns), the share of each. `rules` and `absent` come before everything.
    """
    paths = [path] if isinstance(path, str) else list(path)
    out = np.full((len(shares) if shares else len(bands), *shape), np.nan, np.float32)
    rows = max(1, BLOCK_KM * 1000 // round(abs(transform.e)))
    with ExitStack() as stack:
        datasets = [stack.enter_context(open_raster(p, where)) for p in paths]
        for dataset in datasets:
            if max(bands) > dataset.count:
                raise SourceError(f"{dataset.name}: has {dataset.count} bands, {where} asks for band {max(bands)}.")
        for top in range(0, shape[0], rows):
            for left in range(0, shape[1], rows):
                part = (min(rows, shape[0] - top), min(rows, shape[1] - left))
                block = moved(transform, top, left)
                target = (slice(None), slice(top, top + part[0]), slice(left, left + part[1]))
                out[target] = _block(datasets, where, block, part, list(bands), classes, resampling, absent, rules, shares)
    return out


def _block(datasets: Sequence[DatasetReader], where: str, transform: Affine, shape: tuple[int, int], bands: list[int],
           classes: bool, resampling: str, absent: float | None, rules: PixelRules,
           shares: Sequence[int] | None) -> Floats:  # fmt: skip
    # What fills one band from the others must see them together.
    step = len(bands) if absent is not None else BANDS_AT_ONCE
    parts = []
    for first in range(0, len(bands), step):
        some = bands[first : first + step]
        read = [_piece(dataset, where, transform, shape, some, absent, rules) for dataset in datasets]
        pieces = [piece for piece in read if piece is not None]
        if not pieces:
            return np.full((len(shares) if shares else len(bands), *shape), np.nan, np.float32)
        method = _method(resampling, max(pieces[0].positions.pixels_a_cell()) > FINER, classes)
        if shares:
            parts.append(resample.shares(pieces, shares))
        elif method == "average":
            parts.append(resample.average(pieces))
        elif method == "mode":
            parts.append(resample.majority(pieces))
        else:
            parts.append(resample.bilinear(pieces) if method == "bilinear" else resample.nearest(pieces))
    return np.concatenate(parts)


def _piece(dataset: DatasetReader, where: str, transform: Affine, shape: tuple[int, int], bands: list[int],
           absent: float | None, rules: PixelRules) -> Piece | None:  # fmt: skip
    """The pixels of `dataset` around the target, by `rules`; None where it has none there."""
    wkt = None if dataset.crs.to_epsg() == grid.EPSG else dataset.crs.to_wkt()
    whole = Positions(transform, shape, dataset.transform, wkt)
    found = [whole.at(down, across) for down in (0.0, 1.0) for across in (0.0, 1.0)]
    row, col = (np.stack([pair[axis] for pair in found]) for axis in (0, 1))
    top, left = (max(int(np.floor(p.min())) - MARGIN, 0) for p in (row, col))
    bottom = min(int(np.ceil(row.max())) + MARGIN, dataset.height)
    right = min(int(np.ceil(col.max())) + MARGIN, dataset.width)
    if top >= bottom or left >= right:
        return None
    window = rasterio.windows.Window(left, top, right - left, bottom - top)
    try:
        with rasterio.Env(**GDAL):
            values = dataset.read(bands, window=window, masked=True)
    except rasterio.errors.RasterioError as error:
        raise SourceError(f"{dataset.name}: cannot be read ({error}); the file may be damaged ({where}).") from None
    numbers = rules.apply(np.ma.filled(values.astype(np.float32), np.nan))
    if not rules.raw:
        numbers = _scaled(numbers, [dataset.scales[b - 1] for b in bands], [dataset.offsets[b - 1] for b in bands])
    if absent is not None:
        known = np.isfinite(numbers).any(axis=0)
        numbers = np.where(np.isnan(numbers) & known, np.float32(absent), numbers)
    corner = moved(dataset.transform, top, left)
    return Piece(numbers, Positions(transform, shape, corner, wkt))


def _scaled(values: Floats, scales: Sequence[Any], offsets: Sequence[Any]) -> Floats:
    if all(s == 1.0 for s in scales) and all(o == 0.0 for o in offsets):
        return values
    scaled = values * np.asarray(scales, np.float32)[:, None, None] + np.asarray(offsets, np.float32)[:, None, None]
    return np.asarray(scaled, np.float32)
