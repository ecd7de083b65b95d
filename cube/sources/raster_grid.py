"""One grid of pixels on the Earth, and where the points of another grid lie on it.

Positions are exact to centimetres, which GDAL's approximated warp is not (up to 1.5 m at 50 m, whatever its tolerance).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from cube import grid
from cube.grid import COARSE, EUROPE, Bounds, Region, Unit

KNOT: Final = 1_000  # m between exact projections; linear in between, the error of which is KNOT^2 / 8R = 2 cm
FAR_PIXELS: Final = 1e12  # pixels: where a projection is undefined, a point lies this far outside of every raster
ALONG: Final = 21  # points along each side of a rectangle whose place is looked for
TOLERANCE: Final = 1e-6  # of a pixel: the noise of the arithmetic

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class RasterGrid:
    """Pixels on the Earth: these three fields are the whole truth about them, everything else is derived.

    `transform` maps (column, row), whole at a pixel's upper left corner, to coordinates of `crs`; any affine will do, so
    rotated and south-up rasters need nothing special. `shape` is (rows, columns). `crs` is a name or WKT.
    """

    transform: Affine
    shape: tuple[int, int]
    crs: str = EUROPE.code

    @classmethod
    def over(cls, bounds: Bounds, size: float, crs: str = EUROPE.code) -> RasterGrid:
        """Pixels of `size` metres over a rectangle of `crs` (metres) that they fill."""
        west, south, east, north = bounds
        shape = (round((north - south) / size), round((east - west) / size))
        return cls(Affine(size, 0, west, 0, -size, north), shape, crs)

    @classmethod
    def of_place(cls, place: Region | Unit, size: float = COARSE) -> RasterGrid:
        """Pixels of `size` metres over a unit, or over a region without what its units add, in the CRS of its grid."""
        return cls.over(place.bounds, size, place.grid.code)

    @property
    def bounds(self) -> Bounds:
        """(west, south, east, north) in `crs`, whichever way rows and columns run."""
        corners = [self.window(row, col, 1, 1).transform for row in (0, self.shape[0]) for col in (0, self.shape[1])]
        x, y = [corner.c for corner in corners], [corner.f for corner in corners]
        return min(x), min(y), max(x), max(y)

    @property
    def pixels(self) -> int:
        """How many pixels there are."""
        return self.shape[0] * self.shape[1]

    def window(self, row: int, col: int, rows: int, cols: int) -> RasterGrid:
        """The part that begins at pixel (row, col); it may reach beyond this grid, on the same lattice."""
        t = self.transform
        transform = Affine(t.a, t.b, t.c + t.a * col + t.b * row, t.d, t.e, t.f + t.d * col + t.e * row)
        return replace(self, transform=transform, shape=(rows, cols))

    def span(self, target: RasterGrid, margin: int) -> tuple[int, int, int, int]:
        """(first row, first column, end row, end column) of the pixels around a north-up grid and `margin` more.

        They are those of this lattice, and may lie beyond this grid.
        """
        row, col = self.positions(target, *(np.linspace(0, n, ALONG) for n in target.shape))
        top, left = (int(np.floor(p.min() + TOLERANCE)) - margin for p in (row, col))
        bottom, right = (int(np.ceil(p.max() - TOLERANCE)) + margin for p in (row, col))
        return top, left, bottom, right

    def inside(self, target: RasterGrid, margin: int) -> Window | None:
        """The pixels of `span` that lie on this grid; None where there are none."""
        top, left, bottom, right = self.span(target, margin)
        top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, self.shape[0]), min(right, self.shape[1])
        return Window(left, top, right - left, bottom - top) if top < bottom and left < right else None

    def around(self, target: RasterGrid, margin: int) -> RasterGrid:
        """The pixels of `span` as a grid."""
        top, left, bottom, right = self.span(target, margin)
        return self.window(top, left, bottom - top, right - left)

    def positions(self, target: RasterGrid, down: Doubles, across: Doubles) -> tuple[Doubles, Doubles]:
        """(row, column) in pixels of this grid of the points (down, across) of a north-up `target`.

        `down` (n,) and `across` (m,) count the target's pixels from its upper left corner; both results are (n, m).
        """
        x, y = target.transform.c + across * target.transform.a, target.transform.f + down * target.transform.e
        if _same(self.crs, target.crs):
            return self._pixels(*np.broadcast_arrays(x[None, :], y[:, None]))
        knots_x, weights_x = knots(x)
        knots_y, weights_y = knots(y)
        sx, sy = grid.transformer(target.crs, self.crs).transform(*np.meshgrid(knots_x, knots_y))
        row, col = (
            np.nan_to_num(p, nan=-FAR_PIXELS, posinf=FAR_PIXELS, neginf=-FAR_PIXELS)
            for p in self._pixels(np.asarray(sx), np.asarray(sy))
        )
        return weights_y @ row @ weights_x.T, weights_y @ col @ weights_x.T

    def pixels_a_cell(self, target: RasterGrid) -> tuple[float, float]:
        """Pixels of this grid that the target's middle cell spans going down and going across, along the longer axis."""
        middle = target.window(target.shape[0] // 2, target.shape[1] // 2, 1, 1)
        row, col = self.positions(middle, *np.array([[0.0, 1.0], [0.0, 1.0]]))
        down = max(abs(row[1, 0] - row[0, 0]), abs(col[1, 0] - col[0, 0]))
        across = max(abs(row[0, 1] - row[0, 0]), abs(col[0, 1] - col[0, 0]))
        return float(down), float(across)

    def _pixels(self, x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
        # From the corner first: small numbers keep their digits.
        t = self.transform
        dx, dy = x - t.c, y - t.f
        if t.b == t.d == 0:
            return dy / t.e, dx / t.a
        determinant = t.a * t.e - t.b * t.d
        return (t.a * dy - t.d * dx) / determinant, (t.e * dx - t.b * dy) / determinant


@lru_cache(maxsize=256)
def _same(crs: str, code: str) -> bool:
    """Whether a CRS, a name or WKT, is that of a code: then nothing is projected."""
    return crs == code or f"EPSG:{CRS.from_user_input(crs).to_epsg()}" == code


def knots(values: Doubles) -> tuple[Doubles, Doubles]:
    """Whole multiples of KNOT around `values` (metres) and the weights (values, knots) that interpolate between them."""
    first, last = np.floor(values.min() / KNOT), np.floor(values.max() / KNOT) + 1
    knots = np.arange(first, last + 1) * KNOT
    place = values / KNOT - first
    low = np.floor(place).astype(int)
    weights = np.zeros((len(values), len(knots)))
    weights[np.arange(len(values)), low] = 1 - (place - low)
    weights[np.arange(len(values)), low + 1] += place - low
    return knots, weights
