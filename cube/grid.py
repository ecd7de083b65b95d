"""Grids of 50 m cells, Europe's by default, regions of whole kilometres, and the units that work is cut into.

Nothing here reads or writes; a `Grid`, a `Region` of it and its `unit_km` are the whole truth, everything else is derived.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer
from pyproj.exceptions import CRSError

from cube.errors import ConfigError
from cube.square_names import square_name

CELL: Final = 50  # m
FINE: Final = 10  # m, 5 x 5 in a cell
COARSE: Final = 1_000  # m, 20 x 20 cells in one
RESOLUTIONS: Final = {"10m": FINE, "50m": CELL, "1km": COARSE}
UNIT_KM: Final = (10, 20, 40, 80)
FAR: Final = 20_000_000  # m: coordinates of every projection lie within, and units of every size count from it

Bounds = tuple[float, float, float, float]  # west, south, east, north
Degrees = NDArray[np.float64] | float
EDGE_POINTS: Final = 99  # projected along each edge of a box: within 30 m of the curve for a box of 40 degrees


# Codes of the EPSG that maps and tables of countries come in: France, Switzerland (old, new), Czechia and Slovakia, Poland, Great
# Britain, Ireland, Netherlands, Belgium, Austria, Germany, Sweden, Finland, Hungary, Slovenia, Croatia, Romania, Portugal, Italy.
NATIONAL_SYSTEMS: Final = (
    *(2154, 21781, 2056, 5514, 2180, 27700, 29903, 28992, 31370, 31287, *range(31466, 31470)),
    *(3006, 3067, 23700, 3794, 3765, 3844, 3763, 3003),
)


@lru_cache(maxsize=64)
def transformer(one: Any, other: Any) -> Transformer:
    """Coordinates (x or longitude first) of one CRS to those of another."""
    return Transformer.from_crs(one, other, always_xy=True)


def bounds_in(crs: Any, bounds: Bounds, of: Any) -> Bounds:
    """(west, south, east, north) in `crs` of the smallest box around a box of the CRS `of`; infinite where undefined.

    Edges of one projection are curves in another, so points along them are projected, not the corners alone.
    """
    west, south, east, north = transformer(of, crs).transform_bounds(*bounds, densify_pts=EDGE_POINTS)
    return west, south, east, north


@dataclass(frozen=True)
class Grid:
    """A projection in metres and the window that its cells and units are counted from: edges in metres, `north` at row 0."""

    epsg: int
    west: int = -FAR
    south: int = -FAR
    east: int = FAR
    north: int = FAR

    @classmethod
    def of(cls, code: str) -> Grid:
        """The grid of a CRS such as `EPSG:3577`: Europe's for EPSG:3035, any other counts from 20,000 km west and north.

        Raises `ConfigError` for what is no code of a projection to the east and north in metres.
        """
        expectation = "expected the code of a projection in metres, such as EPSG:3577"
        if re.fullmatch(r"EPSG:\d{4,6}", code) is None:
            raise ConfigError(f"grid.crs: {expectation}; found '{code}'.")
        try:
            crs = CRS.from_user_input(code)
        except CRSError:
            raise ConfigError(f"grid.crs: {expectation}; PROJ knows no {code}.") from None
        units = {axis.unit_name for axis in crs.axis_info}
        if not crs.is_projected or len(crs.axis_info) != 2 or units != {"metre"}:
            raise ConfigError(f"grid.crs: {expectation}; {code} ({crs.name}) has coordinates in {' and '.join(sorted(units))}.")
        if {axis.direction for axis in crs.axis_info} != {"east", "north"}:
            raise ConfigError(f"grid.crs: {expectation}; the axes of {code} ({crs.name}) do not run to the east and north.")
        return EUROPE if code == EUROPE.code else cls(int(code.removeprefix("EPSG:")))

    @property
    def code(self) -> str:
        """Name of the CRS, such as `EPSG:3035`."""
        return f"EPSG:{self.epsg}"

    @property
    def crs(self) -> CRS:
        """The CRS."""
        return _crs(self.epsg)

    def project(self, lon: Degrees, lat: Degrees) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitude and latitude (degrees, WGS 84) to (x, y) in metres; `inf` where undefined."""
        x, y = transformer(4326, self.epsg).transform(np.asarray(lon, float), np.asarray(lat, float))
        return np.asarray(x, float), np.asarray(y, float)

    def unproject(self, x: Degrees, y: Degrees) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x, y) in metres to longitude and latitude in degrees (WGS 84)."""
        lon, lat = transformer(self.epsg, 4326).transform(np.asarray(x, float), np.asarray(y, float))
        return np.asarray(lon, float), np.asarray(lat, float)

    def window_km(self, west: float, south: float, east: float, north: float) -> tuple[int, int, int, int] | None:
        """(west, south, east, north) in whole km of the smallest window that holds a box in degrees; None outside the grid."""
        box = [edge / 1000 for edge in bounds_in(self.epsg, (west, south, east, north), 4326)]
        if not np.isfinite(box).all():
            return None
        window = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
        return window if self.holds(*window) else None

    def holds(self, west_km: int, south_km: int, east_km: int, north_km: int) -> bool:
        """Whether a window lies within the grid."""
        return (
            west_km * 1000 >= self.west
            and east_km * 1000 <= self.east
            and south_km * 1000 >= self.south
            and north_km * 1000 <= self.north
        )

    def scales(self, x: float, y: float) -> tuple[float, float]:
        """(square metres, metres along the longest direction) of the grid to one on the ellipsoid at a point (metres)."""
        lon, lat = self.unproject(x, y)
        factors = Proj(self.crs).get_factors(float(lon), float(lat))
        return float(factors.areal_scale), float(factors.tissot_semimajor)


@lru_cache(maxsize=8)
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


EUROPE: Final = Grid(3035, 900_000, 860_000, 7_460_000, 5_500_000)
"""ETRS89-LAEA on the EEA reference grid: 131,200 x 92,800 cells of 50 m."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels of one resolution: offsets from an array's corner and a shape, all in pixels."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns) to index the last two axes with."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    def grown(self, pixels: int) -> Window:
        """The window with as many more pixels on every side; it may reach beyond the array."""
        return Window(self.row - pixels, self.col - pixels, self.height + 2 * pixels, self.width + 2 * pixels)


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """The atom of work, storage, retry and resume: a square of the grid, by row and column from the grid's corner."""

    km: int
    row: int
    col: int
    grid: Grid = field(default=EUROPE, compare=False)

    @property
    def cells(self) -> int:
        """Cells of 50 m on a side."""
        return self.km * 1000 // CELL

    @property
    def west(self) -> int:
        """Left edge, metres."""
        return self.grid.west + self.col * self.km * 1000

    @property
    def north(self) -> int:
        """Upper edge, metres."""
        return self.grid.north - self.row * self.km * 1000

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(west, south, east, north) in metres."""
        side = self.km * 1000
        return (self.west, self.north - side, self.west + side, self.north)

    @property
    def degrees(self) -> Bounds:
        """(west, south, east, north) in degrees (WGS 84) around it."""
        return bounds_in(4326, self.bounds, self.grid.epsg)

    @property
    def name(self) -> str:
        """EEA name, such as `40kmE90N546`."""
        return square_name(self.km * 1000, self.west, self.north - self.km * 1000)


@dataclass(frozen=True)
class Region:
    """A window of whole kilometres of a grid (edges in km) and the units that cover it."""

    west_km: int
    south_km: int
    east_km: int
    north_km: int
    unit_km: int
    grid: Grid = EUROPE

    def __post_init__(self) -> None:
        """Refuse what is not a window of the grid, naming the number that is wrong."""
        if self.unit_km not in UNIT_KM:
            raise ConfigError(f"unit_km is {self.unit_km}; a unit is a square of {', '.join(map(str, UNIT_KM))} km: choose one.")
        for low, high, axis in (
            (self.west_km, self.east_km, "west_km and east_km"),
            (self.south_km, self.north_km, "south_km and north_km"),
        ):
            if low >= high:
                raise ConfigError(f"region: {axis} are {low} and {high}; the first must be the smaller one.")
        g = self.grid
        if not g.holds(self.west_km, self.south_km, self.east_km, self.north_km):
            raise ConfigError(
                f"region: E {self.west_km} to {self.east_km}, N {self.south_km} to {self.north_km} km leaves the grid"
                f" (E {g.west // 1000}-{g.east // 1000}, N {g.south // 1000}-{g.north // 1000} km, {g.code}); choose one within"
                " it, or another grid by `grid: {crs: EPSG:...}`."
            )

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(west, south, east, north) of the region itself, metres."""
        return (
            self.west_km * 1000,
            self.south_km * 1000,
            self.east_km * 1000,
            self.north_km * 1000,
        )

    @cached_property
    def _unit_span(self) -> tuple[int, int, int, int]:
        """(first row, first column, end row, end column) of units."""
        side = self.unit_km * 1000
        west, south, east, north = self.bounds
        left, top = self.grid.west, self.grid.north
        return (top - north) // side, (west - left) // side, -((south - top) // side), -((left - east) // side)

    @property
    def grown_bounds(self) -> tuple[int, int, int, int]:
        """(west, south, east, north) of the region grown outward to whole units, metres: what arrays cover."""
        row0, col0, row1, col1 = self._unit_span
        side = self.unit_km * 1000
        left, top = self.grid.west, self.grid.north
        return (left + col0 * side, top - row1 * side, left + col1 * side, top - row0 * side)

    @property
    def degrees(self) -> Bounds:
        """(west, south, east, north) in degrees (WGS 84) around what arrays cover."""
        return bounds_in(4326, self.grown_bounds, self.grid.epsg)

    def shape(self, resolution: int = CELL, level: int = 0) -> tuple[int, int]:
        """(rows, columns) of an array of this region at `resolution` metres and pyramid `level`."""
        west, south, east, north = self.grown_bounds
        step = 2**level
        return (
            -(-((north - south) // resolution) // step),
            -(-((east - west) // resolution) // step),
        )

    def transform(self, resolution: int = CELL, level: int = 0) -> Affine:
        """Pixel (col, row) to (x, y) metres, upper left corners."""
        west, _, _, north = self.grown_bounds
        size = resolution * 2**level
        return Affine(size, 0, west, 0, -size, north)

    def coordinates(self, resolution: int = CELL, level: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(y, x) of pixel centres in metres; y descends."""
        rows, cols = self.shape(resolution, level)
        t = self.transform(resolution, level)
        y, x = t.f + (np.arange(rows) + 0.5) * t.e, t.c + (np.arange(cols) + 0.5) * t.a
        return np.asarray(y, np.float64), np.asarray(x, np.float64)

    def units(self) -> Iterator[Unit]:
        """Units that touch the region, row by row from the north-west."""
        row0, col0, row1, col1 = self._unit_span
        for row in range(row0, row1):
            for col in range(col0, col1):
                yield self.unit(row, col)

    def unit(self, row: int, col: int) -> Unit:
        """The unit of a row and column of the grid."""
        return Unit(self.unit_km, row, col, self.grid)

    def units_at(self, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> list[Unit]:
        """Units of the region that hold one of the points (x, y) in metres, row by row."""
        side = self.unit_km * 1000
        places = {
            (int(row), int(col)) for row, col in zip((self.grid.north - y) // side, (x - self.grid.west) // side, strict=True)
        }
        return [unit for unit in self.units() if (unit.row, unit.col) in places]

    def square(self, unit: Unit, resolution: int = CELL) -> Window:
        """Where `unit` lies in an array of this region at `resolution` metres."""
        row0, col0, _, _ = self._unit_span
        pixels = unit.km * 1000 // resolution
        return Window((unit.row - row0) * pixels, (unit.col - col0) * pixels, pixels, pixels)

    def index(self, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(row, col) of the 50 m cells that hold the points (x, y) metres; may lie outside the array."""
        west, _, _, north = self.grown_bounds
        row = np.floor((north - np.asarray(y, float)) / CELL)
        col = np.floor((np.asarray(x, float) - west) / CELL)
        big = np.iinfo(np.int32).max
        return (
            np.nan_to_num(row, nan=-1, posinf=big, neginf=-1).astype(np.int64),
            np.nan_to_num(col, nan=-1, posinf=big, neginf=-1).astype(np.int64),
        )

    def contains(self, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Which points (metres) lie in the region itself (west and south edges in, east and north out)."""
        west, south, east, north = self.bounds
        x, y = np.asarray(x, float), np.asarray(y, float)
        return (x >= west) & (x < east) & (y >= south) & (y < north)

    def levels(self) -> int:
        """Coarsest pyramid level: the first at which the whole region fits into one unit's array."""
        rows, cols = self.shape()
        side = self.unit_km * 1000 // CELL
        level = 0
        while max(rows, cols) > side * 2**level:
            level += 1
        return level

    def crop(self, west_km: int, south_km: int, east_km: int, north_km: int) -> Region:
        """A smaller window with the same units; must lie inside."""
        part = Region(west_km, south_km, east_km, north_km, self.unit_km, self.grid)
        if west_km < self.west_km or south_km < self.south_km or east_km > self.east_km or north_km > self.north_km:
            raise ConfigError(
                f"predict.region: E {west_km} to {east_km}, N {south_km} to {north_km} km is not inside the region"
                f" E {self.west_km} to {self.east_km}, N {self.south_km} to {self.north_km} km; choose a part of it."
            )
        return part
