"""Where the pixels of a map tile lie on a cube's grid: a few exactly projected control points, to be interpolated in between.

A warp grid depends on the tile and the projection alone, so one is shared by all layers and all pyramid levels; it is cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import morecantile
import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from cube.grid import Bounds
from server.drawing.tms import tile_matrix_set
from server.reading.cache import ByteCache

# Fraction of a screen pixel by which an interpolated position may be off. A cell of the level that is read is
# never coarser than a screen pixel by much, so this stays far under the tenth of a cell that we promise.
_TOLERANCE: Final = 0.02
_FIRST: Final = 9  # control points a side to begin with
_CACHE_BYTES: Final = 16 * 2**20  # some ten thousand tiles; the few that need every pixel weigh a megabyte each
_BOX_POINTS: Final = 33  # a side of the region, to find its box in another projection


@dataclass(frozen=True, slots=True)
class WarpGrid:
    """Control points of one tile: `x`, `y` (n, n) metres of the grid, evenly spaced, first to last pixel centre.

    Infinite where the projection is undefined; there are then as many points as pixels.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    size: int  # pixels a side of the tile
    pixel: float  # m, ground size of a screen pixel (the finer direction)

    @property
    def nbytes(self) -> int:
        """Bytes of the control points."""
        return self.x.nbytes + self.y.nbytes


_GRIDS: Final = ByteCache[WarpGrid](_CACHE_BYTES)


def interpolate(control: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(n, n) control values to all (size, size) pixels, bilinearly; drawing a tile does the same in its own loop."""
    n = control.shape[0]
    if n == size:
        return control
    at = np.arange(size) * ((n - 1) / (size - 1))
    left = np.minimum(at.astype(int), n - 2)
    part = at - left
    rows = control[left] * (1 - part)[:, None] + control[left + 1] * part[:, None]
    return np.asarray(rows[:, left] * (1 - part) + rows[:, left + 1] * part)


@lru_cache(maxsize=64)
def _transformer(tms: str, epsg: int) -> Transformer:
    return Transformer.from_crs(tile_matrix_set(tms).crs.to_wkt(), epsg, always_xy=True)


@lru_cache(maxsize=256)
def _box(tms: str, bounds: Bounds, epsg: int) -> Bounds | None:
    """(west, south, east, north) in the CRS of `tms` around a box in another; None where it cannot be told."""
    west, south, east, north = bounds
    x, y = np.meshgrid(np.linspace(west, east, _BOX_POINTS), np.linspace(south, north, _BOX_POINTS))
    corners = np.stack(_transformer(tms, epsg).transform(x, y, direction="INVERSE"))
    if not np.isfinite(corners).all():
        return None
    low, high = corners.min(axis=(1, 2)), corners.max(axis=(1, 2))
    margin = (high - low) / (_BOX_POINTS - 1)  # more than an edge bends between two points
    return float(low[0] - margin[0]), float(low[1] - margin[1]), float(high[0] + margin[0]), float(high[1] + margin[1])


def is_outside(tms: str, z: int, x: int, y: int, bounds: Bounds, epsg: int) -> bool:
    """Whether the tile certainly lies outside `bounds`, a box of the CRS `epsg`, told without projecting the tile."""
    box = _box(tms, bounds, epsg)
    if box is None:
        return False
    west, south, east, north = tile_matrix_set(tms).xy_bounds(morecantile.Tile(x, y, z))
    return bool(west > box[2] or east < box[0] or south > box[3] or north < box[1])


def _project(tms: str, epsg: int, bounds: tuple[float, ...], size: int, points: int) -> NDArray[np.float64]:
    """(2, points, points) x and y in the CRS `epsg` of evenly spaced pixel centres; `inf` where undefined."""
    west, south, east, north = bounds
    half_x, half_y = (east - west) / size / 2, (north - south) / size / 2
    x = np.linspace(west + half_x, east - half_x, points)
    y = np.linspace(north - half_y, south + half_y, points)
    return np.stack(_transformer(tms, epsg).transform(*np.meshgrid(x, y)))


def _pixel_size(x: NDArray[np.float64], y: NDArray[np.float64], step: float) -> float:
    """Median distance in metres of neighbouring pixels along the finer of both tile axes; `step` pixels a point."""
    across = np.median(np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)))
    down = np.median(np.hypot(np.diff(x, axis=0), np.diff(y, axis=0)))
    return float(min(across, down)) / step


def warp_grid(tms: str, z: int, x: int, y: int, size: int, epsg: int) -> WarpGrid:
    """Grid of the tile (z, x, y) of the tile matrix set `tms` in the CRS `epsg`, `size` pixels a side; the tile must exist."""
    return _GRIDS.gather([(tms, z, x, y, size, epsg)], lambda _: [_make(tms, z, x, y, size, epsg)])[0]


def _make(tms: str, z: int, x: int, y: int, size: int, epsg: int) -> WarpGrid:
    bounds = tuple(tile_matrix_set(tms).xy_bounds(morecantile.Tile(x, y, z)))
    points = _FIRST
    exact = _project(tms, epsg, bounds, size, points)
    while np.isfinite(exact).all():
        finer = _project(tms, epsg, bounds, size, 2 * points - 1)
        pixel = _pixel_size(exact[0], exact[1], (size - 1) / (points - 1))
        guess = np.stack([interpolate(c, 2 * points - 1) for c in exact])
        if np.abs(guess - finer).max() <= _TOLERANCE * pixel:
            return WarpGrid(np.ascontiguousarray(exact[0]), np.ascontiguousarray(exact[1]), size, pixel)
        points = 2 * points - 1
        if points > size // 2:
            break
        exact = finer
    every_pixel = _project(tms, epsg, bounds, size, size)
    # A tile may reach beyond where the projection is defined; such pixels lie outside every region.
    every_pixel[:, ~np.isfinite(every_pixel).all(axis=0)] = np.inf
    with np.errstate(invalid="ignore"):
        inner = np.where(np.isfinite(every_pixel), every_pixel, np.nan)
        steps = [np.hypot(*np.diff(inner, axis=axis)) for axis in (1, 2)]
    sizes = [float(np.nanmedian(s)) for s in steps if np.isfinite(s).any()]
    return WarpGrid(every_pixel[0].copy(), every_pixel[1].copy(), size, min(sizes, default=float("inf")))
