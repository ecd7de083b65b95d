"""Tile matrix sets: morecantile's, and one of our own whose tiles are the cells of the cube, neither turned nor resampled."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import morecantile
from pyproj import CRS

from cube import grid
from server.errors import NotFoundError

OWN: Final = "FloracubeGrid"
_ZOOMS: Final = 14  # of our own grid: 50 m at zoom 10, down to 6.25 m, so that a 10 m pixel is seen


@lru_cache(maxsize=1)
def own_grid() -> morecantile.TileMatrixSet:
    """EPSG:3035 from the grid's own corner, 256 pixels a tile: at zoom 10 a pixel is a cell, below it 2 x 2, 4 x 4, ..."""
    side = 256 * 2**10 * grid.CELL
    west, north = grid.WEST, grid.NORTH
    return morecantile.TileMatrixSet.custom(
        [west, north - side, west + side, north], CRS.from_epsg(grid.EPSG), minzoom=0, maxzoom=_ZOOMS - 1,
        id=OWN, title="Cells of the cube: EEA reference grid in EPSG:3035",
    )  # fmt: skip


NAMES: Final = tuple(sorted((*morecantile.tms.list(), OWN)))


@lru_cache(maxsize=64)
def tile_matrix_set(name: str) -> morecantile.TileMatrixSet:
    """The tile matrix set of that name; raises `NotFoundError`. Kept: morecantile reads its file each time it is asked."""
    if name not in NAMES:
        raise NotFoundError(f"There is no tile matrix set '{name[:80]}'; known are {', '.join(NAMES)}.")
    return own_grid() if name == OWN else morecantile.tms.get(name)


@lru_cache(maxsize=512)
def size_of(name: str, z: int) -> tuple[int, int, int]:
    """Tiles across and down of one zoom of the set `name`, and pixels a side of a tile."""
    matrix = tile_matrix_set(name).matrix(z)
    return int(matrix.matrixWidth), int(matrix.matrixHeight), int(matrix.tileWidth)
