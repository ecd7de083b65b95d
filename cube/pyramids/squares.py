"""The tree of squares that pyramids are built by: pure arithmetic, nothing here reads or writes.

A square of level n spans 2^n x 2^n units and holds one unit's worth of pixels of level n: whole shards, one task, one
receipt. Units are the leaves; the one square of the highest level holds the region.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cube.grid import CELL, Region, Unit, Window
from cube.square_names import square_name


@dataclass(frozen=True, slots=True)
class Square:
    """A square of a region's pyramid; `row` and `col` count squares of its level from the corner of the region's arrays."""

    region: Region
    level: int
    row: int
    col: int

    @property
    def km(self) -> int:
        """Side in kilometres."""
        return self.region.unit_km * 2**self.level

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(west, south, east, north) in metres; the last squares of a row or column reach beyond the region's arrays."""
        west, _, _, north = self.region.grown_bounds
        side = self.km * 1000
        return (west + self.col * side, north - (self.row + 1) * side, west + (self.col + 1) * side, north - self.row * side)

    @property
    def name(self) -> str:
        """Size and lower left corner, written as the EEA writes them: `80kmE90N542`."""
        west, south, _, _ = self.bounds
        return square_name(self.km * 1000, west, south)

    def window(self, resolution: int = CELL) -> Window:
        """Its pixels in the array of its own level, clipped at the array's edge: whole shards."""
        rows, cols = self.region.shape(resolution, self.level)
        side = self.region.unit_km * 1000 // resolution
        row, col = self.row * side, self.col * side
        return Window(row, col, min(side, rows - row), min(side, cols - col))

    def below(self) -> list[Square]:
        """The up to four squares of the level below (level 1: none, it stands on `units`), row by row."""
        if self.level == 1:
            return []
        rows, cols = extent(self.region, self.level - 1)
        return [
            Square(self.region, self.level - 1, row, col)
            for row in range(2 * self.row, min(2 * self.row + 2, rows))
            for col in range(2 * self.col, min(2 * self.col + 2, cols))
        ]

    def units(self) -> Iterator[Unit]:
        """The units of the region's arrays that it spans, row by row."""
        first = next(self.region.units())
        rows, cols = extent(self.region, 0)
        side = 2**self.level
        for row in range(self.row * side, min((self.row + 1) * side, rows)):
            for col in range(self.col * side, min((self.col + 1) * side, cols)):
                yield self.region.unit(first.row + row, first.col + col)

    def children(self) -> list[str]:
        """Names of what it must be built after: the squares below, or at level 1 the units."""
        return [unit.name for unit in self.units()] if self.level == 1 else [square.name for square in self.below()]


def extent(region: Region, level: int) -> tuple[int, int]:
    """(rows, columns) of squares of `level`; level 0: of units."""
    west, south, east, north = region.grown_bounds
    side = region.unit_km * 1000 * 2**level
    return -((south - north) // side), -((west - east) // side)


def tree(region: Region, units: Iterable[Unit]) -> list[Square]:
    """Squares of levels 1 to the coarsest that hold one of `units`, children before parents, row by row in a level."""
    first = next(region.units())
    cells = {(unit.row - first.row, unit.col - first.col) for unit in units}
    out: list[Square] = []
    for level in range(1, region.levels() + 1):
        cells = {(row // 2, col // 2) for row, col in cells}
        out += [Square(region, level, row, col) for row, col in sorted(cells)]
    return out
