"""The one grid: EEA reference grid cells, regions of whole kilometres, and the units that work is cut into.

Nothing here reads or writes; a `Region` and a `unit_km` are the whole truth, everything else is derived.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from cube.errors import ConfigError

EPSG: Final = 3035
WEST: Final = 900_000  # m, left edge of the EEA reference grid's window that we use
NORTH: Final = 5_500_000  # m, upper edge
WIDTH: Final = 131_200  # 50 m cells
HEIGHT: Final = 92_800
CELL: Final = 50  # m
FINE: Final = 10  # m, 5 x 5 in a cell
COARSE: Final = 1_000  # m, 20 x 20 cells in one
RESOLUTIONS: Final = {"10m": FINE, "50m": CELL, "1km": COARSE}
UNIT_KM: Final = (10, 20, 40, 80)

Bounds = tuple[float, float, float, float]  # west, south, east, north
EDGE_POINTS: Final = 99  # projected along each edge of a box: within 30 m of the curve for a box of 40 degrees

EAST: Final = WEST + WIDTH * CELL
SOUTH: Final = NORTH - HEIGHT * CELL


@lru_cache(maxsize=1)
def crs() -> CRS:
    """ETRS89-extended / LAEA Europe."""
    return CRS.from_epsg(EPSG)


def project(
    lon: NDArray[np.float64] | float, lat: NDArray[np.float64] | float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude (degrees, WGS 84) to (x, y) in metres, EPSG:3035; `inf` where undefined."""
    x, y = transformer(4326, EPSG).transform(np.asarray(lon, float), np.asarray(lat, float))
    return np.asarray(x, float), np.asarray(y, float)


def unproject(x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(x, y) in metres, EPSG:3035, to longitude and latitude in degrees (WGS 84)."""
    lon, lat = transformer(EPSG, 4326).transform(np.asarray(x, float), np.asarray(y, float))
    return np.asarray(lon, float), np.asarray(lat, float)


def bounds_in(crs: Any, bounds: Bounds, of: Any = EPSG) -> Bounds:
    """(west, south, east, north) in `crs` of the smallest box around a box of the CRS `of`; infinite where undefined.

    Edges of one projection are curves in another, so points along them are projected, not the corners alone.
    """
    west, south, east, north = transformer(of, crs).transform_bounds(*bounds, densify_pts=EDGE_POINTS)
    return west, south, east, north


@lru_cache(maxsize=32)
def transformer(one: Any, other: Any) -> Transformer:
    """Coordinates (x or longitude first) of one CRS to those of another."""
    return Transformer.from_crs(one, other, always_xy=True)


def window_km(west: float, south: float, east: float, north: float) -> tuple[int, int, int, int]:
    """(west, south, east, north) in whole km, EPSG:3035, of the smallest window that holds a box in degrees (WGS 84)."""
    box = [edge / 1000 for edge in bounds_in(EPSG, (west, south, east, north), 4326)]
    return math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])


def in_grid(west_km: int, south_km: int, east_km: int, north_km: int) -> bool:
    """Whether a window lies within the grid."""
    return west_km * 1000 >= WEST and east_km * 1000 <= EAST and south_km * 1000 >= SOUTH and north_km * 1000 <= NORTH


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


def eea_name(size: int, x: float, y: float) -> str:
    """Name of the square of `size` metres that holds the point (x, y) metres, as the EEA names it.

    The size, then the lower left corner divided by the power of ten in the size:
    `eea_name(1_000, 4_321_999, 3_210_000) == "1kmE4321N3210"`.
    """
    return square_name(size, int(x // size) * size, int(y // size) * size)


def square_name(size: int, east: int, north: int) -> str:
    """Name of the square of `size` metres whose lower left corner is (east, north) metres.

    Units of 20 km and more are counted from the corner of the grid, not from zero:
    `square_name(40_000, 900_000, 5_460_000) == "40kmE90N546"`.
    """
    power = 10 ** (len(str(size)) - len(str(size).rstrip("0")))
    label = f"{size // 1000}km" if size % 1000 == 0 else f"{size}m"
    return f"{label}E{east // power}N{north // power}"


def eea_corner(name: str) -> tuple[int, int, int]:
    """(size, x, y) in metres of the square called `name`: the inverse of `square_name`."""
    match = re.fullmatch(r"(\d+)(km|m)E(-?\d+)N(-?\d+)", name)
    if match is None:
        raise ConfigError(f"'{name}' is not the name of an EEA grid square; write size, E and N, such as 10kmE452N271.")
    size = int(match[1]) * (1000 if match[2] == "km" else 1)
    power = 10 ** (len(str(size)) - len(str(size).rstrip("0")))
    return size, int(match[3]) * power, int(match[4]) * power


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """The atom of work, storage, retry and resume: a square of the grid, by row and column from the grid's corner."""

    km: int
    row: int
    col: int

    @property
    def cells(self) -> int:
        """Cells of 50 m on a side."""
        return self.km * 1000 // CELL

    @property
    def west(self) -> int:
        """Left edge, metres."""
        return WEST + self.col * self.km * 1000

    @property
    def north(self) -> int:
        """Upper edge, metres."""
        return NORTH - self.row * self.km * 1000

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(west, south, east, north) in metres."""
        side = self.km * 1000
        return (self.west, self.north - side, self.west + side, self.north)

    @property
    def name(self) -> str:
        """EEA name, such as `40kmE90N546`."""
        return square_name(self.km * 1000, self.west, self.north - self.km * 1000)


@dataclass(frozen=True)
class Region:
    """A window of whole kilometres in EPSG:3035 (edges in km) and the units that cover it."""

    west_km: int
    south_km: int
    east_km: int
    north_km: int
    unit_km: int

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
        if not in_grid(self.west_km, self.south_km, self.east_km, self.north_km):
            raise ConfigError(
                f"region: E {self.west_km}-{self.east_km}, N {self.south_km}-{self.north_km} km leaves the grid"
                f" (E {WEST // 1000}-{EAST // 1000}, N {SOUTH // 1000}-{NORTH // 1000} km, EPSG:3035); choose one within it."
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
        return (
            (NORTH - north) // side,
            (west - WEST) // side,
            -((south - NORTH) // side),
            -((WEST - east) // side),
        )

    @property
    def grown_bounds(self) -> tuple[int, int, int, int]:
        """(west, south, east, north) of the region grown outward to whole units, metres: what arrays cover."""
        row0, col0, row1, col1 = self._unit_span
        side = self.unit_km * 1000
        return (WEST + col0 * side, NORTH - row1 * side, WEST + col1 * side, NORTH - row0 * side)

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
                yield Unit(self.unit_km, row, col)

    def units_at(self, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> list[Unit]:
        """Units of the region that hold one of the points (x, y) in metres, row by row."""
        side = self.unit_km * 1000
        places = {(int(row), int(col)) for row, col in zip((NORTH - y) // side, (x - WEST) // side, strict=True)}
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
        part = Region(west_km, south_km, east_km, north_km, self.unit_km)
        if west_km < self.west_km or south_km < self.south_km or east_km > self.east_km or north_km > self.north_km:
            raise ConfigError(
                f"predict.region: E {west_km}-{east_km}, N {south_km}-{north_km} km is not inside the region"
                f" E {self.west_km}-{self.east_km}, N {self.south_km}-{self.north_km} km; choose a part of it."
            )
        return part
