"""Tile matrix sets: morecantile's, and one of each grid whose tiles are the cells of a cube, neither turned nor resampled."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

import morecantile
from pyproj import CRS

from cube.errors import ConfigError
from cube.grid import CELL, EUROPE, Grid
from server.errors import NotFoundError

CUBE_GRID: Final = "FloracubeGrid"  # of Europe's grid; that of another one ends with its EPSG code
_FINER: Final = 3  # zooms beyond that of the cells: 6.25 m, so that a 10 m pixel is seen


def own_name(grid: Grid) -> str:
    """The name of the tile matrix set of a grid: `FloracubeGrid`, `FloracubeGrid3577`."""
    return CUBE_GRID if grid == EUROPE else f"{CUBE_GRID}{grid.epsg}"


@lru_cache(maxsize=16)
def own_grid(grid: Grid = EUROPE) -> morecantile.TileMatrixSet:
    """The set of a grid from its own corner, 256 pixels a tile: at one zoom (Europe: 10) a pixel is a cell, below 2 x 2, ..."""
    zoom = math.ceil(math.log2(max(grid.east - grid.west, grid.north - grid.south) / (256 * CELL)))
    side = 256 * 2**zoom * CELL
    west, north = grid.west, grid.north
    return morecantile.TileMatrixSet.custom(
        [west, north - side, west + side, north],
        CRS.from_epsg(grid.epsg),
        minzoom=0,
        maxzoom=zoom + _FINER,
        id=own_name(grid),
        title=f"Cells of the cube in {grid.code}",
    )


NAMES: Final = tuple(sorted((*morecantile.tms.list(), CUBE_GRID)))


@lru_cache(maxsize=64)
def tile_matrix_set(name: str) -> morecantile.TileMatrixSet:
    """The tile matrix set of that name; raises `NotFoundError`. Cached: morecantile reads its file each time it is asked."""
    if name in NAMES:
        return own_grid() if name == CUBE_GRID else morecantile.tms.get(name)
    try:
        if (match := re.fullmatch(rf"{CUBE_GRID}(\d{{4,6}})", name)) is not None:
            return own_grid(Grid.of(f"EPSG:{match[1]}"))
    except ConfigError:
        pass
    raise NotFoundError(f"There is no tile matrix set '{name[:80]}'; known are {', '.join(NAMES)}.")


def known_name(name: str) -> str:
    """The name of a tile matrix set; raises `ValueError` for another."""
    try:
        return str(tile_matrix_set(name).id)
    except NotFoundError as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=512)
def size_of(name: str, z: int) -> tuple[int, int, int]:
    """Tiles across and down of one zoom of the set `name`, and pixels a side of a tile."""
    matrix = tile_matrix_set(name).matrix(z)
    return int(matrix.matrixWidth), int(matrix.matrixHeight), int(matrix.tileWidth)
