"""Counting over an area: which pyramid level its cells are read at, and sums over them, block by block.

Memory is bounded by one block of 128 species and one chunk's window, whatever the area and the number of species.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from cube import grid
from cube.layers import NO_SPECIES
from cube.storage import releases
from server.asking.outline import cells_across, centres_within
from server.errors import NotFoundError, RequestError
from server.reading.io import selection
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

BLOCK: Final = 400  # cells a side of what is read at once: the chunk of a map, or whole chunks of a small unit
SPECIES: Final = 128  # read at once: those of one shard


class AreaTooLargeError(RequestError):
    """An area larger than one answer may be about (413)."""

    status: ClassVar[int] = 413
    name: ClassVar[str] = "area_too_large"


@dataclass(frozen=True)
class Block:
    """Cells of an area that lie in one chunk: slices of the arrays, and which cells of them."""

    rows: slice
    cols: slice
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """The cells of an area at one pyramid level."""

    level: int
    row: int
    col: int
    mask: NDArray[np.bool_]  # (rows, columns) from (row, col) of the arrays
    tiny: bool = False  # no centre lies in the area: its middle's cell stands for it

    @property
    def cell_m(self) -> int:
        """Side of a cell, metres."""
        return grid.CELL * 2**self.level

    @cached_property
    def count(self) -> int:
        """How many cells."""
        return int(self.mask.sum())

    def blocks(self) -> Iterator[Block]:
        """The cells chunk by chunk; chunks without any are left out."""
        rows, cols = self.mask.shape
        for r0, r1 in _cuts(self.row, self.row + rows):
            for c0, c1 in _cuts(self.col, self.col + cols):
                part = self.mask[r0 - self.row : r1 - self.row, c0 - self.col : c1 - self.col]
                if part.any():
                    yield Block(slice(r0, r1), slice(c0, c1), part)


def _cuts(first: int, end: int) -> list[tuple[int, int]]:
    """[first, end) cut at multiples of a chunk's side."""
    edges = [first, *range((first // BLOCK + 1) * BLOCK, end, BLOCK), end]
    return list(itertools.pairwise(edges))


def find_cells(snapshot: Snapshot, shape: shapely.Geometry, most: int) -> Cells:
    """Cells of `shape` (metres, EPSG:3035) at the finest level at which its box has at most `most` cells.

    Raises `AreaTooLargeError` where no level of the products is coarse enough.
    """
    region = snapshot.reader.cube.region
    for level in range(_levels(snapshot)):
        cell = grid.CELL * 2**level
        row, col, rows, cols = cells_across(shape, region, cell)
        height, width = region.shape(level=level)
        row, col, rows, cols = _inside(row, rows, height, col, cols, width)
        if rows * cols <= most:
            left, _, _, top = region.grown_bounds
            mask = centres_within(shape, (left + col * cell, top - row * cell, cell), rows, cols)
            if mask.any():
                return Cells(level, row, col, mask)
            middle = shape.centroid
            at = int(np.clip((top - middle.y) // cell, 0, height - 1)), int(np.clip((middle.x - left) // cell, 0, width - 1))
            return Cells(level, at[0], at[1], np.ones((1, 1), bool), tiny=True)
    raise AreaTooLargeError(
        f"The area spans more than {most} cells even at the coarsest level of this cube; choose a smaller one."
    )


def _inside(row: int, rows: int, height: int, col: int, cols: int, width: int) -> tuple[int, int, int, int]:
    first_row, first_col = max(row, 0), max(col, 0)
    return first_row, first_col, max(1, min(row + rows, height) - first_row), max(1, min(col + cols, width) - first_col)


def _levels(snapshot: Snapshot) -> int:
    """Pyramid levels that all products have."""
    maps = [layer for layer in snapshot.catalogue.layers if layer.product != "inputs"]
    if not maps:
        raise NotFoundError("This release maps no products yet, so there is nothing to report of an area.")
    return min(len(layer.paths) for layer in maps)


@dataclass(frozen=True)
class SpeciesSums:
    """Of each species by its index: cells with a value, sum and maximum of stored steps, and cells in whose list it is."""

    cells: NDArray[np.int64]
    steps: NDArray[np.int64]
    most: NDArray[np.int64]
    listed: NDArray[np.int64] | None  # by row of the species table; level 0 only


def species_sums(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> SpeciesSums:
    """Sums over the cells of every species; `layer` is any layer of the species product."""
    array = snapshot.reader.array(layer.paths[cells.level])
    count, fill = array.shape[0], int(layer.fill)
    present, total, most = (np.zeros(count, np.int64) for _ in range(3))
    for block in cells.blocks():
        for first in range(0, count, SPECIES):
            part = slice(first, min(first + SPECIES, count))
            stored = np.asarray(array[part, block.rows, block.cols])[:, block.mask]
            valid = stored != fill
            present[part] += valid.sum(axis=1)
            total[part] += np.where(valid, stored, 0).sum(axis=1, dtype=np.int64)
            most[part] = np.maximum(most[part], np.where(valid, stored, 0).max(axis=1))
    return SpeciesSums(present, total, most, _lists(snapshot, cells))


def _lists(snapshot: Snapshot, cells: Cells) -> NDArray[np.int64] | None:
    """In how many cells' most likely lists each species is, by its row in the species table."""
    version = snapshot.products.get("composition")
    if version is None or cells.level > 0:
        return None
    base = releases.group_of("composition", version)
    ids, sizes = snapshot.reader.array(f"{base}/species_id"), snapshot.reader.array(f"{base}/set_size")
    found = np.zeros(NO_SPECIES + 1, np.int64)
    for block in cells.blocks():
        listed = np.asarray(ids[:, block.rows, block.cols])[:, block.mask]
        size = np.asarray(sizes[block.rows, block.cols])[block.mask]
        size = np.where(size == sizes.fill_value, 0, size)
        in_list = (np.arange(len(listed))[:, None] < size) & (listed != NO_SPECIES)
        found += np.bincount(listed[in_list], minlength=NO_SPECIES + 1)
    return found


@dataclass(frozen=True)
class ValueSums:
    """Of a quantity in its units: cells with a value, mean, smallest and largest; NaN without any."""

    cells: int
    mean: float
    lowest: float
    highest: float


def value_sums(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> ValueSums:
    """Mean and range of a continuous layer over the cells."""
    array = snapshot.reader.array(layer.paths[cells.level])
    count, total, low, high = 0, 0.0, np.inf, -np.inf
    for block in cells.blocks():
        stored: NDArray[Any] = np.asarray(array[selection(layer.lead, block.rows, block.cols)])[block.mask].astype(np.float64)
        stored = stored[(stored != layer.fill) & np.isfinite(stored)]
        if stored.size:
            count, total = count + stored.size, total + float(stored.sum())
            low, high = min(low, float(stored.min())), max(high, float(stored.max()))
    if not count:
        return ValueSums(0, np.nan, np.nan, np.nan)
    mean, low, high = (value * layer.scale + layer.offset for value in (total / count, low, high))
    return ValueSums(count, mean, low, high)


def class_counts(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> dict[int, int]:
    """How many cells each stored class of a layer has."""
    array = snapshot.reader.array(layer.paths[cells.level])
    counts: dict[int, int] = {}
    for block in cells.blocks():
        stored = np.asarray(array[selection(layer.lead, block.rows, block.cols)])[block.mask]
        for value, number in zip(*np.unique(stored[stored != layer.fill], return_counts=True), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(number)
    return counts
