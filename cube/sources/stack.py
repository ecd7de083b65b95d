"""Pixels of scenes through stackstac: the grid that a unit's scenes share, windows of it, and how GDAL must read them.

Scenes are stacked in their own projection, so that a pixel can be masked before anything is resampled. What is clear
and what is done with it is said by the layers.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import rasterio
import rasterio.errors
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling

from cube.errors import SourceError
from cube.grid import CELL, FINE, Bounds, Unit
from cube.sources import opening
from cube.sources.raster_grid import RasterGrid
from cube.sources.stac import Scene

MARGIN: Final = 3  # pixels around a window, for the neighbours of bilinear and the curvature of its edges
STACK_BYTES: Final = 768 * 2**20  # held at once beside the unit itself: more scenes make smaller tiles, not more memory
A_PIXEL: Final = 64  # bytes that a pixel takes beside those of its scenes: masks, median, what resampling needs
TURNED: Final = 1.2  # a rectangle around a unit in UTM is so much longer, where Europe's grid is turned most against it
SMALLEST_TILE: Final = 2_000  # m
REMOTE: Final = re.compile(r"^(?:/vsi(?!file|mem)|(?!file://)[a-z0-9]+://)")


def common_grid(scenes: Sequence[Scene], band: str, cells: RasterGrid) -> RasterGrid:
    """The pixels, north-up, of one of most of the scenes; the others will be brought to it by nearest neighbour.

    Where no scene has a code of its projection, they are 10 m over the `cells` that are asked for.
    Sentinel-2 and Landsat scenes of a UTM zone all lie on one lattice. Raises `SourceError` for a scene whose header
    must be read and cannot.
    """
    codes = [scene.epsg or _header(scene, band)[0] for scene in scenes]
    counts = Counter(code for code in codes if code)
    if not counts:  # a projection without a code is nothing that stackstac could stack in
        return RasterGrid.over(cells.bounds, FINE, cells.crs)
    # The lowest code of equals, or the order of a search would decide.
    epsg = min(counts, key=lambda code: (-counts[code], code))
    t = _header(scenes[codes.index(epsg)], band)[1]
    return RasterGrid(Affine(abs(t.a), 0, t.c, 0, -abs(t.e), t.f), (1, 1), f"EPSG:{epsg}")


def tiles(cells: RasterGrid, scenes: int, bands: int, lattice: RasterGrid) -> Iterator[tuple[tuple[slice, slice], RasterGrid]]:
    """(rows and columns, cells) of squares that cover the `cells` of a unit, each of which takes about STACK_BYTES at most."""
    pixels = lattice.around(cells, MARGIN).pixels
    parts = int(np.ceil(np.sqrt(max(1.0, _bytes_a_pixel(scenes, bands) * pixels / STACK_BYTES))))
    size, (rows, cols) = round(cells.transform.a), cells.shape
    side = max(SMALLEST_TILE, -(-rows * size // parts // CELL) * CELL) // size  # whole cells of 50 m
    for top in range(0, rows, side):
        for left in range(0, cols, side):
            tile = cells.window(top, left, min(side, rows - top), min(side, cols - left))
            yield (slice(top, top + tile.shape[0]), slice(left, left + tile.shape[1])), tile


def memory(unit: Unit, pixel: int, scenes: Sequence[Scene] | None, bands: int) -> int:
    """Memory that stacking scenes (None: any number) and resampling them takes at most; `pixel` is their size in metres."""
    if scenes is None:
        return STACK_BYTES
    pixels = (unit.km * 1000 / pixel * TURNED) ** 2
    return min(STACK_BYTES, round(_bytes_a_pixel(len(scenes), bands) * pixels))


def _bytes_a_pixel(scenes: int, bands: int) -> int:
    return scenes * (2 * bands + 1) + A_PIXEL


def read(scenes: Sequence[Scene], bands: Sequence[str], window: RasterGrid, fill: int = 0) -> NDArray[np.uint16]:
    """Digital numbers of scenes as they are stored: (scene, band, y, x) uint16 on whole pixels, `fill` for no data.

    Raises `SourceError` naming the scene and the file that cannot be read; its cause is GDAL's own error.
    """
    import dask.array
    import stackstac

    from cube.sources.lattice import LatticeReader

    epsg, shape, t = int(window.crs.removeprefix("EPSG:")), window.shape, window.transform
    out = np.empty((len(scenes), len(bands), *shape), np.uint16)
    stack = stackstac.stack(
        [_plain(scene, window.bounds, epsg) for scene in scenes],
        assets=list(bands),
        epsg=epsg,
        resolution=(t.a, -t.e),
        bounds=window.bounds,
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
        raise _read_error(error, scenes, bands) from error
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
        raise _read_error(error, [scene], [band]) from error


def _read_error(error: Exception, scenes: Sequence[Scene], bands: Sequence[str]) -> SourceError:
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
            **opening.HTTP,
            # GDAL would remember for the life of the process that a file could not be opened, and no later try would ask.
            # It also forgets the headers that it read, which is one request a file and tile.
            "CPL_VSIL_CURL_NON_CACHED": opening.REMOTE,
            # The header of a COG fits into 32 kB; with the default of 16 kB it takes two requests.
            "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
            # Of decoded blocks; the default, a twentieth of the machine, is held by every worker process beside others.
            "GDAL_CACHEMAX": 128 * 2**20,
        }
    )
