"""Counting over an area: which pyramid level its cells are read at, and sums over them, block by block.

Memory is bounded by one chunk of 128 species, whatever the area and the number of species.
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
from server.reading.layers import MapLayer
from server.reading.snapshot import Snapshot

SPECIES: Final = 128  # read at once: those of one shard
COARSEST: Final = 4  # times as many cells are read where there is no coarser level


class AreaTooLargeError(RequestError):
    """An area larger than one answer may be about (413)."""

    status: ClassVar[int] = 413
    name: ClassVar[str] = "area_too_large"


@dataclass(frozen=True)
class Block:
    """Cells of an area that lie in one chunk: the chunk's number, the rows and columns in it, and which cells of those."""

    number: tuple[int, int]
    rows: slice
    cols: slice
    mask: NDArray[np.bool_]

    def of(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """(..., n) stored values of the cells in a decoded chunk."""
        return chunk[..., self.rows, self.cols][..., self.mask]


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

    def blocks(self, height: int, width: int) -> Iterator[Block]:
        """The cells by chunks of `height` x `width`; chunks without any are left out."""
        rows, cols = self.mask.shape
        for r0, r1 in _cuts(self.row, self.row + rows, height):
            for c0, c1 in _cuts(self.col, self.col + cols, width):
                part = self.mask[r0 - self.row : r1 - self.row, c0 - self.col : c1 - self.col]
                if part.any():
                    top, left = r0 // height * height, c0 // width * width
                    number = (r0 // height, c0 // width)
                    yield Block(number, slice(r0 - top, r1 - top), slice(c0 - left, c1 - left), np.ascontiguousarray(part))


def _cuts(first: int, end: int, step: int) -> list[tuple[int, int]]:
    """[first, end) cut at multiples of `step`."""
    edges = [first, *range((first // step + 1) * step, end, step), end]
    return list(itertools.pairwise(edges))


def find_cells(snapshot: Snapshot, shape: shapely.Geometry, most: int) -> Cells:
    """Cells of `shape` (metres, EPSG:3035) at the finest level at which its box has at most `most` cells (`COARSEST` times
    as many at the coarsest level).

    Raises `AreaTooLargeError` where no level of the products is coarse enough.
    """
    region = snapshot.reader.cube.region
    levels = _levels(snapshot)
    for level in range(levels):
        cell = grid.CELL * 2**level
        row, col, rows, cols = cells_across(shape, region, cell)
        height, width = region.shape(level=level)
        row, col, rows, cols = _inside(row, rows, height, col, cols, width)
        if rows * cols <= (most if level < levels - 1 else COARSEST * most):
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
    from server.asking.sums import add_up

    reader, path = snapshot.reader, layer.paths[cells.level]
    source = reader.source(path)
    count, fill = source.shape[0], int(layer.fill)
    sums = np.zeros((count, 3), np.int64)  # cells, steps, most
    for block in cells.blocks(*source.chunk[-2:]):
        for first in range(0, count, SPECIES):
            species = range(first, min(first + SPECIES, count))
            for index, chunk in zip(species, reader.past_cache(path, [(s, *block.number) for s in species]), strict=True):
                if chunk.size:
                    add_up(chunk[0, block.rows, block.cols], block.mask, fill, sums[index])
    return SpeciesSums(sums[:, 0], sums[:, 1], sums[:, 2], lists(snapshot, cells))


def lists(snapshot: Snapshot, cells: Cells) -> NDArray[np.int64] | None:
    """In how many cells' most likely lists each species is, by its row in the species table."""
    version = snapshot.products.get("composition")
    if version is None or cells.level > 0:
        return None
    base, reader = releases.group_of("composition", version), snapshot.reader
    ids, sizes = reader.source(f"{base}/species_id"), reader.source(f"{base}/set_size")
    height, width = ids.chunk[-2:]
    found = np.zeros(NO_SPECIES + 1, np.int64)
    for block in cells.blocks(height, width):
        (chunk,) = reader.past_cache(f"{base}/species_id", [(0, *block.number)])
        if not chunk.size:
            continue
        listed = block.of(chunk)
        rows, cols = ((n * side + part.start, n * side + part.stop)
                      for n, side, part in zip(block.number, (height, width), (block.rows, block.cols), strict=True))  # fmt: skip
        size = reader.window(f"{base}/set_size", (), 1, rows, cols)[block.mask]
        size = np.where(size == sizes.fill, 0, size)
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


def _stored(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> Iterator[NDArray[Any]]:
    """Stored values of a layer that are not fill, chunk by chunk."""
    reader, path = snapshot.reader, layer.paths[cells.level]
    source = reader.source(path)
    numbers, place = source.within(layer.lead)
    for block in cells.blocks(*source.chunk[-2:]):
        (chunk,) = reader.past_cache(path, [(*numbers, *block.number)])
        if chunk.size:
            stored = block.of(chunk[place])
            yield stored[stored != stored.dtype.type(layer.fill)] if stored.dtype.kind != "f" else stored[np.isfinite(stored)]


def value_sums(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> ValueSums:
    """Mean and range of a continuous layer over the cells."""
    count, total, low, high = 0, 0.0, np.inf, -np.inf
    for stored in _stored(snapshot, layer, cells):
        if stored.size:
            count, total = count + stored.size, total + float(stored.sum(dtype=np.float64))
            low, high = min(low, float(stored.min())), max(high, float(stored.max()))
    if not count:
        return ValueSums(0, np.nan, np.nan, np.nan)
    mean, low, high = (value * layer.scale + layer.offset for value in (total / count, low, high))
    return ValueSums(count, mean, low, high)


def class_counts(snapshot: Snapshot, layer: MapLayer, cells: Cells) -> dict[int, int]:
    """How many cells each stored class of a layer has."""
    counts: dict[int, int] = {}
    for stored in _stored(snapshot, layer, cells):
        for value, number in zip(*np.unique(stored, return_counts=True), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(number)
    return counts
