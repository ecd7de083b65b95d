"""Where the pixels of a map tile lie in EPSG:3035: a few exactly projected control points, interpolated in between.

The grid depends on the tile alone, so one is shared by all layers and all pyramid levels; it is cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import morecantile
import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from cube import grid

# Fraction of a screen pixel by which an interpolated position may be off. A cell of the level that is read is
# never coarser than a screen pixel by much, so this stays far under the tenth of a cell that we promise.
_TOLERANCE: Final = 0.02
_FIRST: Final = 9  # control points a side to begin with


@dataclass(frozen=True, slots=True)
class WarpGrid:
    """Control points of one tile: `x`, `y` (n, n) metres in EPSG:3035, evenly spaced, first to last pixel centre."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    size: int  # pixels a side of the tile
    pixel: float  # m, ground size of a screen pixel (the finer direction)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) metres of the pixel centres; infinite where the projection is undefined."""
        return float(self.x.min()), float(self.y.min()), float(self.x.max()), float(self.y.max())


@lru_cache(maxsize=64)
def _weights(points: int, size: int) -> NDArray[np.float64]:
    """(size, points) linear interpolation from `points` evenly spaced values to `size` of them, ends included."""
    at = np.linspace(0, points - 1, size)
    left = np.minimum(at.astype(int), points - 2)
    out = np.zeros((size, points))
    out[np.arange(size), left] = 1 - (at - left)
    out[np.arange(size), left + 1] = at - left
    return out


def interpolate(control: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(n, n) control values to all (size, size) pixels, bilinearly."""
    if control.shape[0] == size:
        return control
    weights = _weights(control.shape[0], size)
    return weights @ control @ weights.T


@lru_cache(maxsize=16)
def _transformer(tms: str) -> Transformer:
    crs = morecantile.tms.get(tms).crs
    return Transformer.from_crs(crs.to_wkt(), grid.EPSG, always_xy=True)


def _project(tms: str, bounds: tuple[float, ...], size: int, points: int) -> NDArray[np.float64]:
    """(2, points, points) x and y in EPSG:3035 of evenly spaced pixel centres; `inf` where undefined."""
    west, south, east, north = bounds
    half_x, half_y = (east - west) / size / 2, (north - south) / size / 2
    x = np.linspace(west + half_x, east - half_x, points)
    y = np.linspace(north - half_y, south + half_y, points)
    return np.stack(_transformer(tms).transform(*np.meshgrid(x, y)))


def _pixel_size(x: NDArray[np.float64], y: NDArray[np.float64], step: float) -> float:
    """Median distance in metres of neighbouring pixels along the finer of both tile axes; `step` pixels a point."""
    across = np.median(np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)))
    down = np.median(np.hypot(np.diff(x, axis=0), np.diff(y, axis=0)))
    return float(min(across, down)) / step


@lru_cache(maxsize=4096)
def warp_grid(tms: str, z: int, x: int, y: int, size: int) -> WarpGrid:
    """Grid of the tile (z, x, y) of the tile matrix set `tms`, `size` pixels a side; the tile must exist."""
    bounds = tuple(morecantile.tms.get(tms).xy_bounds(morecantile.Tile(x, y, z)))
    points = _FIRST
    exact = _project(tms, bounds, size, points)
    while np.isfinite(exact).all():
        finer = _project(tms, bounds, size, 2 * points - 1)
        pixel = _pixel_size(exact[0], exact[1], (size - 1) / (points - 1))
        guess = np.stack([interpolate(c, 2 * points - 1) for c in exact])
        if np.abs(guess - finer).max() <= _TOLERANCE * pixel:
            return WarpGrid(exact[0], exact[1], size, pixel)
        points = 2 * points - 1
        if points > size // 2:
            break
        exact = finer
    whole = _project(tms, bounds, size, size)
    # A tile may reach beyond where the projection is defined; such pixels lie outside every region.
    whole[~np.isfinite(whole)] = np.inf
    with np.errstate(invalid="ignore"):
        inner = np.where(np.isfinite(whole).all(axis=0), whole, np.nan)
        steps = [np.hypot(*np.diff(inner, axis=axis)) for axis in (1, 2)]
    sizes = [float(np.nanmedian(s)) for s in steps if np.isfinite(s).any()]
    return WarpGrid(whole[0], whole[1], size, min(sizes, default=float("inf")))
