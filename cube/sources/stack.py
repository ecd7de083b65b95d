"""Pixels of scenes through stackstac: the grid that a unit's scenes share, windows of it, and how GDAL must read them.

Scenes are stacked in their own projection, so that a pixel can be masked before anything is resampled. What is clear
and what is done with it is said by the layers.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.errors
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.enums import Resampling

from cube import grid
from cube.errors import SourceError
from cube.grid import CELL, Unit
from cube.sources.resample import Positions
from cube.sources.stac import Bounds, Scene

MARGIN: Final = 3  # pixels around a window, for the neighbours of bilinear and the curvature of its edges
STACK_BYTES: Final = 768 * 2**20  # held at once beside the unit itself: more scenes make smaller tiles, not more memory
A_PIXEL: Final = 64  # bytes that a pixel takes beside those of its scenes: masks, median, what resampling needs
SMALLEST_TILE: Final = 2_000  # m
REMOTE: Final = re.compile(r"^(?:/vsi(?!file|mem)|(?!file://)[a-z0-9]+://)")


@dataclass(frozen=True)
class PixelGrid:
    """Pixels of the projection `epsg`, all of one size and counted from one corner; metres, or degrees, of that projection."""

    epsg: int
    corner: tuple[float, float]  # (x, y) of some pixel's upper left corner
    size: tuple[float, float]  # (x, y), positive

    def window(self, bounds: Bounds) -> Bounds:
        """Whole pixels around a rectangle of EPSG:3035, with a margin: (west, south, east, north) in this projection."""
        west, south, east, north = _from_grid(self.epsg).transform_bounds(*bounds, densify_pts=21)
        (x, y), (dx, dy) = self.corner, self.size
        return (
            x + (np.floor((west - x) / dx + 1e-6) - MARGIN) * dx,
            y + (np.floor((south - y) / dy + 1e-6) - MARGIN) * dy,
            x + (np.ceil((east - x) / dx - 1e-6) + MARGIN) * dx,
            y + (np.ceil((north - y) / dy - 1e-6) + MARGIN) * dy,
        )

    def shape(self, window: Bounds) -> tuple[int, int]:
        """(rows, columns) of a window."""
        return round((window[3] - window[1]) / self.size[1]), round((window[2] - window[0]) / self.size[0])

    def positions(self, window: Bounds, tile: Bounds, resolution: int) -> Positions:
        """Where the cells of a tile of EPSG:3035 lie in a window."""
        west, south, east, north = tile
        shape = (round((north - south) / resolution), round((east - west) / resolution))
        source = Affine(self.size[0], 0, window[0], 0, -self.size[1], window[3])
        wkt = None if self.epsg == grid.EPSG else _wkt(self.epsg)
        return Positions(Affine(resolution, 0, west, 0, -resolution, north), shape, source, wkt)


@lru_cache(maxsize=16)
def _wkt(epsg: int) -> str:
    return str(CRS.from_epsg(epsg).to_wkt())


@lru_cache(maxsize=16)
def _from_grid(epsg: int) -> Transformer:
    return Transformer.from_crs(grid.EPSG, epsg, always_xy=True)


def common_grid(scenes: Sequence[Scene], band: str) -> PixelGrid:
    """The pixel grid of most of the scenes; the others will be brought to it by nearest neighbour.

    Sentinel-2 and Landsat scenes of a UTM zone all lie on one lattice. Raises `SourceError` for a scene whose header
    must be read and cannot.
    """
    codes = [scene.epsg or _header(scene, band)[0] for scene in scenes]
    counted = Counter(code for code in codes if code)
    if not counted:  # a projection without a code is nothing that stackstac could stack in
        return PixelGrid(grid.EPSG, (grid.WEST, grid.NORTH), (grid.FINE, grid.FINE))
    # The lowest code of equals, or the order of a search would decide.
    epsg = min(counted, key=lambda code: (-counted[code], code))
    _, transform = _header(scenes[codes.index(epsg)], band)
    return PixelGrid(epsg, (transform.c, transform.f), (abs(transform.a), abs(transform.e)))


def tiles(unit: Unit, scenes: int, bands: int, grid_: PixelGrid) -> Iterator[Bounds]:
    """Squares of whole cells that cover the unit, each of which takes about STACK_BYTES at most; metres of EPSG:3035."""
    west, south, east, north = unit.bounds
    window = grid_.window(unit.bounds)
    pixels = (window[2] - window[0]) / grid_.size[0] * (window[3] - window[1]) / grid_.size[1]
    parts = int(np.ceil(np.sqrt(max(1.0, (scenes * (2 * bands + 1) + A_PIXEL) * pixels / STACK_BYTES))))
    side = max(SMALLEST_TILE, -(-(east - west) // parts // CELL) * CELL)
    for top in range(north, south, -side):
        for left in range(west, east, side):
            yield left, max(top - side, south), min(left + side, east), top


def read(scenes: Sequence[Scene], bands: Sequence[str], pixels: PixelGrid, window: Bounds, fill: int = 0) -> NDArray[np.uint16]:
    """Digital numbers of scenes as they are stored: (scene, band, y, x) uint16 on whole pixels, `fill` for no data.

    Raises `SourceError` naming the scene and the file that cannot be read; its cause is GDAL's own error.
    """
    import dask.array
    import stackstac

    from cube.sources.lattice import LatticeReader

    shape = pixels.shape(window)
    out = np.empty((len(scenes), len(bands), *shape), np.uint16)
    stack = stackstac.stack(
        [_plain(scene, window, pixels.epsg) for scene in scenes],
        assets=list(bands),
        epsg=pixels.epsg,
        resolution=pixels.size,
        bounds=window,
        # The window lies on whole pixels already; snapped to multiples of their size it would lie between them.
        snap_bounds=False,
        # Nearest: pixels of the common lattice come through as they are, and a class has no mean.
        resampling=Resampling.nearest,
        dtype=np.dtype("uint16"),
        fill_value=np.uint16(fill),
        rescale=False,
        xy_coords=False,
        # The default turns a scene that cannot be found into a silent hole.
        errors_as_nodata=(),
        properties=False,
        band_coords=False,
        # A scene is one task, in which each of its files is opened once.
        chunksize=(1, len(bands), *shape),
        gdal_env=_gdal(),
        reader=LatticeReader,
    )
    addresses = [scene.assets[band] for scene in scenes for band in bands]
    try:
        # Stored chunk by chunk: a computed array would be joined from its parts, twice the memory.
        dask.array.store(stack.data, out, lock=False, scheduler="threads", num_workers=threads(addresses))
    except (RuntimeError, rasterio.errors.RasterioError) as error:
        raise _named(error, scenes, bands) from error
    return out


def threads(addresses: Sequence[str] = ()) -> int:
    """Threads to read with: one a core, more where they mostly wait for an answer."""
    return 8 if any(REMOTE.match(address) for address in addresses) else min(4, os.cpu_count() or 1)


def _plain(scene: Scene, window: Bounds, epsg: int) -> dict[str, Any]:
    # Every scene claims the whole window: stackstac would drop those that it thinks are elsewhere, and the scene's
    # place in the stack would be lost. GDAL knows best where its pixels are.
    return {
        "id": scene.id,
        "properties": {"datetime": scene.moment.isoformat(), "proj:epsg": epsg, "proj:bbox": list(window)},
        "assets": {band: {"href": address} for band, address in scene.assets.items()},
    }


def _header(scene: Scene, band: str) -> tuple[int | None, Affine]:
    address = scene.assets[band]
    try:
        with _gdal().open, rasterio.open(address) as dataset:
            if dataset.crs is None:
                raise SourceError(f"scene {scene.id}: {address} has no CRS; write it into the file.")
            return dataset.crs.to_epsg(), dataset.transform
    except rasterio.errors.RasterioError as error:
        raise _named(error, [scene], [band]) from error


def _named(error: Exception, scenes: Sequence[Scene], bands: Sequence[str]) -> SourceError:
    """The error with the scene and the file that it is about; GDAL's words stay in it, they tell what passes by itself."""
    text = str(error).splitlines()[0]
    for scene in scenes:
        for band in bands:
            # Quoted by stackstac; an address may be the beginning of another one.
            if repr(scene.assets[band]) in text or len(scenes) == len(bands) == 1:
                reason = str(error.__cause__ or error).splitlines()[0]
                return SourceError(f"scene {scene.id}: {scene.assets[band]} cannot be read ({reason}).")
    return SourceError(f"scenes {scenes[0].id} to {scenes[-1].id}: {text}")


