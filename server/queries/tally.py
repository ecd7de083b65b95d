"""Counting over an area: the facts of its whole units and squares, and the cells of its edge at a level that can be afforded.

A cube of before there were facts has no whole units: all of an area is then its edge. Memory is bounded by a few batches of
chunks, whatever the area and the number of species.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from cube import grid
from cube.pyramids import figures
from cube.pyramids.facts import Facts
from cube.pyramids.figures import Figures
from cube.pyramids.squares import extent
from cube.storage import releases
from cube.storage.leaves import MAP_CHUNK
from server.errors import NotFoundError, RequestError
from server.queries.edge import Bools, Cells, measured, none
from server.queries.outline import cells_across, centres_within
from server.reading.chunk_batches import read_together
from server.reading.snapshot import Snapshot

CHUNKS: Final = 4000  # of the edge that one answer reads: a few seconds
SQUARES: Final = 2  # of the edge that are read at least at a level, however many the species
MASK: Final = 2**24  # cells of the box around an area at the level of its edge
PLACES: Final = 16  # units and squares whose facts are read at once
THREADS: Final = 4
Place = tuple[int, int, int]  # level (0: units), row, column


class AreaTooLargeError(RequestError):
    """An area larger than one answer may be about (413)."""

    status: ClassVar[int] = 413
    name: ClassVar[str] = "area_too_large"


@dataclass(frozen=True)
class Tally:
    """The figures of an area by product and statistic, (items,) of 50 m cells and their stored values."""

    cells: int  # of 50 m whose centre lies in the area
    edge: Cells
    figures: Mapping[str, Mapping[str, NDArray[np.int64]]]
    names: tuple[str, ...] = ()  # of the items of indicators: `<name>.<bound>`

    @property
    def exact(self) -> bool:
        """Whether every cell of 50 m was counted by itself."""
        return self.edge.level == 0 or not self.edge.count


def tally(
    snapshot: Snapshot,
    shape: shapely.Geometry | None,
    threshold: float = 0.0,
    species: Sequence[int] | None = None,
    products: Sequence[str] = releases.PRODUCTS,
) -> Tally:
    """The figures of `products` in a shape (metres of the grid), or the whole map for None.

    Of `species` (their indices; all for None) those count that reach the probability `threshold` in some unit that the shape
    touches, as far as facts tell: the others cannot reach it in the shape. Raises `AreaTooLargeError`, `NotFoundError`.
    """
    layouts = {product: facts for product, facts in snapshot.facts.layouts.items() if product in products}
    levels = _levels(snapshot)
    complete, edge = _units(snapshot, shape)
    with ThreadPoolExecutor(THREADS) as pool:
        places = _places(snapshot, complete)
        by_presence = "species" in layouts and threshold > 0 and snapshot.facts.present
        edge_units = [(0, int(row), int(col)) for row, col in np.argwhere(edge)] if by_presence else []
        jobs = [*((facts, places) for facts in layouts.values()), *([(layouts["species"], edge_units)] if edge_units else [])]
        results = _of_places(snapshot, jobs, pool)
        of_products = dict(zip(layouts, results, strict=False))
        species_indices = list(range(layouts["species"].items) if species is None else species) if "species" in layouts else []
        if edge_units:
            of_species = [figures_part for figures_part in (of_products["species"], results[-1]) if figures_part is not None]
            species_indices = _species_above(snapshot, of_species, threshold, species_indices)
        map_layers = sum(len(facts.names) or len(facts.levels) for p, facts in layouts.items() if p in ("indicators", "habitats"))
        cells = _edge(snapshot, shape, (complete, edge), len(species_indices) + map_layers, levels)
        parts = {product: [part for part in (of_products[product],) if part is not None] for product in layouts}
        if cells.mask.any():
            for product, part in measured(snapshot, layouts, cells, species_indices, pool).items():
                parts[product].append(_weighted(layouts[product].statistics, part, 4**cells.level))
    summed = {p: figures.merged(facts.statistics, parts[p] or [none(facts)]) for p, facts in layouts.items()}
    side = snapshot.reader.cube.region.unit_km * 1000 // grid.CELL
    return Tally(
        int(complete.sum()) * side**2 + cells.count,
        cells,
        {p: dict(zip(facts.statistics, summed[p], strict=True)) for p, facts in layouts.items()},
        layouts["indicators"].names if "indicators" in layouts else (),
    )


def _weighted(statistics: Sequence[str], part: Figures, weight: int) -> Figures:
    """Figures of coarser cells as those of the cells that they stand for."""
    return part * np.array([1 if name in ("lowest", "highest") else weight for name in statistics])[:, None]


def _units(snapshot: Snapshot, shape: shapely.Geometry | None) -> tuple[Bools, Bools]:
    """(rows, columns) which units lie in the shape as a whole and have facts, and which of the others it touches."""
    from rasterio.features import rasterize

    region = snapshot.reader.cube.region
    size, side = extent(region, 0), region.unit_km * 1000
    if shape is None:
        every = np.ones(size, bool)
        return (every, ~every) if snapshot.facts.present else (~every, every)
    transform = Affine(side, 0, region.grown_bounds[0], 0, -side, region.grown_bounds[3])

    def rasterized(outline: shapely.Geometry, all_touched: bool) -> Bools:
        return rasterize([(outline, 1)], size, transform=transform, all_touched=all_touched, dtype="uint8") > 0

    # Where no edge of the shape passes through a unit, its centre speaks for all of it.
    crossed, inside = rasterized(shape.boundary, True), rasterized(shape, False)
    complete = inside & ~crossed if snapshot.facts.present else np.zeros(size, bool)
    return complete, (inside | crossed) & ~complete


def _places(snapshot: Snapshot, complete: Bools) -> list[Place]:
    """(level, row, column) of the largest squares, and units (level 0), that hold the whole units and nothing else."""
    levels: list[Bools] = [complete]
    for _ in range(snapshot.reader.cube.region.levels()):
        rows, cols = levels[-1].shape
        # What lies beyond the arrays holds nothing.
        even_level = np.pad(levels[-1], ((0, rows % 2), (0, cols % 2)), constant_values=True)
        levels.append(np.asarray(even_level.reshape(even_level.shape[0] // 2, 2, even_level.shape[1] // 2, 2).all(axis=(1, 3))))
    places = []
    for level, complete_squares in enumerate(levels):
        above = levels[level + 1] if level + 1 < len(levels) else np.zeros((1, 1), bool)
        places += [(level, int(r), int(c)) for r, c in np.argwhere(complete_squares) if not above[r // 2, c // 2]]
    return places


def _of_places(
    snapshot: Snapshot, jobs_of_facts: Sequence[tuple[Facts, Sequence[Place]]], pool: ThreadPoolExecutor
) -> list[Figures | None]:
    """For each (facts, units and squares): their figures together; None of no place. All are read at once."""

    def figures_of(facts: Facts, batch: Sequence[Place]) -> Figures:
        chunks = read_together(snapshot.reader, [(facts.array(level), (0, 0, row, col)) for level, row, col in batch])
        return figures.merged(facts.statistics, [none(facts), *(chunk[..., 0, 0] for chunk in chunks if chunk.size)])

    jobs = [
        [pool.submit(figures_of, facts, places[first : first + PLACES]) for first in range(0, len(places), PLACES)]
        for facts, places in jobs_of_facts
    ]
    parts = [[job.result() for job in batch] for batch in jobs]
    return [
        figures.merged(facts.statistics, batch) if batch else None for (facts, _), batch in zip(jobs_of_facts, parts, strict=True)
    ]


def _species_above(snapshot: Snapshot, sums: Sequence[Figures], threshold: float, species: Sequence[int]) -> list[int]:
    """Those of `species` that reach `threshold` by the figures of places; one at least, which tells the mapped cells."""
    row = snapshot.facts.layouts["species"].statistics.index("highest")
    reach = np.max([part[row] for part in sums], axis=0) * snapshot.catalogue.species_scales >= threshold
    return [s for s in species if reach[s]] or list(species[:1])


def _edge(snapshot: Snapshot, shape: shapely.Geometry | None, units: tuple[Bools, Bools], layers: int, levels: int) -> Cells:
    """The cells outside of whole units, at the finest of `levels` at which at most `CHUNKS` chunks of `layers` hold them."""
    complete, edge = units
    region = snapshot.reader.cube.region
    shape = shapely.box(*snapshot.region.bounds) if shape is None else shape
    side = region.unit_km * 1000 // grid.CELL
    if not edge.any():
        return Cells(0, 0, 0, np.zeros((0, 0), bool))
    for level in range(levels):
        cell = grid.CELL * 2**level
        height, width = region.shape(level=level)
        row, col, rows, cols = _inside(*cells_across(shape, region, cell), height, width)
        squares = len(np.unique(np.argwhere(edge) >> level, axis=0)) * (-(-side // MAP_CHUNK)) ** 2
        if rows * cols <= MASK and (squares <= max(SQUARES, CHUNKS / max(1, layers)) or level == levels - 1):
            break
    else:
        raise AreaTooLargeError("The area spans too many cells even at the coarsest level of this cube; choose a smaller one.")
    left, _, _, top = region.grown_bounds
    mask = centres_within(shape, (left + col * cell, top - row * cell, cell), rows, cols)
    if not mask.any() and not complete.any():
        middle = shape.centroid
        at = int(np.clip((top - middle.y) // cell, 0, height - 1)), int(np.clip((middle.x - left) // cell, 0, width - 1))
        return Cells(level, at[0], at[1], np.ones((1, 1), bool), tiny=True)
    cell_rows_cols = [(first + np.arange(count)) * 2**level + 2**level // 2 for first, count in ((row, rows), (col, cols))]
    at_unit = [np.minimum(cells // side, count - 1) for cells, count in zip(cell_rows_cols, complete.shape, strict=True)]
    return Cells(level, row, col, mask & ~complete[np.ix_(*at_unit)])


def _inside(row: int, col: int, rows: int, cols: int, height: int, width: int) -> tuple[int, int, int, int]:
    first_row, first_col = max(row, 0), max(col, 0)
    return first_row, first_col, max(1, min(row + rows, height) - first_row), max(1, min(col + cols, width) - first_col)


def _levels(snapshot: Snapshot) -> int:
    """Pyramid levels that all products have."""
    maps = [layer for layer in snapshot.catalogue.layers if layer.product != "inputs"]
    if not maps:
        raise NotFoundError(
            "This release maps no products yet, so there is nothing to report of an area; run `floracube predict`."
        )
    return min(len(layer.paths) for layer in maps)