@lru_cache(maxsize=1)
def _gdal() -> Any:
    import stackstac

    return stackstac.DEFAULT_GDAL_ENV.updated(
        always={
            # A server that is busy answers a few seconds later; what lasts longer is tried again with the whole unit.
            "GDAL_HTTP_MAX_RETRY": 3,
            "GDAL_HTTP_RETRY_DELAY": 1,
            # GDAL's own list leaves out 500, which object stores give for an overloaded part of theirs.
            "GDAL_HTTP_RETRY_CODES": "408,429,500,502,503,504",
            # Without these a connection that died silently holds its worker for ever: 10 s to be there, then at least
            # 1 kB a second over any half minute.
            "GDAL_HTTP_CONNECTTIMEOUT": 10,
            "GDAL_HTTP_LOW_SPEED_TIME": 30,
            "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
            # GDAL would remember for the life of the process that a file could not be opened, and no later try would ask.
            # It also forgets the headers that it read, which is one request a file and tile.
            "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsicurl?:/vsis3/:/vsigs/:/vsiaz/",
            # The header of a COG fits into 32 kB; with the default of 16 kB it takes two requests.
            "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
            # Of decoded blocks; the default, a twentieth of the machine, is held by every worker process beside others.
            "GDAL_CACHEMAX": 128 * 2**20,
        }
    )
